//! The way of one intent from its nonce to its end: sent, looked for, sent
//! again, replaced, cancelled, given another nonce, watched.
//!
//! A nonce is given up on one ground only: another transaction was mined under
//! it, at depth, and is none of ours. Not because an endpoint refused, since it
//! may have handed the transaction on all the same.

use crate::{
    ChainError, ChainView, ContractError, Header, Intent,
    chain::Mined,
    fees::{self, Fees},
    tx::{Live, MAX_TX_GAS, Outcome, PendingTx, Receipt, TxConfig, TxError, lock, now},
};
use alloy::{
    consensus::{SignableTransaction, Transaction, TxEip1559, TxEnvelope},
    eips::{Decodable2718, Encodable2718},
    primitives::{Address, B256, Bytes, Signature as EvmSignature, TxKind, U256},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};
use symbolon_primitives::{Signer, Timestamp};
use symbolon_store::{StoreError, StoreHandle, TxAttempt, TxOutcome, TxPlan, Write};
use tokio::sync::watch;

/// How deep another transaction under our nonce has to be before ours is given
/// a new one: endpoints behind one address may differ by a block or two.
const NONCE_TAKEN_BLOCKS: u64 = 3;

/// Gas of a transfer of nothing.
const CANCEL_GAS: u64 = 21_000;

/// Costs count for a day.
const DAY_SECS: u64 = 24 * 60 * 60;

/// How often, within the time after which it is replaced, a transaction that no
/// pool knows is sent again.
const RESENDS: u32 = 6;

pub(crate) struct Shared {
    pub(crate) chain: ChainView,
    pub(crate) signer: Arc<dyn Signer + Send + Sync>,
    pub(crate) store: StoreHandle,
    pub(crate) config: TxConfig,
    /// Held while a nonce is chosen, signed, journalled and sent. Knows the
    /// nonces in flight that the journal could not take.
    pub(crate) nonces: tokio::sync::Mutex<BTreeSet<u64>>,
    pub(crate) live: Mutex<BTreeMap<B256, Live>>,
}

/// One intent on its way.
pub(crate) struct Flight {
    pub(crate) id: B256,
    intent: Intent,
    nonce: u64,
    attempts: Vec<TxAttempt>,
    journalled: bool,
    mined_in: Option<u64>,
    /// The pool wants more for it than it offers.
    underpriced: bool,
    trouble: Option<TxError>,
}

impl Flight {
    pub(crate) fn new(id: B256, intent: Intent, nonce: u64, attempts: Vec<TxAttempt>, journalled: bool) -> Self {
        Self { id, intent, nonce, attempts, journalled, mined_in: None, underpriced: false, trouble: None }
    }

    pub(crate) fn pending(&self) -> PendingTx {
        PendingTx {
            id: self.id,
            kind: self.intent.kind,
            nonce: self.nonce,
            since: self.attempts.first().map_or(Timestamp(0), |attempt| attempt.at),
            attempts: self.attempts.len(),
            mined_in: self.mined_in,
            trouble: self.trouble.clone(),
        }
    }
}

/// What a transaction calls, with how much gas.
struct Call {
    to: Address,
    value: U256,
    data: Bytes,
    gas: u64,
}

/// Where an intent stands.
enum Stand {
    /// Not mined, or not by the chain as it is now.
    Waiting,
    /// Mined, and not deep enough.
    Shallow,
    /// Deep enough to go on with, not deep enough to forget.
    Confirmed(Mined),
    /// Over.
    Final(Mined),
}

/// Who was mined under a nonce.
enum Taker {
    Ours,
    Another,
    /// The endpoints no longer have the state to tell.
    Forgotten,
}

/// What became of a transaction that was sent.
enum Sent {
    Accepted,
    /// The pool wants more for it.
    Underpriced(String),
    /// Another one waits in the pool under the nonce, for no less: of somebody else's, or an earlier one of ours.
    Outbid,
    Refused(String),
    Unknown,
}

/// Whether an attempt is one that takes an intent's place: nothing, to its sender.
pub(crate) fn is_cancelling(attempt: &TxAttempt, sender: Address) -> bool {
    decoded(attempt).is_some_and(|tx| tx.to() == Some(sender) && tx.input().is_empty() && tx.value().is_zero())
}

/// What an attempt pays for one gas and can cost at most, in wei.
pub(crate) fn cost(attempt: &TxAttempt) -> Option<(u128, u128)> {
    let tx = decoded(attempt)?;
    let fees = fees_of(&tx);
    Some((fees.max, fees.worst(tx.gas_limit())))
}

fn decoded(attempt: &TxAttempt) -> Option<TxEnvelope> {
    TxEnvelope::decode_2718(&mut attempt.raw.as_slice()).ok()
}

fn fees_of(tx: &TxEnvelope) -> Fees {
    Fees { max: tx.max_fee_per_gas(), tip: tx.max_priority_fee_per_gas().unwrap_or_default() }
}

impl Shared {
    pub(crate) fn new(
        chain: ChainView,
        signer: Arc<dyn Signer + Send + Sync>,
        store: StoreHandle,
        config: TxConfig,
    ) -> Self {
        Self { chain, signer, store, config, nonces: tokio::sync::Mutex::default(), live: Mutex::default() }
    }

    fn sender(&self) -> Address {
        self.signer.address()
    }

    /// The chain by the trust that an intent needs: collecting makes do with one endpoint.
    fn reads(&self, intent: &Intent) -> ChainView {
        if intent.kind.only_collects() { self.chain.for_collecting() } else { self.chain.clone() }
    }

    /// Runs the intent without sending it.
    pub(crate) async fn check(&self, intent: &Intent) -> Result<(), TxError> {
        match self.reads(intent).simulate(self.sender(), intent).await {
            Ok(_) => Ok(()),
            Err(ChainError::Reverted(error)) => Err(TxError::WouldRevert(error)),
            Err(ChainError::Refused { message, .. }) if is_out_of_gas(&message) => {
                Err(TxError::OverGasCap { have: MAX_TX_GAS })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Journals an intent. Whether it is in the journal: one that only collects
    /// goes out without it when the disk has failed.
    async fn plan(&self, id: B256, intent: &Intent) -> Result<bool, TxError> {
        let plan = TxPlan {
            id,
            chain_id: self.chain.chain_id(),
            sender: self.sender(),
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

    /// Gives an intent a nonce and sends it for the first time under it; `journalled` tells of its attempts. One without
    /// any is planned only now that its price is within the caps: of what is too dear nothing stays in the journal,
    /// however often it is tried.
    pub(crate) async fn launch(
        &self,
        id: B256,
        intent: Intent,
        attempts: Vec<TxAttempt>,
        journalled: bool,
        unjournalled: &mut BTreeSet<u64>,
    ) -> Result<Flight, TxError> {
        let sender = self.sender();
        let chain = self.reads(&intent);
        let mut before = None;
        if let Some(last) = attempts.last() {
            // An attempt that was refused, or given up, may have been mined after all.
            let mined = self.mined(&chain, &attempts).await?.is_some();
            let taken = self.taken(&chain, &attempts, last.nonce).await?;
            if mined || matches!(taken, Some(Taker::Ours)) {
                return Ok(Flight::new(id, intent, last.nonce, attempts, journalled));
            }
            // Or may be yet: only under the same nonce nothing happens twice.
            if taken.is_none() {
                before = Some((last.nonce, decoded(last).map(|tx| fees_of(&tx))));
            }
        }
        let base = chain.head().await?.base_fee;
        let mut fees = fees::quote(base, chain.suggested_tip().await, &self.config)?;
        if let Some(old) = before.and_then(|(_, old)| old) {
            fees = fees::replacement(old, Some(fees), &self.config).unwrap_or(fees);
        }
        let gas = match chain.estimate_gas(sender, &intent).await {
            Ok(gas) => gas,
            Err(ChainError::Reverted(error)) => return Err(TxError::WouldRevert(error)),
            Err(ChainError::Refused { message, .. }) if is_out_of_gas(&message) => {
                return Err(TxError::OverGasCap { have: MAX_TX_GAS });
            }
            // Most often: the account cannot pay for any gas.
            Err(ChainError::Refused { message, .. }) => return Err(TxError::NotAccepted { message }),
            Err(error) => return Err(error.into()),
        };
        if gas > MAX_TX_GAS {
            return Err(TxError::OverGasCap { have: MAX_TX_GAS });
        }
        let margin = gas.saturating_mul(self.config.gas_margin_percent) / 100;
        let gas = gas.saturating_add(margin).min(MAX_TX_GAS);
        let fees = fees::within_tx_cap(fees, gas, base, &self.config)?;
        self.within_day(id, fees.worst(gas))?;
        // What a pool refuses keeps its row, since it may happen all the same: what cannot be paid for gets none.
        let (have, need) = (chain.ether(sender).await?, U256::from(fees.worst(gas)).saturating_add(intent.value));
        if have < need {
            return Err(TxError::TooLittleEther { have, need });
        }
        let nonce = match before {
            Some((nonce, _)) => {
                let sent = self.store.read(|view| view.sent_txs(self.chain.chain_id(), sender))?;
                let held = sent.iter().any(|tx| tx.plan.id != id && tx.nonce == Some(nonce));
                if held || unjournalled.contains(&nonce) {
                    return Err(TxError::NonceContested { nonce });
                }
                nonce
            }
            None => {
                let pending = chain.next_nonce(sender).await?;
                let held = self.store.read(|view| view.highest_open_nonce(self.chain.chain_id(), sender))?;
                let in_flight = held.max(unjournalled.last().copied());
                in_flight.map_or(pending, |highest| pending.max(highest.saturating_add(1)))
            }
        };
        let journalled = if attempts.is_empty() { self.plan(id, &intent).await? } else { journalled };
        let mut flight = Flight::new(id, intent, nonce, attempts, journalled);
        let call = Call { to: flight.intent.to, value: flight.intent.value, data: flight.intent.data.clone(), gas };
        let attempt = self.sign(nonce, call, fees);
        self.record(&mut flight, attempt).await?;
        match self.send(&mut flight).await {
            Sent::Refused(message) => {
                // The nonce is free for others, and stays this intent's until one of them is mined.
                self.requeue(&flight).await?;
                Err(TxError::NotAccepted { message })
            }
            _ => {
                if !flight.journalled {
                    unjournalled.insert(nonce);
                }
                Ok(flight)
            }
        }
    }

    /// What is left of the cap of 24 hours, without what one intent holds of it.
    pub(crate) fn left_today(&self, without: Option<B256>) -> Result<u128, StoreError> {
        let (chain_id, sender) = (self.chain.chain_id(), self.sender());
        let since = Timestamp(now().0.saturating_sub(DAY_SECS));
        let spent = self.store.read(|view| view.fees_since(chain_id, sender, since))?;
        let sent = self.store.read(|view| view.sent_txs(chain_id, sender))?;
        let held = sent.iter().filter(|tx| Some(tx.plan.id) != without).map(|tx| {
            let last = tx.attempts.last().and_then(decoded);
            last.map_or(0, |last| fees_of(&last).worst(last.gas_limit()))
        });
        let used = held.fold(spent, u128::saturating_add);
        Ok(self.config.max_day_wei.saturating_sub(used))
    }

    fn within_day(&self, id: B256, need: u128) -> Result<(), TxError> {
        let have = self.left_today(Some(id))?;
        if need <= have { Ok(()) } else { Err(TxError::DayAboveCap { have, need }) }
    }

    fn sign(&self, nonce: u64, call: Call, fees: Fees) -> TxAttempt {
        let tx = TxEip1559 {
            chain_id: self.chain.chain_id(),
            nonce,
            gas_limit: call.gas,
            max_fee_per_gas: fees.max,
            max_priority_fee_per_gas: fees.tip,
            to: TxKind::Call(call.to),
            value: call.value,
            access_list: Default::default(),
            input: call.data,
        };
        let signature = self.signer.sign(&tx.signature_hash().0);
        let signed = tx.into_signed(EvmSignature::from_erc2098(signature.as_bytes()));
        let hash = *signed.hash();
        TxAttempt { hash, nonce, raw: TxEnvelope::from(signed).encoded_2718(), at: now() }
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

    async fn send(&self, flight: &mut Flight) -> Sent {
        let Some(attempt) = flight.attempts.last() else { return Sent::Unknown };
        let sent = match self.chain.send_raw(&attempt.raw).await {
            Ok(()) => Sent::Accepted,
            Err(ChainError::Refused { message, .. }) => sent_of(message),
            // Lost on the way, maybe after it was taken.
            Err(error) => {
                tracing::debug!(%error, hash = %attempt.hash, "no word on whether the transaction was taken");
                Sent::Unknown
            }
        };
        flight.underpriced = matches!(sent, Sent::Underpriced(_));
        flight.trouble = match &sent {
            Sent::Outbid => Some(TxError::NonceContested { nonce: flight.nonce }),
            Sent::Refused(message) | Sent::Underpriced(message) => {
                Some(TxError::NotAccepted { message: message.clone() })
            }
            _ => None,
        };
        sent
    }

    pub(crate) async fn rebroadcast(&self, flight: &mut Flight) {
        if let Sent::Refused(message) = self.send(flight).await {
            tracing::warn!(kind = %flight.intent.kind, message, "the endpoint does not take the transaction again");
        }
    }

    /// The receipt of whichever attempt was mined.
    async fn mined(&self, chain: &ChainView, attempts: &[TxAttempt]) -> Result<Option<Mined>, ChainError> {
        for attempt in attempts.iter().rev() {
            if let Some(mined) = chain.mined(attempt.hash).await? {
                return Ok(Some(mined));
            }
        }
        Ok(None)
    }

    /// Follows an intent to its end, and tells it once it is deep enough.
    pub(crate) async fn drive(
        &self,
        mut flight: Flight,
        publish: &watch::Sender<Option<Outcome>>,
        cancel: &AtomicBool,
        seen: &Mutex<PendingTx>,
    ) -> Outcome {
        let (mut replaced_at, mut sent_at) = (Instant::now(), Instant::now());
        let mut looked_at: Option<Header> = None;
        loop {
            match self.look(&mut flight, &mut looked_at).await {
                Ok(Stand::Final(mined)) => return self.finish(&flight, mined, publish).await,
                Ok(Stand::Confirmed(mined)) => {
                    flight.mined_in = Some(mined.block);
                    if publish.borrow().is_none() {
                        let outcome = self.outcome(&flight, mined).await;
                        publish.send_replace(Some(outcome));
                    }
                }
                Ok(Stand::Shallow) => {}
                Ok(Stand::Waiting) => {
                    flight.mined_in = None;
                    let wants_cancel = cancel.load(Ordering::Acquire) && !self.is_cancelled(&flight);
                    let stuck = replaced_at.elapsed() >= self.config.replace_after;
                    if wants_cancel || stuck || flight.underpriced {
                        match self.replace(&mut flight, cancel.load(Ordering::Acquire)).await {
                            // No rise without a line in the journal; but what is out goes on, or all that was sent
                            // after it would wait for it in vain.
                            Err(TxError::Store(error)) if error.is_disk() => {
                                self.rebroadcast(&mut flight).await;
                                flight.trouble = Some(TxError::Store(error));
                            }
                            Err(error) if !is_passing(&error) => return Err(error),
                            Err(error) => flight.trouble = Some(error),
                            Ok(()) => {}
                        }
                        (replaced_at, sent_at) = (Instant::now(), Instant::now());
                    } else if sent_at.elapsed() >= self.config.replace_after / RESENDS {
                        self.resend_if_lost(&mut flight).await;
                        sent_at = Instant::now();
                    }
                }
                Err(error) if is_passing(&error) => {
                    tracing::debug!(%error, kind = %flight.intent.kind, "looking again later");
                    flight.trouble = Some(error);
                }
                Err(error) => return Err(error),
            }
            *lock(seen) = flight.pending();
            tokio::time::sleep(self.config.poll).await;
        }
    }

    fn is_cancelled(&self, flight: &Flight) -> bool {
        flight.attempts.last().is_some_and(|attempt| is_cancelling(attempt, self.sender()))
    }

    /// One look: mined by the chain as it is now and how deep, or not. Gives the
    /// intent a new nonce when another transaction took the old one for good.
    async fn look(&self, flight: &mut Flight, looked_at: &mut Option<Header>) -> Result<Stand, TxError> {
        let chain = self.reads(&flight.intent);
        let head = chain.head().await?;
        if flight.mined_in.is_some() && *looked_at == Some(head) {
            // Nothing can have changed.
            return Ok(Stand::Shallow);
        }
        let beyond = self.config.confirmations.saturating_sub(1);
        if let Some(mined) = self.mined(&chain, &flight.attempts).await? {
            let depth = head.number.saturating_sub(mined.block);
            // A receipt can outlive its block by a moment.
            if chain.block(mined.block).await?.hash != mined.block_hash {
                return Ok(Stand::Waiting);
            }
            flight.trouble = None;
            *looked_at = Some(head);
            return Ok(match depth {
                depth if depth < beyond || head.number < mined.block => Stand::Shallow,
                depth if depth >= beyond.saturating_add(self.config.watched_blocks) => Stand::Final(mined),
                _ => Stand::Confirmed(mined),
            });
        }
        match self.taken(&chain, &flight.attempts, flight.nonce).await? {
            Some(Taker::Another | Taker::Forgotten) => {}
            _ => return Ok(Stand::Waiting),
        }
        tracing::warn!(nonce = flight.nonce, kind = %flight.intent.kind, "another transaction took the nonce");
        let mut unjournalled = self.nonces.lock().await;
        unjournalled.remove(&flight.nonce);
        self.requeue(flight).await?;
        let (intent, attempts) = (flight.intent.clone(), flight.attempts.clone());
        *flight = self.launch(flight.id, intent, attempts, flight.journalled, &mut unjournalled).await?;
        Ok(Stand::Waiting)
    }

    /// Whether another transaction was mined under the nonce, deep enough to
    /// stay, and so none of these attempts can be any more; or one of them was.
    pub(crate) async fn is_passed_over(&self, attempts: &[TxAttempt], nonce: u64) -> Result<bool, TxError> {
        match self.taken(&self.chain, attempts, nonce).await? {
            Some(Taker::Another) => Ok(true),
            Some(Taker::Ours) => Ok(false),
            Some(Taker::Forgotten) => Err(TxError::NotTold { nonce }),
            None => Err(TxError::MayStillHappen { nonce }),
        }
    }

    /// Whose transaction was mined under a nonce, deep enough to stay; nothing
    /// when the nonce is unused at that depth.
    async fn taken(&self, chain: &ChainView, attempts: &[TxAttempt], nonce: u64) -> Result<Option<Taker>, TxError> {
        let beyond = self.config.confirmations.saturating_sub(1).max(NONCE_TAKEN_BLOCKS);
        let deep = chain.head().await?.number.saturating_sub(beyond);
        if chain.nonce_at(self.sender(), deep).await? <= nonce {
            return Ok(None);
        }
        // It was used by one of ours if a receipt turned up since the first look.
        if self.mined(chain, attempts).await?.is_some() {
            return Ok(Some(Taker::Ours));
        }
        // Receipts may be indexed late: the block itself does not err. First the
        // stretch in which the nonce was used, from the newest block back.
        let (mut used, mut step) = (deep, 1);
        let mut free = loop {
            let below = used.saturating_sub(step);
            match chain.nonce_at(self.sender(), below).await {
                Ok(count) if count <= nonce => break below,
                Ok(_) if below == 0 => return Ok(Some(Taker::Forgotten)),
                Ok(_) => (used, step) = (below, step.saturating_mul(2)),
                Err(ChainError::Refused { .. } | ChainError::NoQuorum { .. }) => return Ok(Some(Taker::Forgotten)),
                Err(error) => return Err(error.into()),
            }
        };
        while free.saturating_add(1) < used {
            let middle = free.midpoint(used);
            if chain.nonce_at(self.sender(), middle).await? <= nonce { free = middle } else { used = middle }
        }
        let sender = self.sender();
        let found =
            chain.senders(used).await?.into_iter().find(|(from, number, _)| (*from, *number) == (sender, nonce));
        let Some((_, _, hash)) = found else {
            return Err(ChainError::BadAnswer { method: "eth_getBlockByNumber" }.into());
        };
        Ok(Some(if attempts.iter().any(|attempt| attempt.hash == hash) { Taker::Ours } else { Taker::Another }))
    }

    /// Sends the same transaction again when no pool knows it any more.
    async fn resend_if_lost(&self, flight: &mut Flight) {
        let Some(last) = flight.attempts.last() else { return };
        if !matches!(self.chain.knows(last.hash).await, Ok(true)) {
            self.rebroadcast(flight).await;
        }
    }

    /// Whether any attempt under the nonce that it has now waits in a pool.
    async fn is_ours_known(&self, flight: &Flight) -> bool {
        for attempt in flight.attempts.iter().filter(|attempt| attempt.nonce == flight.nonce) {
            if matches!(self.chain.knows(attempt.hash).await, Ok(true)) {
                return true;
            }
        }
        false
    }

    /// Signs the same transaction again at a higher fee, or the one that takes
    /// its place; sends the old one again when the caps leave no room.
    async fn replace(&self, flight: &mut Flight, cancelling: bool) -> Result<(), TxError> {
        // Another program's transaction stands in the pool: outbidding it would
        // take it away from whoever sent it. One of the two is mined soon.
        let is_contested = matches!(flight.trouble, Some(TxError::NonceContested { .. }));
        // An earlier one of ours stands there: the pool wants a larger rise than others do.
        let outbid = is_contested && !self.is_ours_known(flight).await;
        let Some(old) = flight.attempts.last().and_then(decoded) else { return Ok(()) };
        let chain = self.reads(&flight.intent);
        let base = chain.head().await?.base_fee;
        let market = fees::quote(base, chain.suggested_tip().await, &self.config);
        let call = if cancelling || self.is_cancelled(flight) {
            Call { to: self.sender(), value: U256::ZERO, data: Bytes::new(), gas: CANCEL_GAS }
        } else {
            let Intent { to, value, ref data, .. } = flight.intent;
            Call { to, value, data: data.clone(), gas: old.gas_limit() }
        };
        let new = fees::replacement(fees_of(&old), market.as_ref().ok().copied(), &self.config);
        let mut trouble = market.err();
        match new.filter(|_| !outbid || cancelling) {
            Some(fees) if fees.worst(call.gas) > self.config.max_tx_wei => {
                trouble = Some(TxError::TxAboveCap { have: self.config.max_tx_wei, need: fees.worst(call.gas) });
            }
            Some(fees) => match self.within_day(flight.id, fees.worst(call.gas)) {
                Ok(()) => {
                    let attempt = self.sign(flight.nonce, call, fees);
                    tracing::info!(kind = %flight.intent.kind, nonce = flight.nonce, fee = fees.max, "replacing");
                    self.record(flight, attempt).await?;
                }
                Err(error) => trouble = Some(error),
            },
            None => {}
        }
        self.rebroadcast(flight).await;
        if flight.underpriced {
            if new.is_none() {
                let (have, need) = (self.config.max_fee_per_gas, fees::raised(old.max_fee_per_gas()));
                trouble.get_or_insert(TxError::FeeAboveCap { have, need });
            }
            // Why no more is offered says more than that it was too little.
            flight.underpriced = trouble.is_none();
            flight.trouble = trouble.take().or(flight.trouble.take());
        }
        flight.trouble = flight.trouble.take().or(trouble);
        Ok(())
    }

    async fn finish(&self, flight: &Flight, mined: Mined, publish: &watch::Sender<Option<Outcome>>) -> Outcome {
        let Mined { hash, block, gas_used, fee_wei, .. } = mined;
        let told = publish.borrow().clone();
        let outcome = match told {
            Some(Ok(receipt)) if receipt.hash == hash && receipt.block == block => Ok(receipt),
            _ => self.outcome(flight, mined).await,
        };
        if flight.journalled {
            let (succeeded, mined) = (outcome.is_ok(), Some(TxOutcome { hash, block, gas_used, fee_wei }));
            let write = Write::FinishTx { id: flight.id, succeeded, outcome: mined, at: now() };
            if let Err(error) = self.store.write(vec![write]).await {
                // The chain knows; the next start finds the receipt again.
                tracing::error!(%error, %hash, "a mined transaction could not be journalled");
            }
        } else {
            self.nonces.lock().await.remove(&flight.nonce);
        }
        outcome
    }

    /// What a mined attempt means for its intent.
    async fn outcome(&self, flight: &Flight, mined: Mined) -> Outcome {
        let Mined { hash, block, gas_used, fee_wei, succeeded, .. } = mined;
        let attempt = flight.attempts.iter().find(|attempt| attempt.hash == hash);
        if attempt.is_some_and(|attempt| is_cancelling(attempt, self.sender())) {
            return Err(TxError::Cancelled);
        }
        if succeeded {
            return Ok(Receipt { hash, gas_used, fee_wei, block });
        }
        let before = block.saturating_sub(1);
        let error = match self.chain.simulate_at(self.sender(), &flight.intent, before).await {
            Err(ChainError::Reverted(error)) => error,
            _ => ContractError::decode(&[]),
        };
        Err(TxError::Reverted { hash, block, error: Box::new(error) })
    }
}

/// Whether a call ran out of all the gas that an endpoint gives one.
fn is_out_of_gas(message: &str) -> bool {
    let words = message.to_ascii_lowercase();
    ["out of gas", "outofgas", "oog", "gas required exceeds", "exceeds block gas limit"]
        .iter()
        .any(|said| words.contains(said))
}

/// Nodes agree on no codes here, only roughly on words.
fn sent_of(message: String) -> Sent {
    let words = message.to_ascii_lowercase();
    let has = |word| words.contains(word);
    if has("already known") || has("already imported") || has("known transaction") {
        Sent::Accepted
    } else if has("nonce too low") {
        // Maybe ours was mined, maybe another: looking tells.
        Sent::Unknown
    } else if has("replacement") && has("underpriced") {
        Sent::Outbid
    } else if has("underpriced") || has("fee too low") || has("less than block base fee") {
        Sent::Underpriced(message)
    } else {
        Sent::Refused(message)
    }
}

/// Whether the same may go better at the next look.
fn is_passing(error: &TxError) -> bool {
    match error {
        TxError::Chain(ChainError::Reverted(_)) => false,
        TxError::Chain(_)
        | TxError::FeeAboveCap { .. }
        | TxError::TxAboveCap { .. }
        | TxError::DayAboveCap { .. }
        | TxError::TooLittleEther { .. }
        | TxError::NonceContested { .. } => true,
        _ => false,
    }
}
