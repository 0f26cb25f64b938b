//! Gossip: how far messages go, and what verdicts do.

use std::{collections::HashSet, time::Duration};

use symbolon_net::{Event, MessageId, PeerId, PublishError, SubscribeError, Verdict};
use tokio::time::timeout;

use crate::harness::{Node, config, within};

const TOPIC: &str = "symbolon/test";

/// A message as it arrived, with its verdict still to be given.
struct Arrived {
    from: PeerId,
    forwarder: PeerId,
    bytes: Vec<u8>,
    id: MessageId,
    accept: Verdict,
}

async fn arrived(node: &mut Node) -> Arrived {
    node.wait("gossip", |event| match event {
        Event::Gossip { from, forwarder, bytes, id, accept, .. } => {
            Some(Arrived { from, forwarder, bytes, id, accept })
        }
        _ => None,
    })
    .await
}

async fn subscribed(count: usize) -> Vec<Node> {
    let mut nodes = Vec::new();
    for _ in 0..count {
        let node = Node::start().await;
        node.client.subscribe(TOPIC).await.unwrap();
        nodes.push(node);
    }
    nodes
}

/// Nodes in a row, each connected to the next only.
async fn chain(count: usize) -> Vec<Node> {
    let mut nodes = subscribed(count).await;
    for at in 1..count {
        let (left, right) = nodes.split_at_mut(at);
        let (left, right) = (left.last_mut().unwrap(), right.first_mut().unwrap());
        left.connect(&right.client).await;
        left.wait_subscribed(right.id(), TOPIC).await;
        right.wait_subscribed(left.id(), TOPIC).await;
    }
    nodes
}

#[tokio::test]
async fn gossip_reaches_five_peers_through_each_other() {
    let mut nodes = chain(6).await;
    let author = nodes.first().unwrap().id();
    let published = nodes.first().unwrap().client.publish(TOPIC, b"offer".to_vec()).await;
    let id = published.unwrap();
    let mut before = author;
    for node in nodes.iter_mut().skip(1) {
        let message = arrived(node).await;
        assert_eq!(message.bytes, b"offer");
        assert_eq!((message.from, message.forwarder), (author, before));
        assert_eq!(message.id, id);
        message.accept.accept();
        before = node.id();
    }
}

#[tokio::test]
async fn gossip_reaches_five_neighbours_at_once() {
    let mut nodes = subscribed(5).await;
    // The publisher itself is not subscribed.
    let mut hub = Node::start().await;
    for node in &nodes {
        hub.connect(&node.client).await;
        hub.wait_subscribed(node.id(), TOPIC).await;
    }
    let mut expected: Vec<PeerId> = nodes.iter().map(Node::id).collect();
    expected.sort_unstable();
    assert_eq!(hub.client.subscribers(TOPIC).await, Ok(expected));
    hub.client.publish(TOPIC, vec![1; 1024]).await.unwrap();
    for node in &mut nodes {
        assert_eq!(arrived(node).await.bytes, vec![1; 1024]);
    }
}

#[tokio::test]
async fn only_accepted_messages_go_further() {
    let mut nodes = chain(3).await;
    let [first, middle, last] = nodes.as_mut_slice() else {
        panic!("three nodes");
    };
    for text in ["ignored", "dropped", "rejected", "accepted"] {
        first.client.publish(TOPIC, text.into()).await.unwrap();
        let message = arrived(middle).await;
        assert_eq!(message.bytes, text.as_bytes());
        match text {
            "ignored" => message.accept.ignore(),
            "rejected" => message.accept.reject(),
            "accepted" => message.accept.accept(),
            _ => drop(message.accept),
        }
    }
    // The messages take one way in order, so the first to come is the only one.
    assert_eq!(arrived(last).await.bytes, b"accepted");
}

#[tokio::test]
async fn a_burst_arrives_whole() {
    let mut nodes = chain(2).await;
    let [first, second] = nodes.as_mut_slice() else {
        panic!("two nodes");
    };
    for n in 0..200_u8 {
        first.client.publish(TOPIC, vec![n; 900]).await.unwrap();
    }
    let mut seen = HashSet::new();
    while seen.len() < 200 {
        let message = arrived(second).await;
        seen.insert(message.bytes);
        message.accept.accept();
    }
}

#[tokio::test]
async fn the_same_bytes_are_one_message_on_one_topic_and_two_on_two() {
    let mut nodes = chain(2).await;
    let [first, second] = nodes.as_mut_slice() else {
        panic!("two nodes");
    };
    second.client.subscribe("other").await.unwrap();
    first.wait_subscribed(second.id(), "other").await;
    let one = first.client.publish(TOPIC, vec![1]).await.unwrap();
    let again = first.client.publish(TOPIC, vec![1]).await;
    assert_eq!(again, Err(PublishError::Duplicate));
    let two = first.client.publish("other", vec![1]).await.unwrap();
    assert_ne!(one, two);
    let ids = [arrived(second).await.id, arrived(second).await.id];
    assert_eq!(ids, [one, two]);
}

#[tokio::test]
async fn what_cannot_be_published_is_a_typed_error() {
    let a = Node::start().await;
    let publish = |topic: &'static str, len: usize| a.client.publish(topic, vec![0; len]);
    assert_eq!(publish(TOPIC, 1).await, Err(PublishError::NoPeers { topic: TOPIC.to_owned() }));
    assert_eq!(publish(TOPIC, 1025).await, Err(PublishError::TooLarge { len: 1025, limit: 1024 }));
    assert_eq!(publish("no topic", 1).await, Err(PublishError::BadTopic));
    assert_eq!(a.client.subscribe("").await, Err(SubscribeError::BadTopic));
}

#[tokio::test]
async fn n3_topics_are_bounded() {
    let mut limited = config();
    limited.limits.topics = 2;
    let a = Node::with(limited).await;
    for topic in ["a", "b", "a"] {
        a.client.subscribe(topic).await.unwrap();
    }
    assert_eq!(a.client.subscribe("c").await, Err(SubscribeError::TooMany { limit: 2 }));
    a.client.unsubscribe("a").await.unwrap();
    a.client.subscribe("c").await.unwrap();
}

#[tokio::test]
async fn n3_a_neighbour_that_keeps_sending_invalid_messages_is_banned() {
    let mut nodes = chain(2).await;
    let [first, second] = nodes.as_mut_slice() else {
        panic!("two nodes");
    };
    for n in 0..3_u8 {
        first.client.publish(TOPIC, vec![n]).await.unwrap();
        arrived(second).await.accept.reject();
    }
    second.wait_disconnected(first.id()).await;
    let dial = second.client.dial(first.id(), first.addrs());
    assert!(within("a refusal", dial).await.is_err());
}

#[tokio::test]
async fn n4_a_verdict_that_never_comes_is_given_up() {
    let mut impatient = config();
    impatient.limits.pending_verdicts = 1;
    impatient.verdict_timeout = Duration::from_millis(200);
    let mut second = Node::with(impatient).await;
    second.client.subscribe(TOPIC).await.unwrap();
    let mut first = Node::start().await;
    first.connect(&second.client).await;
    first.wait_subscribed(second.id(), TOPIC).await;
    first.client.publish(TOPIC, vec![0]).await.unwrap();
    let held = arrived(&mut second).await;
    // While it is held there is no room for another; once it is given up there is.
    let mut n = 0_u32;
    let next = within("room for another", async {
        loop {
            n += 1;
            let sent = first.client.publish(TOPIC, n.to_be_bytes().to_vec()).await;
            assert!(sent.is_ok());
            let next = timeout(Duration::from_millis(20), second.events.recv()).await;
            if let Ok(Some(Event::Gossip { bytes, .. })) = next {
                return bytes;
            }
        }
    })
    .await;
    assert!(!next.is_empty());
    held.accept.accept();
}
