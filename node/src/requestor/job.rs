//! A job that outlives its requestor: what it is, what is known of it, and how
//! another run goes on with it.
//!
//! The record says which work it is; everything else stands in the orders that
//! went out, each stored before it left. So a run that goes on asks the members
//! of those orders what became of them, pays whoever agreed, fetches what is
//! paid, and gives out anew only what came to nothing.

use super::{JobError, JobSpec, Partner, Requestor, plan::batches};
use crate::{
    context::{Context, NodeError, now},
    event::Event,
    ledger::OrderEntry,
    requestor::RunningOrder,
    snapshot::{self, Snapshot},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
    sync::Arc,
};
use symbolon_primitives::{
    Address, Amount, B256, ContentRef, Domain, OrderDigest, ResultsRoot, Royalty, Seal, Signer, Timestamp, Workunit,
    keccak256,
};
use symbolon_quorum::VerdictInput;
use symbolon_store::{StoreHandle, TxState, View, Write};

/// A job's name in its data folder: drawn at random when it begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(B256);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for JobId {
    type Err = <B256 as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// What two runs have to share to be runs of one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    domain: Domain,
    payer: Address,
    module: ContentRef,
    /// Over the ids of all workunits, in order.
    work: B256,
    parts: u64,
    batch: u64,
    redundancy: u8,
    royalty: Royalty,
}

impl Identity {
    fn of(context: &Context, spec: &JobSpec, module: ContentRef, units: &[Workunit]) -> Self {
        let ids: Vec<u8> = units.iter().flat_map(|unit| *unit.id(spec.terms.profile).as_bytes()).collect();
        Self {
            domain: context.domain,
            payer: context.key.address(),
            module,
            work: keccak256(&ids).into(),
            parts: units.len() as u64,
            batch: spec.batch as u64,
            redundancy: spec.rules.redundancy,
            royalty: spec.terms.royalty,
        }
    }

    /// In which ways `other` is not this job.
    fn differences(&self, other: &Self) -> String {
        let mut said = Vec::new();
        if self.module != other.module {
            said.push("another module".to_owned());
        }
        if self.parts != other.parts {
            said.push(format!("{} parts instead of {}", other.parts, self.parts));
        } else if self.work != other.work {
            said.push("other inputs or arguments".to_owned());
        }
        if self.batch != other.batch {
            said.push(format!("{} parts at once instead of {}", other.batch, self.batch));
        }
        if self.redundancy != other.redundancy {
            said.push(format!("redundancy {} instead of {}", other.redundancy, self.redundancy));
        }
        if self.royalty != other.royalty {
            said.push("another royalty".to_owned());
        }
        said.join(", ")
    }
}

/// A job that has begun and whose outputs its owner does not have yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct JobRecord {
    id: JobId,
    identity: Identity,
    command: Vec<String>,
    begun_at: Timestamp,
    /// What was put into the vault for it.
    deposited: Amount,
    /// What came back from its earmarks.
    released: Amount,
    /// The transactions that were to set something aside, and how much each.
    opens: Vec<(B256, Amount)>,
}

impl Snapshot for JobRecord {
    const KIND: &'static str = "job";
}

/// What is kept of a job that is over, for its ledger.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct EndedJob {
    id: JobId,
    domain: Domain,
    command: Vec<String>,
    begun_at: Timestamp,
    ended_at: Timestamp,
    parts: u64,
}

impl Snapshot for EndedJob {
    const KIND: &'static str = "ended-job";
}

impl JobRecord {
    pub(super) fn new(context: &Context, spec: &JobSpec, module: ContentRef, units: &[Workunit]) -> Self {
        Self {
            id: JobId(B256::from(rand::random::<[u8; 32]>())),
            identity: Identity::of(context, spec, module, units),
            command: spec.command.clone(),
            begun_at: now(),
            deposited: Amount::ZERO,
            released: Amount::ZERO,
            opens: Vec::new(),
        }
    }

    /// The unfinished job of this folder that `fresh` would be a further run of, if there is one.
    ///
    /// # Errors
    /// [`JobError::Unfinished`] when there is an unfinished job and it is another one.
    pub(super) fn earlier(&self, store: &StoreHandle) -> Result<Option<Self>, JobError> {
        let Identity { domain, payer, .. } = self.identity;
        let ours = |job: &Self| job.identity.domain == domain && job.identity.payer == payer;
        let Some(job) = snapshot::all::<Self>(store)?.into_iter().find(ours) else { return Ok(None) };
        if job.identity == self.identity {
            return Ok(Some(job));
        }
        let differences = job.identity.differences(&self.identity);
        Err(JobError::Unfinished { job: job.id, command: job.command, differences })
    }

    pub(super) const fn id(&self) -> JobId {
        self.id
    }

    pub(super) const fn deposited(&self) -> Amount {
        self.deposited
    }

    pub(super) const fn released(&self) -> Amount {
        self.released
    }

    pub(super) fn add_deposit(&mut self, amount: Amount) -> Result<(), JobError> {
        self.deposited = self.deposited.checked_add(amount)?;
        Ok(())
    }

    pub(super) fn add_released(&mut self, amount: Amount) -> Result<(), JobError> {
        self.released = self.released.checked_add(amount)?;
        Ok(())
    }

    pub(super) fn add_open(&mut self, intent: B256, amount: Amount) {
        self.opens.push((intent, amount));
    }

    /// What its transactions did set aside, or will: one that never left set nothing aside.
    pub(super) fn earmarked(&self, store: &StoreHandle) -> Result<Amount, JobError> {
        let mut sum = Amount::ZERO;
        for (intent, amount) in &self.opens {
            let found = store.read(|view| view.tx(*intent))?;
            if found.is_some_and(|tx| matches!(tx.state, TxState::Sent | TxState::Confirmed)) {
                sum = sum.checked_add(*amount)?;
            }
        }
        Ok(sum)
    }

    pub(super) fn put(&self) -> Result<Write, NodeError> {
        snapshot::put(self.id.0.as_slice(), self)
    }

    pub(super) fn forget(&self) -> Write {
        Write::delete(Self::KIND, self.id.0.to_vec())
    }

    pub(super) fn ended(&self) -> Result<Write, NodeError> {
        let Self { id, command, begun_at, identity, .. } = self;
        let Identity { domain, parts, .. } = *identity;
        let (command, ended_at) = (command.clone(), now());
        let ended = EndedJob { id: *id, domain, command, begun_at: *begun_at, ended_at, parts };
        snapshot::put(id.0.as_slice(), &ended)
    }
}

/// An unfinished job of a data folder, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnfinishedJob {
    /// Its name.
    pub id: JobId,
    /// The words of the command that began it. The same command goes on with it.
    pub command: Vec<String>,
    /// When it began.
    pub begun_at: Timestamp,
    /// Its parts.
    pub parts: u64,
    /// Parts whose outputs are here.
    pub done: u64,
    /// Orders that went out and whose outputs are not here.
    pub open_orders: u64,
}

/// The unfinished jobs of a vault that the store knows.
///
/// # Errors
/// [`NodeError`] when the store does not read.
pub fn unfinished_jobs(view: &View<'_>, domain: &Domain) -> Result<Vec<UnfinishedJob>, NodeError> {
    let mut jobs: Vec<UnfinishedJob> = snapshot::all_in::<JobRecord>(view)?
        .into_iter()
        .filter(|job| job.identity.domain == *domain)
        .map(|job| UnfinishedJob {
            id: job.id,
            command: job.command,
            begun_at: job.begun_at,
            parts: job.identity.parts,
            done: 0,
            open_orders: 0,
        })
        .collect();
    if jobs.is_empty() {
        return Ok(jobs);
    }
    let mut done: BTreeMap<JobId, BTreeSet<usize>> = BTreeMap::new();
    for order in snapshot::all_in::<RunningOrder>(view)? {
        let Some(job) = jobs.iter_mut().find(|job| job.id == order.job) else { continue };
        if order.fetched {
            done.entry(job.id).or_default().extend(order.batch);
        } else if !order.verdict.is_undecided() {
            job.open_orders += 1;
        }
    }
    for job in &mut jobs {
        job.done = done.get(&job.id).map_or(0, |parts| parts.len() as u64);
    }
    Ok(jobs)
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Begun, and its owner does not have everything yet.
    Unfinished,
    /// Its owner has the outputs.
    Done,
    /// Its owner wanted no more of it.
    GivenUp,
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unfinished => "unfinished",
            Self::Done => "done",
            Self::GivenUp => "given up",
        })
    }
}

/// An order of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobOrder {
    /// The job's parts it is about, from 0.
    pub parts: Vec<usize>,
    /// How often these parts were given out before.
    pub attempt: u32,
    /// What a quorum came to, if one did.
    pub results_root: Option<ResultsRoot>,
    /// Whether its outputs are in this node's own content.
    pub fetched: bool,
    /// The seal of each member's Commit, in the order of the members, where one is held.
    pub commits: Vec<Option<Seal>>,
    /// The order, whose agreements are in the order of its members.
    pub order: OrderEntry,
}

/// A job of a data folder with its orders, whether or not it is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobEntry {
    /// Its name.
    pub id: JobId,
    /// How far it is.
    pub state: JobState,
    /// The words of the command that began it.
    pub command: Vec<String>,
    /// When it began.
    pub begun_at: Timestamp,
    /// When it was over, if it is.
    pub ended_at: Option<Timestamp>,
    /// Its parts.
    pub parts: u64,
    /// Parts whose outputs were fetched.
    pub done: u64,
    /// Its orders, by their first part and then as they went out.
    pub orders: Vec<JobOrder>,
}

/// The jobs of a vault that the store knows, from the oldest to the newest, those that are over among them.
///
/// # Errors
/// [`NodeError`] when the store does not read.
pub fn known_jobs(view: &View<'_>, domain: &Domain) -> Result<Vec<JobEntry>, NodeError> {
    let entry = |id, command, begun_at, ended_at: Option<Timestamp>, parts| JobEntry {
        id,
        state: if ended_at.is_some() { JobState::GivenUp } else { JobState::Unfinished },
        command,
        begun_at,
        ended_at,
        parts,
        done: 0,
        orders: Vec::new(),
    };
    let open = snapshot::all_in::<JobRecord>(view)?.into_iter().filter(|job| job.identity.domain == *domain);
    let open = open.map(|job| entry(job.id, job.command, job.begun_at, None, job.identity.parts));
    let ended = snapshot::all_in::<EndedJob>(view)?.into_iter().filter(|job| job.domain == *domain);
    let ended = ended.map(|job| entry(job.id, job.command, job.begun_at, Some(job.ended_at), job.parts));
    let mut jobs: BTreeMap<JobId, JobEntry> = open.chain(ended).map(|job| (job.id, job)).collect();
    let mut running = snapshot::all_in::<RunningOrder>(view)?;
    running.sort_by_key(|running| (running.batch.first().copied(), running.age()));
    let mut done: BTreeMap<JobId, BTreeSet<usize>> = BTreeMap::new();
    for running in running {
        let Some(job) = jobs.get_mut(&running.job) else { continue };
        if running.fetched {
            done.entry(job.id).or_default().extend(&running.batch);
        }
        job.orders.push(JobOrder {
            results_root: running.verdict.canonical().map(|(root, _)| root),
            fetched: running.fetched,
            commits: (0..running.order().leaves.len()).map(|index| running.verdict.seal(index)).collect(),
            order: running.entry(view, domain)?,
            attempt: running.attempt,
            parts: running.batch,
        });
    }
    let mut jobs: Vec<JobEntry> = jobs.into_values().collect();
    for job in &mut jobs {
        job.done = done.get(&job.id).map_or(0, |parts| parts.len() as u64);
        if job.ended_at.is_some() && job.done == job.parts {
            job.state = JobState::Done;
        }
    }
    jobs.sort_by_key(|job| (job.begun_at, job.id));
    Ok(jobs)
}

/// Forgets a job: its owner has the outputs, or gives it up. Answers whether there was one.
///
/// # Errors
/// [`NodeError`] of the store.
///
/// # Safety of funds
/// Nothing of channels, orders and vouchers is forgotten, and its name and command stay in the ledger ([`known_jobs`]).
/// What providers earned stays theirs, and what is earmarked comes back as before; only outputs that were paid for and
/// not fetched are not asked for any more.
pub async fn forget_job(store: &StoreHandle, id: JobId) -> Result<bool, NodeError> {
    let job: Option<JobRecord> = store.read(|view| snapshot::one_in(&view, id.0.as_slice()))?;
    let Some(job) = job else { return Ok(false) };
    store.write(vec![job.forget(), job.ended()?]).await?;
    Ok(true)
}

impl Requestor {
    /// Stores what is known of the job.
    pub(super) async fn save_job(&self) -> Result<(), JobError> {
        Ok(self.context.store.write(vec![self.job.put()?]).await?)
    }

    /// Goes on with what an earlier run left: takes over what is here, pays whoever agreed, asks the members of every
    /// other order what became of it, and puts down what was never given out.
    pub(super) async fn recover(&mut self) -> Result<(), JobError> {
        let job = self.job.id;
        self.report.deposited = self.job.deposited();
        self.report.released = self.job.released();
        self.earmarked = self.job.earmarked(&self.context.store)?;
        self.load_channels().await?;
        let mut orders: Vec<RunningOrder> = snapshot::all(&self.context.store)?;
        orders.retain(|running| running.job == job);
        orders.sort_by_key(RunningOrder::age);
        self.draws = orders.len() as u64;
        let mut kept: BTreeSet<usize> = BTreeSet::new();
        let mut newest: BTreeMap<usize, OrderDigest> = BTreeMap::new();
        for mut running in orders {
            let order = running.verdict.terms().digest();
            let first = running.batch.first().copied().unwrap_or_default();
            running.recall();
            self.meet_members(&running);
            if !kept.contains(&first) && self.take_kept(&running) {
                kept.insert(first);
            }
            // An order that another one took the place of is still paid, but its outputs are not waited for.
            if let Some(before) = newest.insert(first, order)
                && let Some(before) = self.orders.get_mut(&before)
            {
                before.done = true;
            }
            self.orders.insert(order, running);
        }
        let mut open = 0;
        for batch in batches(self.units.len(), self.spec.batch) {
            let first = batch.first().copied().unwrap_or_default();
            match newest.get(&first).and_then(|order| self.orders.get_mut(order)) {
                Some(running) if kept.contains(&first) => running.done = true,
                Some(_) => open += 1,
                None => self.pending.push_back((batch, 0)),
            }
        }
        let event = Event::Resumed { units_done: self.outputs.len(), units: self.units.len(), open_orders: open };
        self.context.events.emit(event);
        let orders: Vec<OrderDigest> = self.orders.keys().copied().collect();
        for order in orders {
            self.feed(order, VerdictInput::Resume).await?;
            let missing = self.orders.get(&order).map(|running| running.missing.clone());
            self.ask_to_give_up(order, missing.unwrap_or_default());
            self.look_again(order)?;
        }
        Ok(())
    }

    /// What an order from before needs beside the machine's own word.
    fn look_again(&mut self, order: OrderDigest) -> Result<(), JobError> {
        let Some(running) = self.orders.get_mut(&order) else { return Ok(()) };
        if running.done {
            return Ok(());
        }
        if running.verdict.is_undecided() {
            running.give_time();
        }
        self.add_paid_sources(order)?;
        self.ask_about(order);
        Ok(())
    }

    /// The members of an order from before can be talked to; they are not drawn for others by that.
    fn meet_members(&mut self, running: &RunningOrder) {
        for (leaf, agreement) in running.order().leaves.iter().zip(&running.agreements) {
            let Some(peer) = running.peer_of(leaf.provider) else { continue };
            let part = self.report.providers.entry(leaf.provider).or_default();
            (part.flat, part.rate) = (leaf.flat, leaf.rate);
            let partner = Partner {
                provider: leaf.provider,
                peer: peer.clone(),
                agreement: *agreement,
                digest: agreement.terms.digest(&self.context.domain),
                stake: Amount::ZERO,
                group: None,
                offered: false,
            };
            let is_known = self.partners.insert(leaf.provider, partner).is_some();
            self.struck.extend(running.dissented.contains(&leaf.provider).then_some(leaf.provider));
            if is_known {
                continue;
            }
            // They know this node by an address that is gone: it is this node's to connect.
            let context = Arc::clone(&self.context);
            tokio::spawn(async move {
                if let Err(error) = context.client.dial(peer.id, peer.addrs).await {
                    tracing::debug!(%error, "a member of an order from before cannot be reached");
                }
            });
        }
    }
}
