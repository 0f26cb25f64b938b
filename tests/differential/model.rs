//! The reference model: what docs/protocol.md says, in plain Rust over maps.
//!
//! It is written from the rules, not from the contract: no packed words, no batching of writes, no unchecked
//! arithmetic. A call works on a copy of the state, which counts only if nothing refused. Where several refusals
//! would be right, the order is the vault's, from what is cheap to check to what is dear.

#[path = "model/payments.rs"]
mod payments;
#[path = "model/records.rs"]
mod records;
#[path = "model/table.rs"]
mod table;
#[path = "model/token.rs"]
pub(crate) mod token;

use crate::step::{Call, Outcome, Place, Step};
use alloy_primitives::{
    Address, B256, Bytes, Log, U256,
    aliases::{U24, U40, U96},
};
use alloy_sol_types::{Panic, SolError, SolEvent};
use std::collections::{BTreeMap, BTreeSet};
use symbolon_contracts::{court, vault};
use symbolon_primitives::{Domain, Signature};

/// The most an amount can be.
pub(crate) const MAX_AMOUNT: u128 = (1 << 96) - 1;
/// The last epoch.
pub(crate) const MAX_EPOCH: u32 = (1 << 24) - 1;
/// How far ahead an expiry may lie.
pub(crate) const MAX_EXPIRY_AHEAD: u64 = 400 * 86_400;
/// How long a stake waits after the request.
pub(crate) const UNSTAKE_SECS: u64 = 14 * 86_400;
/// The most a reporter gets.
pub(crate) const MAX_REWARD: u128 = 100 * 10_u128.pow(18);

/// An account (section 1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) balance: u128,
    pub(crate) stake: u128,
    /// Zero while no timer runs.
    pub(crate) unbonding_at: u64,
}

/// Whose a key is (SYM-05a).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyState {
    pub(crate) owner: Address,
    pub(crate) revoked: bool,
}

/// A channel (section 1.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Channel {
    pub(crate) allocated: u128,
    pub(crate) claimed: u128,
    pub(crate) epoch: u32,
    pub(crate) expiry: u64,
}

/// Payer key, payee, lane.
pub(crate) type ChannelName = (Address, Address, B256);

/// Everything the chain remembers.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) token: token::Token,
    pub(crate) accounts: table::Table<Address, Account>,
    pub(crate) keys: BTreeMap<Address, KeyState>,
    pub(crate) channels: table::Table<ChannelName, Channel>,
    pub(crate) slashed: BTreeSet<(Address, B256)>,
    pub(crate) burned: u128,
}

/// Planted mistakes: a comparison that does not see each of them is worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An instrument pays above the earmark.
    NoClamp,
    /// An instrument of another epoch pays.
    AnyEpoch,
    /// A total below `claimed` lowers it.
    ClaimedFalls,
    /// The author's part is rounded for each payment instead of as a difference of floors.
    RoyaltyByPayment,
    /// The price rounds down.
    PriceRoundsDown,
    /// A release works one second early.
    ReleaseEarly,
    /// A release leaves the epoch.
    EpochStays,
    /// A revoked key opens.
    RevokedOpens,
    /// A top-up replaces the expiry.
    ExpiryReplaced,
    /// An order settles one second late.
    SettlesLate,
    /// Half of the replicas are a quorum.
    HalfIsQuorum,
    /// The same order is slashed twice.
    SlashedTwice,
    /// A reporter's part has no upper limit.
    RewardUnlimited,
    /// A stake of zero leaves the timer running.
    StakeKeepsTimer,
    /// The event of a claim leaves out the rows that paid.
    NoBitmap,
}

impl Fault {
    pub(crate) const ALL: [Self; 15] = [
        Self::NoClamp,
        Self::AnyEpoch,
        Self::ClaimedFalls,
        Self::RoyaltyByPayment,
        Self::PriceRoundsDown,
        Self::ReleaseEarly,
        Self::EpochStays,
        Self::RevokedOpens,
        Self::ExpiryReplaced,
        Self::SettlesLate,
        Self::HalfIsQuorum,
        Self::SlashedTwice,
        Self::RewardUnlimited,
        Self::StakeKeepsTimer,
        Self::NoBitmap,
    ];
}

/// A refused call: the error's encoding.
pub(crate) type Refusal = Bytes;

/// What a call answers: its encoded return values.
pub(crate) type Answer = Result<Vec<U256>, Refusal>;

/// The model.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) place: Place,
    pub(crate) now: u64,
    pub(crate) state: State,
    /// Things that happened and show in no event, for the facts at the end.
    pub(crate) notes: Vec<&'static str>,
    fault: Option<Fault>,
    logs: Vec<Log>,
}

pub(crate) fn refuse<T>(error: impl SolError) -> Result<T, Refusal> {
    Err(error.abi_encode().into())
}

pub(crate) fn u96(amount: u128) -> U96 {
    U96::from(amount)
}

pub(crate) fn u40(time: u64) -> U40 {
    U40::from(time)
}

pub(crate) fn u24(epoch: u32) -> U24 {
    U24::from(epoch)
}

/// Payee (20 bytes) and amount (12).
pub(crate) fn split(word: B256) -> (Address, u128) {
    let mut amount = [0; 16];
    amount[4..].copy_from_slice(&word[20..]);
    (Address::from_slice(&word[..20]), u128::from_be_bytes(amount))
}

impl Model {
    pub(crate) fn new(place: Place, now: u64, fault: Option<Fault>) -> Self {
        Self { place, now, state: State::default(), notes: Vec::new(), fault, logs: Vec::new() }
    }

    /// Runs one step on a copy of the state; keeps the copy if nothing refused.
    pub(crate) fn apply(&mut self, step: &Step) -> Outcome {
        self.now += step.wait;
        let mut next = self.clone();
        next.logs.clear();
        match next.call(step.caller, &step.call) {
            Ok(words) => {
                let logs = std::mem::take(&mut next.logs);
                *self = next;
                let data = words.iter().flat_map(|word| word.to_be_bytes::<32>()).collect::<Vec<_>>();
                Outcome { succeeded: true, data: data.into(), logs }
            }
            Err(data) => Outcome { succeeded: false, data, logs: Vec::new() },
        }
    }

    fn call(&mut self, caller: Address, call: &Call) -> Answer {
        match call {
            Call::Mint(call) => self.mint(call),
            Call::Approve(call) => self.approve(caller, call),
            Call::Transfer(call) => self.transfer(caller, call),
            Call::Deposit(call) => self.deposit(caller, call.beneficiary, call.amount.to()),
            Call::DepositWithPermit(call) => {
                self.permit(caller, call);
                self.deposit(caller, call.beneficiary, call.amount.to())
            }
            Call::Withdraw(call) => self.withdraw(caller, call),
            Call::PayMany(call) => self.pay_many(caller, &call.words),
            Call::Bind(call) => self.bind(caller, call),
            Call::Revoke(call) => self.revoke(caller, call.key),
            Call::Open(call) => self.open(caller, call),
            Call::Release(call) => self.release(caller, call),
            Call::Claim(call) => self.claim(caller, call),
            Call::ClaimFor(call) => self.claim_for(&call.records),
            Call::SettleQuorum(call) => self.settle_quorum(call),
            Call::Stake(call) => self.stake(caller, call.amount.to()),
            Call::RequestUnstake(_) => self.request_unstake(caller),
            Call::WithdrawStake(_) => self.withdraw_stake(caller),
            Call::Register(call) => self.register(caller, call),
            Call::VaultSlash(_) => refuse(vault::NotCourt { caller }),
            Call::CourtSlash(call) => self.court_slash(caller, call),
        }
    }

    /* ---------- what the rules share ---------- */

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    pub(crate) fn domain(&self) -> Domain {
        Domain { chain_id: self.place.chain_id, vault: self.place.vault }
    }

    pub(crate) fn emit(&mut self, event: &impl SolEvent) {
        self.logs.push(Log { address: self.place.vault, data: event.encode_log_data() });
    }

    pub(crate) fn account(&self, account: Address) -> Account {
        self.state.accounts.get(&account).copied().unwrap_or_default()
    }

    pub(crate) fn channel(&self, name: ChannelName) -> Channel {
        self.state.channels.get(&name).copied().unwrap_or_default()
    }

    pub(crate) fn key(&self, key: Address) -> KeyState {
        self.state.keys.get(&key).copied().unwrap_or_default()
    }

    pub(crate) fn owns_keys(&self, account: Address) -> bool {
        self.state.keys.values().any(|key| key.owner == account)
    }

    /// A bound key acts for nobody on chain.
    fn unbound(&self, caller: Address) -> Result<(), Refusal> {
        if self.state.keys.contains_key(&caller) { refuse(vault::KeyIsBound { key: caller }) } else { Ok(()) }
    }

    fn own_key(&self, caller: Address, key: Address) -> Result<KeyState, Refusal> {
        let state = self.key(key);
        if state.owner == caller { Ok(state) } else { refuse(vault::NotKeyOwner { key, caller }) }
    }

    pub(crate) fn credit(&mut self, account: Address, amount: u128) -> Result<(), Refusal> {
        let mut held = self.account(account);
        let sum = held.balance + amount;
        if sum > MAX_AMOUNT {
            return refuse(vault::AmountTooLarge { amount: U256::from(sum) });
        }
        held.balance = sum;
        self.state.accounts.insert(account, held);
        Ok(())
    }

    fn debit(&mut self, account: Address, amount: u128) -> Result<(), Refusal> {
        let mut held = self.account(account);
        let Some(left) = held.balance.checked_sub(amount) else {
            return refuse(vault::InsufficientBalance { have: u96(held.balance), need: u96(amount) });
        };
        held.balance = left;
        self.state.accounts.insert(account, held);
        Ok(())
    }

    /* ---------- accounts ---------- */

    fn deposit(&mut self, caller: Address, beneficiary: Address, amount: u128) -> Answer {
        if beneficiary.is_zero() {
            return refuse(vault::ZeroAddress {});
        }
        if amount == 0 {
            return refuse(vault::ZeroAmount {});
        }
        if !self.pull(caller, amount) {
            return refuse(vault::TokenTransferFailed {});
        }
        let holds = self.state.token.balance(self.place.vault);
        if holds > U256::from(MAX_AMOUNT) {
            return refuse(vault::VaultFull { wouldHold: holds });
        }
        self.unbound(caller)?;
        self.credit(beneficiary, amount)?;
        self.emit(&vault::Deposited { account: beneficiary, amount: u96(amount) });
        Ok(vec![U256::from(amount)])
    }

    fn withdraw(&mut self, caller: Address, call: &vault::withdrawCall) -> Answer {
        self.unbound(caller)?;
        if call.account != caller {
            self.own_key(caller, call.account)?;
        }
        if call.to.is_zero() {
            return refuse(vault::ZeroAddress {});
        }
        if call.amount.is_zero() {
            return refuse(vault::ZeroAmount {});
        }
        self.debit(call.account, call.amount.to())?;
        if !self.pay_out(call.to, call.amount.to()) {
            return refuse(vault::TokenTransferFailed {});
        }
        self.emit(&vault::Withdrawn { account: call.account, to: call.to, amount: call.amount });
        Ok(vec![])
    }

    fn pay_many(&mut self, caller: Address, words: &[B256]) -> Answer {
        self.unbound(caller)?;
        let mut total = 0;
        for word in words {
            let (payee, amount) = split(*word);
            if payee.is_zero() {
                return refuse(vault::ZeroAddress {});
            }
            self.credit(payee, amount)?;
            total += amount;
        }
        if total > MAX_AMOUNT {
            return refuse(vault::AmountTooLarge { amount: U256::from(total) });
        }
        self.debit(caller, total)?;
        self.emit(&vault::PaidMany { from: caller, words: words.to_vec() });
        Ok(vec![])
    }

    /* ---------- keys ---------- */

    fn bind(&mut self, caller: Address, call: &vault::bindCall) -> Answer {
        self.unbound(caller)?;
        let key = call.key;
        if key.is_zero() {
            return refuse(vault::ZeroAddress {});
        }
        self.unbound(key)?;
        if key == caller || self.owns_keys(key) || self.account(key).stake > 0 {
            return refuse(vault::KeyCannotBeBound { key });
        }
        let digest = self.domain().digest(&symbolon_contracts::Bind { owner: caller });
        if signer(&call.signature, &digest) != Some(key) {
            return refuse(vault::BadSignature {});
        }
        self.state.keys.insert(key, KeyState { owner: caller, revoked: false });
        self.emit(&vault::Bound { owner: caller, key });
        Ok(vec![])
    }

    fn revoke(&mut self, caller: Address, key: Address) -> Answer {
        self.unbound(caller)?;
        let state = self.own_key(caller, key)?;
        if state.revoked {
            return refuse(vault::KeyIsRevoked { key });
        }
        self.state.keys.insert(key, KeyState { revoked: true, ..state });
        self.emit(&vault::Revoked { owner: caller, key });
        Ok(vec![])
    }

    /* ---------- stake, court, registration ---------- */

    fn stake(&mut self, caller: Address, amount: u128) -> Answer {
        self.unbound(caller)?;
        let mut account = self.account(caller);
        let staked = account.stake + amount;
        if staked > MAX_AMOUNT {
            // No sound token gets this far with a balance to match; the compiler's own check refuses.
            return refuse(Panic { code: U256::from(0x11) });
        }
        if staked == 0 {
            return refuse(vault::ZeroAmount {});
        }
        self.debit(caller, amount)?;
        account = self.account(caller);
        account.stake = staked;
        if account.unbonding_at != 0 {
            self.notes.push("a running timer was cancelled");
        }
        if !self.has(Fault::StakeKeepsTimer) {
            account.unbonding_at = 0;
        }
        self.state.accounts.insert(caller, account);
        self.emit(&vault::Staked { provider: caller, amount: u96(amount) });
        Ok(vec![])
    }

    fn request_unstake(&mut self, caller: Address) -> Answer {
        self.unbound(caller)?;
        let mut account = self.account(caller);
        if account.stake == 0 {
            return refuse(vault::NoStake { provider: caller });
        }
        if account.unbonding_at != 0 {
            return refuse(vault::StakeLocked { unbondingAt: u40(account.unbonding_at) });
        }
        account.unbonding_at = self.now + UNSTAKE_SECS;
        self.state.accounts.insert(caller, account);
        self.emit(&vault::UnstakeRequested { provider: caller, unbondingAt: u40(account.unbonding_at) });
        Ok(vec![])
    }

    fn withdraw_stake(&mut self, caller: Address) -> Answer {
        self.unbound(caller)?;
        let account = self.account(caller);
        if account.stake == 0 {
            return refuse(vault::NoStake { provider: caller });
        }
        if account.unbonding_at == 0 {
            return refuse(vault::UnstakeNotRequested {});
        }
        if self.now < account.unbonding_at {
            return refuse(vault::StakeLocked { unbondingAt: u40(account.unbonding_at) });
        }
        self.state.accounts.insert(caller, Account { stake: 0, unbonding_at: 0, ..account });
        self.credit(caller, account.stake)?;
        self.emit(&vault::StakeWithdrawn { provider: caller, amount: u96(account.stake) });
        Ok(vec![U256::from(account.stake)])
    }

    fn register(&mut self, caller: Address, call: &vault::registerCall) -> Answer {
        self.unbound(caller)?;
        if self.account(caller).stake == 0 {
            return refuse(vault::NoStake { provider: caller });
        }
        let length = call.peerId.len() + call.signature.len() + call.addresses.len();
        if length > 1_024 {
            return refuse(vault::RegistrationTooLong { length: U256::from(length) });
        }
        self.emit(&vault::ProviderRegistered {
            provider: caller,
            peerId: call.peerId.clone(),
            signature: call.signature.clone(),
            addresses: call.addresses.clone(),
        });
        Ok(vec![])
    }

    /// SYM-12: two Results by one provider for one order that differ in root or fuel.
    fn court_slash(&mut self, reporter: Address, call: &court::slashCall) -> Answer {
        let (first, second) = (&call.first, &call.second);
        if first.order != second.order {
            return refuse(court::DifferentOrders {});
        }
        if (first.resultsRoot, first.fuel) == (second.resultsRoot, second.fuel) {
            return refuse(court::SameResult {});
        }
        let Some(provider) = signer(&call.firstSignature, &self.domain().digest(first)) else {
            return refuse(court::BadEvidence { which: 0 });
        };
        if signer(&call.secondSignature, &self.domain().digest(second)) != Some(provider) {
            return refuse(court::BadEvidence { which: 1 });
        }
        let order = first.order;
        if self.state.slashed.contains(&(provider, order)) && !self.has(Fault::SlashedTwice) {
            return refuse(vault::AlreadySlashed { provider, order });
        }
        let account = self.account(provider);
        if account.stake == 0 {
            return refuse(vault::NoStake { provider });
        }
        let mut reward = account.stake / 20;
        if reward > MAX_REWARD && !self.has(Fault::RewardUnlimited) {
            self.notes.push("a reporter's part reached its limit");
            reward = MAX_REWARD;
        }
        self.state.slashed.insert((provider, order));
        self.state.accounts.insert(provider, Account { stake: 0, unbonding_at: 0, ..account });
        self.state.burned += account.stake - reward;
        self.credit(reporter, reward)?;
        self.emit(&vault::Slashed { provider, order, reporter, stake: u96(account.stake), reward: u96(reward) });
        Ok(vec![provider.into_word().into(), U256::from(account.stake), U256::from(reward)])
    }
}

/// Whose signature this is; nobody's when it is malformed, has a high s or another length than 64.
pub(crate) fn signer(signature: &[u8], digest: &[u8; 32]) -> Option<Address> {
    Signature::try_from(signature).ok()?.recover(digest).ok()
}

/// How many of the vault's words differ between two states. The two flags in an account's word are part of it.
pub(crate) fn words_changed(before: &State, after: &State) -> usize {
    let flags = |state: &State, account: &Address| {
        let owner = state.keys.values().any(|key| key.owner == *account);
        (state.keys.contains_key(account), owner)
    };
    let account =
        |state: &State, name: &Address| (state.accounts.get(name).copied().unwrap_or_default(), flags(state, name));
    let names: BTreeSet<&Address> = [before, after]
        .iter()
        .flat_map(|s| s.accounts.keys().chain(s.keys.keys()).chain(s.keys.values().map(|key| &key.owner)))
        .collect();
    let accounts = names.into_iter().filter(|name| account(before, name) != account(after, name)).count();
    let keys = after.keys.iter().filter(|(key, state)| before.keys.get(*key) != Some(*state)).count();
    let channel = |state: &State, name| state.channels.get(name).copied().unwrap_or_default();
    let channels = after.channels.keys().filter(|name| channel(before, name) != channel(after, name)).count();
    let slashed = after.slashed.difference(&before.slashed).count();
    accounts + keys + channels + slashed + usize::from(before.burned != after.burned)
}
