//! The loop: one task that owns the swarm and everything known about peers.
//!
//! It never waits for anything but the next thing to happen. Answers of the
//! application come first, then its commands, then what peers do: work that is
//! begun is finished before more is let in.

mod gossip;
mod inbound;
mod outbound;
mod queue;

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use libp2p::{
    Multiaddr, PeerId, Swarm, TransportError,
    core::ConnectedPoint,
    core::transport::ListenerId,
    gossipsub::{self, MessageAcceptance},
    identify,
    multiaddr::Protocol,
    ping,
    request_response::{InboundRequestId, OutboundRequestId},
    swarm::{ConnectionId, SwarmEvent},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use crate::{
    address::{AddressBook, dialable, ip_of},
    behaviour::{self, Behaviour, BehaviourEvent},
    budget::Budget,
    client::{Command, Numbered},
    config::Config,
    error::NetError,
    event::Event,
    identity::Identity,
    rate::{Meter, Rate},
};

use inbound::Inbound;
use outbound::{Dial, InFlight, Outbox};
use queue::EventQueue;

/// How often what is over is forgotten.
const TICK: Duration = Duration::from_millis(200);

/// How long an orderly end may take.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// What a ban that would end after all time ends after instead.
const LONGEST_BAN: Duration = Duration::from_secs(30 * 365 * 86_400);

/// How many of the addresses that a peer claims are looked at.
const CLAIMED_ADDRESSES: usize = 16;

/// A connected peer.
#[derive(Debug)]
struct Peer {
    /// At most `limits.connections_per_peer`, the oldest first.
    connections: Vec<Connection>,
}

/// One connection with a peer.
#[derive(Debug)]
struct Connection {
    id: ConnectionId,
    addr: Multiaddr,
    /// When the peer last answered a ping, or when it connected.
    alive_at: Instant,
    /// False for a peer that does not know pings; it falls to the idle timeout.
    answers_pings: bool,
}

/// How much a peer did lately. Survives its connections, so that coming back
/// clears nothing.
#[derive(Debug)]
struct Meters {
    requests: Meter,
    gossip: Meter,
    violations: Meter,
    excesses: Meter,
}

impl Meters {
    fn new(now: Instant) -> Self {
        Self {
            requests: Meter::new(now),
            gossip: Meter::new(now),
            violations: Meter::new(now),
            excesses: Meter::new(now),
        }
    }

    fn is_rested(&self, now: Instant) -> bool {
        [self.requests, self.gossip, self.violations, self.excesses].iter().all(|meter| meter.is_rested(now))
    }
}

/// The state of a running network.
pub(crate) struct Service {
    config: Arc<Config>,
    swarm: Swarm<Behaviour>,
    commands: mpsc::Receiver<Numbered>,
    events: EventQueue,
    listening: watch::Sender<Vec<Multiaddr>>,
    listeners: HashSet<ListenerId>,
    book: AddressBook,
    /// Bounded by the guard's limits on connections.
    peers: HashMap<PeerId, Peer>,
    /// Bounded by `limits.known_peers`, see [`Service::meters`].
    meters: HashMap<PeerId, Meters>,
    /// Bounded by the guard's limit on outbound connections being made.
    dials: HashMap<PeerId, Dial>,
    /// Bounded by the slots that requests hold.
    outboxes: HashMap<PeerId, Outbox>,
    /// Bounded by the requests allowed for each connected peer.
    in_flight: HashMap<OutboundRequestId, InFlight>,
    /// Bounded by `limits.inbound_requests`.
    inbound: HashMap<InboundRequestId, Inbound>,
    /// Bounded by `limits.inbound_requests`.
    answers: FuturesUnordered<BoxFuture<'static, (InboundRequestId, Option<Vec<u8>>)>>,
    /// Bounded by `limits.pending_verdicts`.
    verdicts: FuturesUnordered<BoxFuture<'static, (gossipsub::MessageId, PeerId, MessageAcceptance)>>,
    response_memory: Budget,
}

impl Service {
    pub(crate) fn new(
        identity: &Identity,
        config: Arc<Config>,
        commands: mpsc::Receiver<Numbered>,
        events: mpsc::Sender<Event>,
        listening: watch::Sender<Vec<Multiaddr>>,
    ) -> Result<Self, NetError> {
        let mut swarm = behaviour::swarm(identity, &config)?;
        for addr in &config.external {
            swarm.add_external_address(addr.clone());
        }
        Ok(Self {
            swarm,
            commands,
            events: EventQueue::new(events),
            listening,
            listeners: HashSet::new(),
            book: AddressBook::new(config.limits.known_peers),
            peers: HashMap::new(),
            meters: HashMap::new(),
            dials: HashMap::new(),
            outboxes: HashMap::new(),
            in_flight: HashMap::new(),
            inbound: HashMap::new(),
            answers: FuturesUnordered::new(),
            verdicts: FuturesUnordered::new(),
            response_memory: Budget::new(config.limits.outbound_bytes),
            config,
        })
    }

    /// Listens on every configured address and waits until each has a port.
    pub(crate) async fn listen(&mut self) -> Result<(), NetError> {
        let mut waiting: HashMap<ListenerId, Multiaddr> = HashMap::new();
        for addr in &self.config.listen {
            check_free(addr).map_err(|source| NetError::Listen { addr: addr.clone(), source })?;
            let id = self.swarm.listen_on(addr.clone()).map_err(|error| {
                let source = match error {
                    TransportError::MultiaddrNotSupported(_) => io::ErrorKind::Unsupported.into(),
                    TransportError::Other(source) => source,
                };
                NetError::Listen { addr: addr.clone(), source }
            })?;
            self.listeners.insert(id);
            waiting.insert(id, addr.clone());
        }
        while !waiting.is_empty() {
            let event = self.swarm.select_next_some().await;
            match &event {
                SwarmEvent::NewListenAddr { listener_id, .. } => {
                    waiting.remove(listener_id);
                }
                SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                    if let Some(addr) = waiting.remove(listener_id) {
                        let kind = match reason {
                            Ok(()) => io::ErrorKind::AddrNotAvailable,
                            Err(error) => error.kind(),
                        };
                        return Err(NetError::Listen { addr, source: kind.into() });
                    }
                }
                _ => {}
            }
            self.on_swarm_event(event);
        }
        Ok(())
    }

    /// Runs until it is told to stop or nobody is left to tell it.
    pub(crate) async fn run(mut self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stopped: Option<oneshot::Sender<()>> = loop {
            tokio::select! {
                biased;
                Some((id, answer)) = self.answers.next(), if !self.answers.is_empty() => {
                    self.on_answer(id, answer);
                }
                Some((id, source, verdict)) = self.verdicts.next(), if !self.verdicts.is_empty() => {
                    self.on_verdict(&id, source, verdict);
                }
                command = self.commands.recv() => match command {
                    None => break None,
                    Some(Numbered { command: Command::Shutdown { reply }, .. }) => break Some(reply),
                    Some(Numbered { id, command }) => self.on_command(id, command),
                },
                () = self.events.flush_one(), if self.events.is_behind() => {}
                _ = tick.tick() => self.on_tick(),
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
            }
        };
        self.close().await;
        drop(self);
        if let Some(reply) = stopped {
            let _ = reply.send(());
        }
    }

    /// Closes connections in order, so that peers notice at once.
    async fn close(&mut self) {
        for id in self.listeners.drain() {
            self.swarm.remove_listener(id);
        }
        for peer in self.peers.keys() {
            let _ = self.swarm.disconnect_peer_id(*peer);
        }
        let closing = async {
            while !self.peers.is_empty() {
                let event = self.swarm.select_next_some().await;
                if let SwarmEvent::ConnectionClosed { .. } = event {
                    self.on_swarm_event(event);
                }
            }
        };
        if timeout(CLOSE_TIMEOUT, closing).await.is_err() {
            tracing::debug!("connections were still open when the network stopped");
        }
    }

    fn on_command(&mut self, id: u64, command: Command) {
        tracing::trace!(id, ?command, "command");
        match command {
            Command::Dial { peer, addrs, reply } => self.on_dial(peer, &addrs, reply),
            Command::AddAddress { peer, addr } => {
                if let Some(addr) = dialable(&peer, &addr) {
                    self.book.prefer(peer, addr);
                }
            }
            Command::Request(outgoing) => self.on_outgoing(outgoing),
            Command::Publish { topic, bytes, reply } => {
                let _ = reply.send(self.publish(&topic, bytes));
            }
            Command::Subscribe { topic, reply } => {
                let _ = reply.send(self.subscribe(&topic));
            }
            Command::Unsubscribe { topic } => self.unsubscribe(&topic),
            Command::Subscribers { topic, reply } => {
                let _ = reply.send(self.subscribers(&topic));
            }
            Command::Disconnect { peer, reply } => {
                let _ = self.swarm.disconnect_peer_id(peer);
                let _ = reply.send(());
            }
            Command::Ban { peer, duration, reply } => {
                self.ban(peer, duration);
                let _ = reply.send(());
            }
            Command::Unban { peer } => {
                self.swarm.behaviour_mut().guard.unban(&peer);
                self.swarm.behaviour_mut().gossip.remove_blacklisted_peer(&peer);
            }
            Command::ConnectedPeers { reply } => {
                let mut peers: Vec<PeerId> = self.peers.keys().copied().collect();
                peers.sort_unstable();
                let _ = reply.send(peers);
            }
            Command::PeerAddress { peer, reply } => {
                let peer = self.peers.get(&peer);
                let _ = reply.send(peer.and_then(|peer| peer.connections.first()).map(|c| c.addr.clone()));
            }
            // Taken by the loop before it comes here.
            Command::Shutdown { reply } => drop(reply),
        }
    }

    fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Requests(event)) => self.on_requests_event(event),
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(event)) => self.on_gossip_event(event),
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => self.on_identify_event(event),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => self.on_ping_event(&event),
            SwarmEvent::Behaviour(BehaviourEvent::Guard(never)) => match never {},
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_connected(peer_id, connection_id, &endpoint)
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                tracing::debug!(peer = %peer_id, ?cause, "connection closed");
                self.on_closed(peer_id, connection_id);
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), connection_id, error } => {
                self.on_dial_failed(peer, connection_id, error)
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                tracing::debug!(from = %send_back_addr, %error, "inbound connection failed")
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                self.listening.send_modify(|addrs| {
                    if !addrs.contains(&address) {
                        addrs.push(address.clone());
                    }
                });
                self.events.keep(Event::Listening { addr: address });
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => self.on_listener_gone(vec![address]),
            SwarmEvent::ListenerClosed { addresses, listener_id, reason } => {
                if let Err(error) = reason {
                    tracing::warn!(%error, "a listener failed");
                }
                self.listeners.remove(&listener_id);
                self.on_listener_gone(addresses);
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "a listener reports an error");
            }
            _ => {}
        }
    }

    fn on_listener_gone(&mut self, gone: Vec<Multiaddr>) {
        self.listening.send_modify(|addrs| addrs.retain(|addr| !gone.contains(addr)));
        for addr in gone {
            self.events.keep(Event::ListenerClosed { addr });
        }
    }

    fn on_connected(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let addr = match endpoint {
            ConnectedPoint::Dialer { address, .. } => {
                let plain = dialable(&peer, address);
                if let Some(addr) = &plain {
                    self.book.prefer(peer, addr.clone());
                }
                plain.unwrap_or_else(|| address.clone())
            }
            ConnectedPoint::Listener { send_back_addr, .. } => send_back_addr.clone(),
        };
        tracing::debug!(%peer, %addr, "connection established");
        let known = self.peers.entry(peer).or_insert_with(|| Peer { connections: Vec::new() });
        let first = known.connections.is_empty();
        known.connections.push(Connection { id, addr: addr.clone(), alive_at: Instant::now(), answers_pings: true });
        if first {
            self.events.keep(Event::PeerConnected { peer, addr });
        }
        self.finish_dial(peer, Ok(()));
        self.send_waiting(peer);
    }

    fn on_closed(&mut self, peer: PeerId, id: ConnectionId) {
        let Some(known) = self.peers.get_mut(&peer) else {
            return;
        };
        let Some(at) = known.connections.iter().position(|c| c.id == id) else {
            return;
        };
        let Connection { addr, .. } = known.connections.remove(at);
        if known.connections.is_empty() {
            self.peers.remove(&peer);
            self.forget_inbound_of(&peer);
            self.events.keep(Event::PeerDisconnected { peer, addr });
            // What was not sent yet is tried over a new connection.
            self.reconnect(peer);
        }
    }

    fn on_identify_event(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, info, .. } = event else {
            return;
        };
        let Some(peer) = self.peers.get(&peer_id) else {
            return;
        };
        // A peer may say on which port it listens, not whose host to dial: an
        // address counts only where the peer has been seen itself.
        let seen: Vec<_> = peer.connections.iter().filter_map(|c| ip_of(&c.addr)).collect();
        for claimed in info.listen_addrs.iter().take(CLAIMED_ADDRESSES) {
            let Some(addr) = dialable(&peer_id, claimed) else {
                continue;
            };
            if ip_of(&addr).is_some_and(|ip| seen.contains(&ip)) {
                self.book.learn(peer_id, addr);
            }
        }
    }

    fn on_ping_event(&mut self, event: &ping::Event) {
        let Some(peer) = self.peers.get_mut(&event.peer) else {
            return;
        };
        let mut connections = peer.connections.iter_mut();
        let Some(connection) = connections.find(|c| c.id == event.connection) else {
            return;
        };
        match &event.result {
            Ok(_) => connection.alive_at = Instant::now(),
            Err(ping::Failure::Unsupported) => connection.answers_pings = false,
            // A failure alone is no death; silence is, see `close_dead`.
            Err(failure) => tracing::debug!(peer = %event.peer, %failure, "a ping failed"),
        }
    }

    /// Closes connections that have answered no ping for too long. The time is
    /// kept here because the ping behaviour passes over the first failure and
    /// waits longer for a stream than for an answer.
    fn close_dead(&mut self, now: Instant) {
        let silence = self.config.ping_timeout.saturating_mul(2);
        let silence = silence.saturating_add(self.config.ping_interval);
        for (peer, known) in &self.peers {
            for connection in &known.connections {
                let silent = now.saturating_duration_since(connection.alive_at);
                if connection.answers_pings && silent > silence {
                    tracing::debug!(%peer, ?silent, "a connection is dead");
                    self.swarm.close_connection(connection.id);
                }
            }
        }
    }

    fn on_tick(&mut self) {
        let now = Instant::now();
        for peer in self.swarm.behaviour_mut().guard.sweep(now) {
            self.swarm.behaviour_mut().gossip.remove_blacklisted_peer(&peer);
        }
        self.meters.retain(|_, meters| !meters.is_rested(now));
        self.forget_abandoned();
        self.close_dead(now);
    }

    /// The meters of a peer. When there are too many, those of a peer that is
    /// not connected make room.
    fn meters(&mut self, peer: PeerId, now: Instant) -> &mut Meters {
        if self.meters.len() >= self.config.limits.known_peers && !self.meters.contains_key(&peer) {
            self.meters.retain(|_, meters| !meters.is_rested(now));
            let absent = |other: &&PeerId| !self.peers.contains_key(*other);
            let absent = self.meters.keys().find(absent).copied();
            if let Some(absent) = absent
                && self.meters.len() >= self.config.limits.known_peers
            {
                self.meters.remove(&absent);
            }
        }
        self.meters.entry(peer).or_insert_with(|| Meters::new(now))
    }

    /// Counts something under one of a peer's rates. Too much of it is an
    /// excess; too many excesses are a ban.
    fn admit(&mut self, peer: PeerId, rate: Rate, which: fn(&mut Meters) -> &mut Meter) -> bool {
        let now = Instant::now();
        let excesses = self.config.limits.excesses;
        let meters = self.meters(peer, now);
        if which(meters).take(rate, now) {
            return true;
        }
        if !meters.excesses.take(excesses, now) {
            tracing::info!(%peer, "banned for flooding");
            self.ban(peer, self.config.limits.ban);
        }
        false
    }

    /// Ends the connections of a peer that broke the protocol; the burst of
    /// `limits.violations` used up, it is banned.
    fn on_violation(&mut self, peer: PeerId) {
        let now = Instant::now();
        let rate = self.config.limits.violations;
        if self.meters(peer, now).violations.take(rate, now) {
            let _ = self.swarm.disconnect_peer_id(peer);
        } else {
            tracing::info!(%peer, "banned for breaking the protocol");
            self.ban(peer, self.config.limits.ban);
        }
    }

    fn ban(&mut self, peer: PeerId, duration: Duration) {
        if peer == *self.swarm.local_peer_id() {
            return;
        }
        let now = Instant::now();
        let until = now.checked_add(duration.min(LONGEST_BAN)).unwrap_or(now);
        let behaviour = self.swarm.behaviour_mut();
        if let Some(evicted) = behaviour.guard.ban(peer, until) {
            behaviour.gossip.remove_blacklisted_peer(&evicted);
        }
        behaviour.gossip.blacklist_peer(&peer);
        self.book.forget(&peer);
        let _ = self.swarm.disconnect_peer_id(peer);
    }

    fn is_banned(&self, peer: &PeerId) -> bool {
        let guard = &self.swarm.behaviour().guard;
        guard.is_banned(peer, Instant::now())
    }
}

/// Refuses a port that somebody listens on. The transport shares listening ports
/// among sockets of one user, so two nodes could start on one port and each get
/// some of the connections.
fn check_free(addr: &Multiaddr) -> io::Result<()> {
    let mut parts = addr.iter();
    let (Some(ip), Some(Protocol::Tcp(port))) = (ip_of(addr), parts.nth(1)) else {
        // Not TCP over IP: the transport says so itself.
        return Ok(());
    };
    if port == 0 {
        return Ok(());
    }
    std::net::TcpListener::bind((ip, port)).map(drop)
}
