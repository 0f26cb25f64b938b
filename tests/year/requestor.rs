//! Requestors: they earmark, order, decide, pay, and take back what is left.

use crate::{
    chain::CALM,
    provider::answer_of,
    world::{DAY, Doing, Event, FUNDS, HOUR, Habit, MARGIN, Manner, Running, Stored, TENTH, TIMING, World, read_back},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};
use symbolon_channel::{Effect, Effects, Order, Payer, PayerInput, Reason, SignedVoucher};
use symbolon_primitives::{
    Address, Amount, ContentRef, Lane, Leaf, Level, Limits, OrderDigest, ProfileId, Royalty, Salt, Signature,
    SignedOrder, Signer, Timestamp, Work, Workunit,
};
use symbolon_quorum::{Message, OrderTerms, Verdict, VerdictEvent, VerdictInput};
use symbolon_settlement::ops::{self, LaneEarmarks, tag};

const FLAT: u128 = TENTH;
/// Of a Gfuel.
const RATE: u128 = 10 * TENTH;
/// Until when a channel is opened or extended.
const OPENED_FOR: u64 = 20 * DAY;

fn amount(base: u128) -> Amount {
    Amount::new(base).unwrap()
}

impl World {
    fn requestor_is_up(&self, index: usize) -> bool {
        self.now >= self.requestors[index].actor.down_until
    }

    /// Gives one order to replicas whose channels are free.
    pub(crate) fn job(&mut self, index: usize) {
        let again = DAY / 2 + self.dice.below((2 * self.size.pause - 1) * DAY);
        if self.is_busy() {
            self.at(again, Event::Job(index));
        }
        if !self.is_busy() || !self.requestor_is_up(index) {
            return;
        }
        let hostile = self.requestors[index].manner == Manner::Hostile;
        let max_fuel = self.dice.pick(&[1, 500_000_000, 1_000_000_000, 2_000_000_000]);
        let most = amount(FLAT + RATE * u128::from(max_fuel).div_ceil(1_000_000_000));
        let quorum = if self.dice.chance(100) { 3 } else { 2 };
        let members = usize::from(quorum) * 2 - 1;
        let clock = self.requestors[index].actor.clock(self.now);
        let settle_by = clock.plus_secs(6 * HOUR);
        let mut leaves: Vec<Leaf> = Vec::new();
        // One royalty for an order: that of the job's module.
        let royalty = if self.dice.chance(200) { self.lane_with(0, 0).royalty().unwrap() } else { Royalty::NONE };
        let requestor = &self.requestors[index];
        for partner in &requestor.partners {
            let provider = self.providers[*partner].actor.me();
            let lane = royalty.lane(0);
            let Some(payer) = requestor.channels.get(&(provider, lane)) else { continue };
            let fits = payer.open().is_none()
                && payer.room() >= most
                && payer.view().expiry >= settle_by.plus_secs(MARGIN)
                && !requestor.ending.contains(&(provider, lane))
                && leaves.len() < members
                && leaves.iter().all(|leaf| leaf.provider != provider);
            if fits {
                let (owed, epoch) = (payer.owed(), payer.view().epoch);
                let (flat, rate) = (amount(FLAT), amount(RATE));
                leaves.push(Leaf { provider, owed, flat, rate, epoch, lane_number: 0 });
            }
        }
        if leaves.len() < members {
            return self.note("jobs that had to wait for channels");
        }
        if hostile && self.dice.chance(50) {
            // Below what is owed: an honest member refuses.
            leaves.iter_mut().for_each(|leaf| leaf.owed = leaf.owed.saturating_sub(amount(1)));
            self.note("orders that owe too little");
        }
        leaves.sort_by_key(|leaf| leaf.provider);
        let mut reserves = 0_u8;
        while reserves.count_ones() < u32::from(quorum) - 1 {
            reserves |= 1 << self.dice.below(members as u64);
        }
        let unit = Workunit {
            module: ContentRef::from_bytes([1; 32]),
            args: vec!["program".into()],
            env: vec![],
            inputs: vec![],
            level: Level::Command,
            limits: Limits::default(),
            max_fuel,
            seed: self.dice.bytes(),
        };
        let work = Work {
            agreements: vec![Default::default(); members],
            profile: ProfileId::from_bytes([9; 32]),
            workunits: vec![unit],
            commit_by: clock.plus_secs(600),
            reserve_by: clock.plus_secs(1_800),
            keep_until: settle_by,
            reserves,
            members: Default::default(),
            salt: Salt::from_bytes(self.dice.bytes()),
        };
        let domain = self.chain.domain();
        let key = self.requestors[index].actor.key.clone();
        let signed = Rc::new(SignedOrder::sign(&key, &domain, work, leaves, royalty, quorum, settle_by));
        let digest = signed.digest(&domain);
        let mut taken = Vec::new();
        for leaf in &signed.leaves {
            let id = (leaf.provider, royalty.lane(0));
            let mut payer = self.requestors[index].channels[&id].clone();
            let order = Order { digest, leaf: *leaf, max_fuel, settle_by };
            match payer.handle(&key, PayerInput::Issue(order), clock) {
                Ok(_) => taken.push((id, payer)),
                // Its own machine refuses an order that owes too little: a hostile payer has another one.
                Err(rejected) => assert!(hostile, "{rejected}"),
            }
        }
        // The order and its channels are one write: it leaves only when that is durable.
        if self.store(false, index, true) != Stored::Yes {
            return;
        }
        let requestor = &mut self.requestors[index];
        requestor.channels.extend(taken);
        let terms = OrderTerms::new(&signed, domain, key.address(), TIMING).unwrap();
        let running = Running {
            signed: Rc::clone(&signed),
            verdict: Verdict::new(terms),
            truth: answer_of(digest, max_fuel),
            unconfirmed: BTreeMap::new(),
            agreed: BTreeSet::new(),
            settled: BTreeSet::new(),
            undecided: false,
            mute: hostile && self.dice.chance(100),
        };
        let mute = running.mute;
        requestor.orders.insert(digest, running);
        requestor.jobs += 1;
        self.note("orders issued");
        if mute {
            self.note("cheats: silence from the order on");
        }
        if hostile && self.dice.chance(50) {
            // Before the order itself, and in its place if anybody took it.
            let mut forged = SignedOrder::clone(&signed);
            forged.signature = Signature::from_bytes([0; 64]);
            let forged = Rc::new(forged);
            for leaf in &signed.leaves {
                let to = self.provider_of[&leaf.provider];
                self.at(0, Event::Order { to, order: digest, signed: Rc::clone(&forged) });
            }
        }
        for leaf in &signed.leaves {
            let to = self.provider_of[&leaf.provider];
            for after in [1, 40, 120, 300] {
                // Said again until it is answered; a repetition is nothing new.
                self.at(after, Event::Order { to, order: digest, signed: Rc::clone(&signed) });
            }
        }
        self.feed_verdict(index, digest, VerdictInput::Timer);
    }

    pub(crate) fn verdict_timer(&mut self, requestor: usize, order: OrderDigest) {
        self.feed_verdict(requestor, order, VerdictInput::Timer);
    }

    /// A message about an order: to its payer, or to a member.
    pub(crate) fn receive(&mut self, from: Address, to: Address, order: OrderDigest, message: &Message) {
        if let Some(index) = self.requestor_of.get(&to).copied() {
            if self.requestor_is_up(index) {
                let clock = self.requestors[index].actor.clock(self.now);
                self.judge(to, clock, order, message);
            }
            return self.feed_verdict(index, order, VerdictInput::Received { from, message: message.clone() });
        }
        let Some(index) = self.provider_of.get(&to).copied() else { return };
        if self.now >= self.providers[index].actor.down_until {
            let clock = self.providers[index].actor.clock(self.now);
            self.judge(to, clock, order, message);
        }
        if self.providers[index].habit == Habit::Copier
            && let Message::Answer { answer, .. } = message
        {
            self.copy(index, order, from, answer);
        }
        let unknown = !self.providers[index].orders.contains_key(&order);
        if unknown && let Message::Call { .. } = message {
            // A call brings the whole order along.
            let signed = self.requestors.iter().find_map(|r| r.orders.get(&order)).map(|r| Rc::clone(&r.signed));
            if let Some(signed) = signed {
                self.take_order(index, order, &signed);
            }
        }
        let input = symbolon_quorum::ReplicaInput::Received { from, message: message.clone() };
        self.feed_replica(index, order, input);
    }

    pub(crate) fn feed_verdict(&mut self, index: usize, order: OrderDigest, input: VerdictInput) {
        if !self.requestor_is_up(index) {
            return;
        }
        let clock = self.requestors[index].actor.clock(self.now);
        let Some(running) = self.requestors[index].orders.get(&order).filter(|running| !running.mute) else { return };
        let mut next = running.verdict.clone();
        let Ok(effects) = next.handle(input, clock) else { return self.note("inputs a payer refused") };
        let changed = effects.iter().any(|effect| matches!(effect, symbolon_quorum::Effect::Persist));
        let stored = self.store(false, index, changed);
        if stored == Stored::No {
            return;
        }
        if let Some(running) = self.requestors[index].orders.get_mut(&order) {
            running.verdict = next;
        }
        if stored == Stored::AndDied {
            return;
        }
        let me = self.requestors[index].actor.me();
        for effect in effects {
            match effect {
                symbolon_quorum::Effect::Persist => {}
                symbolon_quorum::Effect::SetTimer { at } => {
                    let after = at.0.saturating_sub(clock.0);
                    self.at(after, Event::VerdictTimer { requestor: index, order });
                }
                symbolon_quorum::Effect::Send { to, message } => {
                    self.mail(Event::Quorum { from: me, to, order, message: Rc::new(message) });
                }
                symbolon_quorum::Effect::Emit(event) => self.verdict_says(index, order, event),
            }
        }
    }

    fn verdict_says(&mut self, index: usize, order: OrderDigest, event: VerdictEvent) {
        let me = self.requestors[index].actor.me();
        match event {
            VerdictEvent::Agreed { leaf, fuel, .. } => self.agreed(index, order, &leaf, fuel),
            VerdictEvent::Decided { results_root, fuel } => {
                let Some(running) = self.requestors[index].orders.get(&order) else { return };
                let won = running.truth == (results_root, fuel);
                assert!(won || !self.is_sound(&running.signed), "V3: fewer hostile members than a quorum win");
                let truth = if won { "orders decided" } else { "orders decided by as many hostile as a quorum" };
                let reserves: Vec<Address> = running
                    .signed
                    .leaves
                    .iter()
                    .enumerate()
                    .filter(|(place, _)| running.signed.is_reserve(*place))
                    .map(|(_, leaf)| leaf.provider)
                    .collect();
                self.note(truth);
                if self.requestors[index].manner == Manner::Hostile && self.dice.chance(200) {
                    return self.note("cheats: idle reserves are left waiting");
                }
                for reserve in reserves {
                    let to = self.provider_of[&reserve];
                    self.mail(Event::AskGiveUp { to, payer: me, order });
                }
            }
            VerdictEvent::Undecided => {
                self.note("orders undecided");
                if let Some(running) = self.requestors[index].orders.get_mut(&order) {
                    running.undecided = true;
                }
            }
            VerdictEvent::Dissented(_) => self.note("dissents"),
            VerdictEvent::Missing(_) => self.note("replicas missing"),
            VerdictEvent::ReserveCalled(_) => self.note("reserves called"),
            VerdictEvent::Conflicted(_) => self.note("second commits seen"),
            VerdictEvent::Equivocated(evidence) => {
                // Whoever sees it first shows the court; here a member that is not accused itself.
                let other = (0..self.size.providers).find(|other| self.providers[*other].habit == Habit::Honest);
                self.accuse(other.unwrap(), &evidence);
            }
        }
    }

    fn agreed(&mut self, index: usize, order: OrderDigest, leaf: &Leaf, fuel: u64) {
        let Some(running) = self.requestors[index].orders.get_mut(&order) else { return };
        let signed = Rc::clone(&running.signed);
        let lane = running.signed.order.royalty.lane(leaf.lane_number);
        let first = running.agreed.insert(leaf.provider) && !running.settled.contains(&leaf.provider);
        let me = self.requestors[index].actor.me();
        self.check_paid(&signed, Some(me), leaf.provider);
        if first {
            let earned = leaf.price(fuel).unwrap().get();
            *self.requestors[index].due.entry(leaf.provider).or_default() += earned;
        }
        if self.requestors[index].manner == Manner::Hostile && self.dice.chance(600) {
            return self.cheat(index, order, leaf, lane, fuel);
        }
        if let Some(effects) = self.feed_payer(index, (leaf.provider, lane), PayerInput::Agreed { order, fuel }) {
            self.send_vouchers(index, leaf.provider, &effects);
        }
    }

    fn send_vouchers(&mut self, index: usize, provider: Address, effects: &Effects) {
        for effect in effects {
            let Effect::SendVoucher { order, signed } = effect else { continue };
            if let Some(running) = self.requestors[index].orders.get_mut(order) {
                running.unconfirmed.insert(provider, *signed);
            }
            let to = self.provider_of[&provider];
            self.mail(Event::Voucher { to, order: *order, signed: *signed });
        }
    }

    pub(crate) fn feed_payer(&mut self, index: usize, id: (Address, Lane), input: PayerInput) -> Option<Effects> {
        let requestor = &self.requestors[index];
        let (key, clock, hostile) =
            (requestor.actor.key.clone(), requestor.actor.clock(self.now), requestor.manner == Manner::Hostile);
        let mut next = requestor.channels.get(&id)?.clone();
        let effects = match next.handle(&key, input, clock) {
            Ok(effects) => effects,
            Err(rejected) => {
                if matches!(rejected.reason, Reason::Stale { .. }) {
                    self.note("stale readings");
                }
                let harmless = matches!(rejected.reason, Reason::Stale { .. } | Reason::NotOpen(_));
                assert!(harmless || hostile || next.halted().is_none(), "{rejected}");
                return None;
            }
        };
        if let Some(conflict) = next.halted() {
            // Only who signs behind its machine's back sees what cannot be.
            assert!(hostile, "an honest payer stopped: {conflict}");
            next.handle(&key, PayerInput::Overruled, clock).unwrap();
        }
        match self.store(false, index, effects.contains(&Effect::Persist)) {
            Stored::No => None,
            Stored::AndDied => {
                self.requestors[index].channels.insert(id, next);
                None
            }
            Stored::Yes => {
                self.requestors[index].channels.insert(id, next);
                Some(effects)
            }
        }
    }

    pub(crate) fn gave_up(&mut self, to: usize, by: Address, order: OrderDigest) {
        if !self.requestor_is_up(to) {
            return;
        }
        let Some(running) = self.requestors[to].orders.get(&order) else { return };
        let lane = running.signed.order.royalty.lane(0);
        if self.feed_payer(to, (by, lane), PayerInput::GaveUp { order }).is_some() {
            self.note("orders given up");
        }
        self.feed_verdict(to, order, VerdictInput::GaveUp(by));
    }

    pub(crate) fn consented(&mut self, to: usize, by: Address, lane: Lane, epoch: u32, signature: Signature) {
        if !self.requestor_is_up(to) {
            return;
        }
        if self.requestors[to].manner == Manner::Hostile && self.dice.chance(200) {
            return self.note("cheats: a release it asked for and does not make");
        }
        let input = PayerInput::Consented { epoch, signature };
        let Some(effects) = self.feed_payer(to, (by, lane), input) else { return };
        let me = self.requestors[to].actor.me();
        for effect in effects {
            if let Effect::Release { signature, .. } = effect {
                let rows = [(by, Some(signature))];
                let intent = ops::release(self.chain.domain().vault, me, lane, &rows, tag(&[b"release"]));
                self.submit(false, to, &intent, CALM * 100);
                self.note("releases with consent");
            }
        }
    }

    /// Reads its channels, pays again what was not confirmed, earmarks and releases.
    pub(crate) fn requestor_looks(&mut self, index: usize) {
        if !self.requestor_is_up(index) || self.now < self.requestors[index].actor.blind_until {
            return;
        }
        let me = self.requestors[index].actor.me();
        let ids: Vec<(Address, Lane)> = self.requestors[index].channels.keys().copied().collect();
        for (provider, lane) in ids {
            let view = self.view(&self.requestors[index].actor, (me, provider, lane));
            let before = self.requestors[index].channels[&(provider, lane)].view().epoch;
            self.feed_payer(index, (provider, lane), PayerInput::Seen(view));
            self.feed_payer(index, (provider, lane), PayerInput::Timer);
            // Not the reading: it may not have been stored.
            if self.requestors[index].channels[&(provider, lane)].view().epoch > before {
                self.requestors[index].ending.remove(&(provider, lane));
            }
        }
        let again: Vec<(OrderDigest, Address, SignedVoucher)> = self.requestors[index]
            .orders
            .iter()
            .flat_map(|(order, running)| running.unconfirmed.iter().map(|(to, signed)| (*order, *to, *signed)))
            .collect();
        for (order, provider, signed) in again {
            self.note("vouchers said again");
            let to = self.provider_of[&provider];
            self.mail(Event::Voucher { to, order, signed });
        }
        if self.now < self.requestors[index].next_tx {
            return;
        }
        self.requestors[index].next_tx = self.now + 2 * HOUR;
        self.release(index, me);
        if self.is_busy() {
            self.earmark(index, me);
        }
    }

    fn release(&mut self, index: usize, me: Address) {
        let channels: Vec<((Address, Lane), symbolon_channel::View, bool)> = self.requestors[index]
            .channels
            .iter()
            .map(|(id, payer)| (*id, *payer.view(), payer.open().is_none()))
            .collect();
        let vault = self.chain.domain().vault;
        for ((provider, lane), view, idle) in channels {
            if view.is_empty() || view.allocated == view.claimed {
                continue;
            }
            let to = self.provider_of[&provider];
            if self.now >= view.expiry.0 {
                // From the expiry on nobody has to agree. A hostile owner comes at once, and so do we.
                let intent = ops::release(vault, me, lane, &[(provider, None)], tag(&[b"expired"]));
                self.submit(false, index, &intent, CALM * 100);
                self.note("releases after the expiry");
            } else if idle && (self.dice.chance(10) || !self.is_busy()) {
                self.requestors[index].ending.insert((provider, lane));
                self.mail(Event::AskRelease { to, payer: me, lane, epoch: view.epoch });
                self.note("releases asked for");
            } else if self.dice.chance(3) {
                // Left to run out.
                self.requestors[index].ending.insert((provider, lane));
            }
        }
    }

    fn earmark(&mut self, index: usize, me: Address) {
        let (now, expiry) = (self.now, Timestamp(self.now + OPENED_FOR));
        let mut lanes: BTreeMap<Lane, Vec<(Address, Amount)>> = BTreeMap::new();
        for partner in self.requestors[index].partners.clone() {
            let provider = self.providers[partner].actor.me();
            for royalty in [Royalty::NONE, self.lane_with(0, 0).royalty().unwrap()] {
                let lane = royalty.lane(0);
                let terms = self.terms(me, provider, lane);
                let requestor = &mut self.requestors[index];
                let payer = requestor.channels.entry((provider, lane)).or_insert_with(|| Payer::new(terms));
                let view = payer.view();
                let short = payer.missing(amount(40 * TENTH));
                let soon = view.expiry.0 < now + 4 * DAY;
                let ending = requestor.ending.contains(&(provider, lane));
                let lanes_of = lanes.entry(lane).or_default();
                if !ending && (!short.is_zero() || soon) && lanes_of.iter().all(|(other, _)| *other != provider) {
                    lanes_of.push((provider, short.max(amount(TENTH))));
                }
            }
        }
        let lanes: Vec<LaneEarmarks> = lanes
            .into_iter()
            .filter(|(_, amounts)| !amounts.is_empty())
            .map(|(lane, amounts)| LaneEarmarks { lane, amounts })
            .collect();
        if !lanes.is_empty() {
            let intent = ops::open(self.chain.domain().vault, me, expiry, &lanes, tag(&[b"open"]));
            self.submit(false, index, &intent, self.chain.fee * 2);
            self.note("earmarks");
        }
    }

    pub(crate) fn return_from(&mut self, provider: bool, index: usize) {
        let now = self.now;
        if now < self.actor(provider, index).down_until {
            return;
        }
        self.note("processes started again");
        if provider {
            return self.provider_returns(index);
        }
        let requestor = &mut self.requestors[index];
        for payer in requestor.channels.values_mut() {
            *payer = read_back(payer);
        }
        let mut open = Vec::new();
        for (order, running) in &mut requestor.orders {
            running.verdict = read_back(&running.verdict);
            open.push(*order);
        }
        for order in open {
            self.feed_verdict(index, order, VerdictInput::Resume);
        }
        let ids: Vec<(Address, Lane)> = self.requestors[index].channels.keys().copied().collect();
        for (provider, lane) in ids {
            if let Some(effects) = self.feed_payer(index, (provider, lane), PayerInput::Resume) {
                self.send_vouchers(index, provider, &effects);
            }
        }
    }

    /// N7: an order that is long over ended: paid, refunded, or its provider slashed.
    pub(crate) fn end_old_orders(&mut self) {
        for index in 0..self.requestors.len() {
            let over: Vec<OrderDigest> = self.requestors[index]
                .orders
                .iter()
                .filter(|(_, running)| self.now > running.signed.order.settle_by.0 + 35 * DAY)
                .map(|(order, _)| *order)
                .collect();
            for order in over {
                let Some(running) = self.requestors[index].orders.remove(&order) else { continue };
                self.end(index, order, &running);
            }
        }
    }

    fn end(&mut self, index: usize, order: OrderDigest, running: &Running) {
        let payer = self.requestors[index].actor.me();
        let lane = running.signed.order.royalty.lane(0);
        for leaf in &running.signed.leaves {
            let open = self.requestors[index].channels[&(leaf.provider, lane)].open_order();
            assert_ne!(open, Some(order), "N7: an order is open long after its settle-by");
            let provider = self.provider_of[&leaf.provider];
            let doing = self.providers[provider].orders.remove(&order);
            self.providers[provider].done.insert(order);
            let Some(doing) = doing else { continue };
            let honest = self.providers[provider].habit == Habit::Honest;
            if let Some(stood) = doing.assembled_at.filter(|_| honest) {
                self.check_collected(provider, &doing, leaf, stood);
            }
            let agreed = running.agreed.contains(&leaf.provider) && honest;
            if agreed && self.requestors[index].manner == Manner::Honest {
                let payee = &self.providers[provider].channels[&(payer, lane)];
                let total = leaf.total(running.truth.1).unwrap();
                let secured = payee.view().epoch > leaf.epoch || payee.secured() >= total;
                assert!(
                    doing.paid && secured,
                    "N7: {order} agreed, and never paid: {total} of {leaf:?}, done {:?}, secured {} of {:?}, the payer \
                     owes {} and promised {}, {:?} days late",
                    doing.paid,
                    payee.secured(),
                    payee.view(),
                    self.requestors[index].channels[&(leaf.provider, lane)].owed(),
                    self.requestors[index].channels[&(leaf.provider, lane)].promised(),
                    (self.now - running.signed.order.settle_by.0) / DAY,
                );
                self.note("agreed orders that ended paid");
            }
        }
        self.late.remove(&order);
        let fact = match (running.agreed.is_empty(), running.undecided) {
            (false, _) => "orders that ended paid",
            (true, true) => "orders that ended refunded",
            (true, false) => "orders that ended with nobody to pay",
        };
        self.note(fact);
    }

    /// L11: what a quorum stood behind is collected before its settle-by, whatever the payer did, by whoever had time.
    fn check_collected(&mut self, provider: usize, doing: &Doing, leaf: &Leaf, stood: u64) {
        let settle_by = doing.signed.order.settle_by.0;
        // Silence, everybody else's turn, and twice a transaction that a reorganisation drops.
        let needs = TIMING.silence_secs + 8 * TIMING.spacing_secs + 3 * HOUR;
        if self.providers[provider].actor.at_ease(stood, settle_by) < needs {
            return self.note("quorums whose members were in trouble until the end");
        }
        let payee = &self.providers[provider].channels[&doing.channel];
        assert!(doing.paid || payee.view().epoch > leaf.epoch, "L11: a quorum stood and was not collected");
        self.note("quorums collected in time");
    }

    /// What the year comes to.
    pub(crate) fn check_end(&mut self) {
        self.chain.check_sums();
        let head = self.chain.head();
        let mut claimed: BTreeMap<(Address, Address), u128> = BTreeMap::new();
        for ((payer, payee, _), channel) in head.state.channels.iter() {
            *claimed.entry((*payer, *payee)).or_default() += channel.claimed;
        }
        for requestor in self.requestors.iter().filter(|requestor| requestor.manner == Manner::Honest) {
            for ((payer, payee), claimed) in claimed.iter().filter(|(id, _)| id.0 == requestor.actor.me()) {
                let due = requestor.due.get(payee).copied().unwrap_or_default();
                assert!(*claimed <= due, "L6: {payer} paid {payee} {claimed}, {due} were earned");
            }
            // N8: nobody's vanishing keeps anything: what was not earned is free again, to the unit.
            let me = requestor.actor.me();
            let paid: u128 = claimed.iter().filter(|(id, _)| id.0 == me).map(|(_, claimed)| claimed).sum();
            assert_eq!(head.account(me).balance, FUNDS - paid, "N8: {me} has not got its earmarks back");
        }
        let mut slashed = 0;
        for provider in &self.providers {
            let stake = head.state.accounts.get(&provider.actor.me()).map_or(0, |account| account.stake);
            let is_slashed = stake == 0;
            assert!(!is_slashed || provider.habit == Habit::Equivocator, "V6: an honest stake is gone");
            slashed += u64::from(is_slashed);
        }
        *self.facts.entry("providers slashed").or_default() += slashed;
        self.facts.insert("tenths of a token owed at most at once", (self.worst.get() / TENTH) as u64);
        let paid: u128 = claimed.values().sum();
        *self.facts.entry("tokens paid on chain").or_default() += (paid / (10 * TENTH)) as u64;
        let chain = &self.chain;
        for (fact, count) in [
            ("transactions mined", chain.mined),
            ("transactions reverted", chain.reverted),
            ("transactions dropped by reorganisations", chain.dropped),
        ] {
            *self.facts.entry(fact).or_default() += count;
        }
    }
}
