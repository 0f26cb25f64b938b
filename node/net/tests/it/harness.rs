//! Nodes, a proxy that can freeze, and waiting with a deadline.

use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use symbolon_net::{Client, Config, Event, EventReceiver, Identity, Multiaddr, Network, PeerId};
use tokio::{
    io::copy_bidirectional,
    net::{TcpSocket, TcpStream},
    sync::watch,
    time::timeout,
};

/// No test waits longer than this for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Waits for a future, or fails the test.
pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} did not happen within {DEADLINE:?}"),
    }
}

/// A configuration for quick tests.
pub(crate) fn config() -> Config {
    Config { gossip_heartbeat: Duration::from_millis(100), dial_timeout: Duration::from_secs(3), ..Config::default() }
}

pub(crate) struct Node {
    pub(crate) client: Client,
    pub(crate) events: EventReceiver,
}

impl Node {
    pub(crate) async fn start() -> Self {
        Self::with(config()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        let (client, events) = Network::start(Identity::generate(), config).await.unwrap();
        Self { client, events }
    }

    /// A node that answers every request with its bytes reversed.
    pub(crate) async fn echo(config: Config) -> Client {
        let Node { client, mut events } = Self::with(config).await;
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if let Event::Request { mut bytes, reply, .. } = event {
                    bytes.reverse();
                    let _ = reply.send(bytes);
                }
            }
        });
        client
    }

    pub(crate) fn id(&self) -> PeerId {
        self.client.peer_id()
    }

    pub(crate) fn addrs(&self) -> Vec<Multiaddr> {
        self.client.listen_addrs()
    }

    pub(crate) async fn connect(&self, other: &Client) {
        let addrs = other.listen_addrs();
        within("a dial", self.client.dial(other.peer_id(), addrs)).await.unwrap();
    }

    /// The first event from now on that `pick` takes.
    pub(crate) async fn wait<T>(&mut self, what: &str, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        within(what, async {
            loop {
                let event = self.events.recv().await.expect("the network has stopped");
                if let Some(picked) = pick(event) {
                    return picked;
                }
            }
        })
        .await
    }

    pub(crate) async fn wait_connected(&mut self, peer: PeerId) -> Multiaddr {
        self.wait("a connection", |event| match event {
            Event::PeerConnected { peer: other, addr } if other == peer => Some(addr),
            _ => None,
        })
        .await
    }

    pub(crate) async fn wait_disconnected(&mut self, peer: PeerId) {
        self.wait("a disconnection", |event| match event {
            Event::PeerDisconnected { peer: other, .. } if other == peer => Some(()),
            _ => None,
        })
        .await
    }

    pub(crate) async fn wait_subscribed(&mut self, peer: PeerId, topic: &str) {
        self.wait("a subscription", |event| match event {
            Event::PeerSubscribed { peer: other, topic: of } if other == peer && of == topic => Some(()),
            _ => None,
        })
        .await
    }
}

/// Asks once and expects success.
pub(crate) async fn ask(from: &Client, to: &Client, bytes: &[u8]) -> Vec<u8> {
    let asked = from.request(to.peer_id(), to.listen_addrs(), bytes.to_vec());
    within("a response", asked).await.unwrap()
}

/// The TCP port that a loopback address names.
pub(crate) fn port_of(addr: &Multiaddr) -> u16 {
    let text = addr.to_string();
    let (_, port) = text.rsplit_once('/').unwrap();
    port.parse().unwrap()
}

pub(crate) fn tcp(port: u16) -> Multiaddr {
    format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()
}

/// What a proxy does with the bytes that pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Open,
    /// Keeps the sockets open and moves nothing any more.
    Frozen,
    /// Drops the sockets.
    Cut,
}

/// A TCP proxy to a port on loopback; returns its own port and its switch.
pub(crate) async fn proxy(to: u16) -> (u16, watch::Sender<Link>) {
    let socket = TcpSocket::new_v4().unwrap();
    // The kernel buffers little, so a frozen link is soon full.
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let listener = socket.listen(64).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (switch, state) = watch::channel(Link::Open);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut state = state.clone();
            tokio::spawn(async move {
                let target = SocketAddr::from((Ipv4Addr::LOCALHOST, to));
                let Ok(mut far) = TcpStream::connect(target).await else {
                    return;
                };
                tokio::select! {
                    _ = copy_bidirectional(&mut near, &mut far) => return,
                    _ = state.wait_for(|link| *link != Link::Open) => {}
                }
                // Frozen: the sockets live on until the link is cut.
                let _ = state.wait_for(|link| *link == Link::Cut).await;
            });
        }
    });
    (port, switch)
}
