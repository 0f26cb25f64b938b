//! Gossip: topics, messages, and what the application thinks of them.

use futures::FutureExt;
use libp2p::{
    PeerId,
    gossipsub::{
        Event as GossipEvent, IdentTopic, Message, MessageAcceptance, MessageId as WireId,
        PublishError as WirePublishError, TopicHash,
    },
};
use tokio::{sync::oneshot, time::timeout};

use super::Service;
use crate::{
    behaviour::{GRAYLIST_SCORE, is_topic, message_id, topic_score},
    error::{PublishError, SubscribeError},
    event::{Event, MessageId, Verdict},
};

impl Service {
    pub(super) fn publish(&mut self, topic: &str, bytes: Vec<u8>) -> Result<MessageId, PublishError> {
        let id = message_id(topic, &bytes);
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        let len = bytes.len();
        match gossip.publish(IdentTopic::new(topic), bytes) {
            Ok(_) => Ok(id),
            Err(WirePublishError::Duplicate) => Err(PublishError::Duplicate),
            Err(WirePublishError::NoPeersSubscribedToTopic) => Err(PublishError::NoPeers { topic: topic.to_owned() }),
            Err(WirePublishError::MessageTooLarge) => {
                Err(PublishError::TooLarge { len, limit: self.config.max_gossip_bytes })
            }
            Err(WirePublishError::AllQueuesFull(_)) => Err(PublishError::Busy),
            Err(WirePublishError::SigningError(_) | WirePublishError::TransformFailed(_)) => {
                Err(PublishError::Unsigned)
            }
        }
    }

    pub(super) fn subscribe(&mut self, topic: &str) -> Result<(), SubscribeError> {
        let limit = self.config.limits.topics;
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        let hash = TopicHash::from_raw(topic);
        if gossip.topics().any(|known| *known == hash) {
            return Ok(());
        }
        if gossip.topics().count() >= limit {
            return Err(SubscribeError::TooMany { limit });
        }
        let topic = IdentTopic::new(topic);
        gossip.subscribe(&topic).map_err(|_| SubscribeError::BadTopic)?;
        // Scoring is always on, so this cannot fail; without it rejected
        // messages would only be dropped.
        if gossip.set_topic_params(topic, topic_score()).is_err() {
            tracing::warn!("messages of this topic do not count in scores");
        }
        Ok(())
    }

    pub(super) fn unsubscribe(&mut self, topic: &str) {
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        gossip.unsubscribe(&IdentTopic::new(topic));
    }

    pub(super) fn subscribers(&self, topic: &str) -> Vec<PeerId> {
        let hash = TopicHash::from_raw(topic);
        let all = self.swarm.behaviour().gossip.all_peers();
        let mut peers: Vec<PeerId> = all.filter(|(_, topics)| topics.contains(&&hash)).map(|(peer, _)| *peer).collect();
        peers.sort_unstable();
        peers
    }

    pub(super) fn on_gossip_event(&mut self, event: GossipEvent) {
        match event {
            GossipEvent::Message { propagation_source, message_id, message } => {
                self.on_gossip(propagation_source, message_id, message)
            }
            GossipEvent::Subscribed { peer_id, topic } => {
                // A peer may invent topics without end; only ours are of interest.
                let ours = self.swarm.behaviour().gossip.topics().any(|t| *t == topic);
                let rate = self.config.limits.gossip_rate_per_peer;
                if (ours || is_topic(topic.as_str()))
                    && self.admit(peer_id, rate, |meters| &mut meters.gossip)
                    && self.events.has_room_for_gossip()
                {
                    self.events.offer(Event::PeerSubscribed { peer: peer_id, topic: topic.into_string() });
                }
            }
            GossipEvent::SlowPeer { peer_id, .. } => {
                tracing::debug!(peer = %peer_id, "gossip is dropped for a slow peer");
            }
            GossipEvent::Unsubscribed { .. } | GossipEvent::GossipsubNotSupported { .. } => {}
        }
    }

    fn on_gossip(&mut self, source: PeerId, wire_id: WireId, message: Message) {
        let topic = message.topic.into_string();
        let Some(from) = message.source else {
            // Strict validation lets none without an author through.
            return self.on_verdict(&wire_id, source, MessageAcceptance::Reject);
        };
        if message.data.len() > self.config.max_gossip_bytes {
            return self.on_verdict(&wire_id, source, MessageAcceptance::Reject);
        }
        let rate = self.config.limits.gossip_rate_per_peer;
        if !self.admit(source, rate, |meters| &mut meters.gossip)
            || self.verdicts.len() >= self.config.limits.pending_verdicts
            || !self.events.has_room_for_gossip()
        {
            return self.on_verdict(&wire_id, source, MessageAcceptance::Ignore);
        }
        let (verdict_tx, verdict_rx) = oneshot::channel();
        let id = message_id(&topic, &message.data);
        let verdict = timeout(self.config.verdict_timeout, verdict_rx).map(move |given| {
            // Dropped or late: nobody's fault.
            let given = given.ok().and_then(Result::ok);
            (wire_id, source, given.unwrap_or(MessageAcceptance::Ignore))
        });
        self.verdicts.push(verdict.boxed());
        self.events.offer(Event::Gossip {
            topic,
            from,
            forwarder: source,
            bytes: message.data,
            id,
            accept: Verdict::new(verdict_tx),
        });
    }

    /// Tells gossipsub, which forwards or forgets the message and keeps score.
    pub(super) fn on_verdict(&mut self, id: &WireId, source: PeerId, verdict: MessageAcceptance) {
        let rejected = matches!(verdict, MessageAcceptance::Reject);
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        gossip.report_message_validation_result(id, &source, verdict);
        let score = gossip.peer_score(&source);
        if rejected && score.is_some_and(|score| score < GRAYLIST_SCORE) {
            tracing::info!(peer = %source, "banned for invalid gossip");
            self.ban(source, self.config.limits.ban);
        }
    }
}
