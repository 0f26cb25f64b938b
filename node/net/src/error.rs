//! Errors: one enum for each family of operations, with what the caller needs to act.

use std::{io, time::Duration};

use libp2p::{Multiaddr, PeerId, identity::DecodingError};

/// Why a network could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// A value of the configuration is outside its limits.
    #[error("configuration: {field} must be {must}")]
    Config {
        /// The field's name.
        field: &'static str,
        /// What it must be.
        must: &'static str,
    },
    /// An address cannot be listened on: taken, not ours, or not TCP over IP.
    #[error("cannot listen on {addr}")]
    Listen {
        /// The address as configured.
        addr: Multiaddr,
        /// What the transport said.
        #[source]
        source: io::Error,
    },
    /// No listener reported its address in time.
    #[error("no listener was ready within {after:?}")]
    ListenTimeout {
        /// How long it was waited for.
        after: Duration,
    },
    /// The encrypted transport could not be built from the identity.
    #[error("cannot build the noise handshake")]
    Handshake {
        /// What the library said.
        #[source]
        source: libp2p::noise::Error,
    },
    /// The gossip layer refused its parameters.
    #[error("gossip parameters refused: {what}")]
    Gossip {
        /// The library's own words.
        what: String,
    },
}

/// Why a key or a statement signed by a peer id is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The bytes are no secret key.
    #[error("not a secret key in libp2p's encoding")]
    BadSecret {
        /// What the library said.
        #[source]
        source: DecodingError,
    },
    /// The bytes are no public key.
    #[error("not a public key in libp2p's encoding")]
    BadPublicKey {
        /// What the library said.
        #[source]
        source: DecodingError,
    },
    /// The key is of another kind than Ed25519.
    #[error("not an Ed25519 key")]
    NotEd25519,
    /// The peer id is a hash of its key, and the key was not given.
    #[error("peer id {peer} does not contain its key")]
    KeyNotInlined {
        /// The id in question.
        peer: PeerId,
    },
    /// The key given belongs to another peer id.
    #[error("the key given is that of {named}")]
    OtherKey {
        /// The id that the key has.
        named: PeerId,
    },
    /// A signature of the wrong length.
    #[error("a signature of {len} bytes instead of 64")]
    BadSignatureLength {
        /// The length given, in bytes.
        len: usize,
    },
    /// The signature is not this peer's over this message.
    #[error("the signature is not {peer}'s over this message")]
    WrongSignature {
        /// The id in question.
        peer: PeerId,
    },
}

/// The network has stopped; nothing more will happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the network has stopped")]
pub struct Stopped;

/// Why a peer could not be connected to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// No address is known, or none of those given can be dialled.
    #[error("no address is known")]
    NoAddress,
    /// The peer is this node.
    #[error("that is this node")]
    Myself,
    /// The peer is banned here.
    #[error("the peer is banned")]
    Banned,
    /// A limit on connections is reached.
    #[error("a limit on connections is reached")]
    LimitReached,
    /// Somebody else answers at the address.
    #[error("another peer answers there: {obtained}")]
    WrongPeer {
        /// Who answered.
        obtained: Box<PeerId>,
    },
    /// Every address failed.
    #[error("all {tried} addresses failed, the last with: {last}")]
    Failed {
        /// How many addresses were tried.
        tried: usize,
        /// The kind of the last failure.
        last: io::ErrorKind,
    },
    /// No address answered in time.
    #[error("no answer within {after:?}")]
    Timeout {
        /// How long it was waited for.
        after: Duration,
    },
    /// The attempt was given up, for instance because the peer was disconnected.
    #[error("the attempt was given up")]
    Aborted,
    /// The network has stopped.
    #[error("the network has stopped")]
    Stopped,
}

/// What a peer said, or showed by closing the stream, instead of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It handles too many requests, or its memory for them is used up.
    #[error("it is busy")]
    Busy,
    /// Requests come faster than it allows.
    #[error("requests come too fast")]
    RateLimited,
    /// Its application gave no answer.
    #[error("it gave no answer")]
    NoAnswer,
    /// It closed the stream without a word.
    #[error("it closed the stream")]
    Closed,
}

/// Why a request brought no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The peer could not be connected to; it has not seen the request.
    #[error("{peer} is unreachable")]
    Unreachable {
        /// Whom the request was for.
        peer: PeerId,
        /// Why.
        #[source]
        source: DialError,
    },
    /// The deadline passed. The peer may have seen the request.
    #[error("no response from {peer} within {after:?}")]
    Timeout {
        /// Whom the request was for.
        peer: PeerId,
        /// The time that was given.
        after: Duration,
    },
    /// The request is longer than the limit; it was not sent.
    #[error("a request of {len} bytes, {limit} are allowed")]
    RequestTooLarge {
        /// The length, in bytes.
        len: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The response announced more bytes than the limit; they were not read.
    #[error("{peer} announced a response of {len} bytes, {limit} are allowed")]
    ResponseTooLarge {
        /// Who answered.
        peer: PeerId,
        /// The length announced, in bytes.
        len: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The peer refused.
    #[error("{peer} refused")]
    Refused {
        /// Who refused.
        peer: PeerId,
        /// Why, as far as it said.
        #[source]
        reason: Refusal,
    },
    /// The connection ended first. The peer may have seen the request.
    #[error("{peer} disconnected before it answered")]
    Disconnected {
        /// Whom the request was for.
        peer: PeerId,
    },
    /// The peer does not speak this protocol, or belongs to another network.
    #[error("{peer} does not speak this network's protocol")]
    Unsupported {
        /// Whom the request was for.
        peer: PeerId,
    },
    /// The peer's answer breaks the framing.
    #[error("{peer} broke the framing: {kind}")]
    Malformed {
        /// Who answered.
        peer: PeerId,
        /// The kind of failure.
        kind: io::ErrorKind,
    },
    /// The network has stopped.
    #[error("the network has stopped")]
    Stopped,
}

/// Why a response could not be handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RespondError {
    /// The response is longer than the limit; the peer is told that there is no answer.
    #[error("a response of {len} bytes, {limit} are allowed")]
    TooLarge {
        /// The length, in bytes.
        len: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// Nobody waits any more: the deadline passed or the peer is gone.
    #[error("nobody waits for this response any more")]
    Gone,
}

/// Why a message was not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The message is longer than the limit.
    #[error("a message of {len} bytes, {limit} are allowed")]
    TooLarge {
        /// The length, in bytes.
        len: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// No connected peer is subscribed to the topic.
    #[error("nobody is subscribed to {topic}")]
    NoPeers {
        /// The topic.
        topic: String,
    },
    /// The same bytes went through this topic a short while ago.
    #[error("the same message was published a short while ago")]
    Duplicate,
    /// All peers' queues are full.
    #[error("the queues of all peers are full")]
    Busy,
    /// The topic's name is not between 1 and 64 bytes of printable ASCII.
    #[error("not a topic's name")]
    BadTopic,
    /// The message could not be signed.
    #[error("the message could not be signed")]
    Unsigned,
    /// The network has stopped.
    #[error("the network has stopped")]
    Stopped,
}

/// Why a topic was not subscribed to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The topic's name is not between 1 and 64 bytes of printable ASCII.
    #[error("not a topic's name")]
    BadTopic,
    /// As many topics as allowed are subscribed to.
    #[error("{limit} topics are allowed")]
    TooMany {
        /// How many are allowed.
        limit: usize,
    },
    /// The network has stopped.
    #[error("the network has stopped")]
    Stopped,
}
