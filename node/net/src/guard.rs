//! The gate that every connection passes: bans, limits, and rates of one IP address.
//!
//! It stands first among the behaviours, so what it denies costs the others
//! nothing. libp2p has behaviours for limits and block lists; this one exists
//! because theirs know neither IP addresses nor bans that end, and keep an
//! entry for every peer id ever seen.

use std::{
    collections::{HashMap, hash_map::Entry},
    convert::Infallible,
    net::IpAddr,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
        ToSwarm, dummy,
    },
};
use tokio::time::Instant;

use crate::{address::ip_of, config::Limits, rate::Meter};

/// Why a connection was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    #[error("the peer is banned")]
    Banned,
    #[error("a limit on connections is reached")]
    Limit,
    #[error("connections from this address come too fast")]
    Rate,
}

/// Where a connection stands, as far as limits care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    PendingIn { ip: Option<IpAddr> },
    PendingOut,
    In { ip: Option<IpAddr>, peer: PeerId },
    Out { peer: PeerId },
}

/// Counts connections and keeps bans.
#[derive(Debug)]
pub(crate) struct Guard {
    limits: Limits,
    /// Bounded by the limits: every entry is a connection or one being made.
    connections: HashMap<ConnectionId, Stage>,
    /// Bounded by `limits.known_peers`.
    bans: HashMap<PeerId, Instant>,
    /// Bounded by `limits.known_peers`.
    rates: HashMap<IpAddr, Meter>,
}

impl Guard {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, connections: HashMap::new(), bans: HashMap::new(), rates: HashMap::new() }
    }

    /// Bans a peer until `until`. A longer ban stays; when there are too many,
    /// the one that ends first makes room and is returned.
    pub(crate) fn ban(&mut self, peer: PeerId, until: Instant) -> Option<PeerId> {
        let mut evicted = None;
        if self.bans.len() >= self.limits.known_peers && !self.bans.contains_key(&peer) {
            let first = self.bans.iter().min_by_key(|(_, until)| **until);
            evicted = first.map(|(peer, _)| *peer);
            if let Some(first) = evicted {
                self.bans.remove(&first);
            }
        }
        let kept = self.bans.entry(peer).or_insert(until);
        *kept = until.max(*kept);
        evicted
    }

    pub(crate) fn unban(&mut self, peer: &PeerId) {
        self.bans.remove(peer);
    }

    pub(crate) fn is_banned(&self, peer: &PeerId, now: Instant) -> bool {
        self.bans.get(peer).is_some_and(|until| *until > now)
    }

    /// Forgets what is over; returns the peers whose bans have ended.
    pub(crate) fn sweep(&mut self, now: Instant) -> Vec<PeerId> {
        self.rates.retain(|_, meter| !meter.is_rested(now));
        let over = self.bans.iter().filter(|(_, until)| **until <= now);
        let over: Vec<PeerId> = over.map(|(peer, _)| *peer).collect();
        for peer in &over {
            self.bans.remove(peer);
        }
        over
    }

    fn count(&self, matches: impl Fn(&Stage) -> bool) -> usize {
        self.connections.values().filter(|s| matches(s)).count()
    }

    fn admit_pending_inbound(&mut self, id: ConnectionId, ip: Option<IpAddr>, now: Instant) -> Result<(), Denied> {
        if let Some(ip) = ip {
            if self.rates.len() >= self.limits.known_peers && !self.rates.contains_key(&ip) {
                self.rates.retain(|_, meter| !meter.is_rested(now));
                if self.rates.len() >= self.limits.known_peers {
                    return Err(Denied::Rate);
                }
            }
            let meter = self.rates.entry(ip).or_insert_with(|| Meter::new(now));
            if !meter.take(self.limits.inbound_rate_per_ip, now) {
                return Err(Denied::Rate);
            }
        }
        let pending = self.count(|s| matches!(s, Stage::PendingIn { .. }));
        let of_this_ip = self.count(|s| match s {
            Stage::PendingIn { ip: other } | Stage::In { ip: other, .. } => *other == ip,
            Stage::PendingOut | Stage::Out { .. } => false,
        });
        if pending >= self.limits.pending_inbound || of_this_ip >= self.limits.inbound_per_ip {
            return Err(Denied::Limit);
        }
        self.connections.insert(id, Stage::PendingIn { ip });
        Ok(())
    }

    fn admit_pending_outbound(&mut self, id: ConnectionId, peer: Option<PeerId>, now: Instant) -> Result<(), Denied> {
        if peer.is_some_and(|peer| self.is_banned(&peer, now)) {
            return Err(Denied::Banned);
        }
        let pending = self.count(|s| matches!(s, Stage::PendingOut));
        if pending >= self.limits.pending_outbound {
            return Err(Denied::Limit);
        }
        self.connections.insert(id, Stage::PendingOut);
        Ok(())
    }

    fn admit_established(&mut self, id: ConnectionId, peer: PeerId, now: Instant) -> Result<(), Denied> {
        let stage = match self.connections.remove(&id) {
            Some(Stage::PendingIn { ip } | Stage::In { ip, .. }) => Stage::In { ip, peer },
            Some(Stage::PendingOut | Stage::Out { .. }) => Stage::Out { peer },
            None => return Err(Denied::Limit),
        };
        if self.is_banned(&peer, now) {
            return Err(Denied::Banned);
        }
        let all = self.count(|s| matches!(s, Stage::In { .. } | Stage::Out { .. }));
        let inbound = self.count(|s| matches!(s, Stage::In { .. }));
        let of_peer = self.count(|s| match s {
            Stage::In { peer: other, .. } | Stage::Out { peer: other } => *other == peer,
            Stage::PendingIn { .. } | Stage::PendingOut => false,
        });
        let inbound_full = matches!(stage, Stage::In { .. }) && inbound >= self.limits.inbound_connections;
        if all >= self.limits.connections || inbound_full || of_peer >= self.limits.connections_per_peer {
            return Err(Denied::Limit);
        }
        match self.connections.entry(id) {
            Entry::Vacant(entry) => entry.insert(stage),
            Entry::Occupied(_) => return Err(Denied::Limit),
        };
        Ok(())
    }
}

impl NetworkBehaviour for Guard {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.admit_pending_inbound(id, ip_of(remote), Instant::now()).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit_established(id, peer, Instant::now()).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.admit_pending_outbound(id, peer, Instant::now()).map_err(ConnectionDenied::new)?;
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit_established(id, peer, Instant::now()).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        let over = match event {
            FromSwarm::ConnectionClosed(closed) => closed.connection_id,
            FromSwarm::DialFailure(failure) => failure.connection_id,
            FromSwarm::ListenFailure(failure) => failure.connection_id,
            _ => return,
        };
        self.connections.remove(&over);
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    //! Limits hold exactly, and nothing that is over is remembered.
    #![allow(clippy::unwrap_used)]

    use std::{net::Ipv4Addr, time::Duration};

    use super::*;
    use crate::rate::Rate;

    fn id(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    fn ip(last: u8) -> Option<IpAddr> {
        Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)))
    }

    fn guard(change: impl FnOnce(&mut Limits)) -> Guard {
        let mut limits = Limits::default();
        change(&mut limits);
        Guard::new(limits)
    }

    fn inbound(guard: &mut Guard, n: usize, last: u8, peer: PeerId) -> Result<(), Denied> {
        let now = Instant::now();
        guard.admit_pending_inbound(id(n), ip(last), now)?;
        guard.admit_established(id(n), peer, now)
    }

    fn outbound(guard: &mut Guard, n: usize, peer: PeerId) -> Result<(), Denied> {
        let now = Instant::now();
        guard.admit_pending_outbound(id(n), Some(peer), now)?;
        guard.admit_established(id(n), peer, now)
    }

    #[test]
    fn n3_one_peer_has_a_bounded_number_of_connections() {
        let mut guard = guard(|l| l.connections_per_peer = 2);
        let peer = PeerId::random();
        inbound(&mut guard, 1, 1, peer).unwrap();
        outbound(&mut guard, 2, peer).unwrap();
        assert_eq!(inbound(&mut guard, 3, 1, peer), Err(Denied::Limit));
        inbound(&mut guard, 4, 1, PeerId::random()).unwrap();
        guard.connections.remove(&id(1));
        inbound(&mut guard, 5, 1, peer).unwrap();
    }

    #[test]
    fn n3_inbound_connections_leave_room_for_our_own() {
        let mut guard = guard(|l| {
            l.connections = 3;
            l.inbound_connections = 2;
        });
        inbound(&mut guard, 1, 1, PeerId::random()).unwrap();
        inbound(&mut guard, 2, 2, PeerId::random()).unwrap();
        assert_eq!(inbound(&mut guard, 3, 3, PeerId::random()), Err(Denied::Limit));
        outbound(&mut guard, 4, PeerId::random()).unwrap();
        assert_eq!(outbound(&mut guard, 5, PeerId::random()), Err(Denied::Limit));
    }

    #[test]
    fn n3_one_ip_address_is_limited_in_number_and_rate() {
        let mut guard = guard(|l| l.inbound_per_ip = 2);
        let now = Instant::now();
        guard.admit_pending_inbound(id(1), ip(1), now).unwrap();
        guard.admit_pending_inbound(id(2), ip(1), now).unwrap();
        assert_eq!(guard.admit_pending_inbound(id(3), ip(1), now), Err(Denied::Limit));
        guard.admit_pending_inbound(id(4), ip(2), now).unwrap();

        let rate = Rate::new(2, Duration::from_secs(1));
        let mut guard = self::guard(|l| l.inbound_rate_per_ip = rate);
        for n in 0..2 {
            guard.admit_pending_inbound(id(n), ip(1), now).unwrap();
            guard.connections.remove(&id(n));
        }
        assert_eq!(guard.admit_pending_inbound(id(3), ip(1), now), Err(Denied::Rate));
        let later = now + Duration::from_secs(1);
        guard.admit_pending_inbound(id(4), ip(1), later).unwrap();
    }

    #[test]
    fn n3_connections_being_made_are_bounded() {
        let mut guard = guard(|l| {
            l.pending_inbound = 1;
            l.pending_outbound = 1;
        });
        let now = Instant::now();
        guard.admit_pending_inbound(id(1), ip(1), now).unwrap();
        assert!(guard.admit_pending_inbound(id(2), ip(2), now).is_err());
        guard.admit_pending_outbound(id(3), None, now).unwrap();
        assert!(guard.admit_pending_outbound(id(4), None, now).is_err());
        guard.admit_established(id(1), PeerId::random(), now).unwrap();
        guard.admit_pending_inbound(id(5), ip(2), now).unwrap();
    }

    #[test]
    fn bans_hold_both_ways_and_end() {
        let mut guard = guard(|_| ());
        let peer = PeerId::random();
        let now = Instant::now();
        let hour = Duration::from_secs(3600);
        guard.ban(peer, now + hour);
        guard.ban(peer, now + hour / 2);
        assert_eq!(inbound(&mut guard, 1, 1, peer), Err(Denied::Banned));
        assert_eq!(outbound(&mut guard, 2, peer), Err(Denied::Banned));
        assert!(guard.connections.is_empty());
        assert!(guard.sweep(now + hour / 2).is_empty());
        assert_eq!(guard.sweep(now + hour), vec![peer]);
        inbound(&mut guard, 3, 1, peer).unwrap();
        guard.ban(peer, now + hour);
        guard.unban(&peer);
        outbound(&mut guard, 4, peer).unwrap();
    }

    #[test]
    fn n3_bans_and_rates_are_bounded() {
        let mut guard = guard(|l| l.known_peers = 3);
        let now = Instant::now();
        let peers: Vec<PeerId> = (0..5).map(|_| PeerId::random()).collect();
        for (peer, minutes) in peers.iter().zip([50, 10, 40, 30, 20]) {
            guard.ban(*peer, now + Duration::from_secs(60 * minutes));
        }
        assert_eq!(guard.bans.len(), 3);
        let banned = |n: usize| peers.get(n).is_some_and(|p| guard.is_banned(p, now));
        assert!(banned(0) && banned(2) && banned(4));
        assert!(!banned(1) && !banned(3));
        for last in 0..9 {
            let _ = guard.admit_pending_inbound(id(last.into()), ip(last), now);
        }
        assert_eq!(guard.rates.len(), 3);
        guard.sweep(now + Duration::from_secs(3600));
        assert!(guard.rates.is_empty());
    }
}
