//! Model and chain side by side: one step for both, then everything compared.

use crate::{
    chain::{Chain, GENESIS_SECS},
    generator::Generator,
    model::{Channel, Fault, Model, u40, u96, words_changed},
    step::{Outcome, Step},
};
use alloy_primitives::{Address, B256, U256};
use std::collections::BTreeMap;
use symbolon_contracts::{token, vault};

/// Where model and chain part.
#[derive(Debug)]
pub(crate) struct Divergence {
    /// The steps up to and with the one that shows it.
    pub(crate) steps: Vec<Step>,
    /// What differs.
    pub(crate) what: String,
}

/// What happened in the histories: a comparison of nothing agrees, too.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) steps: u64,
    /// For each call, how often it succeeded and was refused.
    pub(crate) calls: BTreeMap<&'static str, (u64, u64)>,
    pub(crate) errors: BTreeMap<[u8; 4], u64>,
    pub(crate) events: BTreeMap<B256, u64>,
    pub(crate) notes: BTreeMap<&'static str, u64>,
}

impl Facts {
    fn count(&mut self, step: &Step, outcome: &Outcome, notes: Vec<&'static str>) {
        self.steps += 1;
        let (succeeded, refused) = self.calls.entry(step.call.name()).or_default();
        *(if outcome.succeeded { succeeded } else { refused }) += 1;
        if !outcome.succeeded
            && let Some(selector) = outcome.data.first_chunk::<4>()
        {
            *self.errors.entry(*selector).or_default() += 1;
        }
        for log in &outcome.logs {
            *self.events.entry(log.topics()[0]).or_default() += 1;
        }
        for note in notes {
            *self.notes.entry(note).or_default() += 1;
        }
    }

    /// Joins what another worker saw.
    pub(crate) fn add(&mut self, other: Self) {
        self.steps += other.steps;
        for (call, (succeeded, refused)) in other.calls {
            let mine = self.calls.entry(call).or_default();
            *mine = (mine.0 + succeeded, mine.1 + refused);
        }
        for (selector, count) in other.errors {
            *self.errors.entry(selector).or_default() += count;
        }
        for (topic, count) in other.events {
            *self.events.entry(topic).or_default() += count;
        }
        for (note, count) in other.notes {
            *self.notes.entry(note).or_default() += count;
        }
    }

    pub(crate) fn event(&self, topic: [u8; 32]) -> u64 {
        self.events.get(&B256::from(topic)).copied().unwrap_or_default()
    }

    pub(crate) fn error(&self, selector: [u8; 4]) -> u64 {
        self.errors.get(&selector).copied().unwrap_or_default()
    }

    pub(crate) fn noted(&self, note: &str) -> u64 {
        self.notes.get(note).copied().unwrap_or_default()
    }
}

struct Pair {
    chain: Chain,
    model: Model,
    addresses: Vec<Address>,
}

impl Pair {
    fn new(seed: u64, fault: Option<Fault>) -> (Self, Generator) {
        let mut chain = Chain::new();
        let generator = Generator::new(seed, chain.place);
        let mut model = Model::new(chain.place, GENESIS_SECS, fault);
        let (key, payee, lane, epoch) = generator.late_channel();
        chain.set_epoch(key, payee, lane, epoch);
        model.state.channels.insert((key, payee, lane), Channel { epoch, ..Channel::default() });
        let addresses = generator.addresses();
        (Self { chain, model, addresses }, generator)
    }

    /// One step on both sides; what differs afterwards.
    fn step(&mut self, step: &Step, facts: &mut Facts) -> Result<(), String> {
        let before = self.model.state.clone();
        let expected = self.model.apply(step);
        let (outcome, changed) = self.chain.apply(step);
        let notes = std::mem::take(&mut self.model.notes);
        facts.count(step, &outcome, notes);
        if expected != outcome {
            return Err(format!("the model says\n  {expected:?}\nthe chain says\n  {outcome:?}"));
        }
        let expected = words_changed(&before, &self.model.state);
        if expected != changed {
            return Err(format!("{expected} words should have changed in the vault, {changed} did"));
        }
        self.compare()
    }

    fn compare(&mut self) -> Result<(), String> {
        let Self { chain, model, addresses } = self;
        let (vault, token) = (chain.place.vault, chain.place.token);
        for &account in addresses.iter() {
            let held = model.account(account);
            let got = chain.view(vault, &vault::accountOfCall { account });
            let wanted = (u96(held.balance), u96(held.stake), u40(held.unbonding_at));
            same("accountOf", account, wanted, (got.balance, got.stake, got.unbondingAt))?;
            let key = model.key(account);
            let got = chain.view(vault, &vault::ownerOfKeyCall { key: account });
            same("ownerOfKey", account, (key.owner, key.revoked), (got.owner, got.revoked))?;
            let got = chain.view(token, &token::balanceOfCall { owner: account });
            same("balanceOf", account, model.state.token.balance(account), got)?;
        }
        for (&(key, payee, lane), held) in model.state.channels.iter() {
            let got = chain.view(vault, &vault::channelOfCall { key, payee, lane });
            let got = Channel {
                allocated: got.allocated.to(),
                claimed: got.claimed.to(),
                epoch: got.epoch.to(),
                expiry: got.expiry.to(),
            };
            same("channelOf", (key, payee, lane), *held, got)?;
        }
        for &(provider, order) in &model.state.slashed {
            same("isSlashed", (provider, order), true, chain.view(vault, &vault::isSlashedCall { provider, order }))?;
        }
        let burned = chain.view(vault, &vault::burnedStakeCall {});
        same("burnedStake", (), u96(model.state.burned), burned)?;
        for (&(owner, spender), allowed) in &model.state.token.allowances {
            same("allowance", owner, *allowed, chain.view(token, &token::allowanceCall { owner, spender }))?;
        }
        for (&owner, nonce) in &model.state.token.nonces {
            same("nonces", owner, U256::from(*nonce), chain.view(token, &token::noncesCall { owner }))?;
        }
        same("totalSupply", (), model.state.token.supply, chain.view(token, &token::totalSupplyCall {}))?;
        solvent(model)
    }
}

fn same<T: PartialEq + core::fmt::Debug>(
    view: &str,
    of: impl core::fmt::Debug,
    wanted: T,
    got: T,
) -> Result<(), String> {
    if wanted == got {
        return Ok(());
    }
    Err(format!("{view} of {of:?}: the model says\n  {wanted:?}\nthe chain says\n  {got:?}"))
}

/// SYM-01, of the state both agree on.
fn solvent(model: &Model) -> Result<(), String> {
    let state = &model.state;
    let accounts = state.accounts.values().map(|account| account.balance + account.stake);
    let channels = state.channels.values().map(|channel| channel.allocated - channel.claimed);
    let owed: U256 = accounts.chain(channels).chain([state.burned]).map(U256::from).sum();
    let holds = state.token.balance(model.place.vault);
    if holds < owed { Err(format!("the vault holds {holds} and owes {owed}")) } else { Ok(()) }
}

/// Makes a history and compares it step by step.
pub(crate) fn generate(seed: u64, count: usize, fault: Option<Fault>, facts: &mut Facts) -> Result<(), Divergence> {
    let (mut pair, mut generator) = Pair::new(seed, fault);
    let mut steps = Vec::new();
    for _ in 0..count {
        let step = generator.next(&pair.model);
        steps.push(step.clone());
        if let Err(what) = pair.step(&step, facts) {
            return Err(Divergence { steps, what });
        }
    }
    Ok(())
}

/// The same steps from the beginning.
fn replay(seed: u64, steps: &[Step], fault: Option<Fault>) -> Option<Divergence> {
    let (mut pair, _) = Pair::new(seed, fault);
    for (i, step) in steps.iter().enumerate() {
        if let Err(what) = pair.step(step, &mut Facts::default()) {
            return Some(Divergence { steps: steps[..=i].to_vec(), what });
        }
    }
    None
}

/// Leaves out what the divergence does not need, in ever smaller parts and at most `replays` tries.
pub(crate) fn shorten(seed: u64, mut found: Divergence, fault: Option<Fault>, replays: usize) -> Divergence {
    let (mut part, mut left) = (found.steps.len() / 2, replays);
    while part > 0 {
        let mut at = 0;
        while at + part <= found.steps.len() && left > 0 {
            let mut fewer = found.steps.clone();
            let waited: u64 = fewer.drain(at..at + part).map(|step| step.wait).sum();
            // Time goes on as it did.
            if let Some(next) = fewer.get_mut(at) {
                next.wait += waited;
            }
            left -= 1;
            match replay(seed, &fewer, fault) {
                Some(shorter) => found = shorter,
                None => at += part,
            }
        }
        part /= 2;
    }
    found
}
