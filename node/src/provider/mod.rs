//! A provider: takes orders, computes, attests, and collects.
//!
//! One task owns all state. Whatever takes time (fetching, compiling, running,
//! the chain) happens in tasks of its own that report back as [`Done`]. Every
//! decision about money or truth is a machine's; this is the shell that carries
//! out what they say, in their order.

mod accept;
mod exposure;
mod market;
mod money;
mod orders;

use crate::{
    context::{Context, NodeConfig, NodeError, now},
    event::{Event, Events},
    peer::Peer,
    policy::ProviderTerms,
    serve::{answer, refuse},
    snapshot,
};
use accept::Accepted;
pub use accept::CLOCK_SLACK_SECS;
use market::{AgreementRecord, OwnOffer};
pub(crate) use market::{agreed_payers, exposure_limits};
pub(crate) use money::ChannelRecord;
use money::Look;
pub(crate) use orders::OrderRecord;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use symbolon_executor::CompiledModule;
use symbolon_net::{EventReceiver, Identity, PeerId, Responder};
use symbolon_primitives::{
    Address, AgreementDigest, Amount, ContentRef, DemandDigest, Lane, OfferDigest, OrderDigest, Signer, Timestamp,
    UnitResult,
};
use symbolon_settlement::{ClaimPolicy, Depth, TxConfig, TxError, VaultView};
use symbolon_store::StoreError;
use symbolon_wire::{self as wire, Gossip, MAX_GOSSIP, MAX_REQUEST, RefusalCode, Request, Response};
use tokio::{
    sync::{Semaphore, mpsc},
    time::MissedTickBehavior,
};

/// Reports of background tasks that may wait.
const REPORTS: usize = 256;
/// How often timers are looked at.
const TICK: Duration = Duration::from_millis(200);
/// Orders being prepared at once.
const PREPARING: usize = 16;
/// Requestors dialled at once because of their demands.
const DIALLING: usize = 16;
/// Orders known at once, and of one payer key.
const MAX_ORDERS: usize = 1024;
const MAX_PAYER_ORDERS: usize = 64;
/// Compiled modules kept.
const MODULES: usize = 8;

/// What a provider offers and how it is set up.
#[derive(Clone, Debug)]
pub struct ProviderConfig {
    /// Folder, addresses, times.
    pub node: NodeConfig,
    /// Its terms.
    pub terms: ProviderTerms,
    /// The stake it keeps in the vault.
    pub stake: Amount,
    /// The least stake of an order's other members.
    pub least_member_stake: Amount,
    /// The exposure to a payer key that has paid nothing yet (SYM-27).
    pub unproven_limit: Amount,
    /// When vouchers are claimed.
    pub claims: ClaimPolicy,
    /// Base units of the token that one ether is worth, for weighing claims against their gas.
    pub base_per_ether: Amount,
    /// Orders computed at once.
    pub cores: usize,
    /// Watchtowers that collect what this provider is owed while it is away.
    pub watchtowers: Vec<Peer>,
    /// How it misbehaves, in demos and tests.
    pub fault: Option<Fault>,
}

/// Misbehaviour on purpose, so that demos and tests can show what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Flips a byte in what it returns.
    FlipByte,
    /// Kills its own process in the middle of its work.
    Die,
}

/// What background tasks report.
enum Done {
    /// An order's checks, inputs and module; whoever asked still waits.
    Accepted(Box<Accepted>),
    /// A module is compiled, or not.
    Module {
        agreement: AgreementDigest,
        module: ContentRef,
        compiled: Result<CompiledModule, String>,
        reply: Responder,
    },
    /// An order's work is done.
    Computed { order: OrderDigest, work: Result<Computed, String> },
    /// What the chain says about channels and settled orders.
    Polled(Box<money::Poll>),
    /// A claim or a settlement has ended.
    Sent(money::Sent),
    /// The stake is in the vault and the peer registered, or not.
    Staked(Result<(), NodeError>),
}

/// What an order's work came to.
pub(crate) struct Computed {
    pub(crate) units: Vec<UnitResult>,
    /// Everything the payer may fetch once it has paid.
    pub(crate) outputs: BTreeSet<ContentRef>,
}

/// A fault of the disk, what becomes of it, and what to do about it: until then it claims, as the hints say.
fn with_hint(fault: &StoreError, consequence: &str) -> String {
    let hint = fault.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
    format!("{fault}; {consequence}{hint}")
}

/// A running provider.
pub struct Provider {
    context: Arc<Context>,
    config: ProviderConfig,
    offer: Option<OwnOffer>,
    offers: BTreeMap<OfferDigest, OwnOffer>,
    demands: BTreeMap<DemandDigest, Peer>,
    dialling: Arc<Semaphore>,
    /// The disk failed: nothing is signed any more, what is owed is still collected (N12).
    collect_only: bool,
    /// Staked and registered: before that nothing is offered.
    staked: bool,
    agreements: BTreeMap<AgreementDigest, AgreementRecord>,
    channels: BTreeMap<(Address, Lane), ChannelRecord>,
    /// Lanes that were asked about and never had an order.
    unseen: BTreeMap<(Address, Lane), ChannelRecord>,
    orders: BTreeMap<OrderDigest, OrderRecord>,
    timers: BTreeMap<OrderDigest, Timestamp>,
    /// When orders were last settled by a provider that only collects.
    settled_at: BTreeMap<OrderDigest, Timestamp>,
    preparing: BTreeSet<OrderDigest>,
    fetching_modules: BTreeSet<(AgreementDigest, ContentRef)>,
    modules: BTreeMap<ContentRef, CompiledModule>,
    computing: BTreeSet<OrderDigest>,
    running: usize,
    queue: VecDeque<OrderDigest>,
    chain: money::ChainState,
    reports: mpsc::Sender<Done>,
    incoming: mpsc::Receiver<Done>,
}

impl Provider {
    /// Opens the folder and starts listening. It stakes and registers while it runs: what earlier orders need is done
    /// meanwhile, however long that takes.
    ///
    /// # Errors
    /// [`NodeError`] naming what does not start.
    pub async fn start(
        config: ProviderConfig,
        key: symbolon_primitives::Key,
        identity: Identity,
        vault: VaultView,
        tx_config: TxConfig,
        events: Events,
    ) -> Result<(Self, EventReceiver), NodeError> {
        let peer_signature = identity.sign(&crate::registry::statement(vault.domain(), key.address()));
        let (context, net) =
            Context::start(&config.node, key, identity, vault, tx_config, events, config.cores.max(1)).await?;
        let stored = |record: OrderRecord| (record.digest(), record);
        let orders: BTreeMap<_, _> = snapshot::all(&context.store)?.into_iter().map(stored).collect();
        let agreements: Vec<AgreementRecord> = snapshot::all(&context.store)?;
        let channels: Vec<ChannelRecord> = snapshot::all(&context.store)?;
        let (reports, incoming) = mpsc::channel(REPORTS);
        let head = context.vault.chain().anchor(Depth::Blocks(config.terms.timing.depth.into())).await?;
        // Known before the first claim: it waits for no look at the chain.
        let wei_per_gas = context.vault.chain().wei_per_gas(&head).await;
        let mut provider = Self {
            offer: None,
            offers: BTreeMap::new(),
            demands: BTreeMap::new(),
            dialling: Arc::new(Semaphore::new(DIALLING)),
            collect_only: context.store.is_read_only(),
            staked: false,
            agreements: agreements.into_iter().map(|record| (record.digest(&context.domain), record)).collect(),
            channels: channels.into_iter().map(|record| (record.id(), record)).collect(),
            unseen: BTreeMap::new(),
            timers: BTreeMap::new(),
            settled_at: BTreeMap::new(),
            preparing: BTreeSet::new(),
            fetching_modules: BTreeSet::new(),
            modules: BTreeMap::new(),
            computing: BTreeSet::new(),
            running: 0,
            queue: VecDeque::new(),
            chain: money::ChainState::starting_at(head, wei_per_gas, &orders),
            orders,
            reports,
            incoming,
            config,
            context,
        };
        if let Some(fault) = provider.context.store.closed_by() {
            let message = with_hint(fault, "nothing is signed and no order is taken");
            provider.context.events.emit(Event::Warning { message });
        } else {
            let resumed = provider.resume().await;
            provider.or_only_collect(resumed)?;
            if !provider.collect_only {
                provider.hand_over_everything();
                provider.stake_and_register(peer_signature);
            }
        }
        Ok((provider, net))
    }

    /// Works until `stop` resolves or the network is gone.
    ///
    /// # Errors
    /// [`NodeError`] of everything but the disk: a provider that cannot write signs nothing, and goes on collecting (N12).
    pub async fn run(mut self, mut net: EventReceiver, stop: impl Future<Output = ()>) -> Result<(), NodeError> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut poll = tokio::time::interval(Duration::from_millis(self.context.timing.poll_millis));
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(stop);
        loop {
            let went = tokio::select! {
                () = &mut stop => break,
                event = net.recv() => match event {
                    Some(event) => self.on_network(event).await,
                    None => return Err(NodeError::NetworkGone),
                },
                Some(done) = self.incoming.recv() => self.on_done(done).await,
                _ = tick.tick() => self.on_tick().await,
                _ = poll.tick() => {
                    self.poll_chain();
                    Ok(())
                }
            };
            self.or_only_collect(went)?;
        }
        self.context.client.shutdown().await;
        self.context.store.clone().close().await;
        Ok(())
    }

    /// From a fault of the disk on it only collects, and says so once; every other error is one.
    fn or_only_collect(&mut self, went: Result<(), NodeError>) -> Result<(), NodeError> {
        let error = match went {
            Err(NodeError::Store(error) | NodeError::Tx(TxError::Store(error))) if error.is_disk() => error,
            other => return other,
        };
        if !self.collect_only {
            // Of the writes that failed with the first, this may be another.
            let fault = self.context.store.closed_by().unwrap_or(&error);
            let message = with_hint(fault, "nothing is signed any more");
            self.context.events.emit(Event::Warning { message });
        }
        self.collect_only = true;
        Ok(())
    }

    fn say_ready(&self) {
        self.context.events.emit(Event::ProviderReady {
            address: self.me(),
            peer: self.context.client.peer_id().to_string(),
            listen: self.context.client.listen_addrs().iter().map(ToString::to_string).collect(),
        });
    }

    fn me(&self) -> Address {
        self.context.key.address()
    }

    async fn on_network(&mut self, event: symbolon_net::Event) -> Result<(), NodeError> {
        match event {
            symbolon_net::Event::Request { peer, bytes, reply } => match wire::decode(&bytes, MAX_REQUEST) {
                Ok(request) => self.on_request(peer, request, reply).await?,
                Err(error) => refuse(reply, RefusalCode::Never, error.to_string()),
            },
            symbolon_net::Event::Gossip { bytes, accept, .. } => match wire::decode(&bytes, MAX_GOSSIP) {
                Ok(Gossip::Demand(demand)) => self.on_demand(&demand, accept),
                // Another provider's offer: passed on if it is sound.
                Ok(Gossip::Offer(offer)) => match crate::listing::read_offer(&offer, &self.context.domain, now()) {
                    Ok(_) => accept.accept(),
                    Err(_) => accept.ignore(),
                },
                Err(_) => accept.reject(),
            },
            _ => {}
        }
        Ok(())
    }

    async fn on_request(&mut self, peer: PeerId, request: Request, reply: Responder) -> Result<(), NodeError> {
        if self.collect_only && !matches!(request, Request::Chunks { .. }) {
            refuse(reply, RefusalCode::Later, "this provider's disk has failed");
            return Ok(());
        }
        match request {
            Request::Propose { demand, offer, demand_body, offer_body } => {
                answer(reply, &self.on_propose(peer, &demand, offer, demand_body, offer_body));
            }
            Request::Agree { terms, payer_signature } => {
                let response = self.on_agree(peer, terms, payer_signature).await?;
                answer(reply, &response);
            }
            Request::Prepare { agreement, module } => self.on_prepare(peer, agreement, module, reply),
            Request::Order(message) => self.on_order(peer, message, false, reply).await?,
            Request::CallReserve(message) => self.on_order(peer, message, true, reply).await?,
            Request::Commit(_) | Request::Answer(_) | Request::Results(_) => {
                let response = self.on_member_message(peer, &request).await?;
                answer(reply, &response);
            }
            Request::Voucher { order, voucher, signature } => {
                let response = self.on_voucher(order, voucher, signature).await?;
                answer(reply, &response);
            }
            Request::GiveUp { order } => {
                let response = self.on_give_up(peer, order).await?;
                answer(reply, &response);
            }
            Request::Release { payer, lane, epoch } => {
                let response = self.on_release(peer, payer, lane, epoch).await?;
                answer(reply, &response);
            }
            Request::Chunks { right, root, addresses } => self.on_chunks(peer, right, root, addresses, reply),
            Request::Watch { .. } => refuse(reply, RefusalCode::Never, "a provider, no watchtower"),
        }
        Ok(())
    }

    async fn on_done(&mut self, done: Done) -> Result<(), NodeError> {
        match done {
            Done::Accepted(accepted) => self.on_accepted(*accepted).await,
            Done::Module { agreement, module, compiled, reply } => {
                self.fetching_modules.remove(&(agreement, module));
                match compiled {
                    Ok(compiled) => {
                        self.keep_module(module, compiled);
                        answer(reply, &Response::Done);
                    }
                    Err(reason) => refuse(reply, RefusalCode::Never, reason),
                }
                Ok(())
            }
            Done::Computed { order, work } => self.on_computed(order, work).await,
            Done::Polled(poll) => self.on_polled(*poll).await,
            Done::Sent(sent) => self.on_sent(sent).await,
            Done::Staked(staked) => {
                staked?;
                if self.collect_only {
                    return Ok(());
                }
                self.staked = true;
                self.look_for_unknown_channels();
                self.say_ready();
                Ok(())
            }
        }
    }

    async fn on_tick(&mut self) -> Result<(), NodeError> {
        let time = now();
        self.claim_what_is_worth_it(time);
        if self.collect_only {
            self.settle_what_is_due(time);
            return Ok(());
        }
        let due: Vec<OrderDigest> =
            self.timers.iter().filter(|(_, at)| **at <= time).map(|(order, _)| *order).collect();
        for order in due {
            self.timers.remove(&order);
            self.feed(order, symbolon_quorum::ReplicaInput::Timer).await?;
        }
        self.give_up_late(time).await?;
        self.expire_orders(time).await?;
        if self.staked {
            self.republish(time);
        }
        Ok(())
    }

    fn keep_module(&mut self, module: ContentRef, compiled: CompiledModule) {
        while self.modules.len() >= MODULES {
            self.modules.pop_first();
        }
        self.modules.insert(module, compiled);
    }
}
