//! Messages that must arrive although peers come and go: each is sent again
//! until it is taken, refused for good, or too late.
//!
//! Receivers treat repetition as nothing new, so sending once too often is safe.
//! What leaves is a [`Durable`]: sending what is not written yet does not type-check (L3).

use crate::peer::{CallError, Peer, call};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use symbolon_net::Client;
use symbolon_primitives::keccak256;
use symbolon_store::Durable;
use symbolon_wire::{self as wire, MAX_REQUEST, Request, Response};
use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, timeout, timeout_at},
};

/// Messages under way at once; more wait their turn.
const UNDER_WAY: usize = 256;
/// The first pause before a message is sent again; pauses double up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// Time for one attempt.
const ATTEMPT: Duration = Duration::from_secs(10);

/// Sends messages in the background.
#[derive(Clone, Debug)]
pub struct Outbox {
    client: Client,
    places: Arc<Semaphore>,
    under_way: Arc<Mutex<UnderWay>>,
}

/// Messages being sent in the background, by receiver and content, and what wakes each in a pause.
type UnderWay = BTreeMap<[u8; 32], Arc<Notify>>;

impl Outbox {
    /// An outbox over a running network.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, places: Arc::new(Semaphore::new(UNDER_WAY)), under_way: Arc::default() }
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        // Nobody panics while holding it, and the map is whole at every step.
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends `request` until it is answered, for `within` at most, and drops the answer. One that is under way to that
    /// peer is tried again at once and not doubled: who has something said again and again, and does not answer, gets
    /// no second place.
    pub fn send(&self, peer: Peer, request: Durable<Request>, within: Duration) {
        let name = match wire::encode(request.get(), MAX_REQUEST) {
            Ok(bytes) => keccak256(&[peer.id.to_bytes(), bytes].concat()),
            Err(error) => return tracing::error!(peer = %peer.id, %error, "a message that cannot be sent"),
        };
        let wake = match self.under_way().entry(name) {
            Entry::Occupied(known) => return known.get().notify_one(),
            Entry::Vacant(place) => Arc::clone(place.insert(Arc::default())),
        };
        let outbox = self.clone();
        tokio::spawn(async move {
            if let Err(error) = outbox.deliver_or_wake(&peer, request.get(), within, &wake).await {
                tracing::debug!(peer = %peer.id, %error, "a message was not delivered");
            }
            outbox.under_way().remove(&name);
        });
    }

    /// Sends `request` until it is answered, for `within` at most.
    ///
    /// # Errors
    /// The last [`CallError`], once the time is over or the peer refuses for good.
    pub async fn deliver(
        &self,
        peer: &Peer,
        request: &Durable<Request>,
        within: Duration,
    ) -> Result<Response, CallError> {
        self.deliver_or_wake(peer, request.get(), within, &Notify::new()).await
    }

    async fn deliver_or_wake(
        &self,
        peer: &Peer,
        request: &Request,
        within: Duration,
        wake: &Notify,
    ) -> Result<Response, CallError> {
        let until = Instant::now() + within;
        let mut pause = FIRST_PAUSE;
        loop {
            let attempt = {
                let Ok(_place) = timeout_at(until, self.places.acquire()).await else {
                    return Err(CallError::Busy);
                };
                let left = until.saturating_duration_since(Instant::now()).max(FIRST_PAUSE);
                call(&self.client, peer, request, ATTEMPT.min(left)).await
            };
            match attempt {
                Ok(response) => return Ok(response),
                Err(error) if !error.is_passing() || Instant::now() + pause >= until => return Err(error),
                Err(_) => {}
            }
            // However it ends, it is tried again.
            let _ = timeout(pause, wake.notified()).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::serve::answer;
    use symbolon_net::{Config, Event, EventReceiver, Identity, Network, Responder};
    use symbolon_primitives::OrderDigest;

    const LONG: Duration = Duration::from_secs(3_600);

    async fn heard(events: &mut EventReceiver) -> (Request, Responder) {
        loop {
            let event = timeout(Duration::from_secs(20), events.recv()).await.unwrap();
            if let Event::Request { bytes, reply, .. } = event.unwrap() {
                return (wire::decode(&bytes, MAX_REQUEST).unwrap(), reply);
            }
        }
    }

    #[tokio::test]
    async fn n3_what_is_under_way_to_a_peer_is_not_doubled_and_said_again_once_it_was_answered() {
        let (client, _events) = Network::start(Identity::generate(), Config::default()).await.unwrap();
        let (silent, mut hears) = Network::start(Identity::generate(), Config::default()).await.unwrap();
        let (peer, outbox) = (Peer { id: silent.peer_id(), addrs: silent.listen_addrs() }, Outbox::new(client));
        let asks = |byte| Request::GiveUp { order: OrderDigest::from_bytes([byte; 32]) };
        let question = |byte| Durable::promises_nothing(asks(byte));
        for _ in 0..100 {
            outbox.send(peer.clone(), question(1), LONG);
        }
        let (first, reply) = heard(&mut hears).await;
        assert_eq!(first, asks(1));
        outbox.send(peer.clone(), question(2), LONG);
        let (second, _silence) = heard(&mut hears).await;
        assert_eq!(second, asks(2), "one place for each message");
        // Answered, it is over; whoever wants it said again later has it said again.
        answer(reply, &Response::Done);
        while outbox.under_way().len() > 1 {
            tokio::task::yield_now().await;
        }
        outbox.send(peer, question(1), LONG);
        let (again, _reply) = heard(&mut hears).await;
        assert_eq!(again, asks(1));
    }
}
