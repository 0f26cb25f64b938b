//! A requestor: runs one job from budget to outputs.
//!
//! As at the provider, one task owns all state, whatever takes time reports
//! back as [`Done`], and every decision about money or truth is a machine's.

mod job;
mod lost;
mod market;
mod money;
mod orders;
mod outputs;
mod plan;

use crate::{
    context::{Context, NodeConfig, NodeError, now},
    event::{Event, Events, JobReport},
    listing::UseError,
    policy::RequestorTerms,
    serve::{answer, refuse},
};
use job::JobRecord;
pub use job::{JobEntry, JobId, JobOrder, JobState, UnfinishedJob, forget_job, known_jobs, unfinished_jobs};
use market::Partner;
pub(crate) use money::PayerRecord;
pub(crate) use orders::RunningOrder;
use outputs::Fetched;
pub use plan::{DrawRules, batches};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Range,
    sync::Arc,
    time::Duration,
};
use symbolon_executor::Outcome;
use symbolon_market::Grouping;
use symbolon_net::{EventReceiver, Identity, PeerId, Responder};
use symbolon_primitives::{
    Address, Amount, AmountError, ContentRef, Input, Key, Leaf, Level, Limits, OrderDigest, Signer, Timestamp, Workunit,
};
use symbolon_settlement::{ChainError, TxConfig, TxError, VaultView};
use symbolon_store::StoreError;
use symbolon_wire::{self as wire, Gossip, MAX_GOSSIP, MAX_REQUEST, RefusalCode, Request, Right};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, MissedTickBehavior},
};

/// Reports of background tasks that may wait.
const REPORTS: usize = 256;
/// Offers and demands that may wait while providers are looked for.
const HEARD: usize = 256;
/// How often timers are looked at.
const TICK: Duration = Duration::from_millis(100);
/// Time for idle reserves to give up at a job's end.
const GIVE_UPS: Duration = Duration::from_secs(3);
/// Time for signing out.
const CLOSE: Duration = Duration::from_secs(90);
/// How long providers that are slow to prepare are waited for once there are enough.
const PREPARE_GRACE: Duration = Duration::from_secs(15);
/// How long after a search for providers that failed the next one begins, while orders are out.
const SEARCH_AGAIN: Duration = Duration::from_secs(15);
/// Times a batch is given out before a run gives up on it. Who asks for the job again has it tried again.
const ATTEMPTS: u32 = 5;

/// One part of a job.
#[derive(Clone, Debug)]
pub struct UnitSpec {
    /// The whole argv, the program's name first.
    pub args: Vec<String>,
    /// Environment.
    pub env: Vec<(String, String)>,
    /// Input files by path.
    pub inputs: BTreeMap<String, Vec<u8>>,
    /// The most fuel it may burn.
    pub max_fuel: u64,
}

/// A job.
#[derive(Clone, Debug)]
pub struct JobSpec {
    /// The WebAssembly module.
    pub module: Vec<u8>,
    /// Its parts, in order.
    pub units: Vec<UnitSpec>,
    /// How the module is run.
    pub level: Level,
    /// What each part may use, beside fuel.
    pub limits: Limits,
    /// Parts given to the same replicas at once.
    pub batch: usize,
    /// How members are drawn.
    pub rules: DrawRules,
    /// What is signed with providers.
    pub terms: RequestorTerms,
    /// The least stake that makes an offer count, in base units.
    pub min_stake: Amount,
    /// The most that it spends, what is set aside included, in base units.
    pub budget: Amount,
    /// Time for the whole job.
    pub timeout: Duration,
    /// Offers enough to stop waiting for more.
    pub enough_offers: usize,
    /// The longest wait for offers.
    pub offer_patience: Duration,
    /// Sign no vouchers: for showing what becomes of a silent requestor.
    pub withhold_vouchers: bool,
    /// How it was asked for, so that people can ask again when a run was cut off.
    pub command: Vec<String>,
}

/// What one part came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitOutput {
    /// How it ended.
    pub outcome: Outcome,
    /// Fuel it was billed for.
    pub fuel: u64,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Files by path.
    pub outputs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Why a job did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// The node itself.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// An own listing that cannot be written.
    #[error("own listing: {0}")]
    Listing(#[from] UseError),
    /// The module does not fit the profile.
    #[error("the module does not fit the profile: {0}")]
    Module(symbolon_executor::Refused),
    /// A part that no provider would take.
    #[error("part {part} is not sound: arguments, environment, paths or fuel are out of bounds")]
    BadUnit {
        /// Which, from 1.
        part: usize,
    },
    /// Nothing to do.
    #[error("the job has no parts")]
    NoUnits,
    /// Nobody offers what is wanted.
    #[error("no offers at or below the price")]
    NoOffers,
    /// Not enough providers for the redundancy asked.
    #[error("{have} providers agreed, an order needs {need}")]
    TooFewProviders {
        /// How many there are.
        have: usize,
        /// How many are needed.
        need: usize,
    },
    /// The budget does not cover one order by the cheapest providers.
    #[error("the budget is {have} base units, the cheapest offers need {need}")]
    BudgetTooSmall {
        /// The budget.
        have: Amount,
        /// What is needed.
        need: Amount,
    },
    /// The folder has an unfinished job that is another one.
    #[error("this data folder has an unfinished job that is not this one: {differences}")]
    Unfinished {
        /// The unfinished job.
        job: JobId,
        /// How it was asked for.
        command: Vec<String>,
        /// In what the two differ.
        differences: String,
    },
    /// Parts that no quorum agreed on, however often they were given out.
    #[error("no quorum for {parts} parts after {ATTEMPTS} attempts")]
    Undecided {
        /// How many parts.
        parts: usize,
    },
    /// The job's time is over.
    #[error("{done} of {all} parts were done when the time was over")]
    TimedOut {
        /// Parts done.
        done: usize,
        /// Parts in all.
        all: usize,
    },
    /// A paid result whose bytes nobody serves.
    #[error("the outputs of order {order} cannot be fetched from any paid replica: {reason}")]
    OutputsLost {
        /// The order.
        order: OrderDigest,
        /// What the last one said.
        reason: String,
    },
}

macro_rules! through_node {
    ($($error:ty),*) => {$(
        impl From<$error> for JobError {
            fn from(error: $error) -> Self {
                Self::Node(error.into())
            }
        }
    )*};
}
through_node!(ChainError, TxError, StoreError, AmountError);

/// What background tasks report.
enum Done {
    /// Money is in the vault, so much of it new.
    Deposited { deposited: Amount, balance: Amount },
    /// Agreements are signed with enough providers, or not.
    Found(Result<Vec<Partner>, JobError>),
    /// A module is ready at a provider, or not.
    Prepared { provider: Address, ready: Result<(), String> },
    /// A member took or refused an order.
    Taken { order: OrderDigest, provider: Address, taken: Result<(), (bool, String)> },
    /// A voucher arrived, or not.
    Delivered { order: OrderDigest, provider: Address, delivered: Result<(), String> },
    /// A reserve gave an order up in writing, or not.
    GaveUp { order: OrderDigest, provider: Address, signed: Option<symbolon_primitives::Signature> },
    /// Outputs arrived, or not.
    Fetched { order: OrderDigest, from: Address, fetched: Result<Vec<Fetched>, String> },
    /// Earmarks are open at depth.
    Earmarked(Result<money::Opened, NodeError>),
    /// The channels of an order's members, as they are now.
    Looked { order: OrderDigest, seen: Result<money::Opened, NodeError> },
}

/// A requestor with one job.
pub struct Requestor {
    context: Arc<Context>,
    spec: JobSpec,
    job: JobRecord,
    units: Vec<Workunit>,
    module: ContentRef,
    partners: BTreeMap<Address, Partner>,
    struck: BTreeSet<Address>,
    channels: BTreeMap<(Address, u16), PayerRecord>,
    /// The lanes on which this store may promise.
    clear: Range<u16>,
    orders: BTreeMap<OrderDigest, RunningOrder>,
    timers: BTreeMap<OrderDigest, Timestamp>,
    pending: VecDeque<(Vec<usize>, u32)>,
    /// How often this run gave each batch out, by its first part.
    given_out: BTreeMap<usize, u32>,
    outputs: BTreeMap<usize, UnitOutput>,
    prepared: BTreeMap<Address, bool>,
    /// Whether providers were found in this run. One that goes on may have to look for none.
    engaged: bool,
    /// Where gossip goes while providers are looked for.
    search: Option<mpsc::Sender<symbolon_net::Event>>,
    /// When the next search may begin, after one that failed.
    search_from: Option<Instant>,
    /// Since when there have been enough providers ready.
    ready_since: Option<Instant>,
    draws: u64,
    opening: bool,
    first_wave: usize,
    earmarked: Amount,
    /// Nothing is signed: the endpoints do not tell the chain alike.
    halted: bool,
    /// Vouchers that wait for that.
    unpaid: Vec<(OrderDigest, Leaf, u64)>,
    report: JobReport,
    reports: mpsc::Sender<Done>,
    incoming: mpsc::Receiver<Done>,
}

impl Requestor {
    /// Runs a job from deposit to outputs, or goes on with it where an earlier
    /// run was cut off. Answers each part's output in order, and the money.
    /// Until [`forget_job`] is told that the outputs are where they belong, the
    /// same job answers them again and pays nothing for it, except what
    /// [`JobReport::unpaid`] says is still owed.
    ///
    /// # Errors
    /// [`JobError`]. Whatever happens, earmarks come back: by a release the
    /// payees sign, or after the channels' expiry.
    pub async fn run(
        config: NodeConfig,
        key: Key,
        identity: Identity,
        vault: VaultView,
        tx_config: TxConfig,
        events: Events,
        spec: JobSpec,
    ) -> Result<(Vec<UnitOutput>, JobReport), JobError> {
        let (context, mut net) = Context::start(&config, key, identity, vault, tx_config, events, 0).await?;
        let done = Self::job(&context, &mut net, spec).await;
        context.client.shutdown().await;
        context.store.clone().close().await;
        done
    }

    async fn job(
        context: &Arc<Context>,
        net: &mut EventReceiver,
        spec: JobSpec,
    ) -> Result<(Vec<UnitOutput>, JobReport), JobError> {
        // Refuse what cannot work before any money moves.
        if let Some(fault) = context.store.closed_by() {
            return Err(NodeError::Store(fault.clone()).into());
        }
        context.engine.compile(&spec.module).map_err(JobError::Module)?;
        let (module, units) = cut(context, &spec)?;
        let fresh = JobRecord::new(context, &spec, module, &units);
        let earlier = fresh.earlier(&context.store)?;
        context.client.subscribe(wire::MARKET_TOPIC).await.map_err(NodeError::from)?;
        // What an earlier run sent is seen through before anything is planned on what the vault holds.
        context.settle_earlier().await;
        let (reports, incoming) = mpsc::channel(REPORTS);
        let goes_on = earlier.is_some();
        let mut requestor = Self {
            context: Arc::clone(context),
            job: earlier.unwrap_or(fresh),
            module,
            partners: BTreeMap::new(),
            struck: BTreeSet::new(),
            channels: BTreeMap::new(),
            clear: 0..u16::MAX,
            orders: BTreeMap::new(),
            timers: BTreeMap::new(),
            pending: VecDeque::new(),
            given_out: BTreeMap::new(),
            outputs: BTreeMap::new(),
            prepared: BTreeMap::new(),
            engaged: false,
            search: None,
            search_from: None,
            ready_since: None,
            draws: 0,
            opening: false,
            first_wave: 0,
            earmarked: Amount::ZERO,
            halted: false,
            unpaid: Vec::new(),
            report: JobReport::default(),
            reports,
            incoming,
            units,
            spec,
        };
        // Ends with this.
        let mut watching = JoinSet::new();
        watching.spawn(money::watch_head(Arc::clone(context)));
        requestor.report.job = requestor.job.id();
        if goes_on {
            // What this run cannot take up it leaves as it is, money included: another one goes on with it.
            requestor.recover().await?;
        }
        let mut done = if goes_on { Ok(()) } else { requestor.begin(net).await };
        let is_bare = requestor.orders.is_empty() && requestor.channels.is_empty() && requestor.earmarked.is_zero();
        if done.is_err() && is_bare {
            // Nothing is earmarked yet: what was deposited goes back at once.
            if let Err(stuck) = money::pay_out_free(context).await {
                tracing::warn!(%stuck, "the deposit stays in the vault");
            }
        } else {
            if done.is_ok() {
                done = requestor.drive(net).await;
            }
            // Earmarks come back whatever became of the job, and whatever becomes of
            // this: what is paid for is not thrown away over it.
            match tokio::time::timeout(CLOSE, requestor.close(net)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => requestor.warn(format!("some earmarks wait for their expiry: {error}")),
                Err(_) => requestor.warn("some earmarks wait for their expiry: no answer in time".to_owned()),
            }
        }
        if !requestor.unpaid.is_empty() {
            let unpaid = requestor.unpaid.len();
            requestor.warn(format!("{unpaid} vouchers are owed and not signed, because the chain cannot be told"));
        }
        if done.is_err() && requestor.orders.is_empty() {
            // Nothing went out that another run could go on with. What it earmarked is still its own.
            let mut writes = vec![requestor.job.forget()];
            if !requestor.earmarked.is_zero() {
                // Without it only the ledger lacks a name; why the job failed is what its owner has to hear.
                writes.extend(requestor.job.ended());
            }
            if let Err(error) = context.store.write(writes).await {
                tracing::warn!(%error, "a job that came to nothing is not forgotten");
            }
        }
        done?;
        requestor.finish()
    }

    /// A job that has not begun yet: finds its providers, and only then counts as begun.
    async fn begin(&mut self, net: &mut EventReceiver) -> Result<(), JobError> {
        self.pending = batches(self.units.len(), self.spec.batch).into_iter().map(|batch| (batch, 0)).collect();
        self.engage()?;
        while !self.engaged {
            tokio::select! {
                event = net.recv() => match event {
                    Some(event) => self.on_network(event).await?,
                    None => return Err(NodeError::NetworkGone.into()),
                },
                Some(done) = self.incoming.recv() => self.on_done(done).await?,
            }
        }
        Ok(())
    }

    /// Puts money into the vault for what is still to be done, and finds providers for it. In the background: members
    /// of orders that are out are heard and paid meanwhile.
    fn engage(&mut self) -> Result<(), JobError> {
        let balance = self.left()?;
        let (sender, mut heard) = mpsc::channel(HEARD);
        self.search = Some(sender);
        let search = market::Search {
            terms: self.spec.terms,
            owner: self.context.key.address(),
            redundancy: self.spec.rules.redundancy,
            min_stake: self.spec.min_stake,
            enough: self.spec.enough_offers,
            patience: self.spec.offer_patience,
        };
        let (context, reports, rules) = (Arc::clone(&self.context), self.reports.clone(), self.spec.rules);
        tokio::spawn(async move {
            let me = context.key.address();
            // The loop is gone only when the job is over.
            let found = match crate::funds::ensure_balance(&context.vault, &context.txs, me, balance).await {
                Ok(deposited) => {
                    let _ = reports.send(Done::Deposited { deposited, balance }).await;
                    Self::find_partners(&context, &mut heard, &search, &rules).await
                }
                Err(error) => Err(error.into()),
            };
            let _ = reports.send(Done::Found(found)).await;
        });
        Ok(())
    }

    fn on_deposited(&mut self, deposited: Amount, balance: Amount) -> Result<(), JobError> {
        self.report.deposited = self.report.deposited.checked_add(deposited)?;
        self.job.add_deposit(deposited)?;
        self.context.events.emit(Event::Deposited { balance });
        Ok(())
    }

    /// The job counts as begun, and sets money aside for whom it found. Where the search failed, orders that are out come
    /// first: they were given out for money.
    async fn on_found(&mut self, found: Result<Vec<Partner>, JobError>) -> Result<(), JobError> {
        if self.search.take().is_none() {
            // Nobody is looked for any more: the job is over.
            return Ok(());
        }
        let found = match found {
            Err(why) if self.orders.values().any(|running| !running.done) => {
                if self.search_from.is_none() {
                    self.warn(format!("orders that are out are waited for, and nothing new is given out: {why}"));
                }
                self.search_from = Some(Instant::now() + SEARCH_AGAIN);
                return Ok(());
            }
            found => found?,
        };
        for partner in found {
            let terms = &partner.agreement.terms;
            let part = self.report.providers.entry(partner.provider).or_default();
            (part.flat, part.rate) = (terms.flat, terms.rate);
            self.partners.insert(partner.provider, partner);
        }
        self.engaged = true;
        self.save_job().await?;
        self.open_first().await?;
        self.prepare_partners();
        Ok(())
    }

    /// Finds providers enough for an order and says what the draw risks.
    async fn find_partners(
        context: &Arc<Context>,
        heard: &mut mpsc::Receiver<symbolon_net::Event>,
        search: &market::Search,
        rules: &DrawRules,
    ) -> Result<Vec<Partner>, JobError> {
        let partners = market::find(context, heard, search).await?;
        if partners.is_empty() {
            return Err(JobError::NoOffers);
        }
        let need = rules.members();
        if partners.len() < need {
            return Err(JobError::TooFewProviders { have: partners.len(), need });
        }
        let stakes: Vec<Amount> = partners.iter().map(|partner| partner.stake).collect();
        let members = u8::try_from(need).unwrap_or(u8::MAX);
        context.events.emit(Event::DrawRisk {
            largest_staker_ppm: symbolon_market::largest_staker_quorum_chance_ppm_up(
                &stakes,
                members,
                rules.redundancy,
            ),
        });
        Ok(partners)
    }

    async fn drive(&mut self, net: &mut EventReceiver) -> Result<(), JobError> {
        let until = Instant::now() + self.spec.timeout;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.outputs.len() < self.units.len() {
            let may_search = self.search_from.is_none_or(|from| from <= Instant::now());
            if !self.engaged && self.search.is_none() && may_search && !self.pending.is_empty() {
                self.engage()?;
            }
            tokio::select! {
                event = net.recv() => match event {
                    Some(event) => self.on_network(event).await?,
                    None => return Err(NodeError::NetworkGone.into()),
                },
                Some(done) = self.incoming.recv() => self.on_done(done).await?,
                _ = tick.tick() => self.on_tick().await?,
                () = tokio::time::sleep_until(until) => {
                    return Err(JobError::TimedOut { done: self.outputs.len(), all: self.units.len() });
                }
            }
            self.assign().await?;
        }
        Ok(())
    }

    /// Signs out: waits for what must still arrive, and takes back what is left.
    async fn close(&mut self, net: &mut EventReceiver) -> Result<(), JobError> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.search = None;
        // Reserves that never ran give up in writing before their channels are asked for.
        let patience = Instant::now() + GIVE_UPS;
        while (self.waits_for_lanes() || !self.unpaid.is_empty()) && Instant::now() < patience {
            tokio::select! {
                event = net.recv() => match event {
                    Some(event) => self.on_network(event).await?,
                    None => return Err(NodeError::NetworkGone.into()),
                },
                Some(done) = self.incoming.recv() => self.on_done(done).await?,
                _ = tick.tick() => self.pay_waiting().await?,
            }
        }
        let releasing = money::release_all(
            Arc::clone(&self.context),
            self.channels.values().cloned().collect(),
            self.partners.clone(),
        );
        tokio::pin!(releasing);
        loop {
            tokio::select! {
                released = &mut releasing => {
                    let released = released?;
                    self.report.released = self.report.released.checked_add(released)?;
                    if !released.is_zero() {
                        self.job.add_released(released)?;
                        self.save_job().await?;
                        self.context.events.emit(Event::Released { amount: released });
                    }
                    return Ok(());
                }
                event = net.recv() => match event {
                    // Members may still fetch inputs and say what they have to say.
                    Some(event) => self.on_network(event).await?,
                    None => return Err(NodeError::NetworkGone.into()),
                },
                Some(done) = self.incoming.recv() => self.on_done(done).await?,
                _ = tick.tick() => self.pay_waiting().await?,
            }
        }
    }

    fn finish(mut self) -> Result<(Vec<UnitOutput>, JobReport), JobError> {
        self.add_up_orders()?;
        self.report.earmarked = self.earmarked;
        self.report.unpaid = self.unpaid.len();
        self.report.paid = Amount::checked_sum(self.report.providers.values().map(|part| part.voucher))?;
        self.context.events.emit(Event::JobDone(Box::new(self.report.clone())));
        Ok((self.outputs.into_values().collect(), self.report))
    }

    async fn on_network(&mut self, event: symbolon_net::Event) -> Result<(), JobError> {
        let event = match (&self.search, event) {
            (Some(search), event @ symbolon_net::Event::Gossip { .. }) => match search.try_send(event) {
                Ok(()) => return Ok(()),
                Err(full) => full.into_inner(),
            },
            (_, event) => event,
        };
        match event {
            symbolon_net::Event::Request { peer, bytes, reply } => match wire::decode(&bytes, MAX_REQUEST) {
                Ok(request) => self.on_request(peer, &request, reply).await?,
                Err(error) => refuse(reply, RefusalCode::Never, error.to_string()),
            },
            symbolon_net::Event::Gossip { bytes, accept, .. } => match wire::decode::<Gossip>(&bytes, MAX_GOSSIP) {
                Ok(_) => accept.accept(),
                Err(_) => accept.reject(),
            },
            _ => {}
        }
        Ok(())
    }

    async fn on_request(&mut self, peer: PeerId, request: &Request, reply: Responder) -> Result<(), JobError> {
        match request {
            Request::Commit(_) | Request::Answer(_) | Request::Results(_) => {
                let response = self.on_member_message(peer, request).await?;
                answer(reply, &response);
            }
            Request::Chunks { right, root, addresses } => {
                self.on_chunks(peer, *right, *root, addresses.clone(), reply);
            }
            _ => refuse(reply, RefusalCode::Never, "this node is a requestor"),
        }
        Ok(())
    }

    /// Module and inputs, for those who have agreed or were drawn (SYM-27).
    fn on_chunks(&self, peer: PeerId, right: Right, root: ContentRef, addresses: Vec<[u8; 32]>, reply: Responder) {
        let by_peer = |partner: &Partner| partner.peer.id == peer;
        let allowed = match right {
            Right::Agreement(digest) => {
                root == self.module
                    && self.partners.values().any(|partner| by_peer(partner) && partner.digest == digest)
            }
            Right::Order(order) => self.orders.get(&order).is_some_and(|running| {
                running.is_input(root)
                    && running.members().any(|member| running.peer_of(member).is_some_and(|known| known.id == peer))
            }),
        };
        if allowed {
            crate::serve::chunks(&self.context, root, addresses, reply);
        } else {
            refuse(reply, RefusalCode::Forbidden, "no right to this content");
        }
    }

    async fn on_tick(&mut self) -> Result<(), JobError> {
        let time = now();
        let due: Vec<OrderDigest> =
            self.timers.iter().filter(|(_, at)| **at <= time).map(|(order, _)| *order).collect();
        for order in due {
            self.timers.remove(&order);
            self.feed(order, symbolon_quorum::VerdictInput::Timer).await?;
        }
        self.pay_waiting().await?;
        self.reissue_lost()?;
        self.fetch_again();
        self.lanes_tick().await
    }

    /// Has every partner fetch and compile the module before any deadline runs.
    fn prepare_partners(&self) {
        for partner in self.partners.values().filter(|partner| partner.offered) {
            let request = Request::Prepare { agreement: partner.digest, module: self.module };
            let (context, reports) = (Arc::clone(&self.context), self.reports.clone());
            let (peer, provider) = (partner.peer.clone(), partner.provider);
            tokio::spawn(async move {
                let asked = crate::peer::call(&context.client, &peer, &request, crate::context::LONGEST_REQUEST).await;
                let ready = asked.map(|_| ()).map_err(|why| why.to_string());
                // The loop is gone only when the job is over.
                let _ = reports.send(Done::Prepared { provider, ready }).await;
            });
        }
    }

    async fn on_done(&mut self, done: Done) -> Result<(), JobError> {
        match done {
            Done::Deposited { deposited, balance } => self.on_deposited(deposited, balance),
            Done::Found(found) => self.on_found(found).await,
            Done::Prepared { provider, ready } => {
                if let Err(reason) = &ready {
                    self.warn(format!("{provider} cannot prepare the module: {reason}"));
                }
                self.prepared.insert(provider, ready.is_ok());
                let ready = self.prepared.values().filter(|ready| **ready).count();
                if ready >= self.spec.rules.members() && self.ready_since.is_none() {
                    self.ready_since = Some(Instant::now());
                }
                if self.prepared.len() == self.partners.values().filter(|partner| partner.offered).count() {
                    let providers = self.prepared.values().filter(|ready| **ready).count();
                    self.context.events.emit(Event::Prepared { providers });
                }
                Ok(())
            }
            Done::Taken { order, provider, taken } => {
                self.on_taken(order, provider, taken);
                Ok(())
            }
            Done::Delivered { order, provider, delivered } => {
                self.on_delivered(order, provider, delivered);
                Ok(())
            }
            Done::GaveUp { order, provider, signed } => self.on_gave_up(order, provider, signed).await,
            Done::Fetched { order, from, fetched } => self.on_fetched(order, from, fetched).await,
            Done::Earmarked(opened) => {
                self.opening = false;
                self.on_opened(opened?).await
            }
            Done::Looked { order, seen } => self.on_looked(order, seen).await,
        }
    }

    fn warn(&self, message: String) {
        tracing::warn!(message);
        self.context.events.emit(Event::Warning { message });
    }
}

/// Stores module and inputs and names every part.
fn cut(context: &Context, spec: &JobSpec) -> Result<(ContentRef, Vec<Workunit>), JobError> {
    if spec.units.is_empty() {
        return Err(JobError::NoUnits);
    }
    let keep = |bytes: &[u8]| {
        context.content.put(bytes).map_err(|source| NodeError::Content { path: "content".into(), source })
    };
    let module = keep(&spec.module)?;
    let mut units = Vec::with_capacity(spec.units.len());
    for (part, unit) in (1..).zip(&spec.units) {
        let mut inputs = Vec::with_capacity(unit.inputs.len());
        for (path, bytes) in &unit.inputs {
            inputs.push(Input { path: path.clone(), content: keep(bytes)?, size: bytes.len() as u64 });
        }
        let unit = Workunit {
            module,
            args: unit.args.clone(),
            env: unit.env.clone(),
            inputs,
            level: spec.level,
            limits: spec.limits,
            max_fuel: unit.max_fuel,
            // The same part of the same work has the same name whoever asks for it.
            seed: [0; 32],
        };
        if !unit.is_sound() {
            return Err(JobError::BadUnit { part });
        }
        units.push(unit);
    }
    Ok((module, units))
}

/// How a network groups providers for the draw.
#[must_use]
pub fn grouping(devnet: bool) -> Grouping {
    if devnet { Grouping::Off } else { Grouping::PerNetwork }
}
