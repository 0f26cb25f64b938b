//! Events on their way to the application, which may be slow.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use crate::event::Event;

/// How many connection events may wait when the channel is full.
const MAX_WAITING: usize = 4096;

/// A bounded channel with room kept for what must not be lost.
///
/// Connection and listener events wait here when the channel is full. All else
/// is only let in while nothing waits and enough of the channel is free, so it
/// neither overtakes them nor crowds them out.
#[derive(Debug)]
pub(crate) struct EventQueue {
    channel: mpsc::Sender<Event>,
    waiting: VecDeque<Event>,
}

impl EventQueue {
    pub(crate) fn new(channel: mpsc::Sender<Event>) -> Self {
        Self { channel, waiting: VecDeque::new() }
    }

    /// Room for a request: the last eighth of the channel is not for them.
    pub(crate) fn has_room_for_request(&self) -> bool {
        self.has_room(self.channel.max_capacity() / 8)
    }

    /// Room for gossip: the last half of the channel is not for it.
    pub(crate) fn has_room_for_gossip(&self) -> bool {
        self.has_room(self.channel.max_capacity() / 2)
    }

    fn has_room(&self, kept: usize) -> bool {
        self.waiting.is_empty() && !self.channel.is_closed() && self.channel.capacity() > kept
    }

    /// Adds an event for which there was room a moment ago.
    pub(crate) fn offer(&mut self, event: Event) {
        // Without room the event is dropped, and with it its responder or
        // verdict, which is an answer too.
        let _ = self.channel.try_send(event);
    }

    /// Adds an event that is kept when the channel is full. Thousands of them
    /// later the oldest is dropped.
    pub(crate) fn keep(&mut self, event: Event) {
        let event = match self.waiting.is_empty() {
            true => match self.channel.try_send(event) {
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => return,
                Err(mpsc::error::TrySendError::Full(event)) => event,
            },
            false => event,
        };
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.pop_front();
            tracing::warn!("the application does not read events; the oldest is dropped");
        }
        self.waiting.push_back(event);
    }

    pub(crate) fn is_behind(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Moves one waiting event into the channel as soon as there is room.
    /// Cancel-safe: the event leaves the queue when it enters the channel.
    pub(crate) async fn flush_one(&mut self) {
        match self.channel.reserve().await {
            Ok(permit) => {
                if let Some(event) = self.waiting.pop_front() {
                    permit.send(event);
                }
            }
            Err(_) => self.waiting.clear(),
        }
    }
}

#[cfg(test)]
mod tests {
    //! Kept events stay in order; others make way for them.
    #![allow(clippy::unwrap_used)]

    use libp2p::Multiaddr;

    use super::*;

    fn port(n: usize) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/{}", n % 65_536).parse().unwrap()
    }

    #[tokio::test]
    async fn n3_connection_events_keep_order_and_are_bounded() {
        let (tx, mut rx) = mpsc::channel(8);
        let mut queue = EventQueue::new(tx);
        assert!(queue.has_room_for_request() && queue.has_room_for_gossip());
        for n in 0..4 {
            queue.offer(Event::Listening { addr: port(n) });
        }
        assert!(queue.has_room_for_request() && !queue.has_room_for_gossip());
        for n in 4..7 {
            queue.offer(Event::Listening { addr: port(n) });
        }
        assert!(!queue.has_room_for_request());
        for n in 7..20 {
            queue.keep(Event::Listening { addr: port(n) });
        }
        assert!(queue.is_behind());
        let mut seen = Vec::new();
        while seen.len() < 20 {
            match rx.try_recv() {
                Ok(Event::Listening { addr }) => seen.push(addr),
                _ => queue.flush_one().await,
            }
        }
        assert_eq!(seen, (0..20).map(port).collect::<Vec<_>>());
        for n in 0..2 * MAX_WAITING {
            queue.keep(Event::Listening { addr: port(n) });
        }
        assert_eq!(queue.waiting.len(), MAX_WAITING);
        drop(rx);
        queue.flush_one().await;
        assert!(!queue.is_behind());
        assert!(!queue.has_room_for_request());
    }
}
