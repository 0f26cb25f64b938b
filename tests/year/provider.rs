//! Providers: they take orders, compute, attest, keep vouchers and claim.

use crate::{
    chain::{BLOCK_SECS, CALM, DEPTH, state_of},
    hostile::Step,
    world::{Doing, Event, HOUR, Habit, Limits, MARGIN, Provider, Stored, TENTH, TIMING, World, read_back},
};
use std::rc::Rc;
use symbolon_channel::{Effect, Effects, Order, Payee, PayeeInput, Reason, Remedy, SignedVoucher, Standing};
use symbolon_primitives::{Address, Amount, Lane, Nonce, OrderDigest, ResultsRoot, SignedOrder, Timestamp};
use symbolon_quorum::{Evidence, Message, OrderTerms, Replica, ReplicaEvent, ReplicaInput, ReplicaPhase, Settlement};
use symbolon_settlement::{
    ClaimPolicy, Congestion, GasPrice, HeldVoucher, Market, Why,
    ops::{self, QuorumRow, tag},
    plan,
};

/// What one ether is worth: 1,000 tokens.
const BASE_PER_ETHER: Amount = match Amount::new(1_000 * 10 * TENTH) {
    Ok(amount) => amount,
    Err(_) => Amount::ZERO,
};
/// What nobody can be asked to claim: less than a claim of its own costs on a calm day.
const DUST: u128 = TENTH;

pub(crate) fn answer_of(order: OrderDigest, max_fuel: u64) -> (ResultsRoot, u64) {
    let seed = order.as_bytes();
    (ResultsRoot::from_bytes(*seed), max_fuel / 2 + u64::from(seed[0]) * (max_fuel / 1_024))
}

impl World {
    fn is_up(&mut self, index: usize) -> bool {
        self.now >= self.providers[index].actor.down_until
    }

    pub(crate) fn take_order(&mut self, to: usize, digest: OrderDigest, signed: &Rc<SignedOrder>) {
        let domain = self.chain.domain();
        let me = self.providers[to].actor.me();
        if !self.is_up(to)
            || self.providers[to].done.contains(&digest)
            || self.providers[to].orders.contains_key(&digest)
            || self.now < self.providers[to].actor.blind_until
        {
            return;
        }
        if self.falls_silent(to, Step::Order, Some(digest)) {
            self.providers[to].done.insert(digest);
            return;
        }
        let Ok(payer) = signed.check(&domain) else { return self.note("orders nobody signed") };
        let Some((place, leaf)) = signed.leaf_of(me) else { return };
        let (leaf, reserve) = (*leaf, signed.is_reserve(place));
        let lane = signed.order.royalty.lane(leaf.lane_number);
        let terms = self.terms(payer, me, lane);
        let mut payee = self.providers[to].channels.get(&(payer, lane)).cloned().unwrap_or_else(|| Payee::new(terms));
        let clock = self.providers[to].actor.clock(self.now);
        let view = self.view(&self.providers[to].actor, (payer, me, lane));
        let order = Order { digest, leaf, max_fuel: signed.order.max_fuel, settle_by: signed.order.settle_by };
        let key = self.providers[to].actor.key.clone();
        let before = payee.clone();
        let mut seen = match payee.handle(&key, PayeeInput::Seen(view), clock) {
            Ok(effects) => effects,
            Err(rejected) if matches!(rejected.reason, Reason::Stale { .. }) => {
                self.note("stale readings");
                Effects::new()
            }
            Err(rejected) => panic!("{rejected}"),
        };
        self.check_seen(to, &before, &payee, &seen);
        let Limits { most, unproven } = self.providers[to].limits;
        let exposed = |payee: &Payee| {
            let others = self.providers[to].channels.iter().filter(|(id, _)| id.0 == payer && id.1 != lane);
            Standing::of(others.map(|(_, other)| other).chain([payee]))
                .check(Amount::new(most).unwrap(), Amount::new(unproven).unwrap())
        };
        let taken = payee.handle(&key, PayeeInput::Offered(order), clock).and_then(|effects| {
            seen.extend(effects);
            exposed(&payee)
        });
        if let Err(rejected) = taken {
            self.note(match rejected.reason {
                Reason::OwedTooLow { .. } => "orders refused: owed too low",
                Reason::ExposureTooHigh { .. } => "orders refused: exposure",
                Reason::EarmarkTooSmall { .. } => "orders refused: earmark",
                Reason::InFlight(_) => "orders refused: another is open",
                _ => "orders refused: other reasons",
            });
            if rejected.remedy != Remedy::Retry {
                self.providers[to].done.insert(digest);
            }
            return;
        }
        let Ok(terms) = OrderTerms::new(signed, domain, payer, TIMING) else { return };
        let replica = Replica::new(terms, me).unwrap();
        match self.store(true, to, true) {
            Stored::No => return,
            Stored::Yes | Stored::AndDied => {}
        }
        self.note("orders taken");
        let channel = (payer, lane);
        self.providers[to].channels.insert(channel, payee);
        let signed = Rc::clone(signed);
        let doing = Doing { signed, replica, channel, paid: false, settling_until: 0, assembled_at: None };
        self.providers[to].orders.insert(digest, doing);
        self.paid_in(to, &seen);
        self.check_exposure(to, payer);
        if !reserve {
            let takes = 60 + self.dice.below(400);
            self.at(takes, Event::Computed { provider: to, order: digest });
        }
        self.feed_replica(to, digest, ReplicaInput::Timer);
    }

    pub(crate) fn computed(&mut self, provider: usize, order: OrderDigest) {
        let Some(doing) = self.providers[provider].orders.get(&order) else { return };
        let max_fuel = doing.signed.order.max_fuel;
        let (mut results_root, mut fuel) = answer_of(order, max_fuel);
        let habit = self.providers[provider].habit;
        match habit {
            Habit::Late => {
                let Some(by) = self.deadline(provider, order) else { return };
                if self.now <= by.0 + 60 {
                    return self.at(by.0 + 61 - self.now, Event::Computed { provider, order });
                }
            }
            Habit::Liar if fuel < max_fuel && self.dice.chance(300) => {
                fuel = max_fuel;
                self.note("lies about fuel");
            }
            Habit::Liar => results_root = ResultsRoot::from_bytes(self.dice.bytes()),
            Habit::Copier => return self.bait(provider, order),
            _ => {}
        }
        let nonce = Nonce::from_bytes(self.dice.bytes());
        let input = ReplicaInput::Computed { results_root, fuel, nonce };
        self.compute(provider, order, input, habit == Habit::Late);
    }

    pub(crate) fn replica_timer(&mut self, provider: usize, order: OrderDigest) {
        self.feed_replica(provider, order, ReplicaInput::Timer);
    }

    /// Feeds a replica; what its Result may be settled for is stored before the Result leaves.
    pub(crate) fn feed_replica(&mut self, index: usize, order: OrderDigest, input: ReplicaInput) {
        let clock = self.providers[index].actor.clock(self.now);
        self.feed_replica_at(index, order, input, clock);
    }

    pub(crate) fn feed_replica_at(&mut self, index: usize, order: OrderDigest, input: ReplicaInput, clock: Timestamp) {
        if !self.is_up(index) {
            return;
        }
        let provider = &self.providers[index];
        let (key, habit) = (provider.actor.key.clone(), provider.habit);
        let Some(doing) = provider.orders.get(&order) else { return };
        let mut next = doing.replica.clone();
        let Ok(effects) = next.handle(&key, input, clock) else { return self.note("inputs a replica refused") };
        let changed = effects.iter().any(|effect| matches!(effect, symbolon_quorum::Effect::Persist));
        let stored = self.store(true, index, changed);
        if stored == Stored::No {
            return;
        }
        if let Some(doing) = self.providers[index].orders.get_mut(&order) {
            doing.replica = next;
        }
        if stored == Stored::AndDied {
            return;
        }
        for effect in effects {
            match effect {
                symbolon_quorum::Effect::Persist => {}
                symbolon_quorum::Effect::SetTimer { at } => {
                    let after = at.0.saturating_sub(clock.0);
                    self.at(after, Event::ReplicaTimer { provider: index, order });
                }
                symbolon_quorum::Effect::Emit(event) => self.replica_says(index, order, event),
                symbolon_quorum::Effect::Send { to, message } => {
                    if let Message::Result(results) = &message
                        && !self.attest(index, order, results.fuel)
                    {
                        return;
                    }
                    self.speak(index, habit, to, order, message);
                }
            }
        }
    }

    fn attest(&mut self, index: usize, order: OrderDigest, fuel: u64) -> bool {
        let Some(doing) = self.providers[index].orders.get(&order) else { return false };
        let channel = doing.channel;
        if doing.paid {
            return true;
        }
        let answer = self.feed_payee(index, channel, PayeeInput::Attest { order, fuel });
        // Ended unpaid, it is due already.
        !matches!(answer, Fed::NotStored)
    }

    fn replica_says(&mut self, index: usize, order: OrderDigest, event: ReplicaEvent) {
        match event {
            ReplicaEvent::Compute => {
                let takes = 60 + self.dice.below(400);
                self.at(takes, Event::Computed { provider: index, order });
            }
            ReplicaEvent::SettlementDue(settlement) => self.settle(index, &settlement),
            ReplicaEvent::Equivocated(evidence) => self.accuse(index, &evidence),
            ReplicaEvent::Conflicted(_) => self.note("second commits seen"),
            ReplicaEvent::QuorumAssembled(_) => {
                let now = self.now;
                if let Some(doing) = self.providers[index].orders.get_mut(&order) {
                    doing.assembled_at.get_or_insert(now);
                }
            }
        }
    }

    /// The payer is silent: the quorum collects without it.
    fn settle(&mut self, index: usize, settlement: &Settlement) {
        let (now, blind) = (self.now, self.now < self.providers[index].actor.blind_until);
        let Some(doing) = self.providers[index].orders.get_mut(&settlement.digest) else { return };
        if blind || now < doing.settling_until {
            return;
        }
        // Mined within a block or two, and seen at depth some blocks later.
        doing.settling_until = now + 3_600;
        let row = |row: &symbolon_quorum::Row| QuorumRow {
            provider: row.leaf.provider,
            nonce: row.nonce,
            signature: row.signature,
        };
        let rows: Vec<QuorumRow> = settlement.rows.iter().map(row).collect();
        let (root, fuel) = (settlement.results_root, settlement.fuel);
        let vault = self.chain.domain().vault;
        let signed = Rc::clone(&doing.signed);
        let intent = ops::settle_quorum(vault, &signed, root, fuel, &rows, tag(&[b"settle"])).unwrap();
        // A settlement has hours, not days: it pays what it takes.
        self.submit(true, index, &intent, CALM * 100);
        self.note("quorums settled on chain");
        for row in &settlement.rows {
            self.check_paid(&signed, None, row.leaf.provider);
            let channel = (settlement.payer, signed.order.royalty.lane(row.leaf.lane_number));
            let provider = self.provider_of[&row.leaf.provider];
            // As whoever follows the chain sees the event.
            self.at((DEPTH as u64 + 3) * BLOCK_SECS, Event::Settled { provider, channel });
        }
        let requestor = self.requestor_of[&settlement.payer];
        let requestor = &mut self.requestors[requestor];
        let Some(running) = requestor.orders.get_mut(&settlement.digest) else { return };
        for leaf in settlement.rows.iter().map(|row| row.leaf) {
            if running.settled.insert(leaf.provider) && !running.agreed.contains(&leaf.provider) {
                *requestor.due.entry(leaf.provider).or_default() += leaf.price(fuel).unwrap().get();
            }
        }
    }

    pub(crate) fn accuse(&mut self, index: usize, evidence: &Evidence) {
        let accused = self.provider_of[&evidence.provider];
        assert_eq!(self.providers[accused].habit, Habit::Equivocator, "V6: nobody honest signs two Results");
        if self.now < self.providers[accused].accused_until {
            return;
        }
        // A reorganisation may drop it: the next evidence comes again.
        self.providers[accused].accused_until = self.now + 6 * 3_600;
        let (first, second) = (&evidence.first, &evidence.second);
        let vault = self.chain.domain().vault;
        let pair = |signed: &symbolon_quorum::SignedStatement| (signed.statement, signed.signature);
        let ((one, one_signed), (two, two_signed)) = (pair(first), pair(second));
        let intent = ops::slash(vault, (&one, &one_signed), (&two, &two_signed), tag(&[b"slash"]));
        self.submit(true, index, &intent, CALM * 100);
        self.note("accusations");
    }

    pub(crate) fn take_voucher(&mut self, to: usize, order: OrderDigest, signed: SignedVoucher) {
        if !self.is_up(to) {
            return;
        }
        let me = self.providers[to].actor.me();
        let Some(doing) = self.providers[to].orders.get(&order) else { return };
        let (payer, lane) = doing.channel;
        match self.feed_payee(to, (payer, lane), PayeeInput::Voucher { order, signed }) {
            Fed::Done(_) | Fed::Refused(Reason::NotHigher { .. }) => {
                if self.falls_silent(to, Step::Voucher, Some(order)) {
                    return;
                }
                let requestor = self.requestor_of[&payer];
                self.mail(Event::Confirmed { to: requestor, by: me, order });
            }
            Fed::Refused(reason) => self.note(match reason {
                Reason::BadSignature(_) => "vouchers refused: signature",
                Reason::WrongEpoch { .. } => "vouchers refused: epoch",
                Reason::OtherChannel => "vouchers refused: lane",
                Reason::EarmarkTooSmall { .. } => "vouchers refused: above the earmark",
                Reason::EpochClosed { .. } => "vouchers refused: epoch closed",
                _ => "vouchers refused: other reasons",
            }),
            Fed::NotStored | Fed::NoChannel => {}
        }
    }

    /// Feeds a channel, stores it with what it keeps, and says who is paid.
    pub(crate) fn feed_payee(&mut self, index: usize, channel: (Address, Lane), input: PayeeInput) -> Fed {
        let provider = &self.providers[index];
        let (key, clock) = (provider.actor.key.clone(), provider.actor.clock(self.now));
        let Some(payee) = provider.channels.get(&channel) else { return Fed::NoChannel };
        let mut next = payee.clone();
        let effects = match next.handle(&key, input, clock) {
            Ok(effects) => effects,
            Err(rejected) => {
                if matches!(rejected.reason, Reason::Stale { .. }) {
                    self.note("stale readings");
                }
                return Fed::Refused(rejected.reason);
            }
        };
        let before = payee.clone();
        let stored = self.store(true, index, effects.contains(&Effect::Persist));
        if stored == Stored::No {
            return Fed::NotStored;
        }
        if let PayeeInput::Seen(_) = input {
            self.check_seen(index, &before, &next, &effects);
        }
        self.providers[index].channels.insert(channel, next);
        for effect in &effects {
            if let Effect::Keep(signed) = effect {
                self.note("vouchers kept");
                if self.providers[index].has_tower {
                    let me = self.providers[index].actor.me();
                    self.tower.insert((me, channel.0, channel.1), *signed);
                }
            }
        }
        self.paid_in(index, &effects);
        self.check_exposure(index, channel.0);
        if stored == Stored::AndDied { Fed::NotStored } else { Fed::Done(effects) }
    }

    /// L11: an epoch that ended left nothing that could have been claimed.
    fn check_seen(&mut self, index: usize, before: &Payee, after: &Payee, effects: &Effects) {
        if let Some(conflict) = after.halted() {
            panic!("provider {index} stopped: {conflict}");
        }
        if after.view().epoch == before.view().epoch {
            return;
        }
        self.note("epochs ended");
        let lost = before.secured().saturating_sub(after.view().claimed);
        if lost.get() > DUST {
            // Who stays away longer than its margin, or can do nothing all through it, and has no watchtower, has itself
            // to blame.
            let Provider { habit, has_tower, actor, .. } = &self.providers[index];
            let expiry = before.view().expiry.0;
            let could = actor.at_ease(expiry.saturating_sub(MARGIN), expiry) >= 6 * HOUR;
            let excused = *habit == Habit::Vanisher || !*has_tower && !could;
            assert!(excused, "L11: provider {index} missed {lost} base units");
            self.note("vouchers lost by who was away too long");
        }
        for effect in effects {
            if let Effect::Forfeited { amount, .. } = effect {
                // Work that no quorum stood behind, or that nobody settled: at most the exposure.
                self.note("epochs that ended with unpaid work");
                assert!(amount.get() <= self.providers[index].limits.most, "L5: {amount}");
            }
        }
    }

    fn paid_in(&mut self, index: usize, effects: &Effects) {
        for effect in effects {
            let Effect::Paid { order } = effect else { continue };
            let Some(doing) = self.providers[index].orders.get_mut(order) else { continue };
            if !std::mem::replace(&mut doing.paid, true) {
                self.note("orders paid: their bytes are served");
            }
            self.feed_replica(index, *order, ReplicaInput::Paid);
        }
    }

    /// An idle reserve waives the order; one that never came is never taken.
    pub(crate) fn give_up(&mut self, to: usize, payer: Address, order: OrderDigest) {
        if !self.is_up(to) || self.falls_silent(to, Step::GiveUp, Some(order)) {
            return;
        }
        if self.providers[to].orders.contains_key(&order) {
            // The replica first, as a node stores it: from then on it attests nothing, and a start tells the channel.
            self.feed_replica(to, order, ReplicaInput::GiveUp);
            if !self.is_up(to) {
                return;
            }
            let doing = &self.providers[to].orders[&order];
            let (channel, given_up) = (doing.channel, *doing.replica.phase() == ReplicaPhase::GivenUp);
            if !given_up || !matches!(self.feed_payee(to, channel, PayeeInput::GiveUp { order }), Fed::Done(_)) {
                return;
            }
            self.providers[to].orders.remove(&order);
        }
        self.providers[to].done.insert(order);
        let (by, requestor) = (self.providers[to].actor.me(), self.requestor_of[&payer]);
        self.mail(Event::GaveUp { to: requestor, by, order });
    }

    pub(crate) fn asked_to_release(&mut self, to: usize, payer: Address, lane: Lane, epoch: u32) {
        if !self.is_up(to) || self.falls_silent(to, Step::Release, None) {
            return;
        }
        let Fed::Done(effects) = self.feed_payee(to, (payer, lane), PayeeInput::ReleaseAsked { epoch }) else { return };
        for effect in effects {
            if let Effect::Consent { signature, .. } = effect {
                let (by, requestor) = (self.providers[to].actor.me(), self.requestor_of[&payer]);
                self.mail(Event::Consent { to: requestor, by, lane, epoch, signature });
            }
        }
    }

    /// Looks at the chain, and claims what is worth it.
    pub(crate) fn provider_looks(&mut self, index: usize) {
        if !self.is_up(index) || self.now < self.providers[index].actor.blind_until {
            return;
        }
        let channels: Vec<(Address, Lane)> = self.providers[index].channels.keys().copied().collect();
        for (payer, lane) in channels {
            self.look_at(index, (payer, lane));
            self.feed_payee(index, (payer, lane), PayeeInput::Timer);
            if !self.is_up(index) {
                return;
            }
        }
        if self.now < self.providers[index].next_claim {
            return;
        }
        // A full disk stops signing, never claiming.
        let full = self.now < self.providers[index].actor.full_until;
        let channels = self.providers[index].channels.values();
        let held: Vec<HeldVoucher> = channels.filter_map(|payee| held(payee.best()?, payee)).collect();
        for claim in plan(self.providers[index].actor.clock(self.now), &held, &[], &self.market(), &policy()).claims {
            let intent = ops::claim(self.chain.domain().vault, claim.vouchers(), None, tag(&[b"claim"]));
            self.submit(true, index, &intent, self.chain.fee * 2);
            self.providers[index].next_claim = self.now + 7_200;
            self.note(if full { "claims with a full disk" } else { "claims" });
            if claim.why == Why::Expiring {
                self.note("claims before an expiry");
            }
        }
    }

    pub(crate) fn look_at(&mut self, index: usize, channel: (Address, Lane)) {
        if !self.is_up(index) || self.now < self.providers[index].actor.blind_until {
            return;
        }
        let actor = &self.providers[index].actor;
        let view = self.view(actor, (channel.0, actor.me(), channel.1));
        self.feed_payee(index, channel, PayeeInput::Seen(view));
    }

    fn market(&self) -> Market {
        let gas = GasPrice { wei_per_gas: self.chain.fee, base_per_ether: BASE_PER_ETHER };
        Market { gas, congestion: Congestion::default() }
    }

    /// Claims for clients who are away.
    pub(crate) fn tower_looks(&mut self) {
        let away = |provider: &Address| self.now < self.providers[self.provider_of[provider]].actor.down_until;
        let mut held = Vec::new();
        for ((provider, payer, lane), signed) in self.tower.iter().filter(|(id, _)| away(&id.0)) {
            let view = self.chain.view(*payer, *provider, *lane, 0);
            let signed = ops::SignedVoucher { voucher: signed.voucher, signature: signed.signature };
            let channel = state_of(&view);
            held.push(HeldVoucher { payer: *payer, signed, channel, job_over: false, heard_at: None });
        }
        for claim in plan(Timestamp(self.now), &held, &[], &self.market(), &policy()).claims {
            let intent = ops::claim_for(self.chain.domain().vault, claim.vouchers(), tag(&[b"tower"]));
            self.chain.send(Address::repeat_byte(0x70), &intent, self.chain.fee * 2, self.now);
            self.note("claims of watchtowers");
        }
    }

    /// The process starts again from what it stored.
    pub(crate) fn provider_returns(&mut self, index: usize) {
        let provider = &mut self.providers[index];
        for payee in provider.channels.values_mut() {
            *payee = read_back(payee);
        }
        let mut open = Vec::new();
        for (order, doing) in &mut provider.orders {
            doing.replica = read_back(&doing.replica);
            open.push(*order);
        }
        for order in open {
            let Doing { replica, channel, .. } = &self.providers[index].orders[&order];
            if *replica.phase() == ReplicaPhase::GivenUp {
                let channel = *channel;
                self.feed_payee(index, channel, PayeeInput::GiveUp { order });
                self.note("given-up orders that a start tells their channels");
            }
            self.feed_replica(index, order, ReplicaInput::Resume);
        }
        self.provider_looks(index);
    }
}

/// What became of an input to a channel.
pub(crate) enum Fed {
    Done(Effects),
    Refused(Reason),
    NotStored,
    NoChannel,
}

fn held(best: &SignedVoucher, payee: &Payee) -> Option<HeldVoucher> {
    let signed = ops::SignedVoucher { voucher: best.voucher, signature: best.signature };
    let channel = state_of(payee.view());
    Some(HeldVoucher { payer: payee.terms().payer, signed, channel, job_over: false, heard_at: None })
}

fn policy() -> ClaimPolicy {
    ClaimPolicy { min_value: Amount::from_u64(2 * TENTH as u64 * 10), ..ClaimPolicy::default() }
}
