//! Who takes part, what can happen, and the order in which it does.

use crate::{
    chain::{BLOCK_SECS, Chain},
    dice::Dice,
    hostile::Late,
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
};
use symbolon_channel::{ChannelTerms, Payee, Payer, SignedVoucher, View};
use symbolon_primitives::{
    Address, Amount, Key, Lane, OrderDigest, ResultsRoot, Royalty, SignedOrder, Signer, Timestamp, keccak256,
};
use symbolon_quorum::{Message, Replica, Timing, Verdict};
use symbolon_settlement::Intent;

pub(crate) const HOUR: u64 = 3_600;
pub(crate) const DAY: u64 = 24 * HOUR;
/// A tenth of a token.
pub(crate) const TENTH: u128 = 100_000_000_000_000_000;
/// How long before a channel's expiry a payee stops relying on it.
pub(crate) const MARGIN: u64 = DAY;
/// What a payee lets a payer key owe it: at most, and while it has paid nothing.
pub(crate) const WIDE: Limits = Limits { most: 300 * TENTH, unproven: 50 * TENTH };
/// The same of a careful one: less than the largest order while nothing is paid, and never two of them at once.
pub(crate) const TIGHT: Limits = Limits { most: 30 * TENTH, unproven: 15 * TENTH };
/// What a requestor begins with.
pub(crate) const FUNDS: u128 = 100_000 * TENTH;
/// Waiting times of every order.
pub(crate) const TIMING: Timing = Timing { wait_secs: 10, silence_secs: 120, spacing_secs: 60 };

/// How large and how long the year is.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) requestors: usize,
    pub(crate) providers: usize,
    pub(crate) days: u64,
    /// Days from one job of a requestor to the next, on average.
    pub(crate) pause: u64,
}

/// How a provider behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    Honest,
    /// Answers something else: another root, or other fuel.
    Liar,
    /// Falls silent at some step of an order, each time at another.
    Silent,
    /// Commits only once others must have shown their answers, its clock set back.
    Late,
    /// Computes nothing and commits to whatever answer it is shown, its clock set back.
    Copier,
    /// Signs two Commits.
    TwoCommits,
    /// Signs two Results.
    Equivocator,
    /// Says everything thirty times, and junk in between.
    Flooder,
    /// Vanishes at a step of its own choice, and comes back days later.
    Vanisher,
}

impl Habit {
    const HOSTILE: [Self; 8] = [
        Self::Liar,
        Self::Silent,
        Self::Late,
        Self::TwoCommits,
        Self::Equivocator,
        Self::Flooder,
        Self::Vanisher,
        Self::Copier,
    ];
}

/// The exposure to one payer key that a provider allows (SYM-25, SYM-27), in base units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) most: u128,
    pub(crate) unproven: u128,
}

/// How a requestor behaves, once it has the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    Honest,
    /// Cheats at every payment in another way, or says nothing from some step on.
    Hostile,
}

pub(crate) struct Actor {
    pub(crate) key: Key,
    /// The process is dead until then.
    pub(crate) down_until: u64,
    /// The chain cannot be reached until then.
    pub(crate) blind_until: u64,
    /// Its endpoint is so many blocks behind, until then.
    pub(crate) lag: usize,
    pub(crate) lags_until: u64,
    /// Its endpoint takes transactions and forgets them, until then.
    pub(crate) swallowed_until: u64,
    /// Nothing can be stored until then.
    pub(crate) full_until: u64,
    /// How wrong its clock is, and until when.
    pub(crate) skew: i64,
    pub(crate) skewed_until: u64,
    /// From when until when something was the matter, lately.
    troubles: VecDeque<(u64, u64)>,
}

impl Actor {
    fn new(what: &str, number: usize, seed: u64) -> Self {
        let key = Key::from_bytes(&keccak256(format!("year {seed} {what} {number}").as_bytes())).unwrap();
        Self {
            key,
            down_until: 0,
            blind_until: 0,
            lag: 0,
            lags_until: 0,
            swallowed_until: 0,
            full_until: 0,
            skew: 0,
            skewed_until: 0,
            troubles: VecDeque::new(),
        }
    }

    pub(crate) fn me(&self) -> Address {
        self.key.address()
    }

    pub(crate) fn clock(&self, now: u64) -> Timestamp {
        let skew = if now < self.skewed_until { self.skew } else { 0 };
        Timestamp(now.saturating_add_signed(skew))
    }

    pub(crate) fn has_trouble(&mut self, now: u64, until: u64) {
        self.troubles.push_back((now, until));
        while self.troubles.front().is_some_and(|(_, until)| until + 60 * DAY < now) {
            self.troubles.pop_front();
        }
    }

    /// How many seconds of a time nothing was the matter in, at least.
    pub(crate) fn at_ease(&self, from: u64, until: u64) -> u64 {
        let trouble = |(start, end): &(u64, u64)| (*end).min(until).saturating_sub((*start).max(from));
        until.saturating_sub(from).saturating_sub(self.troubles.iter().map(trouble).sum())
    }
}

/// An order at its payer.
pub(crate) struct Running {
    pub(crate) signed: Rc<SignedOrder>,
    pub(crate) verdict: Verdict,
    pub(crate) truth: (ResultsRoot, u64),
    /// Vouchers that nobody confirmed yet.
    pub(crate) unconfirmed: BTreeMap<Address, SignedVoucher>,
    pub(crate) agreed: BTreeSet<Address>,
    pub(crate) settled: BTreeSet<Address>,
    pub(crate) undecided: bool,
    /// Its payer says and hears nothing about it.
    pub(crate) mute: bool,
}

pub(crate) struct Requestor {
    pub(crate) actor: Actor,
    pub(crate) manner: Manner,
    pub(crate) partners: Vec<usize>,
    pub(crate) channels: BTreeMap<(Address, Lane), Payer>,
    pub(crate) orders: BTreeMap<OrderDigest, Running>,
    /// Channels no new order goes to, until they are released.
    pub(crate) ending: BTreeSet<(Address, Lane)>,
    /// What each provider earned of this payer key, by orders that agreed or were settled.
    pub(crate) due: BTreeMap<Address, u128>,
    /// No other transaction before then.
    pub(crate) next_tx: u64,
    pub(crate) jobs: u64,
}

/// An order at one provider.
pub(crate) struct Doing {
    pub(crate) signed: Rc<SignedOrder>,
    pub(crate) replica: Replica,
    pub(crate) channel: (Address, Lane),
    pub(crate) paid: bool,
    /// A settlement is under way until then.
    pub(crate) settling_until: u64,
    /// When a quorum with it in stood.
    pub(crate) assembled_at: Option<u64>,
}

pub(crate) struct Provider {
    pub(crate) actor: Actor,
    pub(crate) habit: Habit,
    pub(crate) limits: Limits,
    pub(crate) channels: BTreeMap<(Address, Lane), Payee>,
    pub(crate) orders: BTreeMap<OrderDigest, Doing>,
    /// Orders that were refused, given up or are over: never taken again.
    pub(crate) done: BTreeSet<OrderDigest>,
    /// Somebody else claims for it while it is away.
    pub(crate) has_tower: bool,
    pub(crate) next_claim: u64,
    pub(crate) accused_until: u64,
}

/// Something that happens at a time.
#[derive(Clone)]
pub(crate) enum Event {
    Block,
    Daily,
    Job(usize),
    Look {
        provider: bool,
        index: usize,
    },
    Tower,
    Fault,
    Calm,
    Return {
        provider: bool,
        index: usize,
    },
    Order {
        to: usize,
        order: OrderDigest,
        signed: Rc<SignedOrder>,
    },
    /// A settlement should be deep by now.
    Settled {
        provider: usize,
        channel: (Address, Lane),
    },
    Quorum {
        from: Address,
        to: Address,
        order: OrderDigest,
        message: Rc<Message>,
    },
    ReplicaTimer {
        provider: usize,
        order: OrderDigest,
    },
    VerdictTimer {
        requestor: usize,
        order: OrderDigest,
    },
    Computed {
        provider: usize,
        order: OrderDigest,
    },
    Voucher {
        to: usize,
        order: OrderDigest,
        signed: SignedVoucher,
    },
    Confirmed {
        to: usize,
        by: Address,
        order: OrderDigest,
    },
    AskGiveUp {
        to: usize,
        payer: Address,
        order: OrderDigest,
    },
    GaveUp {
        to: usize,
        by: Address,
        order: OrderDigest,
    },
    AskRelease {
        to: usize,
        payer: Address,
        lane: Lane,
        epoch: u32,
    },
    Consent {
        to: usize,
        by: Address,
        lane: Lane,
        epoch: u32,
        signature: symbolon_primitives::Signature,
    },
}

pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) now: u64,
    pub(crate) size: Size,
    queue: BTreeMap<(u64, u64), Event>,
    number: u64,
    pub(crate) chain: Chain,
    pub(crate) requestors: Vec<Requestor>,
    pub(crate) providers: Vec<Provider>,
    pub(crate) requestor_of: BTreeMap<Address, usize>,
    pub(crate) provider_of: BTreeMap<Address, usize>,
    /// What watchtowers hold: the best voucher of every channel of their clients.
    pub(crate) tower: BTreeMap<(Address, Address, Lane), SignedVoucher>,
    pub(crate) facts: BTreeMap<&'static str, u64>,
    /// Whose answer a copier passes off as its own.
    pub(crate) copied_from: BTreeMap<(OrderDigest, Address), Address>,
    /// Commits signed after their deadline.
    pub(crate) late: Late,
    /// The most that any payer key ever owed a provider.
    pub(crate) worst: Amount,
}

/// When the year begins.
pub(crate) const START: u64 = 1_800_000_000;

impl World {
    pub(crate) fn new(seed: u64, size: Size) -> Self {
        let mut dice = Dice(seed);
        let habits = Habit::HOSTILE;
        let providers: Vec<Provider> = (0..size.providers)
            .map(|number| Provider {
                actor: Actor::new("provider", number, seed),
                // A third is not honest; they do not conspire.
                habit: if number.is_multiple_of(3) { habits[number / 3 % habits.len()] } else { Habit::Honest },
                // A quarter is careful, of every habit.
                limits: if number % 4 == 1 { TIGHT } else { WIDE },
                channels: BTreeMap::new(),
                orders: BTreeMap::new(),
                done: BTreeSet::new(),
                has_tower: number % 2 == 1,
                next_claim: 0,
                accused_until: 0,
            })
            .collect();
        let requestors: Vec<Requestor> = (0..size.requestors)
            .map(|number| Requestor {
                actor: Actor::new("requestor", number, seed),
                manner: if number % 4 == 3 { Manner::Hostile } else { Manner::Honest },
                partners: (0..8).map(|_| dice.below(size.providers as u64) as usize).collect(),
                channels: BTreeMap::new(),
                orders: BTreeMap::new(),
                ending: BTreeSet::new(),
                due: BTreeMap::new(),
                next_tx: 0,
                jobs: 0,
            })
            .collect();
        let funds: Vec<(Address, u128, u128)> = (requestors.iter().map(|r| (r.actor.me(), FUNDS, 0)))
            .chain(providers.iter().map(|p| (p.actor.me(), 0, 1_000 * TENTH)))
            .collect();
        let mut world = Self {
            dice,
            now: START,
            size,
            queue: BTreeMap::new(),
            number: 0,
            chain: Chain::new(START, &funds),
            requestor_of: requestors.iter().enumerate().map(|(i, r)| (r.actor.me(), i)).collect(),
            provider_of: providers.iter().enumerate().map(|(i, p)| (p.actor.me(), i)).collect(),
            requestors,
            providers,
            tower: BTreeMap::new(),
            facts: BTreeMap::new(),
            copied_from: BTreeMap::new(),
            late: Late::new(),
            worst: Amount::ZERO,
        };
        world.at(0, Event::Block);
        world.at(HOUR, Event::Daily);
        world.at(2 * HOUR, Event::Tower);
        world.at(DAY, Event::Fault);
        for index in 0..size.requestors {
            let (look, job) = (world.dice.below(HOUR), world.dice.below(DAY));
            world.at(look, Event::Look { provider: false, index });
            world.at(2 * HOUR + job, Event::Job(index));
        }
        for index in 0..size.providers {
            let look = world.dice.below(4 * HOUR);
            world.at(look, Event::Look { provider: true, index });
        }
        world
    }

    pub(crate) fn note(&mut self, fact: &'static str) {
        *self.facts.entry(fact).or_default() += 1;
    }

    pub(crate) fn at(&mut self, after: u64, event: Event) {
        self.number += 1;
        self.queue.insert((self.now + after, self.number), event);
    }

    /// Over the network: lost, doubled or overtaken now and then.
    pub(crate) fn mail(&mut self, event: Event) {
        if self.dice.chance(20) {
            return self.note("messages lost");
        }
        if self.dice.chance(20) {
            self.note("messages doubled");
            let later = self.dice.below(HOUR);
            self.at(later, event.clone());
        }
        let late = if self.dice.chance(20) { 60 } else { 3 };
        if late > 3 {
            self.note("messages overtaken");
        }
        let after = self.dice.below(late);
        self.at(after, event);
    }

    pub(crate) fn terms(&self, payer: Address, payee: Address, lane: Lane) -> ChannelTerms {
        ChannelTerms { domain: self.chain.domain(), payer, payee, lane, margin_secs: MARGIN }
    }

    /// A fifth of the channels carry a royalty.
    pub(crate) fn lane_with(&self, provider: usize, number: u16) -> Lane {
        let author = self.providers[0].actor.me();
        let royalty = if provider.is_multiple_of(5) { Royalty::new(author, 250).unwrap() } else { Royalty::NONE };
        royalty.lane(number)
    }

    /// Runs to the end of the year and some weeks more, in which no job begins.
    pub(crate) fn run(&mut self) {
        let end = START + (self.size.days + 75) * DAY;
        while let Some(((time, _), event)) = self.queue.pop_first() {
            if time > end {
                break;
            }
            self.now = time;
            self.happen(event);
        }
    }

    pub(crate) const fn happened(&self) -> u64 {
        self.number
    }

    /// Whether jobs still begin.
    pub(crate) fn is_busy(&self) -> bool {
        self.now < START + self.size.days * DAY
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Block => {
                let now = self.now;
                if self.dice.chance(10) {
                    self.chain.reorganise(now, &mut self.dice);
                    self.note("reorganisations");
                } else {
                    self.chain.mine(now);
                }
                self.at(BLOCK_SECS, Event::Block);
            }
            Event::Daily => {
                self.chain.check_sums();
                self.end_old_orders();
                let days = (self.now - START) / DAY;
                if days.is_multiple_of(30) {
                    println!("day {days}");
                }
                self.at(DAY, Event::Daily);
            }
            Event::Fault => self.fault(),
            Event::Calm => self.chain.fee = crate::chain::CALM,
            Event::Return { provider, index } => self.return_from(provider, index),
            Event::Job(index) => self.job(index),
            Event::Look { provider: true, index } => {
                self.provider_looks(index);
                self.at(4 * HOUR, Event::Look { provider: true, index });
            }
            Event::Look { provider: false, index } => {
                self.requestor_looks(index);
                self.at(6 * HOUR, Event::Look { provider: false, index });
            }
            Event::Tower => {
                self.tower_looks();
                self.at(6 * HOUR, Event::Tower);
            }
            Event::Order { to, order, signed } => self.take_order(to, order, &signed),
            Event::Settled { provider, channel } => self.look_at(provider, channel),
            Event::Quorum { from, to, order, message } => self.receive(from, to, order, &message),
            Event::ReplicaTimer { provider, order } => self.replica_timer(provider, order),
            Event::VerdictTimer { requestor, order } => self.verdict_timer(requestor, order),
            Event::Computed { provider, order } => self.computed(provider, order),
            Event::Voucher { to, order, signed } => self.take_voucher(to, order, signed),
            Event::Confirmed { to, by, order } => {
                if let Some(running) = self.requestors[to].orders.get_mut(&order) {
                    running.unconfirmed.remove(&by);
                }
            }
            Event::AskGiveUp { to, payer, order } => self.give_up(to, payer, order),
            Event::GaveUp { to, by, order } => self.gave_up(to, by, order),
            Event::AskRelease { to, payer, lane, epoch } => self.asked_to_release(to, payer, lane, epoch),
            Event::Consent { to, by, lane, epoch, signature } => self.consented(to, by, lane, epoch, signature),
        }
    }

    pub(crate) fn actor(&mut self, provider: bool, index: usize) -> &mut Actor {
        if provider { &mut self.providers[index].actor } else { &mut self.requestors[index].actor }
    }

    /// The channel as a party's own endpoint shows it.
    pub(crate) fn view(&self, actor: &Actor, channel: (Address, Address, Lane)) -> View {
        let lag = if self.now < actor.lags_until { actor.lag } else { 0 };
        self.chain.view(channel.0, channel.1, channel.2, lag)
    }

    /// Hands a transaction to a party's own endpoint.
    pub(crate) fn submit(&mut self, provider: bool, index: usize, intent: &Intent, max_fee: u128) {
        let now = self.now;
        let actor = self.actor(provider, index);
        if now < actor.swallowed_until {
            return self.note("transactions an endpoint took and forgot");
        }
        let me = actor.me();
        self.chain.send(me, intent, max_fee, now);
    }

    /// How a step ends: stored and done, stored and dead, dead before it was stored, or not storable.
    pub(crate) fn store(&mut self, provider: bool, index: usize, changed: bool) -> Stored {
        let now = self.now;
        if changed && now < self.actor(provider, index).full_until {
            self.note("writes refused by a full disk");
            return Stored::No;
        }
        if !changed || !self.dice.chance(2) {
            return Stored::Yes;
        }
        let before = self.dice.chance(500);
        self.note(if before { "crashes before the store" } else { "crashes after the store" });
        let minutes = 60 * (1 + self.dice.below(60));
        let actor = self.actor(provider, index);
        actor.down_until = now + minutes;
        actor.has_trouble(now, now + minutes);
        self.at(minutes, Event::Return { provider, index });
        if before { Stored::No } else { Stored::AndDied }
    }

    /// Exposure may never be more than what was declared (L5).
    pub(crate) fn check_exposure(&mut self, index: usize, payer: Address) {
        let provider = &self.providers[index];
        let channels = provider.channels.iter().filter(|(id, _)| id.0 == payer).map(|(_, payee)| payee);
        let standing = symbolon_channel::Standing::of(channels);
        self.worst = self.worst.max(standing.exposed);
        assert!(standing.exposed.get() <= provider.limits.most, "L5: {}", standing.exposed);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    Yes,
    AndDied,
    No,
}

/// What a process reads back after it died.
pub(crate) fn read_back<T: serde::Serialize + serde::de::DeserializeOwned>(machine: &T) -> T {
    postcard::from_bytes(&postcard::to_allocvec(machine).unwrap()).unwrap()
}
