//! What a network is allowed to do and to spend. Every bound has a default.

use std::{net::Ipv4Addr, time::Duration};

use libp2p::{Multiaddr, multiaddr::Protocol};

use crate::{error::NetError, rate::Rate};

/// The largest size that any message limit may be set to: 64 MiB.
const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// How a network listens, waits and limits.
#[derive(Clone, Debug)]
pub struct Config {
    /// Names the network in every protocol's name, so that nodes of different
    /// networks do not talk. 1 to 64 characters of `a-z 0-9 - . /`, no slash at
    /// an end. Default `symbolon/1`.
    pub network: String,
    /// Addresses to listen on; port 0 takes a free one. May be empty for a node
    /// that only dials. Default: loopback, a free port.
    pub listen: Vec<Multiaddr>,
    /// Addresses under which others reach this node, told to peers beside the
    /// ones listened on.
    pub external: Vec<Multiaddr>,
    /// The longest request, in bytes, sent or accepted. Default 2 MiB.
    pub max_request_bytes: usize,
    /// The longest response, in bytes, sent or accepted. Default 2 MiB.
    pub max_response_bytes: usize,
    /// The longest gossip message, in bytes. Default 1 KiB.
    pub max_gossip_bytes: usize,
    /// From a request to its response, dialling included, and the time an
    /// application has for an answer. Default 30 s.
    pub request_timeout: Duration,
    /// From the opening of a stream to the last byte of the request on it;
    /// slower is a violation. Default 10 s.
    pub read_timeout: Duration,
    /// For one attempt to connect, handshake included, either way. Default 5 s.
    pub dial_timeout: Duration,
    /// How long a connection that nothing uses is kept. Default 120 s.
    pub idle_timeout: Duration,
    /// Between two pings on one connection. Default 5 s.
    pub ping_interval: Duration,
    /// For one ping. A connection that answered none for `ping_interval` and
    /// twice this long is closed. Default 5 s.
    pub ping_timeout: Duration,
    /// Between two rounds of mesh upkeep. Default 700 ms.
    pub gossip_heartbeat: Duration,
    /// For the application's verdict on one gossip message; later counts as
    /// ignored. Default 5 s.
    pub verdict_timeout: Duration,
    /// How many of everything.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            network: "symbolon/1".to_owned(),
            listen: vec![loopback(0)],
            external: Vec::new(),
            max_request_bytes: 2 * 1024 * 1024,
            max_response_bytes: 2 * 1024 * 1024,
            max_gossip_bytes: 1024,
            request_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_secs(10),
            dial_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(120),
            ping_interval: Duration::from_secs(5),
            ping_timeout: Duration::from_secs(5),
            gossip_heartbeat: Duration::from_millis(700),
            verdict_timeout: Duration::from_secs(5),
            limits: Limits::default(),
        }
    }
}

/// The loopback address with a TCP port.
fn loopback(port: u16) -> Multiaddr {
    Multiaddr::empty().with(Protocol::Ip4(Ipv4Addr::LOCALHOST)).with(Protocol::Tcp(port))
}

/// How many of everything a network keeps, for all peers or for one.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections in all. Default 256.
    pub connections: usize,
    /// Connections that others opened; the rest is kept for our own. Default 192.
    pub inbound_connections: usize,
    /// Connections with one peer. Default 4.
    pub connections_per_peer: usize,
    /// Inbound connections from one IP address, established or not. Default 96.
    pub inbound_per_ip: usize,
    /// How fast one IP address may connect. Default 128, then one every 20 ms.
    pub inbound_rate_per_ip: Rate,
    /// Inbound connections before their handshake is done. Default 64.
    pub pending_inbound: usize,
    /// Outbound connections before their handshake is done. Default 64.
    pub pending_outbound: usize,
    /// Requests of one peer that wait for an answer. Default 32.
    pub inbound_requests_per_peer: usize,
    /// Requests of all peers that wait for an answer. Default 256.
    pub inbound_requests: usize,
    /// How fast one peer may ask. Default 1,000, then one every millisecond.
    pub request_rate_per_peer: Rate,
    /// Bytes of requests in memory, of all peers. Default 64 MiB.
    pub inbound_bytes: usize,
    /// Bytes of responses in memory that wait to be sent, to all peers.
    /// Default 64 MiB.
    pub outbound_bytes: usize,
    /// Our requests to one peer at once; more wait here. Default 16.
    pub outbound_requests_per_peer: usize,
    /// Our requests to all peers at once, waiting ones included; more wait in
    /// [`Client::request`](crate::Client::request). Default 128.
    pub outbound_requests: usize,
    /// How fast one peer may hand on gossip. Default 300, then one every 5 ms.
    pub gossip_rate_per_peer: Rate,
    /// Gossip messages that wait for a verdict. Default 512.
    pub pending_verdicts: usize,
    /// Topics that this node or one peer may be subscribed to. Default 64.
    pub topics: usize,
    /// Commands on their way to the loop. Default 256.
    pub commands: usize,
    /// Events that wait for the application. Default 1,024.
    pub events: usize,
    /// Peers whose addresses, meters or bans are remembered. Default 4,096.
    pub known_peers: usize,
    /// How often a peer may break the protocol before it is banned.
    /// Default 3, then one every 20 s.
    pub violations: Rate,
    /// How often a peer may exceed its rates before it is banned.
    /// Default 500, then one every 10 ms.
    pub excesses: Rate,
    /// How long a ban for such behaviour lasts. Default 60 s.
    pub ban: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            inbound_connections: 192,
            connections_per_peer: 4,
            inbound_per_ip: 96,
            inbound_rate_per_ip: Rate::new(128, Duration::from_millis(20)),
            pending_inbound: 64,
            pending_outbound: 64,
            inbound_requests_per_peer: 32,
            inbound_requests: 256,
            request_rate_per_peer: Rate::new(1_000, Duration::from_millis(1)),
            inbound_bytes: 64 * 1024 * 1024,
            outbound_bytes: 64 * 1024 * 1024,
            outbound_requests_per_peer: 16,
            outbound_requests: 128,
            gossip_rate_per_peer: Rate::new(300, Duration::from_millis(5)),
            pending_verdicts: 512,
            topics: 64,
            commands: 256,
            events: 1024,
            known_peers: 4096,
            violations: Rate::new(3, Duration::from_secs(20)),
            excesses: Rate::new(500, Duration::from_millis(10)),
            ban: Duration::from_secs(60),
        }
    }
}

impl Config {
    /// Checks every field against its limits.
    ///
    /// # Errors
    /// [`NetError::Config`] names the first field that is outside.
    pub fn validate(&self) -> Result<(), NetError> {
        let limits = &self.limits;
        check(is_network_name(&self.network), "network", "1 to 64 of a-z 0-9 - . /")?;
        for (field, bytes) in
            [("max_request_bytes", self.max_request_bytes), ("max_response_bytes", self.max_response_bytes)]
        {
            check((1..=MAX_MESSAGE_BYTES).contains(&bytes), field, "1 byte to 64 MiB")?;
        }
        // Room for signature, author and topic is left in a 64 KiB frame.
        check((1..=32 * 1024).contains(&self.max_gossip_bytes), "max_gossip_bytes", "1 byte to 32 KiB")?;
        for (field, wait) in [
            ("request_timeout", self.request_timeout),
            ("read_timeout", self.read_timeout),
            ("dial_timeout", self.dial_timeout),
            ("idle_timeout", self.idle_timeout),
            ("ping_interval", self.ping_interval),
            ("ping_timeout", self.ping_timeout),
            ("gossip_heartbeat", self.gossip_heartbeat),
            ("verdict_timeout", self.verdict_timeout),
            ("limits.ban", limits.ban),
        ] {
            let day = Duration::from_secs(86_400);
            check(wait >= Duration::from_millis(10) && wait <= day, field, "10 ms to a day")?;
        }
        for (field, count) in [
            ("limits.connections", limits.connections),
            ("limits.connections_per_peer", limits.connections_per_peer),
            ("limits.inbound_per_ip", limits.inbound_per_ip),
            ("limits.pending_inbound", limits.pending_inbound),
            ("limits.pending_outbound", limits.pending_outbound),
            ("limits.inbound_requests_per_peer", limits.inbound_requests_per_peer),
            ("limits.inbound_requests", limits.inbound_requests),
            ("limits.outbound_requests_per_peer", limits.outbound_requests_per_peer),
            ("limits.outbound_requests", limits.outbound_requests),
            ("limits.pending_verdicts", limits.pending_verdicts),
            ("limits.topics", limits.topics),
            ("limits.commands", limits.commands),
            ("limits.known_peers", limits.known_peers),
        ] {
            check((1..=65_536).contains(&count), field, "1 to 65,536")?;
        }
        check((8..=65_536).contains(&limits.events), "limits.events", "8 to 65,536")?;
        check(
            limits.inbound_connections <= limits.connections,
            "limits.inbound_connections",
            "at most limits.connections",
        )?;
        check(limits.inbound_bytes >= self.max_request_bytes, "limits.inbound_bytes", "at least max_request_bytes")?;
        check(
            limits.outbound_bytes >= self.max_response_bytes,
            "limits.outbound_bytes",
            "at least max_response_bytes",
        )?;
        for (field, rate) in [
            ("limits.inbound_rate_per_ip", limits.inbound_rate_per_ip),
            ("limits.request_rate_per_peer", limits.request_rate_per_peer),
            ("limits.gossip_rate_per_peer", limits.gossip_rate_per_peer),
            ("limits.violations", limits.violations),
            ("limits.excesses", limits.excesses),
        ] {
            check(rate.burst > 0 && !rate.every.is_zero(), field, "a burst of at least 1 and a wait above 0")?;
        }
        Ok(())
    }

    pub(crate) fn request_protocol(&self) -> String {
        format!("/{}/request/1", self.network)
    }

    pub(crate) fn gossip_protocol(&self) -> String {
        format!("/{}/gossip", self.network)
    }
}

fn check(holds: bool, field: &'static str, must: &'static str) -> Result<(), NetError> {
    if holds { Ok(()) } else { Err(NetError::Config { field, must }) }
}

fn is_network_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && !name.starts_with('/')
        && !name.ends_with('/')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-./".contains(&b))
}

#[cfg(test)]
mod tests {
    //! Defaults are valid, and each bound is checked.

    use super::*;

    fn refused(change: impl FnOnce(&mut Config)) -> Option<&'static str> {
        let mut config = Config::default();
        change(&mut config);
        match config.validate() {
            Err(NetError::Config { field, .. }) => Some(field),
            _ => None,
        }
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(refused(|_| ()), None);
    }

    #[test]
    fn n3_values_without_a_bound_are_refused() {
        assert_eq!(refused(|c| c.network = "/x".into()), Some("network"));
        assert_eq!(refused(|c| c.network = "X".into()), Some("network"));
        assert_eq!(refused(|c| c.max_request_bytes = 0), Some("max_request_bytes"));
        assert_eq!(refused(|c| c.max_response_bytes = usize::MAX), Some("max_response_bytes"));
        assert_eq!(refused(|c| c.max_gossip_bytes = 65_536), Some("max_gossip_bytes"));
        assert_eq!(refused(|c| c.request_timeout = Duration::ZERO), Some("request_timeout"));
        assert_eq!(refused(|c| c.limits.connections = 0), Some("limits.connections"));
        assert_eq!(refused(|c| c.limits.inbound_bytes = 1), Some("limits.inbound_bytes"));
        assert_eq!(refused(|c| c.limits.violations.burst = 0), Some("limits.violations"));
        assert_eq!(refused(|c| c.limits.inbound_connections = 257), Some("limits.inbound_connections"));
    }
}
