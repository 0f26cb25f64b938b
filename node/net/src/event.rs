//! What the network tells the application, and how the application answers.

use std::fmt;

use libp2p::{Multiaddr, PeerId, gossipsub::MessageAcceptance};
use tokio::sync::{mpsc, oneshot};

use crate::{budget::Reservation, error::RespondError};

/// Something that happened. The set is closed: match all of it.
#[derive(Debug)]
pub enum Event {
    /// A connected peer asks something and waits for an answer.
    Request {
        /// Who asks; proven by the connection's handshake.
        peer: PeerId,
        /// The request, at most `max_request_bytes` long.
        bytes: Vec<u8>,
        /// Takes the answer. Dropping it refuses the request.
        reply: Responder,
    },
    /// A message on a topic that this node is subscribed to.
    Gossip {
        /// The topic.
        topic: String,
        /// Who signed the envelope. Anybody can put bytes seen elsewhere into
        /// an envelope of its own: the bytes must prove their origin themselves.
        from: PeerId,
        /// The neighbour that handed it on, which a rejection counts against.
        forwarder: PeerId,
        /// The message, at most `max_gossip_bytes` long.
        bytes: Vec<u8>,
        /// Identifies topic and bytes, whoever sent them.
        id: MessageId,
        /// Takes the verdict. Until it is given the message goes no further.
        accept: Verdict,
    },
    /// The first connection with a peer is there.
    PeerConnected {
        /// The peer.
        peer: PeerId,
        /// Its address as seen from here.
        addr: Multiaddr,
    },
    /// The last connection with a peer is gone.
    PeerDisconnected {
        /// The peer.
        peer: PeerId,
        /// Its address as it was seen from here.
        addr: Multiaddr,
    },
    /// A connected peer subscribed to a topic. A hint that publishing there now
    /// reaches somebody; left out when events pile up.
    PeerSubscribed {
        /// The peer.
        peer: PeerId,
        /// The topic.
        topic: String,
    },
    /// This node now listens on an address.
    Listening {
        /// The address, with the real port.
        addr: Multiaddr,
    },
    /// This node no longer listens on an address.
    ListenerClosed {
        /// The address.
        addr: Multiaddr,
    },
}

/// Where events come out.
///
/// When the application falls behind, new requests are refused as busy and new
/// gossip is ignored, so connection events keep their order and their place.
/// Only if thousands of those pile up is the oldest dropped;
/// [`Client::connected_peers`](crate::Client::connected_peers) tells the truth
/// then.
#[derive(Debug)]
pub struct EventReceiver {
    inner: mpsc::Receiver<Event>,
}

impl EventReceiver {
    pub(crate) fn new(inner: mpsc::Receiver<Event>) -> Self {
        Self { inner }
    }

    /// The next event, or `None` once the network has stopped. Cancel-safe.
    pub async fn recv(&mut self) -> Option<Event> {
        self.inner.recv().await
    }

    /// An event that is already there.
    pub fn try_recv(&mut self) -> Option<Event> {
        self.inner.try_recv().ok()
    }
}

/// Identifies a gossip message: Keccak-256 over the topic's length as a
/// big-endian `u32`, the topic and the bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(pub [u8; 32]);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

/// Takes the answer to one request. Dropping it tells the peer that there is
/// no answer.
#[must_use = "dropping a responder refuses the request"]
pub struct Responder {
    reply: oneshot::Sender<Vec<u8>>,
    limit: usize,
    /// The request's memory counts until it is answered.
    _reservation: Reservation,
}

impl Responder {
    pub(crate) fn new(reply: oneshot::Sender<Vec<u8>>, limit: usize, reservation: Reservation) -> Self {
        Self { reply, limit, _reservation: reservation }
    }

    /// Hands the answer over. It is on its way when this returns, not delivered.
    ///
    /// # Errors
    /// [`RespondError::TooLarge`] above `max_response_bytes`;
    /// [`RespondError::Gone`] if nobody waits any more.
    pub fn send(self, bytes: Vec<u8>) -> Result<(), RespondError> {
        if bytes.len() > self.limit {
            return Err(RespondError::TooLarge { len: bytes.len(), limit: self.limit });
        }
        self.reply.send(bytes).map_err(|_| RespondError::Gone)
    }

    /// True when nobody waits any more: the deadline passed or the peer is gone.
    pub fn is_closed(&self) -> bool {
        self.reply.is_closed()
    }

    /// Completes when nobody waits any more, so that work can be stopped. Cancel-safe.
    pub async fn closed(&mut self) {
        self.reply.closed().await;
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// Takes the application's verdict on one gossip message. Dropping it ignores
/// the message.
///
/// Judge by topic and bytes alone, never by who sent them: two envelopes around
/// the same bytes are one message. What is merely late, known or uninteresting
/// is ignored; only what every honest peer would refuse is rejected, because a
/// rejection counts against the neighbour.
#[must_use = "dropping a verdict ignores the message"]
#[derive(Debug)]
pub struct Verdict {
    reply: oneshot::Sender<MessageAcceptance>,
}

impl Verdict {
    pub(crate) fn new(reply: oneshot::Sender<MessageAcceptance>) -> Self {
        Self { reply }
    }

    /// Valid: hand it on to the neighbours.
    pub fn accept(self) {
        self.give(MessageAcceptance::Accept);
    }

    /// Not handed on, nobody's fault.
    pub fn ignore(self) {
        self.give(MessageAcceptance::Ignore);
    }

    /// Invalid: not handed on, and the neighbour that sent it is to blame.
    pub fn reject(self) {
        self.give(MessageAcceptance::Reject);
    }

    fn give(self, verdict: MessageAcceptance) {
        // A verdict that comes too late was counted as ignored.
        let _ = self.reply.send(verdict);
    }
}
