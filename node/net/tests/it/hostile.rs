//! Peers that speak the transport correctly and everything above it wrongly.

use std::{io, net::Ipv4Addr, time::Duration};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::{
    StreamProtocol, Swarm, SwarmBuilder, gossipsub, noise,
    request_response::{self, Message, ProtocolSupport},
    swarm::{NetworkBehaviour, SwarmEvent, dial_opts::DialOpts},
    tcp, yamux,
};
use proptest::{collection::vec, prelude::any, strategy::Strategy, test_runner::TestRunner};
use symbolon_net::{Client, Config, PeerId, Rate, Refusal, RequestError};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::harness::{Node, ask, config, port_of, within};

/// What goes over a stream: these bytes, and then perhaps nothing for ever.
#[derive(Clone, Debug)]
struct Raw {
    bytes: Vec<u8>,
    then_hang: bool,
}

impl Raw {
    fn bytes(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), then_hang: false }
    }

    fn hang(bytes: &[u8]) -> Self {
        Self { then_hang: true, ..Self::bytes(bytes) }
    }
}

/// Writes frames as they are given, without any framing of its own.
#[derive(Clone, Default)]
struct RawCodec;

impl request_response::Codec for RawCodec {
    type Protocol = StreamProtocol;
    type Request = Raw;
    type Response = Raw;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Raw>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut some = [0; 4];
        io.read_exact(&mut some).await?;
        Ok(Raw::bytes(&some))
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Raw>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut all = Vec::new();
        io.take(1_000).read_to_end(&mut all).await?;
        Ok(Raw::bytes(&all))
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, raw: Raw) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&raw.bytes).await?;
        io.flush().await?;
        if raw.then_hang {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    async fn write_response<T>(&mut self, protocol: &StreamProtocol, io: &mut T, raw: Raw) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        self.write_request(protocol, io, raw).await
    }
}

#[derive(NetworkBehaviour)]
struct Hostile {
    requests: request_response::Behaviour<RawCodec>,
    gossip: gossipsub::Behaviour,
}

fn hostile() -> Swarm<Hostile> {
    let config = config();
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|key| Hostile {
            requests: request_response::Behaviour::with_codec(
                RawCodec,
                [(
                    StreamProtocol::try_from_owned(format!("/{}/request/1", config.network)).unwrap(),
                    ProtocolSupport::Full,
                )],
                request_response::Config::default().with_max_concurrent_streams(1_000),
            ),
            gossip: gossipsub::Behaviour::new(
                gossipsub::MessageAuthenticity::Signed(key.clone()),
                gossipsub::ConfigBuilder::default()
                    .protocol_id_prefix(format!("/{}/gossip", config.network))
                    .build()
                    .unwrap(),
            )
            .unwrap(),
        })
        .unwrap()
        .with_swarm_config(|swarm| swarm.with_idle_connection_timeout(Duration::from_secs(60)))
        .build()
}

async fn connect(swarm: &mut Swarm<Hostile>, to: &Client) {
    let opts = DialOpts::peer_id(to.peer_id()).addresses(to.listen_addrs()).build();
    swarm.dial(opts).unwrap();
    within("a connection", async {
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { .. } => return,
                SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error}"),
                _ => {}
            }
        }
    })
    .await;
}

async fn wait_closed(swarm: &mut Swarm<Hostile>) {
    within("the end of a connection", async {
        while !matches!(swarm.select_next_some().await, SwarmEvent::ConnectionClosed { num_established: 0, .. }) {}
    })
    .await;
}

/// Keeps a swarm going beside the test.
fn drive(mut swarm: Swarm<Hostile>) {
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
}

/// A hostile provider: answers every request with `raw`.
async fn answering(raw: Raw) -> (PeerId, Vec<libp2p::Multiaddr>) {
    let mut swarm = hostile();
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
    let addr = within("a listener", async {
        loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                return address;
            }
        }
    })
    .await;
    let peer = *swarm.local_peer_id();
    tokio::spawn(async move {
        loop {
            if let SwarmEvent::Behaviour(HostileEvent::Requests(request_response::Event::Message {
                message: Message::Request { channel, .. },
                ..
            })) = swarm.select_next_some().await
            {
                let _ = swarm.behaviour_mut().requests.send_response(channel, raw.clone());
            }
        }
    });
    (peer, vec![addr])
}

#[tokio::test]
async fn n2_a_peer_that_announces_too_much_is_out_and_then_banned() {
    let b = Node::echo(config()).await;
    let honest = Node::start().await;
    assert_eq!(ask(&honest.client, &b, &[1, 2]).await, vec![2, 1]);
    let mut bad = hostile();
    let to = b.peer_id();
    for _ in 0..4 {
        connect(&mut bad, &b).await;
        let lie = Raw::hang(&u32::MAX.to_be_bytes());
        bad.behaviour_mut().requests.send_request(&to, lie);
        wait_closed(&mut bad).await;
    }
    // Now banned: a connection ends without a word being said.
    connect(&mut bad, &b).await;
    wait_closed(&mut bad).await;
    assert_eq!(ask(&honest.client, &b, &[3, 4]).await, vec![4, 3]);
}

#[tokio::test]
async fn n4_a_peer_that_dribbles_is_out() {
    let impatient = Config { read_timeout: Duration::from_millis(200), ..config() };
    let b = Node::echo(impatient).await;
    let mut bad = hostile();
    let to = b.peer_id();
    for start in [&[][..], &[0, 0], &[0, 0, 0, 100, 1]] {
        connect(&mut bad, &b).await;
        let stall = Raw::hang(start);
        bad.behaviour_mut().requests.send_request(&to, stall);
        // The stream is only negotiated once something is written on it.
        if start.is_empty() {
            let more = Raw::hang(&[0]);
            bad.behaviour_mut().requests.send_request(&to, more);
        }
        wait_closed(&mut bad).await;
    }
}

#[tokio::test]
async fn n1_random_frames_harm_nobody() {
    let mut lenient = config();
    lenient.limits.violations = Rate::new(1_000, Duration::from_millis(1));
    let b = Node::echo(lenient).await;
    let honest = Node::start().await;
    let mut runner = TestRunner::deterministic();
    let mut bad = hostile();
    let to = b.peer_id();
    connect(&mut bad, &b).await;
    let mut over = 0;
    let total = 100;
    for _ in 0..total {
        let frame = vec(any::<u8>(), 0..64).new_tree(&mut runner).unwrap();
        let frame = proptest::strategy::ValueTree::current(&frame);
        let raw = Raw::bytes(&frame);
        bad.behaviour_mut().requests.send_request(&to, raw);
        // Each ends somehow: answered, refused, or with its connection.
        within("the end of a frame", async {
            loop {
                if let SwarmEvent::Behaviour(HostileEvent::Requests(
                    request_response::Event::OutboundFailure { .. } | request_response::Event::Message { .. },
                )) = bad.select_next_some().await
                {
                    return;
                }
            }
        })
        .await;
        over += 1;
        if !bad.is_connected(&to) {
            connect(&mut bad, &b).await;
        }
    }
    assert_eq!(over, total);
    assert_eq!(ask(&honest.client, &b, &[1, 2]).await, vec![2, 1]);
}

#[tokio::test]
async fn n1_random_bytes_on_the_port_harm_nobody() {
    let b = Node::echo(config()).await;
    let port = port_of(b.listen_addrs().first().unwrap());
    let mut runner = TestRunner::deterministic();
    for _ in 0..40 {
        let bytes = vec(any::<u8>(), 1..2_000).new_tree(&mut runner).unwrap();
        let bytes = proptest::strategy::ValueTree::current(&bytes);
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let mut rest = Vec::new();
        let _ = within("the end of a stream", stream.read_to_end(&mut rest)).await;
    }
    let honest = Node::start().await;
    assert_eq!(ask(&honest.client, &b, &[1, 2]).await, vec![2, 1]);
}

#[tokio::test]
async fn n1_hostile_answers_are_typed_errors() {
    let a = Node::start().await;
    let limit = Config::default().max_response_bytes;
    let huge = [&[0][..], &u32::MAX.to_be_bytes()].concat();
    let cases: [(&[u8], Expected); 5] = [
        (&huge, |e| matches!(e, RequestError::ResponseTooLarge { .. })),
        (&[9, 0, 0, 0, 0], |e| matches!(e, RequestError::Malformed { .. })),
        (&[0, 0, 0, 0, 9, 1], |e| is_closed(e)),
        (&[0, 0], |e| is_closed(e)),
        (&[], |e| is_closed(e)),
    ];
    for (bytes, expected) in cases {
        let (peer, addrs) = answering(Raw::bytes(bytes)).await;
        let asked = a.client.request(peer, addrs, vec![0; 4]);
        let error = within("an error", asked).await.unwrap_err();
        assert!(expected(&error), "{bytes:?}: {error}");
        if let RequestError::ResponseTooLarge { len, limit: ours, .. } = error {
            assert_eq!((len, ours), (u32::MAX as usize, limit));
        }
    }
}

/// Whether an error is the one a case should bring.
type Expected = fn(&RequestError) -> bool;

fn is_closed(error: &RequestError) -> bool {
    let closed = Refusal::Closed;
    matches!(error, RequestError::Refused { reason, .. } if *reason == closed)
}

#[tokio::test]
async fn n4_an_answer_that_stalls_is_given_up() {
    let a = Node::with(Config { request_timeout: Duration::from_millis(500), ..config() }).await;
    let (peer, addrs) = answering(Raw::hang(&[0, 0, 0, 0, 9, 1])).await;
    let asked = a.client.request(peer, addrs, vec![0; 4]);
    assert!(matches!(within("an error", asked).await, Err(RequestError::Timeout { .. })));
}

#[tokio::test]
async fn n3_a_flood_of_requests_is_banned_while_others_are_served() {
    let mut limited = config();
    limited.limits.request_rate_per_peer = Rate::new(20, Duration::from_secs(600));
    limited.limits.excesses = Rate::new(20, Duration::from_secs(600));
    let b = Node::echo(limited).await;
    let honest = Node::start().await;
    assert_eq!(ask(&honest.client, &b, &[1, 2]).await, vec![2, 1]);
    let mut bad = hostile();
    connect(&mut bad, &b).await;
    let frame = Raw::bytes(&[0, 0, 0, 1, 7]);
    for _ in 0..60 {
        let to = b.peer_id();
        bad.behaviour_mut().requests.send_request(&to, frame.clone());
        // One at a time, so that none is lost to the bound on streams.
        within("an outcome", async {
            loop {
                if let SwarmEvent::Behaviour(HostileEvent::Requests(
                    request_response::Event::OutboundFailure { .. } | request_response::Event::Message { .. },
                )) = bad.select_next_some().await
                {
                    return;
                }
            }
        })
        .await;
        if !bad.is_connected(&to) {
            break;
        }
    }
    assert!(!bad.is_connected(&b.peer_id()));
    assert_eq!(ask(&honest.client, &b, &[3, 4]).await, vec![4, 3]);
}

#[tokio::test]
async fn n2_gossip_above_the_limit_never_arrives_and_bans_its_sender() {
    let mut b = Node::start().await;
    b.client.subscribe("t").await.unwrap();
    let mut bad = hostile();
    let topic = gossipsub::IdentTopic::new("t");
    connect(&mut bad, &b.client).await;
    within("a subscription", async {
        while !matches!(
            bad.select_next_some().await,
            SwarmEvent::Behaviour(HostileEvent::Gossip(gossipsub::Event::Subscribed { .. }))
        ) {}
    })
    .await;
    let peer = *bad.local_peer_id();
    for n in 0..3_u8 {
        let gossip = &mut bad.behaviour_mut().gossip;
        gossip.publish(topic.clone(), vec![n; 1_025]).unwrap();
    }
    drive(bad);
    b.wait("a ban", |event| match event {
        symbolon_net::Event::Gossip { .. } => panic!("an oversize message arrived"),
        symbolon_net::Event::PeerDisconnected { peer: other, .. } if other == peer => Some(()),
        _ => None,
    })
    .await;
}

#[tokio::test]
async fn n3_a_flood_of_gossip_is_bounded_and_banned() {
    let mut limited = config();
    limited.limits.gossip_rate_per_peer = Rate::new(10, Duration::from_secs(600));
    limited.limits.excesses = Rate::new(10, Duration::from_secs(600));
    let mut b = Node::with(limited).await;
    b.client.subscribe("t").await.unwrap();
    let mut bad = hostile();
    let topic = gossipsub::IdentTopic::new("t");
    connect(&mut bad, &b.client).await;
    within("a subscription", async {
        while !matches!(
            bad.select_next_some().await,
            SwarmEvent::Behaviour(HostileEvent::Gossip(gossipsub::Event::Subscribed { .. }))
        ) {}
    })
    .await;
    let peer = *bad.local_peer_id();
    for n in 0..60_u8 {
        let gossip = &mut bad.behaviour_mut().gossip;
        gossip.publish(topic.clone(), vec![n]).unwrap();
    }
    drive(bad);
    let mut delivered = 0;
    b.wait("a ban", |event| match event {
        symbolon_net::Event::Gossip { accept, .. } => {
            accept.accept();
            delivered += 1;
            None
        }
        symbolon_net::Event::PeerDisconnected { peer: other, .. } if other == peer => Some(()),
        _ => None,
    })
    .await;
    assert!((1..=10).contains(&delivered), "{delivered} delivered");
}
