//! The transaction manager: one authority over a key's nonces.
//!
//! An intent is journalled before anything of it leaves the process, signed
//! under one nonce for good, and the same transaction after a restart (L10).
//! When it is stuck it is replaced at a higher fee, up to caps; when the pool or
//! a reorganisation loses it, it is sent again. What it never does: choose what
//! to send, or send one intent twice under two nonces while the first can still
//! be mined. `fees` has the arithmetic, `pilot` the way of one
//! intent.

use crate::{
    ChainError, ChainView, ContractError, Intent, IntentKind,
    pilot::{self, Flight, Shared},
};
use alloy::primitives::{Address, B256, U256};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use symbolon_primitives::{Signer, Timestamp};
use symbolon_store::{GasTotal, StoreError, StoreHandle, TxIntent, TxState, Write};
use tokio::{sync::watch, task::JoinSet};

/// The most gas one transaction may ask for (EIP-7825).
pub const MAX_TX_GAS: u64 = 1 << 24;

/// How patient and how generous the manager is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxConfig {
    /// The most ever paid for one gas, tip included, in wei.
    pub max_fee_per_gas: u128,
    /// The tip for one gas where the endpoint suggests none, in wei.
    pub tip_per_gas: u128,
    /// The most believed of an endpoint's suggestion, in wei.
    pub max_tip_per_gas: u128,
    /// The most that one transaction may cost, in wei.
    pub max_tx_wei: u128,
    /// The most that all transactions of 24 hours may cost, in wei; those under
    /// way count with the most they can cost.
    pub max_day_wei: u128,
    /// How long a transaction may wait before it is replaced.
    pub replace_after: Duration,
    /// How often the chain is asked for it.
    pub poll: Duration,
    /// How many blocks, its own included, make it confirmed; at least 1.
    pub confirmations: u64,
    /// How many blocks beyond that a transaction is watched, and sent again if
    /// a reorganisation takes it away. Its end is journalled after them.
    pub watched_blocks: u64,
    /// Gas asked for beyond the estimate, in percent.
    pub gas_margin_percent: u64,
}

impl Default for TxConfig {
    fn default() -> Self {
        Self {
            max_fee_per_gas: 500_000_000_000,
            tip_per_gas: 1_000_000_000,
            max_tip_per_gas: 50_000_000_000,
            max_tx_wei: 1_000_000_000_000_000_000,
            max_day_wei: 5_000_000_000_000_000_000,
            replace_after: Duration::from_secs(60),
            poll: Duration::from_secs(1),
            confirmations: 1,
            watched_blocks: 64,
            gas_margin_percent: 25,
        }
    }
}

/// A mined transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its hash.
    pub hash: B256,
    /// Gas of the whole transaction.
    pub gas_used: u64,
    /// What that gas cost, in wei.
    pub fee_wei: u128,
    /// The block's number.
    pub block: u64,
}

/// Why an intent did not happen, or not yet.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TxError {
    /// The contract would refuse it: nothing was sent.
    #[error("refused before it was sent: {0}")]
    WouldRevert(ContractError),
    /// The contract refused it when it was mined.
    #[error("transaction {hash} was reverted in block {block}: {error}")]
    Reverted {
        /// The transaction.
        hash: B256,
        /// The block's number.
        block: u64,
        /// What the contract said, as far as it can be found out afterwards.
        error: Box<ContractError>,
    },
    /// An earlier run saw it fail for good; a fresh tag would try anew.
    #[error("the intent failed before")]
    FailedBefore,
    /// The chain's fee is above the cap.
    #[error("a gas costs {need} wei now, the cap is {have}")]
    FeeAboveCap {
        /// The cap.
        have: u128,
        /// What the next block asks, with the tip.
        need: u128,
    },
    /// It could cost more than one transaction may.
    #[error("the transaction may cost {need} wei, the cap of one is {have}")]
    TxAboveCap {
        /// The cap.
        have: u128,
        /// The most it could cost.
        need: u128,
    },
    /// It could cost more than is left for these 24 hours.
    #[error("the transaction may cost {need} wei, of the cap of 24 hours {have} are left")]
    DayAboveCap {
        /// What is left.
        have: u128,
        /// The most it could cost.
        need: u128,
    },
    /// Its sender cannot pay for its gas.
    #[error("the transaction may cost {need} wei, its sender has {have}")]
    TooLittleEther {
        /// The account's ether.
        have: U256,
        /// The most it could cost, with what it sends.
        need: U256,
    },
    /// It needs more gas than a transaction may have.
    #[error("the transaction needs more gas than the {have} that one may have")]
    OverGasCap {
        /// The cap (EIP-7825).
        have: u64,
    },
    /// Another transaction of this key waits under the nonce it has to use.
    #[error("nonce {nonce} is held by another transaction of this key")]
    NonceContested {
        /// The nonce.
        nonce: u64,
    },
    /// It was cancelled: a transaction without effect was mined in its place.
    #[error("the intent was cancelled")]
    Cancelled,
    /// There is no such intent, or it is over.
    #[error("no intent {id} is under way")]
    NotUnderWay {
        /// The intent.
        id: B256,
    },
    /// It was refused, and may be mined all the same as long as its nonce is unused.
    #[error("the transaction was refused, and can still happen while nonce {nonce} is unused")]
    MayStillHappen {
        /// The nonce.
        nonce: u64,
    },
    /// Its nonce is used, and the endpoints no longer tell by which transaction.
    #[error("nonce {nonce} is used, and no endpoint tells by which transaction")]
    NotTold {
        /// The nonce.
        nonce: u64,
    },
    /// The endpoint will not take the transaction.
    #[error("the endpoint refused the transaction: {message}")]
    NotAccepted {
        /// The endpoint's words.
        message: String,
    },
    /// The journal holds an intent this program does not understand.
    #[error("the journal's intent {id} does not read back")]
    BadJournal {
        /// The intent.
        id: B256,
    },
    /// The manager was dropped before the intent was through. The journal
    /// knows it, and the next manager takes it up.
    #[error("the transaction manager has stopped")]
    Stopped,
    /// The chain could not be read.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The journal could not be written, so nothing was sent.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TxError {
    /// What to do about it, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::WouldRevert(error) => error.hint(),
            Self::Reverted { error, .. } => error.hint(),
            Self::FeeAboveCap { .. } => Some("wait for lower fees, or raise the cap of the fee"),
            Self::TxAboveCap { .. } => Some("wait for lower fees, or raise the cap of one transaction"),
            Self::DayAboveCap { .. } => Some("wait until earlier costs are a day old, or raise the cap of a day"),
            Self::TooLittleEther { .. } => Some("the account needs ether for gas"),
            Self::OverGasCap { .. } => Some("do it in several transactions with fewer rows each"),
            Self::NonceContested { .. } => {
                Some("another program uses this key: wait until its transaction is mined, and give each its own key")
            }
            Self::FailedBefore | Self::Cancelled => Some("if it is still wanted, do it again under a fresh tag"),
            Self::MayStillHappen { .. } => Some("the next transaction of this key takes the nonce: look again then"),
            Self::NotTold { .. } => Some("name an endpoint that keeps the state of old blocks"),
            Self::Stopped => Some("start again: the journal has it, and it is taken up from there"),
            Self::BadJournal { .. } => Some("a newer version wrote the journal: use that one"),
            Self::NotAccepted { message } if message.to_ascii_lowercase().contains("insufficient funds") => {
                Some("the account needs ether for gas")
            }
            Self::Chain(error) => error.hint(),
            _ => None,
        }
    }
}

pub(crate) type Outcome = Result<Receipt, TxError>;

/// A submitted intent. Dropping it changes nothing: the manager goes on.
#[derive(Clone, Debug)]
pub struct TxHandle {
    id: B256,
    outcome: watch::Receiver<Option<Outcome>>,
}

impl TxHandle {
    /// The intent's name in the journal.
    #[must_use]
    pub fn id(&self) -> B256 {
        self.id
    }

    /// Waits until it is confirmed. Cancel-safe.
    ///
    /// # Errors
    /// [`TxError`] when it failed, or the manager stopped.
    pub async fn wait(&self) -> Outcome {
        let mut outcome = self.outcome.clone();
        let seen = outcome.wait_for(Option::is_some).await.map_err(|_| TxError::Stopped)?;
        seen.clone().unwrap_or(Err(TxError::Stopped))
    }

    fn settled(id: B256, outcome: Outcome) -> Self {
        let (_, receiver) = watch::channel(Some(outcome));
        Self { id, outcome: receiver }
    }
}

/// An intent under way, for whoever looks after the node.
#[derive(Clone, Debug)]
pub struct PendingTx {
    /// Its name in the journal.
    pub id: B256,
    /// What it is for.
    pub kind: IntentKind,
    /// The nonce it holds.
    pub nonce: u64,
    /// When it was first signed.
    pub since: Timestamp,
    /// How many transactions were signed for it: each after the first raised the fee.
    pub attempts: usize,
    /// The block it is mined in, and only watched any more.
    pub mined_in: Option<u64>,
    /// What keeps it from being mined, as far as it is known.
    pub trouble: Option<TxError>,
}

/// An intent without an end in a journal, for whoever looks at it without the folder's lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalledTx {
    /// Its name in the journal.
    pub id: B256,
    /// What it is for.
    pub kind: String,
    /// Whether it holds a nonce and was sent, or may have been.
    pub sent: bool,
    /// The nonce it holds.
    pub nonce: Option<u64>,
    /// When it was planned.
    pub since: Timestamp,
    /// Every transaction signed for it, the newest last: each after the first raised the fee.
    pub hashes: Vec<B256>,
    /// The most the newest pays for one gas, in wei.
    pub max_fee_per_gas: Option<u128>,
    /// The most the newest can cost, in wei.
    pub worst_wei: Option<u128>,
    /// Those of them without effect, which take its place.
    pub cancels: Vec<B256>,
}

impl JournalledTx {
    /// Whether it is being cancelled.
    #[must_use]
    pub fn is_cancelling(&self) -> bool {
        self.hashes.last().is_some_and(|newest| self.cancels.contains(newest))
    }

    /// An intent as the journal has it.
    #[must_use]
    pub fn of(stored: &TxIntent) -> Self {
        let last = stored.attempts.last();
        let cost = last.and_then(pilot::cost);
        Self {
            id: stored.plan.id,
            kind: stored.plan.kind.clone(),
            sent: stored.state == TxState::Sent,
            nonce: stored.nonce,
            since: stored.plan.at,
            hashes: stored.attempts.iter().map(|attempt| attempt.hash).collect(),
            max_fee_per_gas: cost.map(|(fee, _)| fee),
            worst_wei: cost.map(|(_, worst)| worst),
            cancels: stored
                .attempts
                .iter()
                .filter(|attempt| pilot::is_cancelling(attempt, stored.plan.sender))
                .map(|attempt| attempt.hash)
                .collect(),
        }
    }
}

/// What a manager knows of a flight from outside.
#[derive(Clone)]
pub(crate) struct Live {
    pub(crate) outcome: watch::Receiver<Option<Outcome>>,
    pub(crate) cancel: Arc<AtomicBool>,
    pub(crate) seen: Arc<Mutex<PendingTx>>,
}

/// Sends intents of one key. Cheap to clone; work under way stops when the
/// last clone goes, and is taken up by the next manager on the same store.
///
/// # Safety of funds
/// One manager for a key, on one store: another one, or another program with
/// the same key, fights over its nonces.
#[derive(Clone)]
pub struct TxManager {
    shared: Arc<Shared>,
    tasks: Arc<Mutex<JoinSet<()>>>,
}

impl std::fmt::Debug for TxManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TxManager").field("sender", &self.sender()).finish_non_exhaustive()
    }
}

impl TxManager {
    /// A manager of `signer`'s nonces, with its journal in `store`.
    #[must_use]
    pub fn new(chain: ChainView, signer: Arc<dyn Signer + Send + Sync>, store: StoreHandle, config: TxConfig) -> Self {
        Self { shared: Arc::new(Shared::new(chain, signer, store, config)), tasks: Arc::default() }
    }

    /// Whose transactions these are.
    #[must_use]
    pub fn sender(&self) -> Address {
        self.shared.signer.address()
    }

    /// The chain they go to.
    #[must_use]
    pub fn chain(&self) -> &ChainView {
        &self.shared.chain
    }

    /// Takes up everything that an earlier run sent and did not see the end of.
    /// To be called once, before the first intent. What was planned and never
    /// sent stays as it is, until whoever wanted it submits it again.
    ///
    /// # Errors
    /// [`TxError`] when the journal does not read; what cannot be followed now
    /// fails in its own handle.
    pub async fn resume(&self) -> Result<Vec<TxHandle>, TxError> {
        let shared = &self.shared;
        let open = shared.store.read(|view| view.open_txs(shared.chain.chain_id(), self.sender()))?;
        let mut handles = Vec::with_capacity(open.len());
        for stored in open.into_iter().filter(|stored| stored.state == TxState::Sent) {
            let id = stored.plan.id;
            let intent = intent_of(&stored).ok_or(TxError::BadJournal { id })?;
            let submitted = self.submit(intent).await;
            handles.push(submitted.unwrap_or_else(|error| TxHandle::settled(id, Err(error))));
        }
        Ok(handles)
    }

    /// Sends an intent, or finds it under way or done. Resolves when it is
    /// journalled and sent once; [`TxHandle::wait`] waits for its end.
    ///
    /// # Errors
    /// [`TxError::WouldRevert`] when the contract would refuse it,
    /// [`TxError::FeeAboveCap`] and [`TxError::NotAccepted`] among others when it cannot go
    /// out now (the same intent may be submitted again), and errors of chain
    /// and journal.
    ///
    /// # Safety of funds
    /// An equal intent with an equal tag is the same transaction, however long
    /// ago: give a deposit that is meant again a fresh tag.
    pub async fn submit(&self, intent: Intent) -> Result<TxHandle, TxError> {
        let shared = &self.shared;
        let id = intent.id(shared.chain.chain_id(), self.sender());
        let mut unjournalled = shared.nonces.lock().await;
        if let Some(live) = lock(&shared.live).get(&id) {
            return Ok(TxHandle { id, outcome: live.outcome.clone() });
        }
        let stored = shared.store.read(|view| view.tx(id))?;
        let flight = match stored {
            Some(stored) if stored.state.is_final() => return Ok(TxHandle::settled(id, outcome_of(&stored))),
            Some(TxIntent { state: TxState::Sent, nonce: Some(nonce), attempts, .. }) => {
                let mut flight = Flight::new(id, intent, nonce, attempts, true);
                // It may never have been sent; sending it again changes nothing.
                shared.rebroadcast(&mut flight).await;
                flight
            }
            Some(stored) => shared.launch(id, intent, stored.attempts, true, &mut unjournalled).await?,
            None => {
                shared.check(&intent).await?;
                shared.launch(id, intent, Vec::new(), false, &mut unjournalled).await?
            }
        };
        Ok(self.fly(flight, false))
    }

    /// Submits each of a list in order, without waiting for any to be mined.
    pub async fn submit_all(&self, intents: Vec<Intent>) -> Vec<Result<TxHandle, TxError>> {
        let mut handles = Vec::with_capacity(intents.len());
        for intent in intents {
            handles.push(self.submit(intent).await);
        }
        handles
    }

    /// Submits an intent and waits for its end.
    ///
    /// # Errors
    /// As [`TxManager::submit`] and [`TxHandle::wait`].
    pub async fn run(&self, intent: Intent) -> Outcome {
        self.submit(intent).await?.wait().await
    }

    /// Gas of everything whose end is journalled, by the names of the kinds.
    ///
    /// # Errors
    /// [`StoreError`] when the journal does not read.
    pub fn gas_by_kind(&self) -> Result<BTreeMap<String, GasTotal>, StoreError> {
        self.shared.store.read(|view| view.gas_by_kind(self.shared.chain.chain_id()))
    }

    /// Everything under way, by nonce.
    #[must_use]
    pub fn pending(&self) -> Vec<PendingTx> {
        let mut pending: Vec<PendingTx> =
            lock(&self.shared.live).values().map(|live| lock(&live.seen).clone()).collect();
        pending.sort_by_key(|pending| pending.nonce);
        pending
    }

    /// An intent under way.
    #[must_use]
    pub fn find(&self, id: B256) -> Option<TxHandle> {
        lock(&self.shared.live).get(&id).map(|live| TxHandle { id, outcome: live.outcome.clone() })
    }

    /// What may still be spent in these 24 hours, in wei.
    ///
    /// # Errors
    /// [`StoreError`] when the journal does not read.
    pub fn left_today(&self) -> Result<u128, StoreError> {
        self.shared.left_today(None)
    }

    /// Puts a transaction without effect in the place of an intent: a transfer
    /// of nothing to the sender, under its nonce, at a higher fee. Whichever of
    /// the two is mined counts: the handle then tells [`TxError::Cancelled`], or
    /// that it happened after all. One that was never sent, or whose nonce went
    /// to another transaction for good, is over at once. One of an earlier run
    /// need not be resumed before, which would send it once more.
    ///
    /// # Errors
    /// [`TxError::NotUnderWay`] when there is nothing to cancel,
    /// [`TxError::MayStillHappen`] when it was refused and its nonce is unused yet,
    /// [`TxError::NotTold`] when it is used and no endpoint tells by what.
    pub async fn cancel(&self, id: B256) -> Result<TxHandle, TxError> {
        let shared = &self.shared;
        let _nonces = shared.nonces.lock().await;
        if let Some(live) = lock(&shared.live).get(&id) {
            live.cancel.store(true, Ordering::Release);
            return Ok(TxHandle { id, outcome: live.outcome.clone() });
        }
        match shared.store.read(|view| view.tx(id))? {
            // Of an earlier run: not sent again, only replaced.
            Some(stored) if stored.state == TxState::Sent => {
                let intent = intent_of(&stored).ok_or(TxError::BadJournal { id })?;
                let nonce = stored.nonce.ok_or(TxError::BadJournal { id })?;
                Ok(self.fly(Flight::new(id, intent, nonce, stored.attempts, true), true))
            }
            Some(stored) if stored.state == TxState::Planned => {
                // Nothing of it ever left, or nothing that left can be mined any more.
                if let Some(nonce) = stored.attempts.last().map(|last| last.nonce)
                    && !shared.is_passed_over(&stored.attempts, nonce).await?
                {
                    // Refused, and mined all the same.
                    let intent = intent_of(&stored).ok_or(TxError::BadJournal { id })?;
                    return Ok(self.fly(Flight::new(id, intent, nonce, stored.attempts, true), false));
                }
                let end = Write::FinishTx { id, succeeded: false, outcome: None, at: now() };
                shared.store.write(vec![end]).await?;
                Ok(TxHandle::settled(id, Err(TxError::Cancelled)))
            }
            _ => Err(TxError::NotUnderWay { id }),
        }
    }

    fn fly(&self, flight: Flight, cancelled: bool) -> TxHandle {
        let id = flight.id;
        let (publish, outcome) = watch::channel(None);
        let (cancel, seen) = (Arc::new(AtomicBool::new(cancelled)), Arc::new(Mutex::new(flight.pending())));
        let live = Live { outcome: outcome.clone(), cancel: Arc::clone(&cancel), seen: Arc::clone(&seen) };
        lock(&self.shared.live).insert(id, live);
        let shared = Arc::clone(&self.shared);
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let result = shared.drive(flight, &publish, &cancel, &seen).await;
            lock(&shared.live).remove(&id);
            publish.send_if_modified(|outcome| outcome.is_none() && outcome.replace(result).is_none());
        });
        TxHandle { id, outcome }
    }
}

fn intent_of(stored: &TxIntent) -> Option<Intent> {
    Intent::from_bytes(IntentKind::from_name(&stored.plan.kind)?, &stored.plan.body)
}

/// The end of a finished intent, from the journal.
fn outcome_of(stored: &TxIntent) -> Outcome {
    let receipt =
        stored.outcome.map(|o| Receipt { hash: o.hash, gas_used: o.gas_used, fee_wei: o.fee_wei, block: o.block });
    match (stored.state, receipt) {
        (TxState::Confirmed, Some(receipt)) => Ok(receipt),
        (_, Some(Receipt { hash, block, .. })) => {
            let mined = stored.attempts.iter().find(|attempt| attempt.hash == hash);
            if mined.is_some_and(|attempt| pilot::is_cancelling(attempt, stored.plan.sender)) {
                return Err(TxError::Cancelled);
            }
            Err(TxError::Reverted { hash, block, error: Box::new(ContractError::decode(&[])) })
        }
        _ => Err(TxError::FailedBefore),
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}
