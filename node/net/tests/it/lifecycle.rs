//! Connections come, go, die and are refused; networks start and stop.

use std::{net::Ipv4Addr, time::Duration};

use symbolon_net::{
    Config, DialError, Event, Identity, NetError, Network, NetworkGroup, PeerId, PublishError, RequestError, Stopped,
    SubscribeError, network_group,
};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Link, Node, ask, config, port_of, proxy, tcp, within};

#[tokio::test]
async fn connections_are_reported_once_with_the_address_seen() {
    let mut a = Node::start().await;
    let mut b = Node::start().await;
    a.connect(&b.client).await;
    // A second dial is no second connection.
    a.connect(&b.client).await;
    let seen_by_a = a.wait_connected(b.id()).await;
    assert_eq!(vec![seen_by_a.clone()], b.addrs());
    let seen_by_b = b.wait_connected(a.id()).await;
    assert_eq!(b.client.peer_addr(a.id()).await, Ok(Some(seen_by_b.clone())));
    assert_eq!(network_group(&seen_by_b), Some(NetworkGroup::V4([127, 0])));
    assert_eq!(b.client.connected_peers().await, Ok(vec![a.id()]));

    b.client.disconnect(a.id()).await.unwrap();
    a.wait_disconnected(b.id()).await;
    b.wait_disconnected(a.id()).await;
    assert_eq!(a.client.connected_peers().await, Ok(vec![]));
    assert_eq!(b.client.peer_addr(a.id()).await, Ok(None));
    // Where a peer was reached is remembered.
    within("a dial", a.client.dial(b.id(), vec![])).await.unwrap();
}

#[tokio::test]
async fn listening_addresses_have_real_ports_and_are_reported() {
    let two = Config { listen: vec![tcp(0), "/ip4/0.0.0.0/tcp/0".parse().unwrap()], ..config() };
    let mut a = Node::with(two).await;
    let addrs = a.addrs();
    assert!(addrs.len() >= 2);
    assert!(addrs.iter().all(|addr| port_of(addr) != 0));
    let reported = a
        .wait("a listener", |event| match event {
            Event::Listening { addr } => Some(addr),
            _ => None,
        })
        .await;
    assert!(addrs.contains(&reported));
    // A node may also only dial.
    let dialler = Node::with(Config { listen: vec![], ..config() }).await;
    assert!(dialler.addrs().is_empty());
    dialler.connect(&a.client).await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error() {
    let a = Node::start().await;
    let taken = Config { listen: a.addrs(), ..config() };
    let started = within("an error", Network::start(Identity::generate(), taken)).await;
    assert!(matches!(started, Err(NetError::Listen { .. })));
    let strange = Config { listen: vec!["/memory/1".parse().unwrap()], ..config() };
    let started = within("an error", Network::start(Identity::generate(), strange)).await;
    assert!(matches!(started, Err(NetError::Listen { .. })));
}

#[tokio::test]
async fn an_added_address_is_dialled() {
    let b = Node::echo(config()).await;
    let a = Node::start().await;
    for addr in b.listen_addrs() {
        a.client.add_address(b.peer_id(), addr).await.unwrap();
    }
    let asked = a.client.request(b.peer_id(), vec![], vec![1, 2]);
    assert_eq!(within("a response", asked).await, Ok(vec![2, 1]));
}

#[tokio::test]
async fn a_peer_that_dialled_us_can_be_dialled_back() {
    let a = Node::echo(config()).await;
    let mut b = Node::start().await;
    // What a peer says about its port comes some time after the connection.
    within("a dial back", async {
        loop {
            a.dial(b.id(), b.addrs()).await.unwrap();
            b.wait_connected(a.peer_id()).await;
            for n in 0..10 {
                b.client.request(a.peer_id(), vec![], vec![n]).await.unwrap();
            }
            b.client.disconnect(a.peer_id()).await.unwrap();
            b.wait_disconnected(a.peer_id()).await;
            match b.client.dial(a.peer_id(), vec![]).await {
                Ok(()) => return,
                Err(error) => assert_eq!(error, DialError::NoAddress),
            }
        }
    })
    .await;
}

#[tokio::test]
async fn both_sides_may_dial_at_once() {
    let a = Node::echo(config()).await;
    let b = Node::echo(config()).await;
    let both = async { tokio::join!(a.dial(b.peer_id(), b.listen_addrs()), b.dial(a.peer_id(), a.listen_addrs())) };
    assert_eq!(within("both dials", both).await, (Ok(()), Ok(())));
    assert_eq!(ask(&a, &b, &[1, 2]).await, vec![2, 1]);
    assert_eq!(ask(&b, &a, &[1, 2]).await, vec![2, 1]);
}

#[tokio::test]
async fn a_banned_peer_is_out_both_ways_until_the_ban_ends() {
    let mut a = Node::start().await;
    let mut b = Node::start().await;
    a.connect(&b.client).await;
    b.wait_connected(a.id()).await;
    b.client.ban(a.id(), Duration::MAX).await.unwrap();
    a.wait_disconnected(b.id()).await;
    b.wait_disconnected(a.id()).await;

    let dial = b.client.dial(a.id(), a.addrs());
    assert_eq!(within("a refusal", dial).await, Err(DialError::Banned));
    let asked = b.client.request(a.id(), a.addrs(), vec![]);
    assert!(matches!(
        within("a refusal", asked).await,
        Err(RequestError::Unreachable { source: DialError::Banned, .. })
    ));
    // The banned side gets a connection at most until the other looks.
    let asked = a.client.request(b.id(), b.addrs(), vec![]);
    assert!(within("an error", asked).await.is_err());

    b.client.unban(a.id()).await.unwrap();
    within("a dial", b.client.dial(a.id(), a.addrs())).await.unwrap();

    // A short ban ends by itself.
    b.client.ban(a.id(), Duration::from_millis(50)).await.unwrap();
    b.wait_disconnected(a.id()).await;
    within("the end of the ban", async {
        while b.client.dial(a.id(), a.addrs()).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn shutdown_frees_the_port_and_tells_everybody() {
    let mut a = Node::start().await;
    let mut b = Node::start().await;
    a.connect(&b.client).await;
    b.wait_connected(a.id()).await;
    let waiting = tokio::spawn({
        let (client, peer) = (b.client.clone(), a.id());
        async move { client.request(peer, vec![], vec![]).await }
    });
    let _held = a
        .wait("a request", |event| match event {
            Event::Request { reply, .. } => Some(reply),
            _ => None,
        })
        .await;
    let port = port_of(a.addrs().first().unwrap());
    within("the end", a.client.shutdown()).await;
    drop(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.unwrap());
    assert!(within("an error", waiting).await.unwrap().is_err());
    b.wait_disconnected(a.id()).await;

    within("the last event", async { while a.events.recv().await.is_some() {} }).await;
    let peer = PeerId::random();
    assert_eq!(a.client.connected_peers().await, Err(Stopped));
    assert_eq!(a.client.dial(peer, vec![]).await, Err(DialError::Stopped));
    assert_eq!(a.client.request(peer, vec![], vec![]).await, Err(RequestError::Stopped));
    assert_eq!(a.client.publish("t", vec![]).await, Err(PublishError::Stopped));
    assert_eq!(a.client.subscribe("t").await, Err(SubscribeError::Stopped));
    within("a second end", a.client.shutdown()).await;

    // The same port serves a new network at once.
    let again = Config { listen: vec![tcp(port)], ..config() };
    let again = Node::echo(again).await;
    assert_eq!(ask(&b.client, &again, &[1, 2]).await, vec![2, 1]);
}

#[tokio::test]
async fn a_network_ends_when_nobody_holds_it() {
    let Node { client, mut events } = Node::start().await;
    drop(client);
    within("the last event", async { while events.recv().await.is_some() {} }).await;
}

#[tokio::test]
async fn n4_a_peer_that_goes_silent_is_detected() {
    let quick =
        Config { ping_interval: Duration::from_millis(100), ping_timeout: Duration::from_millis(200), ..config() };
    let mut a = Node::with(quick).await;
    let b = Node::start().await;
    let (port, link) = proxy(port_of(b.addrs().first().unwrap())).await;
    within("a dial", a.client.dial(b.id(), vec![tcp(port)])).await.unwrap();
    a.wait_connected(b.id()).await;
    link.send(Link::Frozen).unwrap();
    a.wait_disconnected(b.id()).await;
}

#[tokio::test]
async fn n4_a_peer_that_stops_reading_is_thrown_out() {
    let mut quick = config();
    quick.ping_interval = Duration::from_millis(100);
    quick.ping_timeout = Duration::from_millis(200);
    let mut a = Node::with(quick).await;
    let mut asking = config();
    asking.limits.outbound_requests_per_peer = 32;
    let mut b = Node::with(asking).await;
    let (me, peer) = (a.id(), b.id());
    let (port, link) = proxy(port_of(b.addrs().first().unwrap())).await;
    within("a dial", a.client.dial(peer, vec![tcp(port)])).await.unwrap();
    a.wait_connected(peer).await;
    b.wait_connected(me).await;
    for _ in 0..32 {
        let client = b.client.clone();
        tokio::spawn(async move { client.request(me, vec![], vec![]).await });
    }
    let mut replies = Vec::new();
    while replies.len() < 32 {
        let reply = a.wait("a request", |event| match event {
            Event::Request { reply, .. } => Some(reply),
            _ => None,
        });
        replies.push(reply.await);
    }
    link.send(Link::Frozen).unwrap();
    // More than the kernel takes, so the connection cannot be closed in order.
    for reply in replies {
        reply.send(vec![0; 2 << 20]).unwrap();
    }
    a.wait_disconnected(peer).await;
}

#[tokio::test]
async fn n4_a_peer_that_dies_ends_its_requests_at_once() {
    let mut a = Node::start().await;
    let mut b = Node::start().await;
    let (port, link) = proxy(port_of(b.addrs().first().unwrap())).await;
    let asked = tokio::spawn({
        let (client, peer) = (a.client.clone(), b.id());
        async move { client.request(peer, vec![tcp(port)], vec![]).await }
    });
    let _held = b
        .wait("a request", |event| match event {
            Event::Request { reply, .. } => Some(reply),
            _ => None,
        })
        .await;
    link.send(Link::Cut).unwrap();
    let peer = b.id();
    assert_eq!(within("an error", asked).await.unwrap(), Err(RequestError::Disconnected { peer }));
    a.wait_disconnected(peer).await;
}

#[tokio::test]
async fn n3_inbound_connections_are_bounded() {
    let mut limited = config();
    limited.limits.connections = 3;
    limited.limits.inbound_connections = 2;
    let mut b = Node::with(limited).await;
    let (first, second, third) = (Node::start().await, Node::start().await, Node::start().await);
    for node in [&first, &second] {
        node.connect(&b.client).await;
        b.wait_connected(node.id()).await;
    }
    // The third is connected at most until the other side counts.
    let asked = third.client.request(b.id(), b.addrs(), vec![]);
    assert!(within("an error", asked).await.is_err());
    // Room for our own connections is left.
    within("a dial", b.client.dial(third.id(), third.addrs())).await.unwrap();
    assert_eq!(b.client.connected_peers().await.unwrap().len(), 3);
}

#[tokio::test]
async fn n3_half_open_connections_leave_the_others_alone() {
    let mut limited = config();
    limited.limits.pending_inbound = 8;
    limited.limits.inbound_per_ip = 64;
    let short = Config { dial_timeout: Duration::from_millis(500), ..limited };
    let b = Node::echo(short).await;
    let a = Node::start().await;
    assert_eq!(ask(&a.client, &b, &[1, 2]).await, vec![2, 1]);
    let port = port_of(b.listen_addrs().first().unwrap());
    let mut held = Vec::new();
    for _ in 0..60 {
        held.push(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap());
    }
    assert_eq!(ask(&a.client, &b, &[3, 4]).await, vec![4, 3]);
    // The silent ones are thrown out, so a newcomer gets in, in the end.
    let c = Node::start().await;
    within("a newcomer", async { while c.client.dial(b.peer_id(), b.listen_addrs()).await.is_err() {} }).await;
    assert_eq!(held.len(), 60);
}
