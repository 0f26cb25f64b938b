//! What to claim and settle now, as a pure function: the vouchers and quorum
//! packages held, what gas costs, how congested the chain is, and the time in;
//! calls, and a reason for every entry, out.
//!
//! **The margin before an expiry** grows with congestion. Its level is the sum
//! of three figures, 0 to 4 each:
//!
//! - `4 * full / blocks`, blocks being the newest ones and full those that used
//!   nine tenths of their gas or more;
//! - `2 * (now - then) / then` for the base fee from the oldest of them to the
//!   newest: one for each half that it rose;
//! - the node's own transactions that wait to be mined.
//!
//! `margin = policy's margin * (4 + level) / 4`: between one and four times the
//! policy's.

use crate::{ChannelState, Header, MAX_TX_GAS, ops::SignedVoucher};
use alloy::primitives::{Address, U256};
use std::collections::{BTreeMap, BTreeSet};
use symbolon_primitives::{Amount, Epoch, Lane, OrderDigest, Royalty, Timestamp, Voucher};

/// Gas of a claim beside its rows, with the credit of its first payee, from the vault's gas budgets.
pub const CLAIM_GAS: u64 = 45_000;

/// Gas of one more row, on a lane of its own.
pub const ROW_GAS: u64 = 12_000;

/// What a royalty adds to a row: the author is credited and the log says so.
pub const ROYALTY_GAS: u64 = 3_000;

/// What an account that nothing lies in yet adds to the call that first credits it: an author, or one more payee.
pub const ACCOUNT_GAS: u64 = 22_500;

/// Gas of a settlement by quorum beside its rows, and of each of them.
pub const SETTLE_GAS: u64 = 34_000;
/// See [`SETTLE_GAS`].
pub const SETTLE_ROW_GAS: u64 = 18_000;

/// The longest call data: pools take transactions of 128 KiB.
pub const MAX_CALL_BYTES: u64 = 120_000;

/// The royalty that a claim on a lane credits; none where the lane is none that the vault opens.
fn royalty_of(lane: Lane) -> Option<Royalty> {
    lane.royalty().ok().filter(|royalty| royalty.bps() > 0)
}

/// Bytes of a voucher, of the header of a lane in front of it, and of the payee
/// in front of that where a call claims for others.
const ROW_BYTES: u64 = 79;
const HEADER_BYTES: u64 = 33;
const PAYEE_BYTES: u64 = 20;

/// The highest level of congestion.
const MAX_LEVEL: u64 = 12;

/// A voucher in hand, with its channel as the chain has it at depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldVoucher {
    /// The payer key that signed it.
    pub payer: Address,
    /// The voucher.
    pub signed: SignedVoucher,
    /// The channel.
    pub channel: ChannelState,
    /// Whether the job that it paid for is over.
    pub job_over: bool,
    /// When the requestor was last heard of, where that is known.
    pub heard_at: Option<Timestamp>,
}

impl HeldVoucher {
    /// What claiming it would credit now (SYM-09), gross of royalty.
    #[must_use]
    pub fn collectible(&self) -> Amount {
        let voucher = &self.signed.voucher;
        collectible(voucher.cumulative, voucher.epoch, &self.channel)
    }

    fn place(&self) -> Place {
        Place { payee: self.signed.voucher.payee, payer: self.payer, lane: self.signed.voucher.lane }
    }
}

/// Results of a quorum that this node could settle an order with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldQuorum {
    /// The order.
    pub order: OrderDigest,
    /// The payer key that signed it.
    pub payer: Address,
    /// This node, as the payee of its leaf.
    pub payee: Address,
    /// The leaf's lane.
    pub lane: Lane,
    /// The leaf's epoch.
    pub epoch: Epoch,
    /// The leaf's owed and price together: the total it settles for.
    pub total: Amount,
    /// How many replicas it settles with.
    pub rows: u8,
    /// The channel.
    pub channel: ChannelState,
    /// Until when it can be settled.
    pub settle_by: Timestamp,
    /// When it is this node's turn: the requestor was silent until then.
    pub turn_at: Timestamp,
}

impl HeldQuorum {
    fn place(&self) -> Place {
        Place { payee: self.payee, payer: self.payer, lane: self.lane }
    }
}

fn collectible(total: Amount, epoch: Epoch, channel: &ChannelState) -> Amount {
    if epoch != channel.epoch {
        return Amount::ZERO;
    }
    total.min(channel.allocated).saturating_sub(channel.claimed)
}

/// A channel, named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Who is paid.
    pub payee: Address,
    /// Who pays.
    pub payer: Address,
    /// On which lane.
    pub lane: Lane,
}

/// What gas costs, in the vault's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GasPrice {
    /// Wei for one gas.
    pub wei_per_gas: u128,
    /// Base units of the token that one ether (10^18 wei) is worth.
    pub base_per_ether: Amount,
}

impl GasPrice {
    /// The price of `gas`, rounded up; [`Amount::MAX`] when it is no amount.
    #[must_use]
    pub fn fee_up(&self, gas: u64) -> Amount {
        let wei = U256::from(gas).saturating_mul(U256::from(self.wei_per_gas));
        let ether = U256::from(1_000_000_000_000_000_000_u64);
        let base = wei.saturating_mul(U256::from(self.base_per_ether.get())).div_ceil(ether);
        Amount::from_u256(base).unwrap_or(Amount::MAX)
    }
}

/// How hard it is to get a transaction mined, from 0 to 12.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Congestion(u64);

impl Congestion {
    /// From the newest blocks, oldest first, and the number of own transactions
    /// that wait to be mined.
    #[must_use]
    pub fn of(blocks: &[Header], waiting: usize) -> Self {
        let is_full = |block: &&Header| {
            u128::from(block.gas_used).saturating_mul(10) >= u128::from(block.gas_limit).saturating_mul(9)
        };
        let full = blocks.iter().filter(is_full).count().saturating_mul(4);
        let full = full.checked_div(blocks.len()).unwrap_or_default();
        let rise = match (blocks.first(), blocks.last()) {
            (Some(then), Some(now)) => {
                let risen = now.base_fee.saturating_sub(then.base_fee).saturating_mul(2);
                risen.checked_div(then.base_fee).unwrap_or(if risen == 0 { 0 } else { 4 })
            }
            _ => 0,
        };
        let four = |figure: u128| u64::try_from(figure.min(4)).unwrap_or(4);
        let wide = |figure: usize| u128::try_from(figure).unwrap_or(u128::MAX);
        Self(four(wide(full)).saturating_add(four(rise)).saturating_add(four(wide(waiting))))
    }

    /// The level, from 0 to 12.
    #[must_use]
    pub fn level(self) -> u64 {
        self.0.min(MAX_LEVEL)
    }

    /// A margin as it has to be now.
    #[must_use]
    pub fn stretch(self, margin_secs: u64) -> u64 {
        margin_secs.saturating_mul(self.level().saturating_add(4)) / 4
    }
}

/// The newest blocks by which congestion is told.
pub const RECENT_BLOCKS: usize = 16;

/// The newest blocks that were looked at, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recent(Vec<Header>);

impl Recent {
    /// Takes a block that was looked at; one that is no newer than the last changes nothing.
    pub fn note(&mut self, block: Header) {
        if self.0.last().is_none_or(|last| last.number < block.number) {
            self.0.push(block);
            let excess = self.0.len().saturating_sub(RECENT_BLOCKS);
            self.0.drain(..excess);
        }
    }

    /// The time of the newest of them; zero before any was seen.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.0.last().map_or(Timestamp(0), |block| Timestamp(block.timestamp))
    }

    /// How congested the chain is by these blocks and the own transactions that wait to be mined.
    #[must_use]
    pub fn congestion(&self, waiting: usize) -> Congestion {
        Congestion::of(&self.0, waiting)
    }
}

/// When a claim is worth it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimPolicy {
    /// The least a call collects, in base units, while the job goes on.
    pub min_value: Amount,
    /// The most of it that may go into gas, in basis points (`--max-fee-ratio`).
    pub max_fee_bps: u16,
    /// The same once a job is over or its requestor is silent.
    pub max_fee_bps_at_end: u16,
    /// How long a requestor may say nothing before it counts as silent.
    pub silence_secs: u64,
    /// How long before a channel's expiry it is claimed whatever the policy
    /// says, as long as it collects more than its gas.
    pub before_expiry_margin_secs: u64,
    /// The same before an order's settle-by.
    pub before_settle_margin_secs: u64,
}

impl Default for ClaimPolicy {
    /// At most 5% for gas, 20% at the end; everything a day before its expiry
    /// and half an hour before its settle-by.
    fn default() -> Self {
        Self {
            min_value: Amount::ZERO,
            max_fee_bps: 500,
            max_fee_bps_at_end: 2_000,
            silence_secs: 6 * 60 * 60,
            before_expiry_margin_secs: 24 * 60 * 60,
            before_settle_margin_secs: 30 * 60,
        }
    }
}

/// Why an entry goes out now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Its channel is about to expire, or its order can soon be settled no more.
    Expiring,
    /// Its job is over.
    JobOver,
    /// Its requestor is silent.
    Silent,
    /// It is worth its gas.
    Worth,
}

/// Why an entry stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// It would credit nothing.
    NothingToCollect,
    /// It brings no more than its own gas.
    BelowItsGas {
        /// What its gas costs.
        fee: Amount,
    },
    /// The call it would be in collects less than the policy's least.
    BelowMinimum {
        /// The least.
        need: Amount,
    },
    /// Gas would take too much of the call it would be in.
    FeeTooHigh {
        /// What the call's gas costs.
        fee: Amount,
        /// The most the policy allows for what it collects.
        allowed: Amount,
    },
    /// Another replica's turn to settle.
    NotItsTurn {
        /// When its own begins.
        at: Timestamp,
    },
    /// The order's settle-by has passed: it can be paid by voucher only.
    TooLate,
}

/// An entry of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<R> {
    /// The channel.
    pub place: Place,
    /// The order, where it is settled by quorum.
    pub order: Option<OrderDigest>,
    /// What it collects, in base units.
    pub value: Amount,
    /// Its reason.
    pub reason: R,
}

/// What a call does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Claims vouchers of one payee.
    Claim(Vec<SignedVoucher>),
    /// Settles an order by its quorum.
    Settle(OrderDigest),
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who is credited.
    pub payee: Address,
    /// What it does.
    pub call: Call,
    /// What it collects.
    pub value: Amount,
    /// Its gas, at most.
    pub gas: u64,
    /// What that costs.
    pub fee: Amount,
    /// The most pressing reason of its entries.
    pub why: Why,
    /// Each entry with its own reason; one that would not go alone goes along
    /// as worth it.
    pub entries: Vec<Entry<Why>>,
}

impl Claim {
    /// The vouchers claimed.
    #[must_use]
    pub fn vouchers(&self) -> &[SignedVoucher] {
        match &self.call {
            Call::Claim(vouchers) => vouchers,
            Call::Settle(_) => &[],
        }
    }
}

/// What goes out now, and what stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The calls, the most pressing of each payee first.
    pub claims: Vec<Claim>,
    /// What stays, with its reason.
    pub waiting: Vec<Entry<Wait>>,
}

/// What the chain is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Market {
    /// What gas costs.
    pub gas: GasPrice,
    /// How congested it is.
    pub congestion: Congestion,
}

/// One voucher that may go out.
#[derive(Clone, Copy)]
struct Row {
    held: HeldVoucher,
    value: Amount,
    /// Why by itself, if the job has not simply to be worth it.
    pressing: Why,
}

impl Row {
    /// Who is credited a royalty by it.
    fn author(&self) -> Option<Address> {
        royalty_of(self.held.signed.voucher.lane).map(Royalty::author)
    }

    /// Its gas beside that of a new account.
    fn gas(&self) -> u64 {
        self.author().map_or(ROW_GAS, |_| ROW_GAS.saturating_add(ROYALTY_GAS))
    }
}

/// What a call of some rows takes at most. It grows by a row at a time.
#[derive(Debug)]
struct Load {
    gas: u64,
    bytes: u64,
    header_bytes: u64,
    credited: BTreeSet<Address>,
    lanes: BTreeMap<(Address, Lane), u8>,
}

impl Load {
    /// A call without rows.
    fn empty(header_bytes: u64) -> Self {
        // Its first payee is in its gas.
        let gas = CLAIM_GAS.saturating_sub(ACCOUNT_GAS);
        Self { gas, bytes: 0, header_bytes, credited: BTreeSet::new(), lanes: BTreeMap::new() }
    }

    fn grow(&mut self, voucher: &Voucher) {
        // A header counts its rows in one byte.
        let rows = self.lanes.entry((voucher.payee, voucher.lane)).or_insert(u8::MAX);
        if *rows == u8::MAX {
            *rows = 0;
            self.bytes = self.bytes.saturating_add(self.header_bytes);
        }
        *rows = rows.saturating_add(1);
        self.bytes = self.bytes.saturating_add(ROW_BYTES);
        let mut gas = ROW_GAS;
        if self.credited.insert(voucher.payee) {
            gas = gas.saturating_add(ACCOUNT_GAS);
        }
        if let Some(royalty) = royalty_of(voucher.lane) {
            gas = gas.saturating_add(ROYALTY_GAS);
            if self.credited.insert(royalty.author()) {
                gas = gas.saturating_add(ACCOUNT_GAS);
            }
        }
        self.gas = self.gas.saturating_add(gas);
    }

    /// Whether one transaction carries it: the gas cap (EIP-7825) and what pools take.
    fn fits(&self) -> bool {
        self.gas <= MAX_TX_GAS && self.bytes <= MAX_CALL_BYTES
    }
}

/// Cuts rows, in their order, into as few calls as the cap on a transaction's gas
/// and length allow; with the gas of each, at most.
fn cut<T>(rows: &[T], header_bytes: u64, voucher: impl Fn(&T) -> &Voucher) -> Vec<(&[T], u64)> {
    let (mut calls, mut rest) = (Vec::new(), rows);
    while !rest.is_empty() {
        let (mut gas, mut load) = (0, Load::empty(header_bytes));
        let mut count = 0_usize;
        for row in rest {
            load.grow(voucher(row));
            if !load.fits() {
                break;
            }
            gas = load.gas;
            count = count.saturating_add(1);
        }
        // One row fits always; were it not so, it would still be tried.
        let (call, more) = rest.split_at_checked(count.max(1)).unwrap_or((rest, &[]));
        calls.push((call, gas));
        rest = more;
    }
    calls
}

/// Cuts rows of any payees, in their order, into as few calls of
/// [`claim_for`](crate::ops::claim_for) as the cap on a transaction's gas and length allow.
#[must_use]
pub fn calls_for<T>(rows: &[T], voucher: impl Fn(&T) -> &Voucher) -> Vec<&[T]> {
    let calls = cut(rows, PAYEE_BYTES + HEADER_BYTES, voucher);
    calls.into_iter().map(|(call, _)| call).collect()
}

/// The rows of a payee that are worth their gas: each brings more than it costs, and those that credit one author
/// together more than that costs too. The others wait; but not for the author's account when they are about to expire,
/// for it may well be there.
fn worth_their_gas(rows: &[Row], market: &Market, plan: &mut Plan) -> Vec<Row> {
    let fee = |row: &Row| market.gas.fee_up(row.gas());
    let mut of_authors: BTreeMap<Address, (Amount, u64)> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.value > fee(row)) {
        let Some(author) = row.author() else { continue };
        let (value, gas) = of_authors.entry(author).or_insert((Amount::ZERO, ACCOUNT_GAS));
        *value = value.checked_add(row.value).unwrap_or(Amount::MAX);
        *gas = gas.saturating_add(row.gas());
    }
    let pays_author = |row: &Row| {
        let sums = row.author().and_then(|author| of_authors.get(&author));
        sums.is_none_or(|(value, gas)| *value > market.gas.fee_up(*gas))
    };
    let mut worth = Vec::with_capacity(rows.len());
    for row in rows {
        let reason = if row.value.is_zero() {
            Wait::NothingToCollect
        } else if row.value <= fee(row) {
            Wait::BelowItsGas { fee: fee(row) }
        } else if row.pressing != Why::Expiring && !pays_author(row) {
            Wait::BelowItsGas { fee: market.gas.fee_up(row.gas().saturating_add(ACCOUNT_GAS)) }
        } else {
            worth.push(*row);
            continue;
        };
        plan.waiting.push(Entry { place: row.held.place(), order: None, value: row.value, reason });
    }
    worth
}

/// What to claim and settle now. Of several vouchers of one channel the best
/// counts; a row that collects no more than its own gas is left for later; a
/// call that goes out takes every other worthwhile row of its payee with it.
///
/// It is pure, and so the dry run of itself: what it answers is what would be
/// sent, and why, and why the rest would not.
///
/// # Safety of funds
/// What is not claimed when its owner releases the channel is lost: call it
/// often enough, and with a margin that outlasts a stuck transaction.
#[must_use]
pub fn plan(
    now: Timestamp,
    vouchers: &[HeldVoucher],
    quorums: &[HeldQuorum],
    market: &Market,
    policy: &ClaimPolicy,
) -> Plan {
    let mut plan = Plan::default();
    let mut best: BTreeMap<Place, HeldVoucher> = BTreeMap::new();
    for held in vouchers {
        let rank = |held: &HeldVoucher| {
            (held.collectible(), held.signed.voucher.cumulative, *held.signed.signature.as_bytes())
        };
        best.entry(held.place()).and_modify(|have| *have = core::cmp::max_by_key(*have, *held, rank)).or_insert(*held);
    }
    let mut rows: Vec<Row> = best
        .values()
        .map(|held| Row { held: *held, value: held.collectible(), pressing: pressing(now, held, market, policy) })
        .collect();
    // Stable: rows of equal worth stay in the order of their channels.
    rows.sort_by_key(|row| (row.held.place().payee, row.pressing, core::cmp::Reverse(row.value)));
    for payee in rows.chunk_by(|a, b| a.held.place().payee == b.held.place().payee) {
        let worth = worth_their_gas(payee, market, &mut plan);
        for (call, gas) in cut(&worth, HEADER_BYTES, |row| &row.held.signed.voucher) {
            claim_or_wait(call, gas, market, policy, &mut plan);
        }
    }
    for quorum in quorums {
        let voucher = best.get(&quorum.place()).map_or(Amount::ZERO, HeldVoucher::collectible);
        settle_or_wait(now, quorum, voucher, market, policy, &mut plan);
    }
    plan
}

/// The most pressing reason that a voucher has by itself.
fn pressing(now: Timestamp, held: &HeldVoucher, market: &Market, policy: &ClaimPolicy) -> Why {
    let margin = market.congestion.stretch(policy.before_expiry_margin_secs);
    let is_silent = |heard: Timestamp| heard.plus_secs(policy.silence_secs) <= now;
    if now.plus_secs(margin) >= held.channel.expiry {
        Why::Expiring
    } else if held.job_over {
        Why::JobOver
    } else if held.heard_at.is_some_and(is_silent) {
        Why::Silent
    } else {
        Why::Worth
    }
}

/// What may go into gas of this value.
fn allowed_down(value: Amount, bps: u16) -> Amount {
    let part = U256::from(value.get()).saturating_mul(U256::from(bps)) / U256::from(10_000_u64);
    Amount::from_u256(part).unwrap_or(Amount::MAX)
}

/// Why a call of this value goes out, given the most pressing reason in it.
fn verdict(pressing: Why, value: Amount, fee: Amount, policy: &ClaimPolicy) -> Result<Why, Wait> {
    let within = |bps| {
        let allowed = allowed_down(value, bps);
        if fee <= allowed { Ok(()) } else { Err(Wait::FeeTooHigh { fee, allowed }) }
    };
    match pressing {
        Why::Expiring if value > fee => Ok(Why::Expiring),
        Why::Expiring => Err(Wait::BelowItsGas { fee }),
        Why::JobOver | Why::Silent => within(policy.max_fee_bps_at_end.max(policy.max_fee_bps)).map(|()| pressing),
        Why::Worth if value < policy.min_value => Err(Wait::BelowMinimum { need: policy.min_value }),
        Why::Worth => within(policy.max_fee_bps).map(|()| Why::Worth),
    }
}

fn claim_or_wait(rows: &[Row], gas: u64, market: &Market, policy: &ClaimPolicy, plan: &mut Plan) {
    let Some(first) = rows.first() else { return };
    let value = Amount::checked_sum(rows.iter().map(|row| row.value)).unwrap_or(Amount::MAX);
    let fee = market.gas.fee_up(gas);
    // Sorted: the first is the most pressing.
    match verdict(first.pressing, value, fee, policy) {
        Ok(why) => plan.claims.push(Claim {
            payee: first.held.place().payee,
            call: Call::Claim(rows.iter().map(|row| row.held.signed).collect()),
            value,
            gas,
            fee,
            why,
            entries: rows
                .iter()
                .map(|row| Entry { place: row.held.place(), order: None, value: row.value, reason: row.pressing })
                .collect(),
        }),
        Err(reason) => plan.waiting.extend(rows.iter().map(|row| Entry {
            place: row.held.place(),
            order: None,
            value: row.value,
            reason,
        })),
    }
}

/// A package is worth what it pays above the voucher of its channel, which costs less.
fn settle_or_wait(
    now: Timestamp,
    quorum: &HeldQuorum,
    by_voucher: Amount,
    market: &Market,
    policy: &ClaimPolicy,
    plan: &mut Plan,
) {
    let value = collectible(quorum.total, quorum.epoch, &quorum.channel).saturating_sub(by_voucher);
    // All of an order's lanes are of one royalty, and so of one author.
    let (row_gas, author_gas) = match royalty_of(quorum.lane) {
        None => (SETTLE_ROW_GAS, 0),
        Some(_) => (SETTLE_ROW_GAS.saturating_add(ROYALTY_GAS), ACCOUNT_GAS),
    };
    let gas = SETTLE_GAS.saturating_add(author_gas).saturating_add(row_gas.saturating_mul(quorum.rows.into()));
    let fee = market.gas.fee_up(gas);
    let margin = market.congestion.stretch(policy.before_settle_margin_secs);
    let (place, order) = (quorum.place(), Some(quorum.order));
    let verdict = if value.is_zero() {
        Err(Wait::NothingToCollect)
    } else if now > quorum.settle_by {
        Err(Wait::TooLate)
    } else if now.plus_secs(margin) >= quorum.settle_by {
        // The turns are a courtesy that saves gas; the end of settling waits for nobody.
        verdict(Why::Expiring, value, fee, policy)
    } else if now < quorum.turn_at {
        Err(Wait::NotItsTurn { at: quorum.turn_at })
    } else {
        verdict(Why::Silent, value, fee, policy)
    };
    match verdict {
        Ok(why) => plan.claims.push(Claim {
            payee: quorum.payee,
            call: Call::Settle(quorum.order),
            value,
            gas,
            fee,
            why,
            entries: vec![Entry { place, order, value, reason: why }],
        }),
        Err(reason) => plan.waiting.push(Entry { place, order, value, reason }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use alloy::primitives::B256;
    use proptest::{prelude::*, sample::select};
    use symbolon_primitives::Signature;

    const NOW: Timestamp = Timestamp(1_000_000);
    /// One base unit for one gas.
    const GAS: GasPrice = GasPrice { wei_per_gas: 1_000_000_000, base_per_ether: Amount::from_u64(1_000_000_000) };
    const CALM: Market = Market { gas: GAS, congestion: Congestion(0) };
    const POLICY: ClaimPolicy = ClaimPolicy {
        min_value: Amount::from_u64(100_000),
        max_fee_bps: 1_000,
        max_fee_bps_at_end: 5_000,
        silence_secs: 50,
        before_expiry_margin_secs: 100,
        before_settle_margin_secs: 20,
    };

    fn held(payer: u16, cumulative: u64, expires_in: u64) -> HeldVoucher {
        HeldVoucher {
            payer: Address::left_padding_from(&payer.to_be_bytes()),
            signed: SignedVoucher {
                voucher: Voucher {
                    payee: Address::repeat_byte(9),
                    lane: Royalty::NONE.lane(0),
                    cumulative: Amount::from_u64(cumulative),
                    epoch: 2,
                },
                signature: Signature::from_bytes([7; 64]),
            },
            channel: ChannelState {
                allocated: Amount::from_u64(10_000_000),
                claimed: Amount::ZERO,
                epoch: 2,
                expiry: NOW.plus_secs(expires_in),
            },
            job_over: false,
            heard_at: None,
        }
    }

    fn quorum(total: u64, rows: u8) -> HeldQuorum {
        let like = held(1, 0, 100_000);
        HeldQuorum {
            order: OrderDigest::from_bytes([4; 32]),
            payer: like.payer,
            payee: like.signed.voucher.payee,
            lane: like.signed.voucher.lane,
            epoch: 2,
            total: Amount::from_u64(total),
            rows,
            channel: like.channel,
            settle_by: NOW.plus_secs(1_000),
            turn_at: NOW,
        }
    }

    fn header(base_fee: u128, gas_used: u64) -> Header {
        let (hash, parent_hash) = (B256::ZERO, B256::ZERO);
        Header { number: 1, hash, parent_hash, timestamp: 0, base_fee, gas_used, gas_limit: 1_000 }
    }

    #[test]
    fn l11_recent_blocks_are_the_newest_sixteen_and_tell_the_congestion() {
        let mut recent = Recent::default();
        assert_eq!((recent.congestion(0).level(), recent.time()), (0, Timestamp(0)));
        for number in 1..=40 {
            let block = Header { number, timestamp: number * 12, ..header(10, if number > 32 { 1_000 } else { 0 }) };
            recent.note(block);
            // Seen again, and an older one: neither counts twice.
            recent.note(block);
            recent.note(Header { number: number.saturating_sub(1), ..block });
            assert!(recent.0.len() <= RECENT_BLOCKS && recent.0.is_sorted_by_key(|block| block.number));
        }
        assert_eq!((recent.0.len(), recent.0[0].number, recent.time()), (RECENT_BLOCKS, 25, Timestamp(480)));
        // Half of them are full, and one transaction waits.
        assert_eq!(recent.congestion(1).level(), 3);
    }

    fn of(vouchers: &[HeldVoucher]) -> Plan {
        plan(NOW, vouchers, &[], &CALM, &POLICY)
    }

    fn only(plan: Plan) -> Claim {
        assert_eq!((plan.claims.len(), plan.waiting.len()), (1, 0), "{plan:?}");
        plan.claims.into_iter().next().unwrap()
    }

    fn waits(plan: &Plan) -> Wait {
        assert_eq!((plan.claims.len(), plan.waiting.len()), (0, 1), "{plan:?}");
        plan.waiting[0].reason
    }

    #[test]
    fn sym_09_what_a_voucher_collects_is_bounded_by_earmark_epoch_and_claims() {
        let mut voucher = held(1, 500, 1000);
        assert_eq!(voucher.collectible().get(), 500);
        voucher.channel.claimed = Amount::from_u64(200);
        assert_eq!(voucher.collectible().get(), 300);
        voucher.channel.allocated = Amount::from_u64(250);
        assert_eq!(voucher.collectible().get(), 50);
        voucher.channel.claimed = Amount::from_u64(250);
        assert_eq!(voucher.collectible(), Amount::ZERO);
        assert_eq!(waits(&of(&[voucher])), Wait::NothingToCollect);
        let old = HeldVoucher { channel: ChannelState { epoch: 3, ..voucher.channel }, ..held(1, 500, 1000) };
        assert_eq!(old.collectible(), Amount::ZERO);
        assert_eq!(waits(&of(&[old])), Wait::NothingToCollect);
    }

    #[test]
    fn a_claim_waits_until_its_gas_is_a_small_part_of_it() {
        // One row costs 57,000 of gas: a tenth of 570,000.
        let short = waits(&of(&[held(1, 569_999, 1000)]));
        assert_eq!(short, Wait::FeeTooHigh { fee: Amount::from_u64(57_000), allowed: Amount::from_u64(56_999) });
        let claim = only(of(&[held(1, 570_000, 1000)]));
        assert_eq!((claim.value.get(), claim.fee.get(), claim.gas, claim.why), (570_000, 57_000, 57_000, Why::Worth));
        assert_eq!(claim.vouchers(), &[held(1, 570_000, 1000).signed]);
        assert_eq!(claim.entries.len(), 1);
        assert_eq!((claim.entries[0].value, claim.entries[0].order), (claim.value, None));
        assert_eq!(claim.entries[0].place, held(1, 0, 0).place());
        let dear = ClaimPolicy { min_value: Amount::from_u64(570_001), ..POLICY };
        let least = plan(NOW, &[held(1, 570_000, 1000)], &[], &CALM, &dear);
        assert_eq!(waits(&least), Wait::BelowMinimum { need: Amount::from_u64(570_001) });
        let fits = ClaimPolicy { min_value: Amount::from_u64(570_000), ..POLICY };
        assert_eq!(only(plan(NOW, &[held(1, 570_000, 1000)], &[], &CALM, &fits)).why, Why::Worth);
    }

    #[test]
    fn a_row_that_brings_no_more_than_its_gas_stays() {
        let plan = of(&[held(1, 12_000, 1), held(2, 12_001, 1), held(3, 900_000, 1000)]);
        assert_eq!((plan.claims.len(), plan.claims[0].vouchers().len()), (1, 2));
        assert_eq!(plan.waiting[0].reason, Wait::BelowItsGas { fee: Amount::from_u64(12_000) });
        assert_eq!((plan.waiting[0].place, plan.waiting[0].value.get()), (held(1, 0, 0).place(), 12_000));
    }

    #[test]
    fn l11_everything_worth_its_gas_is_claimed_before_the_expiry() {
        assert!(of(&[held(1, 60_000, 101)]).claims.is_empty());
        assert_eq!(only(of(&[held(1, 60_000, 100)])).why, Why::Expiring);
        assert_eq!(only(of(&[held(1, 60_000, 0)])).why, Why::Expiring);
        // Not for less than the gas.
        assert_eq!(waits(&of(&[held(1, 57_000, 100)])), Wait::BelowItsGas { fee: Amount::from_u64(57_000) });
        assert_eq!(only(of(&[held(1, 57_001, 100)])).value.get(), 57_001);
        // It takes others along, each with its own reason, the most pressing first.
        let claim = only(of(&[held(2, 50_000, 1000), held(1, 60_000, 1)]));
        assert_eq!((claim.value.get(), claim.vouchers().len(), claim.why), (110_000, 2, Why::Expiring));
        let reasons: Vec<Why> = claim.entries.iter().map(|entry| entry.reason).collect();
        assert_eq!(reasons, [Why::Expiring, Why::Worth]);
    }

    #[test]
    fn l11_the_margin_grows_with_congestion() {
        let expiring = |in_secs, level| {
            let market = Market { congestion: Congestion(level), ..CALM };
            !plan(NOW, &[held(1, 60_000, in_secs)], &[], &market, &POLICY).claims.is_empty()
        };
        for level in 0..=12 {
            let margin = 100 * (4 + level) / 4;
            assert!(expiring(margin, level) && !expiring(margin + 1, level), "level {level}");
        }
        assert_eq!((Congestion(u64::MAX).level(), Congestion(99).stretch(100)), (12, 400));
        assert_eq!(Congestion(12).stretch(u64::MAX), u64::MAX / 4);
    }

    #[test]
    fn congestion_is_told_by_full_blocks_rising_fees_and_what_waits() {
        let level = |blocks: &[Header], waiting| Congestion::of(blocks, waiting).level();
        assert_eq!(level(&[], 0), 0);
        assert_eq!(level(&[header(5, 0)], 0), 0);
        // Nine tenths are full.
        assert_eq!(level(&[header(5, 899)], 0), 0);
        assert_eq!(level(&[header(5, 900)], 0), 4);
        assert_eq!(level(&[header(5, 1_000), header(5, 0), header(5, 0), header(5, 0)], 0), 1);
        assert_eq!(level(&[header(5, 1_000), header(5, 0), header(5, 1_000), header(5, 1_000)], 0), 3);
        // One for each half that the base fee rose, four at most; falling is none.
        for (now, expected) in
            [(50, 0), (100, 0), (149, 0), (150, 1), (199, 1), (200, 2), (250, 3), (300, 4), (5_000, 4)]
        {
            assert_eq!(level(&[header(100, 0), header(7, 0), header(now, 0)], 0), expected, "{now}");
        }
        assert_eq!(level(&[header(0, 0), header(0, 0)], 0), 0);
        assert_eq!(level(&[header(0, 0), header(1, 0)], 0), 4);
        for (waiting, expected) in [(0, 0), (1, 1), (3, 3), (4, 4), (5, 4), (usize::MAX, 4)] {
            assert_eq!(level(&[], waiting), expected);
        }
        assert_eq!(level(&[header(1, 1_000), header(9, 1_000)], 9), 12);
    }

    #[test]
    fn at_a_jobs_end_and_in_silence_gas_may_take_more() {
        // Half of 114,000 is the gas of one row.
        for (value, goes) in [(113_999, false), (114_000, true)] {
            let over = HeldVoucher { job_over: true, ..held(1, value, 1000) };
            let silent = HeldVoucher { heard_at: Some(Timestamp(NOW.0 - 50)), ..held(1, value, 1000) };
            let heard = HeldVoucher { heard_at: Some(Timestamp(NOW.0 - 49)), ..held(1, value, 1000) };
            assert_eq!(of(&[over]).claims.first().map(|claim| claim.why), goes.then_some(Why::JobOver));
            assert_eq!(of(&[silent]).claims.first().map(|claim| claim.why), goes.then_some(Why::Silent));
            assert!(of(&[heard]).claims.is_empty());
            assert!(matches!(waits(&of(&[heard])), Wait::FeeTooHigh { .. }));
        }
        // The least does not hold then, and the share is never less than in the middle of the job.
        let least = ClaimPolicy { min_value: Amount::MAX, max_fee_bps_at_end: 0, ..POLICY };
        let over = HeldVoucher { job_over: true, ..held(1, 570_000, 1000) };
        assert_eq!(only(plan(NOW, &[over], &[], &CALM, &least)).why, Why::JobOver);
        // What expires says so first.
        let both = HeldVoucher { job_over: true, heard_at: Some(Timestamp(0)), ..held(1, 570_000, 100) };
        assert_eq!(only(of(&[both])).why, Why::Expiring);
        let ended = HeldVoucher { heard_at: Some(Timestamp(0)), ..over };
        assert_eq!(only(of(&[ended])).why, Why::JobOver);
    }

    #[test]
    fn one_row_for_each_channel_and_as_few_calls_as_the_gas_cap_allows() {
        let mut all: Vec<_> = (0..2_500_u16).map(|payer| held(payer, 400_000, 1000)).collect();
        all.push(held(3, 300_000, 1000));
        let mut other = held(7, 900_000, 1000);
        other.signed.voucher.payee = Address::repeat_byte(8);
        all.push(other);
        let claims = of(&all).claims;
        assert_eq!(claims.iter().map(|claim| claim.vouchers().len()).collect::<Vec<_>>(), vec![1, 1_394, 1_106]);
        assert_eq!(claims[0].payee, Address::repeat_byte(8));
        let total: u128 = claims.iter().skip(1).map(|claim| claim.value.get()).sum();
        assert_eq!(total, 2_500 * 400_000);
        assert!(claims.iter().all(|claim| claim.gas <= MAX_TX_GAS));
        assert_eq!(claims[1].gas, 45_000 + 1_394 * 12_000);
        let bytes = crate::ops::claim_records(claims[1].vouchers()).len();
        assert!(u64::try_from(bytes).unwrap() <= MAX_CALL_BYTES);
    }

    /// Under a royalty for one of many authors.
    fn with_author(author: u16, mut held: HeldVoucher) -> HeldVoucher {
        let author = Address::left_padding_from(&author.to_be_bytes());
        held.signed.voucher.lane = Royalty::new(author, 1).unwrap().lane(0);
        held
    }

    #[test]
    fn l11_calls_are_cut_by_the_accounts_that_they_credit() {
        let lens = |calls: Vec<&[Voucher]>| calls.iter().map(|call| call.len()).collect::<Vec<_>>();
        let vouchers = |one: &dyn Fn(u16) -> HeldVoucher| (0..1_100).map(|n| one(n).signed.voucher).collect::<Vec<_>>();
        let payee = |n: u16| {
            let mut held = held(n, 400_000, 1_000);
            held.signed.voucher.payee = Address::left_padding_from(&(n + 1).to_be_bytes());
            held
        };
        let on_own_lane = |n: u16| {
            let mut held = held(n, 400_000, 1_000);
            held.signed.voucher.lane = Royalty::NONE.lane(n);
            held
        };
        // (2^24 - 45,000) / (12,000 + 3,000 + 22,500); all for one author are one call.
        let authors: Vec<_> = (0..1_100).map(|n| with_author(n + 1, held(n, 400_000, 1_000))).collect();
        let claims = of(&authors).claims;
        assert_eq!(claims.iter().map(|claim| claim.entries.len()).collect::<Vec<_>>(), [446, 446, 208]);
        assert_eq!(claims.iter().map(|claim| claim.gas).collect::<Vec<_>>(), [16_770_000, 16_770_000, 7_845_000]);
        let one: Vec<_> = (0..1_100).map(|n| with_author(7, held(n, 400_000, 1_000))).collect();
        let claims = of(&one).claims;
        assert_eq!(
            claims.iter().map(|claim| (claim.entries.len(), claim.gas)).collect::<Vec<_>>(),
            [(1_100, 16_567_500)]
        );
        // On lanes of their own 120,000 / (33 + 79) are short enough.
        let claims = of(&(0..1_100).map(on_own_lane).collect::<Vec<_>>()).claims;
        assert_eq!(claims.iter().map(|claim| claim.entries.len()).collect::<Vec<_>>(), [1_071, 29]);
        // For others: all of one payee's lane, 120,000 / (20 + 33 + 79) of its lanes, (2^24 - 22,500) / 34,500 of many
        // payees, of many authors too / 60,000.
        assert_eq!(lens(calls_for(&vouchers(&|n| held(n, 1, 1)), |one| one)), [1_100]);
        assert_eq!(lens(calls_for(&vouchers(&on_own_lane), |one| one)), [909, 191]);
        assert_eq!(lens(calls_for(&vouchers(&payee), |one| one)), [485, 485, 130]);
        assert_eq!(lens(calls_for(&vouchers(&|n| with_author(n + 2_000, payee(n))), |one| one)), [279, 279, 279, 263]);
        assert!(calls_for(&[], |one: &Voucher| one).is_empty());
        // The length is what is sent, headers of 255 rows and of one included.
        let mixed: Vec<_> = (0..256).map(|n| held(n, 1, 1)).chain((300..303).map(on_own_lane)).collect();
        let mut load = Load::empty(PAYEE_BYTES + HEADER_BYTES);
        mixed.iter().for_each(|held| load.grow(&held.signed.voucher));
        let signed: Vec<_> = mixed.iter().map(|held| held.signed).collect();
        assert_eq!(load.bytes, u64::try_from(crate::ops::claim_for_records(&signed).len()).unwrap());
        // An author that is a payee too is credited once.
        let both = vouchers(&|n| with_author(n + 1, payee(n)));
        assert_eq!(calls_for(&both, |one| one)[0].len(), 446);
    }

    #[test]
    fn l11_who_credits_an_author_brings_what_that_costs_too() {
        let fee = |base| Wait::BelowItsGas { fee: Amount::from_u64(base) };
        let over = |payer, value| HeldVoucher { job_over: true, ..with_author(1, held(payer, value, 1_000)) };
        let alone = |value| over(1, value);
        assert_eq!(waits(&of(&[alone(37_500)])), fee(37_500));
        assert_eq!(waits(&of(&[alone(15_000)])), fee(15_000));
        let rich = held(3, 900_000, 1_000);
        let claim = only(of(&[alone(37_501), rich]));
        assert_eq!((claim.gas, claim.entries.len()), (45_000 + 37_500 + 12_000, 2));
        // Two share it.
        let two = |value| [alone(value), over(2, value), rich];
        assert_eq!(only(of(&two(26_251))).entries.len(), 3);
        let short = of(&two(26_250));
        assert_eq!((short.claims[0].entries.len(), short.waiting.len()), (1, 2));
        assert!(short.waiting.iter().all(|entry| entry.reason == fee(37_500)));
        // One that waits for its own gas pays for no other's author.
        let poor = of(&[alone(37_000), over(2, 15_000), rich]);
        assert_eq!((poor.claims[0].entries.len(), poor.waiting.len()), (1, 2));
        // Fees are rounded up once.
        let cheap = Market { gas: GasPrice { wei_per_gas: 1, ..GAS }, ..CALM };
        assert_eq!(only(plan(NOW, &[alone(2)], &[], &cheap, &POLICY)).fee.get(), 1);
        // One that brings just its own gas adds no part of a unit to what pays the author either.
        let odd = Market { gas: GasPrice { wei_per_gas: 82_667, ..GAS }, ..CALM };
        let even = plan(NOW, &[alone(4), over(2, 2), rich], &[], &odd, &POLICY);
        assert_eq!((even.claims[0].entries.len(), even.waiting.len()), (1, 2));
        // Another author's row helps nobody.
        let others = of(&[alone(30_000), with_author(2, held(2, 900_000, 1))]);
        assert_eq!((others.claims[0].entries.len(), others.waiting.len()), (1, 1));
        // What expires goes along for its own gas: the author may have its account already.
        let expires = |value| of(&[with_author(1, held(1, value, 1)), rich]);
        assert_eq!(only(expires(15_001)).entries.len(), 2);
        assert_eq!(expires(15_000).waiting[0].reason, fee(15_000));
        // A settlement credits the author in each of its rows.
        let mut settles = quorum(1_000_000, 2);
        settles.lane = Royalty::new(Address::repeat_byte(1), 1).unwrap().lane(0);
        assert_eq!(only(plan(NOW, &[], &[settles], &CALM, &POLICY)).gas, 34_000 + 22_500 + 2 * 21_000);
        // A lane that no vault opens credits nobody.
        let mut word = [0; 32];
        word[20] = 0xff;
        let mut none = held(1, 12_001, 1);
        none.signed.voucher.lane = Lane::from_word(B256::new(word));
        assert_eq!(only(of(&[none, rich])).gas, 45_000 + 2 * 12_000);
    }

    #[test]
    fn sym_08_a_quorum_is_settled_when_the_requestor_is_silent_and_it_is_worth_its_gas() {
        let with = |quorums: &[HeldQuorum], vouchers: &[HeldVoucher]| plan(NOW, vouchers, quorums, &CALM, &POLICY);
        // Two rows cost 70,000: half of 140,000. Three cost 88,000.
        let claim = only(with(&[quorum(140_000, 2)], &[]));
        assert_eq!((claim.call.clone(), claim.why), (Call::Settle(OrderDigest::from_bytes([4; 32])), Why::Silent));
        assert_eq!((claim.value.get(), claim.gas, claim.fee.get()), (140_000, 70_000, 70_000));
        assert_eq!(claim.entries[0].order, Some(OrderDigest::from_bytes([4; 32])));
        assert_eq!((claim.entries[0].reason, claim.entries[0].place), (Why::Silent, quorum(0, 2).place()));
        assert!(claim.vouchers().is_empty());
        assert!(matches!(waits(&with(&[quorum(139_999, 2)], &[])), Wait::FeeTooHigh { .. }));
        assert_eq!(only(with(&[quorum(176_000, 3)], &[])).gas, 88_000);
        // Not before its turn, unless there is no time left.
        let early = HeldQuorum { turn_at: NOW.plus_secs(1), ..quorum(140_000, 2) };
        assert_eq!(waits(&with(&[early], &[])), Wait::NotItsTurn { at: NOW.plus_secs(1) });
        let last = HeldQuorum { settle_by: NOW.plus_secs(20), ..early };
        assert_eq!(only(with(&[last], &[])).why, Why::Expiring);
        let almost = HeldQuorum { settle_by: NOW.plus_secs(21), ..early };
        assert!(matches!(waits(&with(&[almost], &[])), Wait::NotItsTurn { .. }));
        let poor = HeldQuorum { total: Amount::from_u64(70_000), ..last };
        assert_eq!(waits(&with(&[poor], &[])), Wait::BelowItsGas { fee: Amount::from_u64(70_000) });
        // Settle-by itself is still in time.
        let due = HeldQuorum { settle_by: NOW, ..quorum(140_000, 2) };
        assert_eq!(only(with(&[due], &[])).why, Why::Expiring);
        let gone = HeldQuorum { settle_by: Timestamp(NOW.0 - 1), ..due };
        assert_eq!(waits(&with(&[gone], &[])), Wait::TooLate);
        // A voucher that pays as much is the cheaper way.
        let covered = with(&[quorum(140_000, 2)], &[held(1, 140_000, 1_000)]);
        assert!(covered.waiting.iter().any(|entry| entry.order.is_some() && entry.reason == Wait::NothingToCollect));
        let above = with(&[quorum(280_000, 2)], &[held(1, 140_000, 1_000)]);
        assert_eq!(above.claims[0].value.get(), 140_000);
        let old = HeldQuorum { epoch: 1, ..quorum(140_000, 2) };
        assert_eq!(waits(&with(&[old], &[])), Wait::NothingToCollect);
    }

    #[test]
    fn of_two_vouchers_of_a_channel_the_better_counts_in_any_order() {
        let (low, high) = (held(1, 570_000, 1000), held(1, 580_000, 1000));
        for vouchers in [[low, high], [high, low]] {
            let claim = only(of(&vouchers));
            assert_eq!((claim.value.get(), claim.vouchers()), (580_000, &[high.signed][..]));
        }
        // Another lane, payer or payee is another channel.
        let mut lane = low;
        lane.signed.voucher.lane = Royalty::NONE.lane(1);
        assert_eq!(only(of(&[low, lane])).vouchers().len(), 2);
        // Both clamped to the earmark: the larger still pays more after a top-up.
        let (less, more) = (held(1, 20_000_000, 1000), held(1, 30_000_000, 1000));
        for vouchers in [[less, more], [more, less]] {
            assert_eq!(only(of(&vouchers)).vouchers(), &[more.signed][..]);
        }
    }

    #[test]
    fn prices_round_up_and_never_wrap() {
        let tiny = GasPrice { wei_per_gas: 1, base_per_ether: Amount::from_u64(1) };
        assert_eq!(tiny.fee_up(1).get(), 1);
        assert_eq!(tiny.fee_up(0), Amount::ZERO);
        let huge = GasPrice { wei_per_gas: u128::MAX, base_per_ether: Amount::MAX };
        assert_eq!(huge.fee_up(u64::MAX), Amount::MAX);
        let market = Market { gas: huge, congestion: Congestion(12) };
        assert!(plan(NOW, &[held(1, u64::MAX, 0)], &[quorum(u64::MAX, 255)], &market, &POLICY).claims.is_empty());
        assert_eq!(of(&[]), Plan::default());
    }

    #[test]
    fn the_policy_as_it_comes() {
        let policy = ClaimPolicy::default();
        assert_eq!((policy.max_fee_bps, policy.max_fee_bps_at_end, policy.min_value), (500, 2_000, Amount::ZERO));
        assert_eq!((policy.silence_secs, policy.before_expiry_margin_secs), (21_600, 86_400));
        assert_eq!(policy.before_settle_margin_secs, 1_800);
    }

    /// Amounts around what makes a difference.
    fn edges() -> impl Strategy<Value = u64> {
        let around = |value: u64| [value.saturating_sub(1), value, value.saturating_add(1)];
        let edges: Vec<u64> = [0, 12_000, 57_000, 69_000, 100_000, 114_000, 570_000, 690_000, 10_000_000, u64::MAX]
            .into_iter()
            .flat_map(around)
            .collect();
        prop_oneof![4 => select(edges), 1 => any::<u64>()]
    }

    prop_compose! {
        fn any_held()(
            payer in 0..6_u16, payee in 8..10_u8, lane in 0..2_u16, author in 0..3_u8, cumulative in edges(),
            claimed in edges(),
            epoch in 1..3_u32, expires in select(vec![0, 1, 99, 100, 101, 399, 400, 401, 10_000]),
            job_over in any::<bool>(), heard in select(vec![None, Some(0), Some(49), Some(50), Some(51)]),
            sign in any::<u8>(),
        ) -> HeldVoucher {
            let mut one = held(payer, cumulative, expires);
            one.signed.voucher.payee = Address::repeat_byte(payee);
            let author = Address::repeat_byte(author);
            one.signed.voucher.lane = Royalty::new(author, if author.is_zero() { 0 } else { 1 }).unwrap().lane(lane);
            one.signed.voucher.epoch = epoch;
            one.signed.signature = Signature::from_bytes([sign; 64]);
            one.channel.claimed = Amount::from_u64(claimed % 10_000_001);
            one.job_over = job_over;
            one.heard_at = heard.map(|ago| Timestamp(NOW.0 - ago));
            one
        }
    }

    prop_compose! {
        fn any_quorum()(
            payer in 0..6_u16, total in edges(), rows in 2..9_u8, epoch in 1..3_u32,
            due in -2..1_000_i64, turn in -2..3_i64,
        ) -> HeldQuorum {
            let at = |offset: i64| Timestamp(NOW.0.saturating_add_signed(offset));
            let like = held(payer, 0, 1_000);
            HeldQuorum { payer: like.payer, epoch, settle_by: at(due), turn_at: at(turn), ..quorum(total, rows) }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn l11_no_plan_wastes_money_or_forgets_an_entry(
            vouchers in prop::collection::vec(any_held(), 0..12),
            quorums in prop::collection::vec(any_quorum(), 0..4),
            level in 0..=12_u64,
            wei in select(vec![0, 1_u128, 999_999_999, 1_000_000_000, 1_000_000_001, u128::MAX]),
        ) {
            // One state for each channel, as the chain has one.
            let mut vouchers = vouchers;
            let mut states: BTreeMap<Place, ChannelState> = BTreeMap::new();
            for one in &mut vouchers {
                one.channel = *states.entry(one.place()).or_insert(one.channel);
            }
            let market = Market { gas: GasPrice { wei_per_gas: wei, ..GAS }, congestion: Congestion(level) };
            let found = plan(NOW, &vouchers, &quorums, &market, &POLICY);
            let price = |gas| market.gas.fee_up(gas);

            for claim in &found.claims {
                prop_assert_eq!(claim.fee, price(claim.gas));
                prop_assert!(claim.gas <= MAX_TX_GAS && claim.value > Amount::ZERO);
                prop_assert_eq!(Amount::checked_sum(claim.entries.iter().map(|entry| entry.value)).unwrap(), claim.value);
                prop_assert_eq!(claim.entries.iter().map(|entry| entry.reason).min(), Some(claim.why));
                let share = U256::from(claim.fee.get()) * U256::from(10_000);
                let of_value = |bps: u64| U256::from(claim.value.get()) * U256::from(bps);
                match claim.why {
                    Why::Expiring => prop_assert!(claim.value > claim.fee),
                    Why::JobOver | Why::Silent => prop_assert!(share <= of_value(5_000)),
                    Why::Worth => prop_assert!(share <= of_value(1_000) && claim.value >= POLICY.min_value),
                }
                if let Call::Claim(rows) = &claim.call {
                    prop_assert!(crate::ops::claim_records(rows).len() <= 120_000 && rows.len() == claim.entries.len());
                    prop_assert!(rows.iter().all(|row| row.voucher.payee == claim.payee));
                    prop_assert!(claim.entries.iter().all(|entry| entry.value > price(ROW_GAS)));
                }
            }
            // Every channel once, with its best voucher's value; every order once.
            let mut seen: BTreeMap<Place, Amount> = BTreeMap::new();
            let sent = found.claims.iter().flat_map(|claim| &claim.entries).map(|entry| (entry.place, entry.order, entry.value));
            let kept = found.waiting.iter().map(|entry| (entry.place, entry.order, entry.value));
            let mut orders = 0;
            for (place, order, value) in sent.chain(kept) {
                if order.is_some() {
                    orders += 1;
                } else {
                    prop_assert!(seen.insert(place, value).is_none());
                }
            }
            prop_assert_eq!(orders, quorums.len());
            let mut best: BTreeMap<Place, Amount> = BTreeMap::new();
            for one in &vouchers {
                let most = best.entry(one.place()).or_default();
                *most = one.collectible().max(*most);
            }
            prop_assert_eq!(&seen, &best);
            // What is about to expire and alone worth its call goes out.
            let margin = POLICY.before_expiry_margin_secs * (4 + level) / 4;
            for entry in found.waiting.iter().filter(|entry| entry.order.is_none()) {
                let expiry = states[&entry.place].expiry;
                let royalty = royalty_of(entry.place.lane).map_or(0, |_| ROYALTY_GAS + ACCOUNT_GAS);
                prop_assert!(NOW.plus_secs(margin) < expiry || entry.value <= price(CLAIM_GAS + ROW_GAS + royalty));
            }
            // The order they are held in does not matter, nor does holding one twice.
            let again: Vec<HeldVoucher> = vouchers.iter().rev().chain(&vouchers).copied().collect();
            prop_assert_eq!(&plan(NOW, &again, &quorums, &market, &POLICY), &found);
        }

        #[test]
        fn l11_more_congestion_never_holds_a_claim_back(
            vouchers in prop::collection::vec(any_held(), 0..8), level in 0..12_u64,
        ) {
            let sent = |level| {
                let market = Market { congestion: Congestion(level), ..CALM };
                let found = plan(NOW, &vouchers, &[], &market, &POLICY);
                let entries = found.claims.iter().flat_map(|claim| &claim.entries);
                entries.map(|entry| entry.place).collect::<std::collections::BTreeSet<_>>()
            };
            let (calm, busy) = (sent(level), sent(level + 1));
            // A call that grows by pressing rows may carry less of what was worth it, never none of what presses.
            let pressed = vouchers.iter().filter(|one| one.channel.expiry <= NOW.plus_secs(100)).map(HeldVoucher::place);
            for place in pressed {
                prop_assert!(!calm.contains(&place) || busy.contains(&place));
            }
        }
    }
}
