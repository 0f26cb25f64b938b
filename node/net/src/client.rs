//! The handle: commands to the loop, and the answers to them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use libp2p::{Multiaddr, PeerId};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    time::timeout,
};

use crate::{
    behaviour::is_topic,
    config::Config,
    error::{DialError, NetError, PublishError, RequestError, Stopped, SubscribeError},
    event::{EventReceiver, MessageId},
    identity::Identity,
    service::Service,
};

/// How long a start may wait for its listeners.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);

/// What the loop is asked to do. Closed.
#[derive(Debug)]
pub(crate) enum Command {
    Dial { peer: PeerId, addrs: Vec<Multiaddr>, reply: oneshot::Sender<Result<(), DialError>> },
    AddAddress { peer: PeerId, addr: Multiaddr },
    Request(Outgoing),
    Publish { topic: String, bytes: Vec<u8>, reply: oneshot::Sender<Result<MessageId, PublishError>> },
    Subscribe { topic: String, reply: oneshot::Sender<Result<(), SubscribeError>> },
    Unsubscribe { topic: String },
    Subscribers { topic: String, reply: oneshot::Sender<Vec<PeerId>> },
    Disconnect { peer: PeerId, reply: oneshot::Sender<()> },
    Ban { peer: PeerId, duration: Duration, reply: oneshot::Sender<()> },
    Unban { peer: PeerId },
    ConnectedPeers { reply: oneshot::Sender<Vec<PeerId>> },
    PeerAddress { peer: PeerId, reply: oneshot::Sender<Option<Multiaddr>> },
    Shutdown { reply: oneshot::Sender<()> },
}

/// One request on its way out.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) peer: PeerId,
    pub(crate) addrs: Vec<Multiaddr>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) max_response: usize,
    pub(crate) reply: oneshot::Sender<Result<Vec<u8>, RequestError>>,
    /// Held until the request is over, so that no more than allowed are alive.
    pub(crate) slot: OwnedSemaphorePermit,
}

/// A command with its number, which appears in the loop's traces.
#[derive(Debug)]
pub(crate) struct Numbered {
    pub(crate) id: u64,
    pub(crate) command: Command,
}

/// Limits of one request that differ from the configuration's.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestOptions {
    /// From now to the response, dialling included; never longer than
    /// `request_timeout`, which is the default.
    pub timeout: Option<Duration>,
    /// The longest response to read, in bytes; never more than
    /// `max_response_bytes`, which is the default.
    pub max_response_bytes: Option<usize>,
}

/// Starts networks.
#[derive(Debug)]
pub struct Network;

impl Network {
    /// Starts a network: listens on every configured address, then hands the
    /// swarm to one task of the current tokio runtime.
    ///
    /// The task ends after [`Client::shutdown`], or when every client is dropped.
    ///
    /// # Errors
    /// [`NetError::Config`] for a configuration outside its limits,
    /// [`NetError::Listen`] for an address that cannot be listened on.
    pub async fn start(identity: Identity, config: Config) -> Result<(Client, EventReceiver), NetError> {
        config.validate()?;
        let (commands, commands_rx) = mpsc::channel(config.limits.commands);
        let (events, events_rx) = mpsc::channel(config.limits.events);
        let (listening, listening_rx) = watch::channel(Vec::new());
        let config = Arc::new(config);
        let mut service = Service::new(&identity, Arc::clone(&config), commands_rx, events, listening)?;
        timeout(LISTEN_TIMEOUT, service.listen())
            .await
            .map_err(|_| NetError::ListenTimeout { after: LISTEN_TIMEOUT })??;
        tokio::spawn(service.run());
        let client = Client {
            commands,
            listening: listening_rx,
            peer_id: identity.peer_id(),
            slots: Arc::new(Semaphore::new(config.limits.outbound_requests)),
            next_id: Arc::new(AtomicU64::new(1)),
            config,
        };
        Ok((client, EventReceiver::new(events_rx)))
    }
}

/// The handle to a running network; clones are cheap and equal.
///
/// Every call waits for the loop and, where it says so, for a peer, never
/// longer than a configured time. Dropping a call's future is always safe: what
/// the loop has begun may still happen, its result is thrown away.
#[derive(Clone, Debug)]
pub struct Client {
    commands: mpsc::Sender<Numbered>,
    listening: watch::Receiver<Vec<Multiaddr>>,
    peer_id: PeerId,
    slots: Arc<Semaphore>,
    next_id: Arc<AtomicU64>,
    config: Arc<Config>,
}

impl Client {
    /// This node's own peer id.
    pub fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// The addresses listened on now, with their real ports.
    pub fn listen_addrs(&self) -> Vec<Multiaddr> {
        self.listening.borrow().clone()
    }

    /// Connects to a peer at the given addresses and those already known, and
    /// waits for the outcome. An existing connection is success.
    ///
    /// # Errors
    /// [`DialError`]; refused and unroutable addresses fail at once, silent ones
    /// after `dial_timeout`.
    pub async fn dial(&self, peer: PeerId, addrs: Vec<Multiaddr>) -> Result<(), DialError> {
        // Addresses that arrive while an attempt runs get an attempt of their own.
        let after = self.config.dial_timeout.saturating_mul(3);
        let dial = self.call(|reply| Command::Dial { peer, addrs, reply });
        match timeout(after, dial).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(Stopped)) => Err(DialError::Stopped),
            Err(_) => Err(DialError::Timeout { after }),
        }
    }

    /// Remembers where a peer is, without connecting. Addresses that cannot be
    /// dialled are passed over (see [`dialable`](crate::dialable)).
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn add_address(&self, peer: PeerId, addr: Multiaddr) -> Result<(), Stopped> {
        self.send(Command::AddAddress { peer, addr }).await
    }

    /// Sends a request and waits for the response. Connects first if need be, at
    /// `addrs` and the addresses already known.
    ///
    /// # Errors
    /// [`RequestError`] says whether the peer can have seen the request.
    pub async fn request(&self, peer: PeerId, addrs: Vec<Multiaddr>, bytes: Vec<u8>) -> Result<Vec<u8>, RequestError> {
        self.request_with(peer, addrs, bytes, RequestOptions::default()).await
    }

    /// As [`Client::request`], with limits of its own.
    ///
    /// # Errors
    /// [`RequestError`] says whether the peer can have seen the request.
    pub async fn request_with(
        &self,
        peer: PeerId,
        addrs: Vec<Multiaddr>,
        bytes: Vec<u8>,
        options: RequestOptions,
    ) -> Result<Vec<u8>, RequestError> {
        let limit = self.config.max_request_bytes;
        if bytes.len() > limit {
            return Err(RequestError::RequestTooLarge { len: bytes.len(), limit });
        }
        let most = self.config.request_timeout;
        let after = options.timeout.unwrap_or(most).min(most);
        let most = self.config.max_response_bytes;
        let max_response = options.max_response_bytes.unwrap_or(most).min(most);
        let exchange = async {
            let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(|_| RequestError::Stopped)?;
            self.call(|reply| Command::Request(Outgoing { peer, addrs, bytes, max_response, reply, slot }))
                .await
                .map_err(|Stopped| RequestError::Stopped)?
        };
        match timeout(after, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err(RequestError::Timeout { peer, after }),
        }
    }

    /// Publishes a message to everybody subscribed to the topic. This node need
    /// not be subscribed itself, and does not get its own messages.
    ///
    /// # Errors
    /// [`PublishError::NoPeers`] if nobody connected is subscribed.
    pub async fn publish(&self, topic: &str, bytes: Vec<u8>) -> Result<MessageId, PublishError> {
        let limit = self.config.max_gossip_bytes;
        if bytes.len() > limit {
            return Err(PublishError::TooLarge { len: bytes.len(), limit });
        }
        if !is_topic(topic) {
            return Err(PublishError::BadTopic);
        }
        let topic = topic.to_owned();
        self.call(|reply| Command::Publish { topic, bytes, reply }).await.map_err(|Stopped| PublishError::Stopped)?
    }

    /// Subscribes to a topic; again is no error.
    ///
    /// # Errors
    /// [`SubscribeError`].
    pub async fn subscribe(&self, topic: &str) -> Result<(), SubscribeError> {
        if !is_topic(topic) {
            return Err(SubscribeError::BadTopic);
        }
        let topic = topic.to_owned();
        self.call(|reply| Command::Subscribe { topic, reply }).await.map_err(|Stopped| SubscribeError::Stopped)?
    }

    /// Ends a subscription; one that is not there is no error.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn unsubscribe(&self, topic: &str) -> Result<(), Stopped> {
        let topic = topic.to_owned();
        self.send(Command::Unsubscribe { topic }).await
    }

    /// The connected peers that are subscribed to a topic, in the order of their ids.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn subscribers(&self, topic: &str) -> Result<Vec<PeerId>, Stopped> {
        let topic = topic.to_owned();
        self.call(|reply| Command::Subscribers { topic, reply }).await
    }

    /// Closes all connections with a peer; it may come back.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn disconnect(&self, peer: PeerId) -> Result<(), Stopped> {
        self.call(|reply| Command::Disconnect { peer, reply }).await
    }

    /// Closes all connections with a peer and takes none for a while, either way.
    /// Gossip that it signed is refused as well. A longer ban stays in force.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn ban(&self, peer: PeerId, duration: Duration) -> Result<(), Stopped> {
        self.call(|reply| Command::Ban { peer, duration, reply }).await
    }

    /// Ends a ban early.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn unban(&self, peer: PeerId) -> Result<(), Stopped> {
        self.send(Command::Unban { peer }).await
    }

    /// The peers connected now, in the order of their ids.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn connected_peers(&self) -> Result<Vec<PeerId>, Stopped> {
        self.call(|reply| Command::ConnectedPeers { reply }).await
    }

    /// The address of a connected peer as this node sees it. For a peer that
    /// dialled us the IP address is real and the port is not one to dial.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn peer_addr(&self, peer: PeerId) -> Result<Option<Multiaddr>, Stopped> {
        self.call(|reply| Command::PeerAddress { peer, reply }).await
    }

    /// Stops the network: closes listeners and connections, and returns when the
    /// ports are free. Calling it twice is no error.
    pub async fn shutdown(&self) {
        // Either the loop answers, or it is gone already.
        let _ = self.call(|reply| Command::Shutdown { reply }).await;
    }

    async fn call<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply)).await?;
        answer.await.map_err(|_| Stopped)
    }

    async fn send(&self, command: Command) -> Result<(), Stopped> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.commands.send(Numbered { id, command }).await.map_err(|_| Stopped)
    }
}
