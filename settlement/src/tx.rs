//! The transaction manager: one authority over a key's nonces.
//!
//! An intent is journalled before anything of it leaves the process, signed
//! under one nonce for good, and the same transaction after a restart (L10).
//! When it is stuck it is replaced at a higher fee, up to a cap. What it never
//! does: choose what to send, or send one intent twice under two nonces while
//! the first can still be mined.

use crate::{ChainError, ChainView, ContractError, Intent, IntentKind};
use alloy::{
    consensus::{SignableTransaction, Transaction, TxEip1559, TxEnvelope},
    eips::{Decodable2718, Encodable2718},
    primitives::{Address, B256, Signature as EvmSignature, TxKind, U64},
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use symbolon_primitives::{Signer, Timestamp};
use symbolon_store::{GasTotal, StoreError, StoreHandle, TxAttempt, TxIntent, TxOutcome, TxPlan, TxState, Write};
use tokio::{sync::watch, task::JoinSet};

/// How deep another transaction under our nonce has to be before ours is given
/// a new one: endpoints behind one address may differ by a block or two.
const NONCE_TAKEN_BLOCKS: u64 = 3;

/// The most gas one transaction may ask for (EIP-7825).
const MAX_TX_GAS: u64 = 1 << 24;

/// How patient and how generous the manager is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxConfig {
    /// The most ever paid for one gas, tip included, in wei.
    pub max_fee_per_gas: u128,
    /// The tip for one gas where the endpoint suggests none, in wei.
    pub tip_per_gas: u128,
    /// How long a transaction may wait before it is replaced.
    pub replace_after: Duration,
    /// How often the chain is asked for it.
    pub poll: Duration,
    /// How many blocks, its own included, make it confirmed; at least 1.
    pub confirmations: u64,
    /// Gas asked for beyond the estimate, in percent.
    pub gas_margin_percent: u64,
}

impl Default for TxConfig {
    fn default() -> Self {
        Self {
            max_fee_per_gas: 500_000_000_000,
            tip_per_gas: 1_000_000_000,
            replace_after: Duration::from_secs(60),
            poll: Duration::from_secs(1),
            confirmations: 1,
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
            Self::FeeAboveCap { .. } => Some("wait for lower fees, or raise the cap"),
            Self::NotAccepted { message } if message.to_ascii_lowercase().contains("insufficient funds") => {
                Some("the account needs ether for gas")
            }
            Self::Chain(error) => error.hint(),
            _ => None,
        }
    }
}

type Outcome = Result<Receipt, TxError>;

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

struct Shared {
    chain: ChainView,
    signer: Arc<dyn Signer + Send + Sync>,
    store: StoreHandle,
    config: TxConfig,
    /// Held while a nonce is chosen, signed, journalled and sent. Knows the
    /// nonces in flight that the journal could not take.
    nonces: tokio::sync::Mutex<BTreeSet<u64>>,
    live: Mutex<BTreeMap<B256, watch::Receiver<Option<Outcome>>>>,
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

/// One intent on its way.
struct Flight {
    id: B256,
    intent: Intent,
    nonce: u64,
    attempts: Vec<TxAttempt>,
    journalled: bool,
}

impl TxManager {
    /// A manager of `signer`'s nonces, with its journal in `store`.
    #[must_use]
    pub fn new(chain: ChainView, signer: Arc<dyn Signer + Send + Sync>, store: StoreHandle, config: TxConfig) -> Self {
        let shared =
            Shared { chain, signer, store, config, nonces: tokio::sync::Mutex::default(), live: Mutex::default() };
        Self { shared: Arc::new(shared), tasks: Arc::default() }
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
    /// [`TxError::FeeAboveCap`] and [`TxError::NotAccepted`] when it cannot go
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
        if let Some(outcome) = lock(&shared.live).get(&id) {
            return Ok(TxHandle { id, outcome: outcome.clone() });
        }
        let stored = shared.store.read(|view| view.tx(id))?;
        let flight = match stored {
            Some(stored) if stored.state.is_final() => return Ok(TxHandle::settled(id, outcome_of(&stored))),
            Some(TxIntent { state: TxState::Sent, nonce: Some(nonce), attempts, .. }) => {
                let flight = Flight { id, intent, nonce, attempts, journalled: true };
                // It may never have been sent; sending it again changes nothing.
                shared.rebroadcast(&flight).await;
                flight
            }
            Some(stored) => shared.launch(id, intent, stored.attempts, true, &mut unjournalled).await?,
            None => {
                shared.check(&intent).await?;
                let journalled = shared.plan(id, &intent).await?;
                shared.launch(id, intent, Vec::new(), journalled, &mut unjournalled).await?
            }
        };
        Ok(self.fly(flight))
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

    /// Gas of everything mined so far, by the names of the kinds.
    ///
    /// # Errors
    /// [`StoreError`] when the journal does not read.
    pub fn gas_by_kind(&self) -> Result<BTreeMap<String, GasTotal>, StoreError> {
        self.shared.store.read(|view| view.gas_by_kind(self.shared.chain.chain_id()))
    }

    fn fly(&self, flight: Flight) -> TxHandle {
        let id = flight.id;
        let (publish, outcome) = watch::channel(None);
        lock(&self.shared.live).insert(id, outcome.clone());
        let shared = Arc::clone(&self.shared);
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let result = shared.drive(flight).await;
            lock(&shared.live).remove(&id);
            publish.send_replace(Some(result));
        });
        TxHandle { id, outcome }
    }
}

impl Shared {
    /// Runs the intent without sending it.
    async fn check(&self, intent: &Intent) -> Result<(), TxError> {
        match self.chain.simulate(self.signer.address(), intent).await {
            Ok(_) => Ok(()),
            Err(ChainError::Reverted(error)) => Err(TxError::WouldRevert(error)),
            Err(error) => Err(error.into()),
        }
    }

    /// Journals an intent. Whether it is in the journal: one that only collects
    /// goes out without it when the disk has failed.
    async fn plan(&self, id: B256, intent: &Intent) -> Result<bool, TxError> {
        let plan = TxPlan {
            id,
            chain_id: self.chain.chain_id(),
            sender: self.signer.address(),
            kind: intent.kind.name().to_owned(),
            body: intent.to_bytes(),
            at: now(),
        };
        match self.store.write(vec![Write::PlanTx(plan)]).await {
            Ok(()) => Ok(true),
            Err(error) if error.is_disk() && intent.kind.only_collects() => {
                tracing::warn!(kind = %intent.kind, "the journal takes no more; collecting without it");
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Gives an intent a nonce and sends it for the first time under it.
    async fn launch(
        &self,
        id: B256,
        intent: Intent,
        attempts: Vec<TxAttempt>,
        journalled: bool,
        unjournalled: &mut BTreeSet<u64>,
    ) -> Result<Flight, TxError> {
        let sender = self.signer.address();
        // An attempt under a nonce that was given up may have been mined after all.
        if let Some(nonce) = attempts.last().map(|attempt| attempt.nonce)
            && self.mined(&attempts).await?.is_some()
        {
            return Ok(Flight { id, intent, nonce, attempts, journalled });
        }
        let fees = self.fees().await?;
        let gas = match self.chain.estimate_gas(sender, &intent).await {
            Ok(gas) => gas,
            Err(ChainError::Reverted(error)) => return Err(TxError::WouldRevert(error)),
            // Most often: the account cannot pay for any gas.
            Err(ChainError::Refused { message, .. }) => return Err(TxError::NotAccepted { message }),
            Err(error) => return Err(error.into()),
        };
        let margin = gas.saturating_mul(self.config.gas_margin_percent) / 100;
        let gas = gas.max(gas.saturating_add(margin).min(MAX_TX_GAS));
        let pending = self.chain.transaction_count(sender, json!("pending")).await?;
        let held = self.store.read(|view| view.highest_open_nonce(self.chain.chain_id(), sender))?;
        let in_flight = held.max(unjournalled.last().copied());
        let nonce = in_flight.map_or(pending, |highest| pending.max(highest.saturating_add(1)));
        let mut flight = Flight { id, intent, nonce, attempts, journalled };
        let attempt = self.sign(&flight, gas, fees);
        self.record(&mut flight, attempt).await?;
        match self.send(&flight).await {
            Sent::Accepted | Sent::Unknown => {
                if !flight.journalled {
                    unjournalled.insert(nonce);
                }
                Ok(flight)
            }
            Sent::NonceTaken => {
                self.requeue(&flight).await?;
                Err(TxError::NotAccepted { message: "nonce too low".to_owned() })
            }
            Sent::Refused(message) => {
                self.requeue(&flight).await?;
                Err(TxError::NotAccepted { message })
            }
        }
    }

    fn sign(&self, flight: &Flight, gas_limit: u64, fees: Fees) -> TxAttempt {
        let tx = TxEip1559 {
            chain_id: self.chain.chain_id(),
            nonce: flight.nonce,
            gas_limit,
            max_fee_per_gas: fees.max,
            max_priority_fee_per_gas: fees.tip,
            to: TxKind::Call(flight.intent.to),
            value: flight.intent.value,
            access_list: Default::default(),
            input: flight.intent.data.clone(),
        };
        let signature = self.signer.sign(&tx.signature_hash().0);
        let signed = tx.into_signed(EvmSignature::from_erc2098(signature.as_bytes()));
        let hash = *signed.hash();
        TxAttempt { hash, nonce: flight.nonce, raw: TxEnvelope::from(signed).encoded_2718(), at: now() }
    }

    /// Journals an attempt before it is sent.
    async fn record(&self, flight: &mut Flight, attempt: TxAttempt) -> Result<(), TxError> {
        if flight.journalled {
            let write = Write::AddTxAttempt { id: flight.id, attempt: attempt.clone() };
            match self.store.write(vec![write]).await {
                Err(error) if error.is_disk() && flight.intent.kind.only_collects() => flight.journalled = false,
                result => result?,
            }
        }
        flight.attempts.push(attempt);
        Ok(())
    }

    async fn requeue(&self, flight: &Flight) -> Result<(), TxError> {
        if flight.journalled {
            self.store.write(vec![Write::RequeueTx { id: flight.id, at: now() }]).await?;
        }
        Ok(())
    }

    async fn send(&self, flight: &Flight) -> Sent {
        let Some(attempt) = flight.attempts.last() else { return Sent::Unknown };
        match self.chain.send_raw(&attempt.raw).await {
            Ok(_) => Sent::Accepted,
            Err(ChainError::Refused { message, .. }) => sent_of(message),
            // Lost on the way, maybe after it was taken.
            Err(error) => {
                tracing::debug!(%error, hash = %attempt.hash, "no word on whether the transaction was taken");
                Sent::Unknown
            }
        }
    }

    async fn rebroadcast(&self, flight: &Flight) {
        if let Sent::Refused(message) = self.send(flight).await {
            tracing::warn!(kind = %flight.intent.kind, message, "the endpoint does not take the transaction again");
        }
    }

    /// Fees for the next blocks: twice the base fee, so that it may double, and the tip.
    async fn fees(&self) -> Result<Fees, TxError> {
        let base = self.chain.head().await?.base_fee;
        let cap = self.config.max_fee_per_gas;
        let tip = self.chain.suggested_tip().await.unwrap_or(self.config.tip_per_gas);
        let need = base.saturating_add(tip.min(self.config.tip_per_gas));
        if need > cap {
            return Err(TxError::FeeAboveCap { have: cap, need });
        }
        let max = base.saturating_mul(2).saturating_add(tip).min(cap);
        Ok(Fees { max, tip: tip.min(max) })
    }

    /// The receipt of whichever attempt was mined.
    async fn mined(&self, attempts: &[TxAttempt]) -> Result<Option<(Receipt, bool)>, ChainError> {
        for attempt in attempts.iter().rev() {
            if let Some(receipt) = self.chain.receipt(attempt.hash).await? {
                let method = "eth_getTransactionReceipt";
                let block = receipt.block_number.ok_or(ChainError::BadAnswer { method })?;
                let gas_used = receipt.gas_used;
                let fee_wei = u128::from(gas_used).saturating_mul(receipt.effective_gas_price);
                let found = Receipt { hash: attempt.hash, gas_used, fee_wei, block };
                return Ok(Some((found, receipt.status())));
            }
        }
        Ok(None)
    }

    /// Follows a transaction to its end.
    async fn drive(&self, mut flight: Flight) -> Outcome {
        let mut sent_at = Instant::now();
        loop {
            match self.step(&mut flight).await {
                Ok(Some((receipt, succeeded))) => return self.finish(&flight, receipt, succeeded).await,
                Ok(None) => {}
                Err(error) if is_passing(&error) => {
                    tracing::debug!(%error, kind = %flight.intent.kind, "looking again later");
                }
                Err(error) => return Err(error),
            }
            if sent_at.elapsed() >= self.config.replace_after {
                match self.replace(&mut flight).await {
                    Err(error) if !is_passing(&error) => return Err(error),
                    Err(error) => tracing::debug!(%error, kind = %flight.intent.kind, "not replaced"),
                    Ok(()) => {}
                }
                sent_at = Instant::now();
            }
            tokio::time::sleep(self.config.poll).await;
        }
    }

    /// One look: mined and deep enough, or not. Gives the intent a new nonce
    /// when another transaction took the old one for good.
    async fn step(&self, flight: &mut Flight) -> Result<Option<(Receipt, bool)>, TxError> {
        let beyond = self.config.confirmations.saturating_sub(1);
        if let Some((receipt, succeeded)) = self.mined(&flight.attempts).await? {
            let deep = beyond == 0 || self.chain.head().await?.number >= receipt.block.saturating_add(beyond);
            return Ok(deep.then_some((receipt, succeeded)));
        }
        let head = self.chain.head().await?;
        let deep = U64::from(head.number.saturating_sub(beyond.max(NONCE_TAKEN_BLOCKS)));
        let used = self.chain.transaction_count(self.signer.address(), json!(deep)).await?;
        if used <= flight.nonce {
            return Ok(None);
        }
        // The nonce is used at that depth. It was used by one of ours if a
        // receipt turned up since the first look.
        if self.mined(&flight.attempts).await?.is_some() {
            return Ok(None);
        }
        tracing::warn!(nonce = flight.nonce, kind = %flight.intent.kind, "another transaction took the nonce");
        let mut unjournalled = self.nonces.lock().await;
        unjournalled.remove(&flight.nonce);
        self.requeue(flight).await?;
        let (intent, attempts) = (flight.intent.clone(), flight.attempts.clone());
        *flight = self.launch(flight.id, intent, attempts, flight.journalled, &mut unjournalled).await?;
        Ok(None)
    }

    /// Signs the same transaction again at a higher fee, or sends the old one
    /// again when the cap leaves no room.
    async fn replace(&self, flight: &mut Flight) -> Result<(), TxError> {
        let old = flight.attempts.last().and_then(|attempt| TxEnvelope::decode_2718(&mut attempt.raw.as_slice()).ok());
        let market = self.fees().await;
        if let Some(old) = old {
            let raised = |fee: u128| fee.saturating_add(fee.div_ceil(8)).saturating_add(1);
            let old_tip = old.max_priority_fee_per_gas().unwrap_or_default();
            let market = market.unwrap_or(Fees { max: 0, tip: 0 });
            let fees = Fees {
                max: raised(old.max_fee_per_gas()).max(market.max),
                tip: raised(old_tip).max(market.tip.min(self.config.max_fee_per_gas)),
            };
            if fees.max <= self.config.max_fee_per_gas && fees.tip <= fees.max {
                let attempt = self.sign(flight, old.gas_limit(), fees);
                tracing::info!(kind = %flight.intent.kind, nonce = flight.nonce, fee = fees.max, "replacing");
                self.record(flight, attempt).await?;
            }
        }
        self.rebroadcast(flight).await;
        Ok(())
    }

    async fn finish(&self, flight: &Flight, receipt: Receipt, succeeded: bool) -> Outcome {
        let Receipt { hash, block, gas_used, fee_wei } = receipt;
        if flight.journalled {
            let outcome = Some(TxOutcome { hash, block, gas_used, fee_wei });
            let write = Write::FinishTx { id: flight.id, succeeded, outcome, at: now() };
            if let Err(error) = self.store.write(vec![write]).await {
                // The chain knows; the next start finds the receipt again.
                tracing::error!(%error, %hash, "a mined transaction could not be journalled");
            }
        } else {
            self.nonces.lock().await.remove(&flight.nonce);
        }
        if succeeded {
            return Ok(receipt);
        }
        let before = block.saturating_sub(1);
        let error = match self.chain.simulate_at(self.signer.address(), &flight.intent, before).await {
            Err(ChainError::Reverted(error)) => error,
            _ => ContractError::decode(&[]),
        };
        Err(TxError::Reverted { hash, block, error: Box::new(error) })
    }
}

#[derive(Clone, Copy)]
struct Fees {
    max: u128,
    tip: u128,
}

/// What became of a transaction that was sent.
enum Sent {
    Accepted,
    NonceTaken,
    Refused(String),
    Unknown,
}

/// Nodes agree on no codes here, only roughly on words.
fn sent_of(message: String) -> Sent {
    let words = message.to_ascii_lowercase();
    let has = |word| words.contains(word);
    if has("already known") || has("already imported") || has("known transaction") {
        Sent::Accepted
    } else if has("nonce too low") {
        Sent::NonceTaken
    } else {
        Sent::Refused(message)
    }
}

/// Whether the same may go better at the next look.
fn is_passing(error: &TxError) -> bool {
    match error {
        TxError::Chain(ChainError::Reverted(_)) => false,
        TxError::Chain(_) | TxError::FeeAboveCap { .. } => true,
        _ => false,
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
            Err(TxError::Reverted { hash, block, error: Box::new(ContractError::decode(&[])) })
        }
        _ => Err(TxError::FailedBefore),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}
