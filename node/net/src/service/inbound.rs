//! Peers' requests: admitted or refused, answered by the application, sent.

use futures::{
    FutureExt,
    future::{AbortHandle, Abortable},
};
use libp2p::{
    PeerId,
    request_response::{Event as RequestsEvent, InboundRequestId, Message, ResponseChannel},
};
use tokio::{sync::oneshot, time::timeout};

use super::Service;
use crate::{
    budget::Reservation,
    codec::{WireRequest, WireResponse},
    error::Refusal,
    event::{Event, Responder},
};

/// A request that is not over.
#[derive(Debug)]
pub(super) struct Inbound {
    peer: PeerId,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// With the application. Aborting tells it that nobody waits any more.
    Waiting { channel: ResponseChannel<WireResponse>, abort: AbortHandle },
    /// The answer is on its way and holds memory.
    Sending { _memory: Reservation },
}

impl Service {
    pub(super) fn on_requests_event(&mut self, event: RequestsEvent<WireRequest, WireResponse>) {
        match event {
            RequestsEvent::Message { peer, message, .. } => match message {
                Message::Request { request_id, request, channel } => {
                    self.on_request(peer, request_id, request, channel)
                }
                Message::Response { request_id, response } => self.on_response(request_id, response),
            },
            RequestsEvent::OutboundFailure { request_id, error, .. } => self.on_outbound_failure(request_id, error),
            RequestsEvent::InboundFailure { peer, request_id, error, .. } => {
                tracing::debug!(%peer, %error, "a request ended without its answer");
                self.forget_inbound(request_id);
            }
            RequestsEvent::ResponseSent { request_id, .. } => self.forget_inbound(request_id),
        }
    }

    fn on_request(
        &mut self,
        peer: PeerId,
        id: InboundRequestId,
        request: WireRequest,
        channel: ResponseChannel<WireResponse>,
    ) {
        let (bytes, reservation) = match request {
            WireRequest::Incoming { bytes, reservation } => (bytes, reservation),
            WireRequest::NoRoom => return self.refuse(channel, Refusal::Busy),
            WireRequest::Violation(violation) => {
                tracing::debug!(%peer, ?violation, "a request breaks the protocol");
                // Dropping the channel closes the stream.
                drop(channel);
                return self.on_violation(peer);
            }
            // Ours never come back to us.
            WireRequest::Outgoing { .. } => return,
        };
        if self.is_banned(&peer) {
            return;
        }
        let rate = self.config.limits.request_rate_per_peer;
        if !self.admit(peer, rate, |meters| &mut meters.requests) {
            return self.refuse(channel, Refusal::RateLimited);
        }
        let limits = &self.config.limits;
        let of_peer = self.inbound.values().filter(|i| i.peer == peer).count();
        if of_peer >= limits.inbound_requests_per_peer
            || self.inbound.len().max(self.answers.len()) >= limits.inbound_requests
            || !self.events.has_room_for_request()
        {
            return self.refuse(channel, Refusal::Busy);
        }
        let (answer_tx, answer_rx) = oneshot::channel();
        let (abort, registration) = AbortHandle::new_pair();
        let answer = timeout(self.config.request_timeout, answer_rx);
        let answer = Abortable::new(answer, registration)
            .map(move |answer| (id, answer.ok().and_then(Result::ok).and_then(Result::ok)));
        self.answers.push(answer.boxed());
        let stage = Stage::Waiting { channel, abort };
        self.inbound.insert(id, Inbound { peer, stage });
        let reply = Responder::new(answer_tx, self.config.max_response_bytes, reservation);
        self.events.offer(Event::Request { peer, bytes, reply });
    }

    /// The application answered, dropped the responder, or let the time pass.
    pub(super) fn on_answer(&mut self, id: InboundRequestId, answer: Option<Vec<u8>>) {
        let Some(Inbound { peer, stage }) = self.inbound.remove(&id) else {
            return;
        };
        let Stage::Waiting { channel, .. } = stage else {
            return;
        };
        let (response, memory) = match answer {
            None => (WireResponse::Refused(Refusal::NoAnswer), None),
            Some(bytes) => match self.response_memory.reserve(bytes.len()) {
                None => (WireResponse::Refused(Refusal::Busy), None),
                memory => (WireResponse::Body(bytes), memory),
            },
        };
        let _memory = memory.unwrap_or_else(|| self.response_memory.empty());
        let requests = &mut self.swarm.behaviour_mut().requests;
        if requests.send_response(channel, response).is_ok() {
            let stage = Stage::Sending { _memory };
            self.inbound.insert(id, Inbound { peer, stage });
        }
    }

    fn refuse(&mut self, channel: ResponseChannel<WireResponse>, reason: Refusal) {
        let requests = &mut self.swarm.behaviour_mut().requests;
        // A stream that is gone needs no refusal.
        let _ = requests.send_response(channel, WireResponse::Refused(reason));
    }

    fn forget_inbound(&mut self, id: InboundRequestId) {
        if let Some(inbound) = self.inbound.remove(&id) {
            inbound.give_up();
        }
    }

    pub(super) fn forget_inbound_of(&mut self, peer: &PeerId) {
        let over = self.inbound.extract_if(|_, inbound| inbound.peer == *peer);
        over.for_each(|(_, inbound)| inbound.give_up());
    }
}

impl Inbound {
    fn give_up(self) {
        if let Stage::Waiting { abort, .. } = self.stage {
            abort.abort();
        }
    }
}
