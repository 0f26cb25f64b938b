//! Requests and responses: delivery, limits, deadlines and typed failures.

use std::{net::Ipv4Addr, time::Duration};

use symbolon_net::{Config, DialError, Event, PeerId, Rate, Refusal, RequestError, RequestOptions, RespondError};
use tokio::net::TcpListener;

use crate::harness::{Node, ask, config, tcp, within};

#[tokio::test]
async fn sym_27_requests_go_both_ways_between_authenticated_peers() {
    let mut a = Node::start().await;
    let mut b = Node::start().await;
    let (a_id, b_id) = (a.id(), b.id());

    // One connection, dialled by the hint, serves both directions.
    let asked = tokio::spawn({
        let (client, addrs) = (a.client.clone(), b.addrs());
        async move { client.request(b_id, addrs, b"from a".to_vec()).await }
    });
    b.wait("a request", |event| match event {
        Event::Request { peer, bytes, reply } => {
            assert_eq!((peer, bytes.as_slice()), (a_id, b"from a".as_slice()));
            reply.send(b"to a".to_vec()).unwrap();
            Some(())
        }
        _ => None,
    })
    .await;
    assert_eq!(within("a response", asked).await.unwrap().unwrap(), b"to a");

    let asked = tokio::spawn({
        let client = b.client.clone();
        async move { client.request(a_id, vec![], b"from b".to_vec()).await }
    });
    a.wait("a request", |event| match event {
        Event::Request { peer, reply, .. } => {
            assert_eq!(peer, b_id);
            reply.send(vec![]).unwrap();
            Some(())
        }
        _ => None,
    })
    .await;
    assert_eq!(within("a response", asked).await.unwrap().unwrap(), b"");
    assert_eq!(a.client.connected_peers().await.unwrap(), vec![b_id]);
}

#[tokio::test]
async fn sym_27_somebody_else_at_the_address_is_not_the_peer() {
    let a = Node::start().await;
    let b = Node::start().await;
    let stranger = PeerId::random();
    let failed = within("a refusal", a.client.request(stranger, b.addrs(), vec![1])).await;
    assert_eq!(
        failed,
        Err(RequestError::Unreachable { peer: stranger, source: DialError::WrongPeer { obtained: Box::new(b.id()) } })
    );
}

#[tokio::test]
async fn messages_up_to_the_limit_pass_and_longer_ones_are_refused_here() {
    let limit = Config::default().max_request_bytes;
    let b = Node::echo(config()).await;
    let a = Node::start().await;
    let longest: Vec<u8> = (0..limit).map(|n| n.to_le_bytes()[0]).collect();
    let mut expected = longest.clone();
    expected.reverse();
    assert!(ask(&a.client, &b, &longest).await == expected);
    assert_eq!(ask(&a.client, &b, b"").await, b"");

    let too_long = vec![0; limit + 1];
    assert_eq!(
        a.client.request(b.peer_id(), vec![], too_long).await,
        Err(RequestError::RequestTooLarge { len: limit + 1, limit })
    );
}

#[tokio::test]
async fn n2_a_response_above_the_callers_limit_is_not_read() {
    let b = Node::echo(config()).await;
    let a = Node::start().await;
    let options = RequestOptions { max_response_bytes: Some(99), ..RequestOptions::default() };
    let ask = |len: usize| a.client.request_with(b.peer_id(), b.listen_addrs(), vec![7; len], options);
    assert_eq!(within("a response", ask(99)).await, Ok(vec![7; 99]));
    assert_eq!(
        within("a refusal", ask(100)).await,
        Err(RequestError::ResponseTooLarge { peer: b.peer_id(), len: 100, limit: 99 })
    );
    // The connection survives it.
    assert_eq!(within("a response", ask(1)).await, Ok(vec![7; 1]));
}

#[tokio::test]
async fn a_response_above_the_limit_is_refused_where_it_is_made() {
    let small = Config { max_response_bytes: 10, ..config() };
    let mut b = Node::with(small).await;
    let a = Node::start().await;
    let asked = tokio::spawn({
        let (client, peer, addrs) = (a.client.clone(), b.id(), b.addrs());
        async move { client.request(peer, addrs, vec![]).await }
    });
    b.wait("a request", |event| match event {
        Event::Request { reply, .. } => {
            assert_eq!(reply.send(vec![0; 11]), Err(RespondError::TooLarge { len: 11, limit: 10 }));
            Some(())
        }
        _ => None,
    })
    .await;
    assert_eq!(
        within("a refusal", asked).await.unwrap(),
        Err(RequestError::Refused { peer: b.id(), reason: Refusal::NoAnswer })
    );
}

#[tokio::test]
async fn n4_a_dropped_responder_refuses_at_once() {
    let mut b = Node::start().await;
    let a = Node::start().await;
    let asked = tokio::spawn({
        let (client, peer, addrs) = (a.client.clone(), b.id(), b.addrs());
        async move { client.request(peer, addrs, vec![1]).await }
    });
    b.wait("a request", |event| match event {
        Event::Request { .. } => Some(()),
        _ => None,
    })
    .await;
    assert_eq!(
        within("a refusal", asked).await.unwrap(),
        Err(RequestError::Refused { peer: b.id(), reason: Refusal::NoAnswer })
    );
}

#[tokio::test]
async fn n4_a_request_without_an_answer_times_out_on_both_sides() {
    let short = Config { request_timeout: Duration::from_millis(500), ..config() };
    let mut b = Node::with(short.clone()).await;
    let a = Node::with(short).await;
    let asked = tokio::spawn({
        let (client, peer, addrs) = (a.client.clone(), b.id(), b.addrs());
        async move { client.request(peer, addrs, vec![1]).await }
    });
    let mut reply = b
        .wait("a request", |event| match event {
            Event::Request { reply, .. } => Some(reply),
            _ => None,
        })
        .await;
    assert_eq!(
        within("a timeout", asked).await.unwrap(),
        Err(RequestError::Timeout { peer: b.id(), after: Duration::from_millis(500) })
    );
    within("the responder to close", reply.closed()).await;
    assert!(reply.is_closed());
    assert_eq!(reply.send(vec![]), Err(RespondError::Gone));
    // A deadline of the caller's own is kept too.
    let options = RequestOptions { timeout: Some(Duration::from_millis(20)), ..RequestOptions::default() };
    let asked = a.client.request_with(b.id(), vec![], vec![], options);
    assert!(matches!(within("a timeout", asked).await, Err(RequestError::Timeout { .. })));
}

#[tokio::test]
async fn n4_a_peer_that_leaves_ends_the_work_on_its_request() {
    let mut b = Node::start().await;
    let a = Node::start().await;
    let asked = tokio::spawn({
        let (client, peer, addrs) = (a.client.clone(), b.id(), b.addrs());
        async move { client.request(peer, addrs, vec![1]).await }
    });
    let mut reply = b
        .wait("a request", |event| match event {
            Event::Request { reply, .. } => Some(reply),
            _ => None,
        })
        .await;
    a.client.disconnect(b.id()).await.unwrap();
    within("the responder to close", reply.closed()).await;
    assert_eq!(within("an error", asked).await.unwrap(), Err(RequestError::Disconnected { peer: b.id() }));
}

#[tokio::test]
async fn n4_an_unreachable_peer_is_an_error_at_once() {
    let a = Node::start().await;
    let peer = PeerId::random();
    let unreachable = |source| Err(RequestError::Unreachable { peer, source });

    let nowhere = within("an error", a.client.request(peer, vec![], vec![])).await;
    assert_eq!(nowhere, unreachable(DialError::NoAddress));

    // A port that was free a moment ago: refused by the kernel, not timed out.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let refused = within("an error", a.client.request(peer, vec![tcp(port)], vec![])).await;
    assert_eq!(refused, unreachable(DialError::Failed { tried: 1, last: std::io::ErrorKind::ConnectionRefused }));

    let me = a.client.request(a.id(), a.addrs(), vec![]);
    assert_eq!(
        within("an error", me).await,
        Err(RequestError::Unreachable { peer: a.id(), source: DialError::Myself })
    );
}

#[tokio::test]
async fn n4_an_address_that_never_answers_fails_within_the_dial_timeout() {
    let short = Config { dial_timeout: Duration::from_millis(300), ..config() };
    let a = Node::with(short).await;
    // The kernel accepts; nobody ever says a word.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let dial = a.client.dial(PeerId::random(), vec![tcp(port)]);
    assert_eq!(within("an error", dial).await, Err(DialError::Timeout { after: Duration::from_millis(300) }));
}

#[tokio::test]
async fn a_bad_address_beside_a_good_one_does_no_harm() {
    let b = Node::echo(config()).await;
    let a = Node::start().await;
    let mut addrs = vec![tcp(1), "/dns4/nowhere/tcp/1".parse().unwrap()];
    addrs.extend(b.listen_addrs());
    let asked = a.client.request(b.peer_id(), addrs, vec![1, 2]);
    assert_eq!(within("a response", asked).await, Ok(vec![2, 1]));
}

#[tokio::test]
async fn an_address_that_arrives_while_a_dial_hangs_is_tried() {
    let b = Node::echo(config()).await;
    let a = Node::with(Config { dial_timeout: Duration::from_millis(500), ..config() }).await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let silent = tcp(listener.local_addr().unwrap().port());
    let first = a.client.request(b.peer_id(), vec![silent], vec![1, 2]);
    let second = a.client.request(b.peer_id(), b.listen_addrs(), vec![3, 4]);
    let (first, second) = within("both responses", async { tokio::join!(first, second) }).await;
    assert_eq!((first, second), (Ok(vec![2, 1]), Ok(vec![4, 3])));
}

#[tokio::test]
async fn many_requests_at_once_are_queued_and_all_answered() {
    let b = Node::echo(config()).await;
    let a = Node::start().await;
    let asked = (0..200_u8).map(|n| a.client.request(b.peer_id(), b.listen_addrs(), vec![n, 0]));
    let answers = within("all responses", futures::future::join_all(asked)).await;
    for (n, answer) in (0..200_u8).zip(answers) {
        assert_eq!(answer, Ok(vec![0, n]));
    }
}

#[tokio::test]
async fn n3_requests_without_an_answer_are_bounded_for_one_peer() {
    let mut limited = config();
    limited.limits.inbound_requests_per_peer = 2;
    let mut b = Node::with(limited).await;
    let a = Node::start().await;
    let request = || {
        let (client, peer, addrs) = (a.client.clone(), b.id(), b.addrs());
        tokio::spawn(async move { client.request(peer, addrs, vec![]).await })
    };
    let asked = [request(), request()];
    let mut held = Vec::new();
    while held.len() < 2 {
        let reply = b
            .wait("a request", |event| match event {
                Event::Request { reply, .. } => Some(reply),
                _ => None,
            })
            .await;
        held.push(reply);
    }
    let busy = Err(RequestError::Refused { peer: b.id(), reason: Refusal::Busy });
    assert_eq!(within("a refusal", a.client.request(b.id(), vec![], vec![])).await, busy);
    for reply in held {
        reply.send(vec![5]).unwrap();
    }
    for asked in asked {
        assert_eq!(within("a response", asked).await.unwrap(), Ok(vec![5]));
    }
    // The room is there again.
    let again = tokio::spawn({
        let (client, peer) = (a.client.clone(), b.id());
        async move { client.request(peer, vec![], vec![]).await }
    });
    b.wait("a request", |event| match event {
        Event::Request { reply, .. } => reply.send(vec![6]).ok(),
        _ => None,
    })
    .await;
    assert_eq!(within("a response", again).await.unwrap(), Ok(vec![6]));
}

#[tokio::test]
async fn n2_requests_in_memory_are_bounded_for_all_peers_together() {
    let mut limited = config();
    limited.max_request_bytes = 1_000;
    limited.limits.inbound_bytes = 1_500;
    let mut b = Node::with(limited).await;
    let (a, c) = (Node::start().await, Node::start().await);
    let asked = tokio::spawn({
        let (client, peer, addrs) = (a.client.clone(), b.id(), b.addrs());
        async move { client.request(peer, addrs, vec![1; 1_000]).await }
    });
    let reply = b
        .wait("a request", |event| match event {
            Event::Request { reply, .. } => Some(reply),
            _ => None,
        })
        .await;
    let ask_c = |len: usize| c.client.request(b.id(), b.addrs(), vec![2; len]);
    assert_eq!(
        within("a refusal", ask_c(501)).await,
        Err(RequestError::Refused { peer: b.id(), reason: Refusal::Busy })
    );
    reply.send(vec![]).unwrap();
    assert_eq!(within("a response", asked).await.unwrap(), Ok(vec![]));
}

#[tokio::test]
async fn n3_one_peers_request_rate_is_bounded_and_a_flood_is_banned() {
    let mut limited = config();
    limited.limits.request_rate_per_peer = Rate::new(5, Duration::from_secs(600));
    limited.limits.excesses = Rate::new(3, Duration::from_secs(600));
    let b = Node::echo(limited).await;
    let mut a = Node::start().await;
    let refused = RequestError::Refused { peer: b.peer_id(), reason: Refusal::RateLimited };
    for n in 0..5 {
        assert_eq!(ask(&a.client, &b, &[n]).await, vec![n]);
    }
    for _ in 0..3 {
        let asked = a.client.request(b.peer_id(), vec![], vec![]);
        assert_eq!(within("a refusal", asked).await, Err(refused.clone()));
    }
    let asked = a.client.request(b.peer_id(), vec![], vec![]);
    assert!(within("a refusal", asked).await.is_err());
    a.wait_disconnected(b.peer_id()).await;
    // Others are not touched, and a ban can be lifted.
    let c = Node::start().await;
    assert_eq!(ask(&c.client, &b, &[1, 2]).await, vec![2, 1]);
}

#[tokio::test]
async fn n3_an_application_that_reads_no_events_refuses_and_recovers() {
    let mut limited = config();
    limited.limits.events = 8;
    let mut b = Node::with(limited).await;
    let a = Node::start().await;
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (client, peer, addrs) = (a.client.clone(), b.id(), b.addrs());
        asked.spawn(async move { client.request(peer, addrs, vec![]).await });
    }
    // Room for some; the rest is refused although nobody reads.
    let busy = within("a refusal", asked.join_next()).await.unwrap().unwrap();
    assert_eq!(busy, Err(RequestError::Refused { peer: b.id(), reason: Refusal::Busy }));
    tokio::spawn(async move {
        while let Some(event) = b.events.recv().await {
            if let Event::Request { reply, .. } = event {
                let _ = reply.send(vec![1]);
            }
        }
    });
    let mut answered = 0;
    while let Some(outcome) = within("all outcomes", asked.join_next()).await {
        answered += usize::from(outcome.unwrap().is_ok());
    }
    assert!(answered > 0);
}

#[tokio::test]
async fn a_peer_of_another_network_is_told_apart() {
    let other = Config { network: "symbolon/other".to_owned(), ..config() };
    let b = Node::echo(other).await;
    let a = Node::start().await;
    let asked = a.client.request(b.peer_id(), b.listen_addrs(), vec![]);
    assert_eq!(within("an error", asked).await, Err(RequestError::Unsupported { peer: b.peer_id() }));
}
