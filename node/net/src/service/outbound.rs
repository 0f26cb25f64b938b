//! Our requests: waiting for a connection, in flight, over.

use std::{collections::VecDeque, io};

use libp2p::{
    Multiaddr, PeerId, TransportError,
    request_response::{OutboundFailure, OutboundRequestId},
    swarm::{
        ConnectionId, DialError as SwarmDialError,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::Instant,
};

use super::Service;
use crate::{
    address::{ADDRESSES_PER_DIAL, dialable},
    client::Outgoing,
    codec::{ResponseTooLarge, WireRequest, WireResponse},
    error::{DialError, Refusal, RequestError},
    guard::Denied,
};

/// How many callers may wait for one attempt to connect.
const WAITERS_PER_DIAL: usize = 256;

/// An attempt to connect that is under way.
#[derive(Debug)]
pub(super) struct Dial {
    id: ConnectionId,
    started: Instant,
    tried: Vec<Multiaddr>,
    /// Addresses that arrived meanwhile, at most [`ADDRESSES_PER_DIAL`].
    fresh: Vec<Multiaddr>,
    waiters: Vec<oneshot::Sender<Result<(), DialError>>>,
}

/// Requests for one peer.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Outgoing>,
    in_flight: usize,
}

/// A request that was handed to the swarm.
#[derive(Debug)]
pub(super) struct InFlight {
    peer: PeerId,
    reply: oneshot::Sender<Result<Vec<u8>, RequestError>>,
    slot: Option<OwnedSemaphorePermit>,
}

impl Service {
    pub(super) fn on_dial(&mut self, peer: PeerId, addrs: &[Multiaddr], reply: oneshot::Sender<Result<(), DialError>>) {
        if let Err(error) = self.ensure_connection(peer, addrs) {
            let _ = reply.send(Err(error));
            return;
        }
        match self.dials.get_mut(&peer) {
            None => {
                let _ = reply.send(Ok(()));
            }
            Some(dial) if dial.waiters.len() < WAITERS_PER_DIAL => dial.waiters.push(reply),
            Some(_) => {
                let _ = reply.send(Err(DialError::LimitReached));
            }
        }
    }

    pub(super) fn on_outgoing(&mut self, outgoing: Outgoing) {
        let peer = outgoing.peer;
        if let Err(source) = self.ensure_connection(peer, &outgoing.addrs) {
            let error = RequestError::Unreachable { peer, source };
            let _ = outgoing.reply.send(Err(error));
            return;
        }
        self.outboxes.entry(peer).or_default().waiting.push_back(outgoing);
        self.send_waiting(peer);
    }

    /// Makes sure that there is a connection or an attempt to make one.
    fn ensure_connection(&mut self, peer: PeerId, hints: &[Multiaddr]) -> Result<(), DialError> {
        if peer == *self.swarm.local_peer_id() {
            return Err(DialError::Myself);
        }
        if self.is_banned(&peer) {
            return Err(DialError::Banned);
        }
        if self.peers.contains_key(&peer) {
            return Ok(());
        }
        let mut addrs: Vec<Multiaddr> = Vec::new();
        let given = hints.iter().filter_map(|addr| dialable(&peer, addr));
        for addr in given.chain(self.book.addresses(&peer).cloned()) {
            if addrs.len() < ADDRESSES_PER_DIAL && !addrs.contains(&addr) {
                addrs.push(addr);
            }
        }
        match self.dials.get_mut(&peer) {
            Some(dial) => {
                for addr in addrs {
                    let known = dial.tried.contains(&addr) || dial.fresh.contains(&addr);
                    if !known && dial.fresh.len() < ADDRESSES_PER_DIAL {
                        dial.fresh.push(addr);
                    }
                }
                Ok(())
            }
            None => self.start_dial(peer, addrs, Vec::new()),
        }
    }

    fn start_dial(
        &mut self,
        peer: PeerId,
        addrs: Vec<Multiaddr>,
        waiters: Vec<oneshot::Sender<Result<(), DialError>>>,
    ) -> Result<(), DialError> {
        let outcome = if addrs.is_empty() {
            Err(DialError::NoAddress)
        } else {
            // A port of its own: dialling from the listening one saves nothing
            // without hole punching and collides when both sides dial at once.
            let opts = DialOpts::peer_id(peer)
                .condition(PeerCondition::Always)
                .addresses(addrs.clone())
                .allocate_new_port()
                .build();
            let id = opts.connection_id();
            self.swarm.dial(opts).map(|()| id).map_err(dial_error)
        };
        match outcome {
            Ok(id) => {
                let dial = Dial { id, started: Instant::now(), tried: addrs, fresh: Vec::new(), waiters };
                self.dials.insert(peer, dial);
                Ok(())
            }
            Err(error) => {
                for waiter in waiters {
                    let _ = waiter.send(Err(error.clone()));
                }
                Err(error)
            }
        }
    }

    pub(super) fn on_dial_failed(&mut self, peer: PeerId, id: ConnectionId, error: SwarmDialError) {
        let mut error = dial_error(error);
        tracing::debug!(%peer, %error, "dial failed");
        if self.dials.get(&peer).is_none_or(|dial| dial.id != id) {
            return;
        }
        let Some(dial) = self.dials.remove(&peer) else {
            return;
        };
        // The transport's timeout has no kind of its own.
        let after = self.config.dial_timeout;
        if matches!(error, DialError::Failed { last: io::ErrorKind::Other, .. }) && dial.started.elapsed() >= after {
            error = DialError::Timeout { after };
        }
        if dial.fresh.is_empty() || error == DialError::Banned {
            for waiter in dial.waiters {
                let _ = waiter.send(Err(error.clone()));
            }
            self.fail_waiting(peer, &error);
        } else if let Err(error) = self.start_dial(peer, dial.fresh, dial.waiters) {
            self.fail_waiting(peer, &error);
        }
    }

    pub(super) fn finish_dial(&mut self, peer: PeerId, outcome: Result<(), DialError>) {
        if let Some(dial) = self.dials.remove(&peer) {
            for waiter in dial.waiters {
                let _ = waiter.send(outcome.clone());
            }
        }
    }

    /// After the last connection is gone: connects again for what still waits.
    pub(super) fn reconnect(&mut self, peer: PeerId) {
        let hints = match self.outboxes.get(&peer) {
            Some(outbox) => match outbox.waiting.front() {
                Some(first) => first.addrs.clone(),
                None => return,
            },
            None => return,
        };
        if let Err(error) = self.ensure_connection(peer, &hints) {
            self.fail_waiting(peer, &error);
        }
    }

    fn fail_waiting(&mut self, peer: PeerId, source: &DialError) {
        let Some(outbox) = self.outboxes.get_mut(&peer) else {
            return;
        };
        for outgoing in outbox.waiting.drain(..) {
            let source = source.clone();
            let error = RequestError::Unreachable { peer, source };
            let _ = outgoing.reply.send(Err(error));
        }
        self.drop_idle_outbox(&peer);
    }

    /// Hands waiting requests to the swarm, as many as one peer may have at once.
    pub(super) fn send_waiting(&mut self, peer: PeerId) {
        if !self.peers.contains_key(&peer) {
            return;
        }
        let most = self.config.limits.outbound_requests_per_peer;
        while let Some(outbox) = self.outboxes.get_mut(&peer) {
            if outbox.in_flight >= most {
                return;
            }
            let Some(outgoing) = outbox.waiting.pop_front() else {
                break;
            };
            if outgoing.reply.is_closed() {
                continue;
            }
            outbox.in_flight = outbox.in_flight.saturating_add(1);
            let request = WireRequest::Outgoing { bytes: outgoing.bytes, max_response: outgoing.max_response };
            let requests = &mut self.swarm.behaviour_mut().requests;
            let id = requests.send_request(&peer, request);
            let in_flight = InFlight { peer, reply: outgoing.reply, slot: Some(outgoing.slot) };
            self.in_flight.insert(id, in_flight);
        }
        self.drop_idle_outbox(&peer);
    }

    pub(super) fn on_response(&mut self, id: OutboundRequestId, response: WireResponse) {
        self.finish_request(id, |peer| match response {
            WireResponse::Body(bytes) => Ok(bytes),
            WireResponse::Refused(reason) => Err(RequestError::Refused { peer, reason }),
        });
    }

    pub(super) fn on_outbound_failure(&mut self, id: OutboundRequestId, failure: OutboundFailure) {
        let after = self.config.request_timeout;
        self.finish_request(id, |peer| Err(request_error(peer, failure, after)));
    }

    fn finish_request(&mut self, id: OutboundRequestId, outcome: impl FnOnce(PeerId) -> Result<Vec<u8>, RequestError>) {
        let Some(over) = self.in_flight.remove(&id) else {
            return;
        };
        let _ = over.reply.send(outcome(over.peer));
        if let Some(outbox) = self.outboxes.get_mut(&over.peer) {
            outbox.in_flight = outbox.in_flight.saturating_sub(1);
        }
        self.send_waiting(over.peer);
        self.drop_idle_outbox(&over.peer);
    }

    /// Frees what callers who gave up still hold.
    pub(super) fn forget_abandoned(&mut self) {
        for in_flight in self.in_flight.values_mut() {
            if in_flight.reply.is_closed() {
                in_flight.slot = None;
            }
        }
        self.outboxes.retain(|_, outbox| {
            outbox.waiting.retain(|o| !o.reply.is_closed());
            !outbox.waiting.is_empty() || outbox.in_flight > 0
        });
        for dial in self.dials.values_mut() {
            dial.waiters.retain(|waiter| !waiter.is_closed());
        }
    }

    fn drop_idle_outbox(&mut self, peer: &PeerId) {
        if let Some(outbox) = self.outboxes.get(peer)
            && outbox.waiting.is_empty()
            && outbox.in_flight == 0
        {
            self.outboxes.remove(peer);
        }
    }
}

fn dial_error(error: SwarmDialError) -> DialError {
    match error {
        SwarmDialError::NoAddresses => DialError::NoAddress,
        SwarmDialError::LocalPeerId { .. } => DialError::Myself,
        SwarmDialError::WrongPeerId { obtained, .. } => DialError::WrongPeer { obtained: Box::new(obtained) },
        SwarmDialError::Denied { cause } => match cause.downcast::<Denied>() {
            Ok(Denied::Banned) => DialError::Banned,
            Ok(Denied::Limit | Denied::Rate) | Err(_) => DialError::LimitReached,
        },
        SwarmDialError::Transport(failed) => DialError::Failed {
            tried: failed.len(),
            last: match failed.last() {
                Some((_, TransportError::Other(error))) => innermost_kind(error),
                Some((_, TransportError::MultiaddrNotSupported(_))) | None => io::ErrorKind::Unsupported,
            },
        },
        SwarmDialError::Aborted | SwarmDialError::DialPeerConditionFalse(_) => DialError::Aborted,
    }
}

/// The kind of the first real I/O error in the chain; transports wrap each other.
fn innermost_kind(error: &io::Error) -> io::ErrorKind {
    let mut kind = error.kind();
    let mut next: Option<&(dyn std::error::Error + 'static)> = match error.get_ref() {
        Some(inner) => Some(inner),
        None => None,
    };
    while let Some(inner) = next {
        if let Some(io) = inner.downcast_ref::<io::Error>()
            && io.kind() != io::ErrorKind::Other
        {
            kind = io.kind();
        }
        next = inner.source();
    }
    kind
}

fn request_error(peer: PeerId, failure: OutboundFailure, after: std::time::Duration) -> RequestError {
    match failure {
        OutboundFailure::DialFailure => RequestError::Unreachable { peer, source: DialError::Aborted },
        OutboundFailure::Timeout => RequestError::Timeout { peer, after },
        OutboundFailure::ConnectionClosed => RequestError::Disconnected { peer },
        OutboundFailure::UnsupportedProtocols => RequestError::Unsupported { peer },
        OutboundFailure::Io(error) => {
            let inner = error.get_ref();
            if let Some(ResponseTooLarge { len, limit }) = inner.and_then(|inner| inner.downcast_ref()) {
                return RequestError::ResponseTooLarge { peer, len: *len, limit: *limit };
            }
            match error.kind() {
                kind @ (io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => {
                    RequestError::Malformed { peer, kind }
                }
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::WriteZero => RequestError::Refused { peer, reason: Refusal::Closed },
                _ => RequestError::Disconnected { peer },
            }
        }
    }
}
