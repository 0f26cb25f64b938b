//! Messages that must arrive although peers come and go: each is sent again
//! until it is taken, refused for good, or too late.
//!
//! Receivers treat repetition as nothing new, so sending once too often is safe.

use crate::peer::{CallError, Peer, call};
use std::{sync::Arc, time::Duration};
use symbolon_net::Client;
use symbolon_wire::{Request, Response};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout_at},
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
}

impl Outbox {
    /// An outbox over a running network.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, places: Arc::new(Semaphore::new(UNDER_WAY)) }
    }

    /// Sends `request` until it is answered, for `within` at most, and drops the answer.
    pub fn send(&self, peer: Peer, request: Request, within: Duration) {
        let outbox = self.clone();
        tokio::spawn(async move {
            if let Err(error) = outbox.deliver(&peer, &request, within).await {
                tracing::debug!(peer = %peer.id, %error, "a message was not delivered");
            }
        });
    }

    /// Sends `request` until it is answered, for `within` at most.
    ///
    /// # Errors
    /// The last [`CallError`], once the time is over or the peer refuses for good.
    pub async fn deliver(&self, peer: &Peer, request: &Request, within: Duration) -> Result<Response, CallError> {
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
            sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }
}
