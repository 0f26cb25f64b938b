//! The swarm's parts, and the parameters that each of them gets.

use std::{io, num::NonZeroU8, time::Duration};

use libp2p::{
    StreamProtocol, Swarm, Transport,
    core::{muxing::StreamMuxerBox, upgrade::Version},
    gossipsub::{
        self, AllowAllSubscriptionFilter, IdentityTransform, MaxCountSubscriptionFilter, MessageAuthenticity,
        PeerScoreParams, PeerScoreThresholds, TopicScoreParams, ValidationMode,
    },
    identify, noise, ping,
    request_response::{self, ProtocolSupport},
    swarm::{self, NetworkBehaviour},
    tcp, yamux,
};
use sha3::{Digest, Keccak256};

use crate::{
    budget::Budget, codec::Codec, config::Config, error::NetError, event::MessageId, guard::Guard, identity::Identity,
    muxer::ClosingMuxer,
};

/// A peer whose score falls below this has had at least three messages rejected
/// in short order: gossipsub stops listening to it, and it is banned.
pub(crate) const GRAYLIST_SCORE: f64 = -80.0;

/// The largest gossip frame. It is far above the longest message because the
/// library judges everything that one read brought in, up to 8 KiB of several
/// frames, as one; the message's own limit is checked by the service.
const GOSSIP_FRAME_BYTES: usize = 64 * 1024;

/// The most heartbeats that gossip messages are remembered for.
const MAX_HISTORY: usize = 200;

/// Gossip messages in one frame.
const GOSSIP_MESSAGES_PER_FRAME: usize = 64;

/// Streams that one connection may have open, all protocols together.
const STREAMS_PER_CONNECTION: usize = 128;

pub(crate) type Gossip =
    gossipsub::Behaviour<IdentityTransform, MaxCountSubscriptionFilter<AllowAllSubscriptionFilter>>;

/// Everything that listens to connections. The guard comes first.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub(crate) guard: Guard,
    pub(crate) requests: request_response::Behaviour<Codec>,
    pub(crate) gossip: Gossip,
    pub(crate) identify: identify::Behaviour,
    pub(crate) ping: ping::Behaviour,
}

/// What TCP says. The errors of the layers above forward to their source's
/// source, so without this step an `io::Error` at the bottom is not found.
#[derive(Debug, thiserror::Error)]
#[error("tcp")]
struct TcpError(#[source] io::Error);

/// The id of bytes on a topic.
pub(crate) fn message_id(topic: &str, bytes: &[u8]) -> MessageId {
    // A topic's name is far shorter than 2^32, see `is_topic`; a hostile
    // envelope's is bounded by its frame.
    let len = u32::try_from(topic.len()).unwrap_or(u32::MAX);
    let hash = Keccak256::new().chain_update(len.to_be_bytes()).chain_update(topic).chain_update(bytes).finalize();
    MessageId(hash.into())
}

/// Whether a name may be a topic: 1 to 64 bytes of printable ASCII.
pub(crate) fn is_topic(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic())
}

/// How a topic's messages count in a peer's score: only invalid ones do, so a
/// quiet topic makes nobody suspicious and a long good record buys no spam.
pub(crate) fn topic_score() -> TopicScoreParams {
    TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.0,
        first_message_deliveries_weight: 0.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -10.0,
        invalid_message_deliveries_decay: 0.97,
        ..TopicScoreParams::default()
    }
}

/// Builds the swarm; nothing listens yet.
pub(crate) fn swarm(identity: &Identity, config: &Config) -> Result<Swarm<Behaviour>, NetError> {
    let behaviour = Behaviour {
        guard: Guard::new(config.limits.clone()),
        requests: requests(config)?,
        gossip: gossip(identity, config)?,
        identify: identify::Behaviour::new(
            identify::Config::new(format!("{}/1", config.network), identity.keypair().public())
                .with_agent_version(concat!("symbolon/", env!("CARGO_PKG_VERSION")).to_owned())
                .with_cache_size(0),
        ),
        ping: ping::Behaviour::new(
            ping::Config::new().with_interval(config.ping_interval).with_timeout(config.ping_timeout),
        ),
    };
    let mut muxer = yamux::Config::default();
    muxer.set_max_num_streams(STREAMS_PER_CONNECTION);
    let noise = noise::Config::new(identity.keypair()).map_err(|source| NetError::Handshake { source })?;
    let transport = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .map_err(TcpError)
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(muxer)
        .timeout(config.dial_timeout)
        .map(|(peer, streams), _| {
            let streams = ClosingMuxer::new(StreamMuxerBox::new(streams));
            (peer, StreamMuxerBox::new(streams))
        })
        .boxed();
    let parameters = swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(config.idle_timeout)
        .with_max_negotiating_inbound_streams(STREAMS_PER_CONNECTION / 2)
        .with_dial_concurrency_factor(NonZeroU8::MAX);
    Ok(Swarm::new(transport, behaviour, identity.peer_id(), parameters))
}

fn requests(config: &Config) -> Result<request_response::Behaviour<Codec>, NetError> {
    let protocol = StreamProtocol::try_from_owned(config.request_protocol())
        .map_err(|_| NetError::Config { field: "network", must: "part of a protocol's name" })?;
    let codec = Codec::new(
        config.max_request_bytes,
        config.max_response_bytes,
        config.read_timeout,
        Budget::new(config.limits.inbound_bytes),
    );
    // Some streams beyond what is answered, so that a refusal has a stream to
    // travel on.
    let streams = config
        .limits
        .inbound_requests_per_peer
        .saturating_mul(2)
        .saturating_add(config.limits.outbound_requests_per_peer);
    Ok(request_response::Behaviour::with_codec(
        codec,
        [(protocol, ProtocolSupport::Full)],
        request_response::Config::default()
            .with_request_timeout(config.request_timeout)
            .with_max_concurrent_streams(streams),
    ))
}

fn gossip(identity: &Identity, config: &Config) -> Result<Gossip, NetError> {
    let refused = |what: &dyn std::fmt::Display| NetError::Gossip { what: what.to_string() };
    // A message must still be remembered when its verdict comes.
    let beats = config.verdict_timeout.as_millis().div_ceil(config.gossip_heartbeat.as_millis().max(1));
    let history = usize::try_from(beats).unwrap_or(MAX_HISTORY).clamp(5, MAX_HISTORY);
    let params = gossipsub::ConfigBuilder::default()
        .protocol_id_prefix(config.gossip_protocol())
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .message_id_fn(|message: &gossipsub::Message| {
            let id = message_id(message.topic.as_str(), &message.data);
            gossipsub::MessageId::from(id.0.to_vec())
        })
        .flood_publish(true)
        .heartbeat_initial_delay(Duration::from_millis(50))
        .heartbeat_interval(config.gossip_heartbeat)
        .history_length(history.saturating_add(1))
        .history_gossip(3)
        .mesh_n(6)
        .mesh_n_low(4)
        .mesh_n_high(12)
        .mesh_outbound_min(2)
        .prune_backoff(Duration::from_secs(10))
        .unsubscribe_backoff(Duration::from_secs(2))
        .duplicate_cache_time(Duration::from_secs(120))
        .max_transmit_size(GOSSIP_FRAME_BYTES)
        .max_publish_messages(GOSSIP_MESSAGES_PER_FRAME)
        .max_control_messages_sent(500)
        .connection_handler_queue_len(512)
        .build()
        .map_err(|error| refused(&error))?;
    let filter = MaxCountSubscriptionFilter {
        filter: AllowAllSubscriptionFilter::default(),
        max_subscribed_topics: config.limits.topics,
        max_subscriptions_per_request: config.limits.topics,
    };
    let mut gossip =
        Gossip::new_with_subscription_filter(MessageAuthenticity::Signed(identity.keypair().clone()), params, filter)
            .map_err(|error| refused(&error))?;
    let score = PeerScoreParams {
        // Many nodes on one machine or behind one router are normal here;
        // connections from one address are bounded by the guard.
        ip_colocation_factor_weight: 0.0,
        behaviour_penalty_threshold: 6.0,
        behaviour_penalty_decay: 0.9,
        retain_score: Duration::from_secs(300),
        ..PeerScoreParams::default()
    };
    let thresholds = PeerScoreThresholds {
        gossip_threshold: -30.0,
        publish_threshold: -60.0,
        graylist_threshold: GRAYLIST_SCORE,
        accept_px_threshold: 10.0,
        opportunistic_graft_threshold: 0.0,
    };
    gossip.with_peer_score(score, thresholds).map_err(|error| refused(&error))?;
    Ok(gossip)
}

#[cfg(test)]
mod tests {
    //! Message ids and topic names.

    use super::*;

    #[test]
    fn a_message_id_binds_topic_and_bytes() {
        let id = message_id("ab", b"c");
        assert_eq!(id, message_id("ab", b"c"));
        assert_ne!(id, message_id("a", b"bc"));
        assert_ne!(id, message_id("ab", b"d"));
        assert_eq!(id.to_string().len(), 64);
    }

    #[test]
    fn n1_topics_are_short_and_printable() {
        assert!(is_topic("symbolon/offers/1"));
        assert!(is_topic(&"x".repeat(64)));
        for name in ["", " ", "a b", "é", "a\n", &"x".repeat(65)] {
            assert!(!is_topic(name), "{name:?}");
        }
    }
}
