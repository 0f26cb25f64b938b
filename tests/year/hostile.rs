//! Who means harm: what providers say and what requestors pay, and what may come of it.

use crate::{
    chain::CALM,
    world::{Event, HOUR, Habit, World},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};
use symbolon_channel::SignedVoucher;
use symbolon_primitives::{
    Address, Amount, Commit, Lane, Leaf, Nonce, OrderDigest, ResultStatement, ResultsRoot, Royalty, Seal, Signature,
    SignedOrder, Signer, Timestamp, Voucher,
};
use symbolon_quorum::{Answer, Attestation, Message, ReplicaInput, ReplicaPhase, SignedCommit, SignedSubset};
use symbolon_settlement::ops::{self, tag};

/// Commits that were signed after their deadline, and who may take them for early enough.
pub(crate) type Late = BTreeMap<OrderDigest, BTreeMap<Address, BTreeSet<Address>>>;

/// Where a silent provider falls silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Order,
    Commit,
    Answer,
    Result,
    Voucher,
    GiveUp,
    Release,
}

impl Step {
    /// Another one for each order, and the same however often it is asked.
    pub(crate) fn of(order: OrderDigest) -> Self {
        match order.as_bytes()[1] % 6 {
            0 => Self::Order,
            1 => Self::Commit,
            2 => Self::Answer,
            3 => Self::Result,
            4 => Self::Voucher,
            _ => Self::GiveUp,
        }
    }

    pub(crate) fn fact(self) -> &'static str {
        match self {
            Self::Order => "silences: to an order",
            Self::Commit => "silences: before the commit",
            Self::Answer => "silences: before the answer",
            Self::Result => "silences: before the result",
            Self::Voucher => "silences: to a voucher",
            Self::GiveUp => "silences: to who asks for an order back",
            Self::Release => "silences: to who asks for a release",
        }
    }
}

impl World {
    /// Whether a provider says nothing now.
    pub(crate) fn falls_silent(&mut self, index: usize, step: Step, order: Option<OrderDigest>) -> bool {
        let silent = self.providers[index].habit == Habit::Silent
            && order.map_or_else(|| self.dice.chance(500), |order| Step::of(order) == step);
        if silent {
            self.note(step.fact());
        }
        silent
    }

    /// The last moment of a member's Commit.
    pub(crate) fn deadline(&self, index: usize, order: OrderDigest) -> Option<Timestamp> {
        let provider = &self.providers[index];
        let signed = &provider.orders.get(&order)?.signed;
        let (place, _) = signed.leaf_of(provider.actor.me())?;
        Some(if signed.is_reserve(place) { signed.work.reserve_by } else { signed.work.commit_by })
    }

    /// Shown an answer, a copier commits to it as if it had computed it in time.
    pub(crate) fn copy(&mut self, index: usize, order: OrderDigest, from: Address, answer: &Answer) {
        let Some(doing) = self.providers[index].orders.get(&order) else { return };
        if *doing.replica.phase() != ReplicaPhase::Computing {
            return;
        }
        let Answer { results_root, fuel, .. } = *answer;
        let nonce = Nonce::from_bytes(self.dice.bytes());
        self.note("copies");
        self.copied_from.insert((order, self.providers[index].actor.me()), from);
        self.compute(index, order, ReplicaInput::Computed { results_root, fuel, nonce }, true);
    }

    /// A Commit to nothing, to some of those who will show their answers for it.
    pub(crate) fn bait(&mut self, index: usize, order: OrderDigest) {
        let Some(doing) = self.providers[index].orders.get(&order) else { return };
        let members: Vec<Address> = doing.signed.leaves.iter().map(|leaf| leaf.provider).collect();
        let (from, domain) = (self.providers[index].actor.me(), self.chain.domain());
        let seal = Seal::from_bytes(self.dice.bytes());
        let signature = self.providers[index].actor.key.sign(&Commit { order, seal }.digest(&domain));
        let commit = SignedCommit { provider: from, seal, signature };
        for to in members.into_iter().filter(|to| *to != from) {
            if self.dice.chance(500) {
                self.mail(Event::Quorum { from, to, order, message: Rc::new(Message::Commit(commit)) });
            }
        }
        self.note("baits of copiers");
    }

    /// Feeds what a provider computed. Whoever cheats with time has set its clock back.
    pub(crate) fn compute(&mut self, index: usize, order: OrderDigest, input: ReplicaInput, set_back: bool) {
        let Some(by) = self.deadline(index, order) else { return };
        let clock = self.providers[index].actor.clock(self.now);
        let is_out = |world: &Self| {
            let doing = world.providers[index].orders.get(&order);
            doing.is_some_and(|doing| matches!(doing.replica.phase(), ReplicaPhase::Committed { .. }))
        };
        if is_out(self) {
            return;
        }
        if self.now > by.0 {
            // Before it leaves, so that nobody has judged it yet.
            self.late.entry(order).or_default().insert(self.providers[index].actor.me(), BTreeSet::new());
        }
        self.feed_replica_at(index, order, input, if set_back { clock.min(by) } else { clock });
        if self.now > by.0 {
            if is_out(self) {
                return self.note("late commits");
            }
            self.late.entry(order).or_default().remove(&self.providers[index].actor.me());
        }
    }

    /// Writes down who takes a late Commit for one in time: whose clock is behind, and a reserve, which is asked after
    /// commit-by and cannot know when an active replica's Commit was there.
    pub(crate) fn judge(&mut self, judge: Address, clock: Timestamp, order: OrderDigest, message: &Message) {
        let Some(late) = self.late.get_mut(&order) else { return };
        let commits = match message {
            Message::Commit(commit) => std::slice::from_ref(commit),
            Message::Answer { commits, .. } | Message::Call { commits } => commits,
            Message::Result(_) => return,
        };
        for commit in commits {
            let provider = self.provider_of[&commit.provider];
            let signed = self.providers[provider].orders.get(&order).map(|doing| &doing.signed);
            let Some((signed, (place, _))) = signed.and_then(|signed| Some((signed, signed.leaf_of(commit.provider)?)))
            else {
                continue;
            };
            let is_reserve = signed.leaf_of(judge).is_some_and(|(place, _)| signed.is_reserve(place));
            let by =
                if signed.is_reserve(place) || is_reserve { signed.work.reserve_by } else { signed.work.commit_by };
            if clock <= by
                && let Some(judges) = late.get_mut(&commit.provider)
            {
                judges.insert(judge);
            }
        }
    }

    /// Whether a quorum of an order's members is not hostile to it: so many the rules need.
    pub(crate) fn is_sound(&self, signed: &SignedOrder) -> bool {
        let hostile = signed.leaves.iter().filter(|leaf| self.habit_of(leaf.provider) != Habit::Honest).count();
        hostile < usize::from(signed.order.quorum)
    }

    fn habit_of(&self, provider: Address) -> Habit {
        self.providers[self.provider_of[&provider]].habit
    }

    /// Of an order's honest members, whether each could hear and speak all the time since it was issued.
    fn is_at_ease(&self, signed: &SignedOrder) -> bool {
        let issued = signed.order.settle_by.0.saturating_sub(6 * HOUR + HOUR);
        signed.leaves.iter().all(|leaf| {
            let provider = &self.providers[self.provider_of[&leaf.provider]];
            provider.habit != Habit::Honest || provider.actor.at_ease(issued, self.now) == self.now - issued
        })
    }

    /// SYM-22: who committed late is paid only where the payer's clock was behind, or so many members took it for in
    /// time that they make a quorum with it. Fewer hostile members than a quorum are never paid for lies, nor for copies
    /// of what an honest one answered while the honest ones hear each other.
    pub(crate) fn check_paid(&mut self, signed: &SignedOrder, payer: Option<Address>, provider: Address) {
        let order = signed.digest(&self.chain.domain());
        let (habit, quorum) = (self.habit_of(provider), usize::from(signed.order.quorum));
        if matches!(habit, Habit::Liar | Habit::Copier) {
            if self.is_sound(signed) {
                assert_eq!(habit, Habit::Copier, "V3: a lie is paid");
                let origin = self.copied_from.get(&(order, provider)).copied();
                if origin.is_some_and(|origin| self.habit_of(origin) != Habit::Honest) {
                    // Who computed and who did not is one party then, as if both had computed.
                    return self.note("copies paid that another hostile member gave away");
                }
                assert!(!self.is_at_ease(signed), "SYM-22: a copy is paid");
                return self.note("copies paid while honest members did not hear each other");
            }
            return self.note("payments to as many hostile members as a quorum");
        }
        let Some(judges) = self.late.get(&order).and_then(|late| late.get(&provider)) else { return };
        let members = judges.iter().filter(|judge| self.provider_of.contains_key(*judge)).count();
        let by_payer = payer.is_some_and(|payer| judges.contains(&payer));
        assert!(by_payer || members + 1 >= quorum, "SYM-22: paid for a commit that was late by every clock");
        self.note("late commits paid");
    }

    /// Says something, as its habit is.
    pub(crate) fn speak(&mut self, index: usize, habit: Habit, to: Address, order: OrderDigest, message: Message) {
        let from = self.providers[index].actor.me();
        let domain = self.chain.domain();
        match (habit, &message) {
            (Habit::Silent, _) => {
                let step = Step::of(order);
                let silent = match &message {
                    Message::Commit(_) | Message::Call { .. } => step == Step::Commit,
                    Message::Answer { .. } => matches!(step, Step::Commit | Step::Answer),
                    Message::Result(_) => matches!(step, Step::Commit | Step::Answer | Step::Result),
                };
                if silent {
                    return self.note(step.fact());
                }
            }
            (Habit::Vanisher, _) if self.dice.chance(100) => {
                let away = (1 + self.dice.below(3)) * 86_400;
                self.providers[index].actor.down_until = self.now + away;
                self.at(away, Event::Return { provider: true, index });
                return self.note("providers vanished for days");
            }
            (Habit::TwoCommits, Message::Commit(commit)) => {
                let seal = Seal::from_bytes(self.dice.bytes());
                let signature = self.providers[index].actor.key.sign(&Commit { order, seal }.digest(&domain));
                let second = SignedCommit { provider: commit.provider, seal, signature };
                self.mail(Event::Quorum { from, to, order, message: Rc::new(Message::Commit(second)) });
                self.note("second commits");
            }
            (Habit::Equivocator, Message::Result(results)) if self.dice.chance(200) => {
                let results_root = ResultsRoot::from_bytes(self.dice.bytes());
                let key = &self.providers[index].actor.key;
                let sign = |subset: &SignedSubset| {
                    let fuel = results.fuel;
                    let statement = ResultStatement { order, results_root, fuel, seals: subset.seals };
                    SignedSubset { signature: key.sign(&statement.digest(&domain)), ..*subset }
                };
                let signed = results.signed.iter().map(sign).collect();
                let other = Message::Result(Attestation { results_root, fuel: results.fuel, signed });
                self.mail(Event::Quorum { from, to, order, message: Rc::new(other) });
                self.note("second results");
            }
            (Habit::Flooder, Message::Commit(commit)) if self.dice.chance(100) => {
                for _ in 0..30 {
                    let junk = SignedCommit { seal: Seal::from_bytes(self.dice.bytes()), ..*commit };
                    self.at(1, Event::Quorum { from, to, order, message: Rc::new(Message::Commit(junk)) });
                    self.at(2, Event::Quorum { from, to, order, message: Rc::new(message.clone()) });
                }
                self.note("floods");
            }
            _ => {}
        }
        self.mail(Event::Quorum { from, to, order, message: Rc::new(message) });
    }

    /// A payment that is none, in one of many ways. The quorum collects what is due.
    pub(crate) fn cheat(&mut self, index: usize, order: OrderDigest, leaf: &Leaf, lane: Lane, fuel: u64) {
        let domain = self.chain.domain();
        let key = self.requestors[index].actor.key.clone();
        let total = leaf.total(fuel).unwrap();
        let view = *self.requestors[index].channels[&(leaf.provider, lane)].view();
        let mut voucher = Voucher { payee: leaf.provider, lane, cumulative: total, epoch: leaf.epoch };
        let (fact, forge) = match self.dice.below(9) {
            0 => ("cheats: no voucher", None),
            1 => {
                voucher.cumulative = leaf.owed;
                ("cheats: an old voucher", Some(0_u8))
            }
            2 => {
                voucher.cumulative = view.allocated.checked_add(Amount::from_u64(1)).unwrap();
                ("cheats: above the earmark", Some(0))
            }
            3 => {
                voucher.lane = Royalty::NONE.lane(99);
                ("cheats: another lane", Some(0))
            }
            4 => {
                voucher.epoch += 1;
                ("cheats: another epoch", Some(0))
            }
            5 => ("cheats: a malleated signature", Some(1)),
            6 => ("cheats: a stranger's signature", Some(2)),
            7 => {
                voucher.cumulative = total.saturating_sub(Amount::from_u64(1));
                ("cheats: one unit short", Some(0))
            }
            _ => {
                // Straight to the chain, of every boundary value: nothing of it lowers what others hold.
                let edges = [0, 1, total.get() - 1, view.allocated.get(), view.allocated.get() + 1, Amount::MAX.get()];
                let low = self.dice.pick(&edges);
                // What it gives away is its own loss: below the total, so that its books stay right.
                voucher.cumulative = Amount::new(low.min(total.get())).unwrap();
                let signature = key.sign(&voucher.digest(&domain));
                let signed = ops::SignedVoucher { voucher, signature };
                let intent = ops::claim_for(domain.vault, &[signed], tag(&[b"self"]));
                self.chain.send(key.address(), &intent, CALM * 100, self.now);
                ("cheats: its own vouchers on chain", None)
            }
        };
        self.note(fact);
        let Some(forge) = forge else { return };
        let mut bytes = *key.sign(&voucher.digest(&domain)).as_bytes();
        match forge {
            1 => bytes[32] ^= 0x80,
            2 => bytes = *self.providers[0].actor.key.sign(&voucher.digest(&domain)).as_bytes(),
            _ => {}
        }
        let signed = SignedVoucher { voucher, signature: Signature::from_bytes(bytes) };
        let to = self.provider_of[&leaf.provider];
        for after in [1, 50, 5_000] {
            self.at(after, Event::Voucher { to, order, signed });
        }
    }
}
