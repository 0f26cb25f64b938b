//! Whole channels: an honest or a hostile payer, a network that loses, doubles
//! and reorders, a chain both ends see late and not at the same time, strangers
//! who submit whatever was ever signed, and processes that die before or after
//! the store has answered. After every step both ends are compared with what the
//! facts say (`model`). A failing seed is printed; `SYMBOLON_SEEDS` widens it.

use crate::{
    desk::{Desk, EXPIRY, MARGIN, Rng, amount, digest},
    model::Facts,
};
use std::collections::{BTreeMap, BTreeSet};
use symbolon_channel::{Effect, Effects, Order, Payee, PayeeInput, Payer, PayerInput, Rejected, SignedVoucher, View};
use symbolon_primitives::{Amount, Epoch, OrderDigest, Release, Signature, Timestamp};

#[derive(Clone, Copy, Debug)]
enum Mail {
    Order(Order),
    Attested { order: OrderDigest, fuel: u64 },
    Voucher { order: OrderDigest, signed: SignedVoucher },
    GaveUp(OrderDigest),
}

/// What a store has of one end: the last snapshot, and the best voucher with its order. As nodes do
/// it, a step that a voucher tells wholly writes no snapshot.
struct Disk<M> {
    snapshot: Vec<u8>,
    kept: Option<(SignedVoucher, Option<OrderDigest>)>,
    skipped: u64,
    end: core::marker::PhantomData<M>,
}

impl<M: serde::Serialize + serde::de::DeserializeOwned> Disk<M> {
    fn new(machine: &M) -> Self {
        let snapshot = postcard::to_allocvec(machine).unwrap();
        Self { snapshot, kept: None, skipped: 0, end: core::marker::PhantomData }
    }

    fn write(
        &mut self,
        machine: &M,
        effects: &Effects,
        order: Option<OrderDigest>,
        is_kept_by: impl Fn(&SignedVoucher) -> bool,
    ) {
        let keep = effects.iter().find_map(|effect| match effect {
            Effect::Keep(signed) => Some(*signed),
            _ => None,
        });
        if effects.contains(&Effect::Persist) {
            if keep.is_some_and(|signed| is_kept_by(&signed)) {
                self.skipped += 1;
            } else {
                self.snapshot = postcard::to_allocvec(machine).unwrap();
            }
        }
        let Some(signed) = keep else { return };
        // As the store's guard has it: only what is higher within its epoch.
        let (voucher, best) = (signed.voucher, self.kept.map(|(best, _)| best.voucher));
        if best.is_none_or(|best| best.epoch != voucher.epoch || best.cumulative < voucher.cumulative) {
            self.kept = Some((signed, order));
        }
    }

    fn read(&self, catch_up: impl Fn(&mut M, &SignedVoucher, Option<OrderDigest>)) -> M {
        let mut machine = postcard::from_bytes(&self.snapshot).unwrap();
        if let Some((signed, order)) = &self.kept {
            catch_up(&mut machine, signed, *order);
        }
        machine
    }
}

struct World {
    desk: Desk,
    payer_disk: Disk<Payer>,
    payee_disk: Disk<Payee>,
    rng: Rng,
    now: u64,
    chain: View,
    /// Earlier states of the chain, for late readers.
    history: Vec<View>,
    mail: Vec<Mail>,
    /// All that ever left the payer.
    vouchers: Vec<SignedVoucher>,
    /// Per order: epoch, owed and the attested total.
    worth: BTreeMap<OrderDigest, (Epoch, Option<Amount>)>,
    offers: BTreeMap<OrderDigest, Order>,
    fuel: BTreeMap<OrderDigest, u64>,
    paid: Vec<OrderDigest>,
    consents: Vec<(Release, Signature)>,
    number: u64,
    hostile: bool,
    settled: u64,
    crashes: u64,
    payer_facts: Facts,
    payee_facts: Facts,
    /// Names of every effect and refusal that came up.
    happened: BTreeSet<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng(seed);
        let hostile = rng.chance(50);
        let chain = View { allocated: amount(200), expiry: Timestamp(EXPIRY), ..View::default() };
        let mut desk = Desk::new();
        desk.see(chain);
        let chain = *desk.payer.view();
        let (mut payer_facts, mut payee_facts) = (Facts::default(), Facts::default());
        payer_facts.payer_did(&PayerInput::Seen(chain), &vec![], 0);
        payee_facts.payee_did(&PayeeInput::Seen(chain), &vec![], 0);
        Self {
            payer_disk: Disk::new(&desk.payer),
            payee_disk: Disk::new(&desk.payee),
            desk,
            rng,
            now: 1_000,
            chain,
            history: vec![chain],
            mail: vec![],
            vouchers: vec![],
            worth: BTreeMap::new(),
            offers: BTreeMap::new(),
            fuel: BTreeMap::new(),
            paid: vec![],
            consents: vec![],
            number: 0,
            hostile,
            settled: 0,
            crashes: 0,
            payer_facts,
            payee_facts,
            happened: BTreeSet::new(),
        }
    }

    fn note<T: core::fmt::Debug>(&mut self, what: &T) {
        let text = format!("{what:?}");
        let name = text.split([' ', '(', '{']).next().unwrap_or_default();
        if !self.happened.contains(name) {
            self.happened.insert(name.to_owned());
        }
    }

    fn note_all(&mut self, answer: &Result<Effects, Rejected>) {
        match answer {
            Ok(effects) => effects.iter().for_each(|effect| self.note(effect)),
            Err(rejected) => self.note(&rejected.reason),
        }
    }

    /// Dies before the store answered, after it, or not at all.
    fn pay(&mut self, input: PayerInput) -> Effects {
        let before = self.desk.payer.clone();
        let expected = match &input {
            PayerInput::Issue(order) if before.halted().is_none() => {
                Some(self.payer_facts.payer_issues(order, before.view(), self.now, MARGIN))
            }
            _ => None,
        };
        let answer = self.desk.pay(input, self.now);
        self.note_all(&answer);
        assert!(expected.is_none_or(|expected| expected == answer.is_ok()), "{input:?}: {answer:?}");
        let Ok(effects) = answer else { return Effects::new() };
        assert_eq!(self.desk.payer != before, effects.first() == Some(&Effect::Persist), "L3: persist comes first");
        self.same_again_payer(input);
        let crashed = self.rng.chance(5);
        self.crashes += u64::from(crashed);
        let durable = !(crashed && self.rng.chance(50));
        if durable {
            self.payer_facts.payer_did(&input, &effects, self.now);
            let order = match input {
                PayerInput::Agreed { order, .. } => Some(order),
                _ => None,
            };
            let now = &self.desk.payer;
            self.payer_disk.write(now, &effects, order, |signed| now.is_kept_by(&before, signed, order));
        } else {
            self.desk.payer = before;
        }
        let back = self.payer_disk.read(Payer::catch_up);
        assert_eq!(back, self.desk.payer, "L8");
        self.desk.payer = back;
        self.payer_facts.check_payer(&self.desk.payer);
        if crashed { Effects::new() } else { effects }
    }

    fn same_again_payer(&self, input: PayerInput) {
        let mut again = self.desk.payer.clone();
        if again.handle(&self.desk.payer_key, input, Timestamp(self.now)).is_ok() {
            assert_eq!(again, self.desk.payer, "L7: {input:?}");
        }
    }

    fn work(&mut self, input: PayeeInput) -> Option<Effects> {
        let before = self.desk.payee.clone();
        let expected = self.payee_facts.payee_takes(&input, before.view(), self.now, MARGIN);
        let answer = self.desk.work(input, self.now);
        self.note_all(&answer);
        assert!(expected.is_none_or(|expected| expected == answer.is_ok()), "{input:?}: {answer:?}");
        let effects = answer.ok()?;
        assert_eq!(self.desk.payee != before, effects.first() == Some(&Effect::Persist), "L3: persist comes first");
        let mut again = self.desk.payee.clone();
        if again.handle(&self.desk.payee_key, input, Timestamp(self.now)).is_ok() {
            assert_eq!(again, self.desk.payee, "L7: {input:?}");
        }
        if before.view().epoch == self.desk.payee.view().epoch {
            let of =
                |payee: &symbolon_channel::Payee| payee.best().map_or(Amount::ZERO, |best| best.voucher.cumulative);
            assert!(of(&before) <= of(&self.desk.payee), "L2: no accepted voucher is lost");
        }
        let crashed = self.rng.chance(5);
        self.crashes += u64::from(crashed);
        let durable = !(crashed && self.rng.chance(50));
        if durable {
            self.payee_facts.payee_did(&input, &effects, self.now);
            let now = &self.desk.payee;
            self.payee_disk.write(now, &effects, None, |signed| now.is_kept_by(&before, signed));
        } else {
            self.desk.payee = before;
        }
        let back = self.payee_disk.read(|payee, signed, _| payee.catch_up(signed));
        assert_eq!(back, self.desk.payee, "L8");
        self.desk.payee = back;
        self.payee_facts.check_payee(&self.desk.payee);
        if crashed {
            return None;
        }
        for effect in &effects {
            match effect {
                Effect::Paid { order } => {
                    let (epoch, total) = self.worth[order];
                    let total = total.expect("paid without a signed result");
                    let held = self.desk.payee.best().map_or(Amount::ZERO, |best| best.voucher.cumulative);
                    let view = self.desk.payee.view();
                    let secured = held.min(view.allocated).max(view.claimed);
                    assert!(epoch < view.epoch || secured >= total, "L4: {order} is paid for nothing");
                    self.paid.push(*order);
                }
                Effect::Consent { release, signature } => {
                    for (epoch, total) in self.worth.values() {
                        let total = total.unwrap_or_default();
                        assert!(*epoch != release.epoch || self.chain.claimed >= total, "SYM-04: money is given away");
                    }
                    self.consents.push((*release, *signature));
                }
                _ => {}
            }
        }
        Some(effects)
    }

    fn change(&mut self, chain: View) {
        assert!(chain.claimed >= self.chain.claimed && chain.claimed <= chain.allocated);
        self.chain = View { block: self.chain.block + 1, ..chain };
        self.history.push(self.chain);
    }

    /// A reading at some depth, now and then one that comes late.
    fn reading(&mut self, seen: View) -> View {
        let from = self.history.iter().position(|view| view.block == seen.block).unwrap_or_default();
        let from = if self.rng.chance(10) { 0 } else { from };
        self.history[from + self.rng.below((self.history.len() - from) as u64) as usize]
    }

    fn step(&mut self) {
        self.now += self.rng.below(40);
        // A hostile payer's own machine sees claims that it never signed for, and is told to go on.
        if self.desk.payer.halted().is_some() {
            assert!(self.hostile, "an honest payer never sees what cannot be");
            self.pay(PayerInput::Overruled);
        }
        match self.rng.below(14) {
            0 | 1 => self.order(),
            2 => {
                let view = self.reading(*self.desk.payer.view());
                self.pay(PayerInput::Seen(view));
            }
            3 => {
                let view = self.reading(*self.desk.payee.view());
                self.work(PayeeInput::Seen(view));
            }
            4 => self.strangers(),
            5 => {
                let more = [0, 1, 50, 200][self.rng.below(4) as usize];
                let allocated = self.chain.allocated.checked_add(amount(more)).unwrap();
                self.change(View { allocated, ..self.chain });
            }
            6 => {
                self.pay(PayerInput::Timer);
                self.work(PayeeInput::Timer);
            }
            7 => self.end_epoch(),
            8 if self.hostile => self.hostile_voucher(),
            9 => self.settle(),
            10 if self.rng.chance(30) => {
                if let Some(order) = self.desk.payee.open_order()
                    && self.work(PayeeInput::GiveUp { order }).is_some()
                {
                    self.mail.push(Mail::GaveUp(order));
                }
            }
            _ => self.deliver(),
        }
    }

    fn order(&mut self) {
        let room = self.desk.payer.room().get() as u64;
        let max_fuel = [0, 1, 30, 100, room.saturating_sub(1), room, room + 1][self.rng.below(7) as usize];
        let leaf = self.desk.leaf(0, self.desk.payer.view().epoch);
        let leaf = symbolon_primitives::Leaf { owed: self.desk.payer.owed(), ..leaf };
        self.number += 1;
        let settle_by = Timestamp(self.now + 10 + self.rng.below(400));
        let order = Order { digest: digest(self.number), leaf, max_fuel, settle_by };
        if self.pay(PayerInput::Issue(order)).contains(&Effect::Persist) {
            self.offers.insert(order.digest, order);
            self.mail.push(Mail::Order(order));
        }
    }

    fn deliver(&mut self) {
        if self.mail.is_empty() {
            return;
        }
        let index = self.rng.below(self.mail.len() as u64) as usize;
        // Stays in the bag half of the time: comes again, or much later.
        let mail = if self.rng.chance(50) { self.mail[index] } else { self.mail.swap_remove(index) };
        match mail {
            Mail::Order(offer) => {
                // The node takes no order twice.
                if self.worth.contains_key(&offer.digest) {
                    return;
                }
                self.work(PayeeInput::Offered(offer));
                if self.desk.payee.open_order() == Some(offer.digest) {
                    self.worth.insert(offer.digest, (offer.leaf.epoch, None));
                }
                self.attest(offer);
            }
            Mail::Attested { order, fuel } => {
                // A hostile payer keeps its money, or pays at will.
                if self.hostile && self.rng.chance(50) {
                    return;
                }
                for effect in self.pay(PayerInput::Agreed { order, fuel }) {
                    if let Effect::SendVoucher { order, signed } = effect {
                        self.sign(order, signed);
                    }
                }
            }
            Mail::Voucher { order, signed } => {
                self.work(PayeeInput::Voucher { order, signed });
            }
            Mail::GaveUp(order) => {
                self.pay(PayerInput::GaveUp { order });
            }
        }
    }

    fn attest(&mut self, offer: Order) {
        if self.desk.payee.open_order() != Some(offer.digest) || self.rng.chance(20) {
            return;
        }
        let fuel = *self.fuel.entry(offer.digest).or_insert(if self.rng.chance(50) {
            offer.max_fuel
        } else {
            offer.max_fuel / 2
        });
        let total = offer.leaf.total(fuel).unwrap();
        // The Result leaves only once the store has answered.
        self.until(|world| world.work(PayeeInput::Attest { order: offer.digest, fuel }).is_some());
        self.worth.insert(offer.digest, (offer.leaf.epoch, Some(total)));
        self.mail.push(Mail::Attested { order: offer.digest, fuel });
    }

    fn sign(&mut self, order: OrderDigest, signed: SignedVoucher) {
        let voucher = signed.voucher;
        assert_eq!(signed.signature.check(&voucher.digest(&self.desk.terms.domain), self.desk.terms.payer), Ok(()));
        for before in self.vouchers.iter().filter(|before| before.voucher.epoch == voucher.epoch) {
            let repeated = before.voucher.cumulative == voucher.cumulative;
            assert!(!repeated || *before == signed, "one total, one signature");
        }
        if voucher.epoch == self.chain.epoch {
            assert!(voucher.cumulative <= self.chain.allocated, "L1: above the earmark");
        }
        let last = self.vouchers.iter().rev().find(|before| before.voucher.epoch == voucher.epoch);
        if !self.hostile {
            assert!(last.is_none_or(|last| last.voucher.cumulative <= voucher.cumulative), "L2: a total fell");
        }
        self.vouchers.push(signed);
        self.mail.push(Mail::Voucher { order, signed });
    }

    fn hostile_voucher(&mut self) {
        let best = self.desk.payee.best().map_or(0, |best| best.voucher.cumulative.get() as u64);
        let edge = self.desk.payee.view().allocated.get() as u64;
        let totals = [0, 1, best.saturating_sub(1), best, best + 1, edge.saturating_sub(1), edge, edge + 1, u64::MAX];
        let total = amount(totals[self.rng.below(9) as usize]);
        let epoch = self.desk.payee.view().epoch + u32::from(self.rng.chance(20));
        let signed = self.desk.voucher(total, epoch);
        let order = digest(self.rng.below(self.number + 2));
        self.vouchers.push(signed);
        self.mail.push(Mail::Voucher { order, signed });
    }

    /// Anybody submits anything that was ever signed.
    fn strangers(&mut self) {
        if let Some(best) = self.desk.payee.best() {
            let best = best.voucher;
            self.change(self.chain.after(best.epoch, best.cumulative));
        }
        if !self.vouchers.is_empty() {
            let any = self.vouchers[self.rng.below(self.vouchers.len() as u64) as usize].voucher;
            self.change(self.chain.after(any.epoch, any.cumulative));
        }
    }

    /// The members settle an attested order by quorum.
    fn settle(&mut self) {
        let open = self.worth.iter().find(|(order, (_, total))| total.is_some() && !self.paid.contains(order));
        let Some((order, (epoch, Some(total)))) = open.map(|(order, worth)| (*order, *worth)) else { return };
        if Timestamp(self.now) > self.offers[&order].settle_by || epoch != self.chain.epoch {
            return;
        }
        self.change(self.chain.after(epoch, total));
        self.settled += 1;
        let chain = self.chain;
        self.work(PayeeInput::Seen(chain));
        // The event may come before the look that shows it.
        if self.rng.chance(70) {
            let fuel = self.fuel[&order];
            self.pay(PayerInput::Settled { order, fuel });
            self.pay(PayerInput::Seen(chain));
            self.pay(PayerInput::Settled { order, fuel });
        }
    }

    /// With the payee's consent, or not at all before the expiry.
    fn end_epoch(&mut self) {
        let epoch = self.chain.epoch;
        self.work(PayeeInput::ReleaseAsked { epoch });
        let consent = self.consents.iter().find(|(release, _)| release.epoch == epoch).copied();
        let Some((_, signature)) = consent.filter(|_| self.rng.chance(50)) else { return };
        if self.pay(PayerInput::Consented { epoch, signature }).is_empty() {
            return;
        }
        let block = self.chain.block + 1;
        self.chain = View { allocated: self.chain.claimed, epoch: epoch + 1, block, ..self.chain };
        self.history.push(self.chain);
    }

    /// Everybody hears everything, in time.
    fn finish(&mut self) {
        for _ in 0..4 {
            let chain = self.chain;
            self.until(|world| {
                world.pay(PayerInput::Seen(chain));
                world.pay(PayerInput::Overruled);
                *world.desk.payer.view() == chain
            });
            self.until(|world| {
                world.work(PayeeInput::Seen(chain));
                *world.desk.payee.view() == chain
            });
            for mail in self.mail.clone() {
                if let Mail::Attested { order, fuel } = mail {
                    for effect in self.pay(PayerInput::Agreed { order, fuel }) {
                        if let Effect::SendVoucher { order, signed } = effect {
                            self.sign(order, signed);
                        }
                    }
                }
            }
            for mail in self.mail.clone() {
                if let Mail::Voucher { order, signed } = mail {
                    self.work(PayeeInput::Voucher { order, signed });
                }
            }
        }
        self.strangers();
    }

    fn until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        for _ in 0..20 {
            if done(self) {
                return;
            }
        }
        panic!("twenty crashes in a row");
    }
}

fn seeds() -> u64 {
    std::env::var("SYMBOLON_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(300)
}

/// Prints the seed when a world panics.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::io::Write::write_all(&mut std::io::stderr(), format!("seed {}\n", self.0).as_bytes()).unwrap();
        }
    }
}

#[test]
fn sym_24_l1_l2_l3_l7_l8_a_channel_survives_loss_disorder_and_death() {
    let (mut paid, mut settled, mut crashes, mut consents, mut epochs) = (0, 0, 0, 0, 0);
    let mut skipped = [0; 2];
    let mut happened = BTreeSet::new();
    for seed in 0..seeds() {
        let _seed = Seed(seed);
        let mut world = World::new(seed);
        for _ in 0..200 {
            world.step();
        }
        world.finish();
        let view = world.desk.payee.view();
        let held = world.desk.payee.best().map_or(Amount::ZERO, |best| best.voucher.cumulative);
        assert_eq!(world.desk.payee.halted(), None, "no payee is stopped by its payer");
        assert!(world.chain.claimed >= held.min(view.allocated), "C7: what is held can be claimed");
        // Exposure counts everything attested in this epoch and not secured.
        let last = world.worth.values().filter(|(epoch, _)| *epoch == world.chain.epoch);
        let last = last.filter_map(|(_, total)| *total).max().unwrap_or_default();
        let secured = held.min(view.allocated).max(view.claimed);
        assert!(world.desk.payee.exposure() >= last.saturating_sub(secured), "L5");
        paid += world.paid.len() as u64;
        settled += world.settled;
        crashes += world.crashes;
        skipped[0] += world.payer_disk.skipped;
        skipped[1] += world.payee_disk.skipped;
        consents += world.consents.len() as u64;
        epochs += u64::from(world.chain.epoch);
        happened.extend(world.happened);
    }
    // Sometimes facts.
    assert!(paid > 0 && settled > 0 && crashes > 0 && consents > 0 && epochs > 0);
    assert!(skipped.iter().all(|skipped| *skipped > 0), "no voucher ever stood for a snapshot: {skipped:?}");
    let facts = [
        "Persist",
        "Keep",
        "SendVoucher",
        "Paid",
        "Consent",
        "Release",
        "Stale",
        "WrongEpoch",
        "EpochClosed",
        "InFlight",
        "OwedTooLow",
        "EarmarkTooSmall",
        "Late",
        "NotOpen",
        "Attested",
        "NotHigher",
        "NotClaimed",
    ];
    for fact in facts {
        assert!(happened.contains(fact), "{fact} never happened: {happened:?}");
    }
}

#[test]
fn sym_25_an_honest_payer_pays_every_order_and_the_last_voucher_carries_all() {
    let mut desk = Desk::open(5_050);
    for number in 1..=100 {
        let owed = desk.payer.owed().get() as u64;
        let order = desk.order(number, owed, number, 500);
        desk.pay(PayerInput::Issue(order), 10).unwrap();
        desk.work(PayeeInput::Offered(order), 10).unwrap();
        desk.work(PayeeInput::Attest { order: digest(number), fuel: number }, 20).unwrap();
        assert_eq!(desk.payee.exposure(), amount(number), "L5 L6: one order ahead, never more");
        let effects = desk.pay(PayerInput::Agreed { order: digest(number), fuel: number }, 30).unwrap();
        let Some(Effect::SendVoucher { order, signed }) = effects.last().copied() else { panic!() };
        let effects = desk.work(PayeeInput::Voucher { order, signed }, 40).unwrap();
        assert_eq!(effects.last(), Some(&Effect::Paid { order }));
        assert_eq!(desk.payee.exposure(), Amount::ZERO);
    }
    assert_eq!(desk.payee.claimable(), amount(5_050));
    assert_eq!(desk.payer.room(), Amount::ZERO);
}
