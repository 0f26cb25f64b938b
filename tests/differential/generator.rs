//! Random steps: few actors and lanes so that they collide, amounts and times at the edges, old instruments again,
//! and about half of everything hostile.

mod instruments;

use crate::{
    model::{MAX_AMOUNT, MAX_EPOCH, MAX_EXPIRY_AHEAD, Model, u40, u96},
    step::{Call, Place, Step},
};
use alloy_primitives::{Address, B256, Bytes, U256};
use instruments::Instruments;
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use symbolon_contracts::{Closing, Earmarks, token, vault};
use symbolon_primitives::{Key, Signer};

const PAYERS: std::ops::Range<usize> = 0..4;
const HOT_KEYS: std::ops::Range<usize> = 4..8;
const PAYEES: std::ops::Range<usize> = 8..13;
const AUTHORS: std::ops::Range<usize> = 13..15;
const STRANGER: usize = 15;
const ACTORS: usize = 16;

/// How large the amounts of a history are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    /// Tens of base units: every rounding shows.
    Dust,
    /// Thousands of whole tokens: stakes above the limit of a reward.
    Tokens,
    /// About all that a vault may hold.
    Full,
}

/// The actors and what they know.
#[derive(Debug)]
pub(crate) struct Generator {
    rng: ChaCha8Rng,
    place: Place,
    scale: Scale,
    actors: Vec<Key>,
    lanes: Vec<B256>,
    instruments: Instruments,
    queue: Vec<Step>,
    /// What the step in the making waits for, if it waits.
    deadline: Option<u64>,
}

/// Author, share, number.
fn lane(author: Address, bps: u16, number: u128) -> B256 {
    let mut bytes = [0; 32];
    bytes[..20].copy_from_slice(author.as_slice());
    bytes[20..22].copy_from_slice(&bps.to_be_bytes());
    bytes[22..].copy_from_slice(&number.to_be_bytes()[6..]);
    bytes.into()
}

/// Payee (20 bytes) and amount (12).
fn word(payee: Address, amount: u128) -> B256 {
    let mut bytes = [0; 32];
    bytes[..20].copy_from_slice(payee.as_slice());
    bytes[20..].copy_from_slice(&amount.to_be_bytes()[4..]);
    bytes.into()
}

impl Generator {
    pub(crate) fn new(seed: u64, place: Place) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let actor = |i: usize| Key::from_bytes(&[u8::try_from(i + 1).unwrap(); 32]).unwrap();
        let actors: Vec<Key> = (0..ACTORS).map(actor).collect();
        let (a0, a1) = (actors[AUTHORS.start].address(), actors[AUTHORS.start + 1].address());
        let lanes = vec![
            B256::ZERO,
            lane(a0, 250, 0),
            lane(a0, 3_333, 1),
            lane(a1, 10_000, 65_535),
            lane(a1, 0, 0),
            lane(Address::ZERO, 0, 1 << 79),
            // An author who is a payee too.
            lane(actors[PAYEES.start].address(), 1, 7),
        ];
        let scale = *[Scale::Dust, Scale::Tokens, Scale::Tokens, Scale::Full].choose(&mut rng).unwrap();
        let instruments = Instruments::default();
        let mut generator = Self { rng, place, scale, actors, lanes, instruments, queue: Vec::new(), deadline: None };
        generator.queue = generator.beginning();
        generator.queue.reverse();
        generator
    }

    /// The channel that starts one release before the last epoch.
    pub(crate) fn late_channel(&self) -> (Address, Address, B256, u32) {
        (self.address(PAYERS.start), self.address(PAYEES.start), B256::ZERO, MAX_EPOCH - 1)
    }

    /// Every address whose account, key and tokens are compared.
    pub(crate) fn addresses(&self) -> Vec<Address> {
        let Place { token, court, vault, .. } = self.place;
        self.actors.iter().map(Signer::address).chain([Address::ZERO, token, court, vault]).collect()
    }

    /// Everybody has tokens, payers have deposits and providers a stake.
    fn beginning(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        for i in 0..ACTORS {
            let to = self.address(i);
            let amount = match self.scale {
                Scale::Dust => U256::from(5_000),
                Scale::Tokens => U256::from(100_000 * 10_u128.pow(18)),
                Scale::Full => U256::from(MAX_AMOUNT),
            };
            steps.push(self.step(to, Call::Mint(token::mintCall { to, amount })));
            let spender = self.place.vault;
            steps.push(self.step(to, Call::Approve(token::approveCall { spender, amount: U256::MAX })));
            let amount = match self.scale {
                Scale::Dust => 500,
                Scale::Tokens => 5_000 * 10_u128.pow(18),
                Scale::Full => MAX_AMOUNT / 16,
            };
            if !HOT_KEYS.contains(&i) {
                let call = vault::depositCall { beneficiary: to, amount: u96(amount) };
                steps.push(self.step(to, Call::Deposit(call)));
            }
            if PAYEES.contains(&i) {
                steps.push(self.step(to, Call::Stake(vault::stakeCall { amount: u96(amount / 2) })));
            }
        }
        steps
    }

    /// The next step, given what the model says now.
    pub(crate) fn next(&mut self, model: &Model) -> Step {
        if let Some(step) = self.queue.pop() {
            return step;
        }
        let (caller, call) = match self.rng.random_range(0..100) {
            0..4 => self.tokens(model),
            4..9 => self.deposit(model),
            9..13 => self.deposit_with_permit(model),
            13..17 => self.withdraw(model),
            17..20 => self.pay_many(model),
            20..24 => self.bind(model),
            24..26 => self.revoke(model),
            26..42 => self.open(model),
            42..49 => self.release(model),
            49..60 => self.claim(model),
            60..70 => self.claim_for(model),
            70..84 => self.settle_quorum(model),
            84..93 => self.stakes(model),
            _ => self.slash(model),
        };
        let wait = self.wait(model);
        // Contracts are named as payees, too, but call nothing.
        let caller =
            if self.actors.iter().any(|key| key.address() == caller) { caller } else { self.address(STRANGER) };
        Step { wait, caller, call }
    }

    /* ---------- small things ---------- */

    fn step(&self, caller: Address, call: Call) -> Step {
        Step { wait: 0, caller, call }
    }

    fn address(&self, i: usize) -> Address {
        self.actors[i].address()
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.rng.random_ratio(1, n)
    }

    fn anybody(&mut self) -> usize {
        self.rng.random_range(0..ACTORS)
    }

    fn payee(&mut self) -> usize {
        if self.one_in(12) { self.anybody() } else { self.rng.random_range(PAYEES) }
    }

    /// Mostly an actor, sometimes an address nobody should name.
    fn recipient(&mut self) -> Address {
        if !self.one_in(8) {
            let i = self.anybody();
            return self.address(i);
        }
        *[Address::ZERO, self.place.vault, self.place.token, self.place.court].choose(&mut self.rng).unwrap()
    }

    fn lane(&mut self) -> B256 {
        if self.one_in(2) { self.lanes[0] } else { *self.lanes.choose(&mut self.rng).unwrap() }
    }

    fn bad_lane(&mut self) -> B256 {
        let author = self.address(AUTHORS.start);
        *[lane(author, 10_001, 0), lane(Address::ZERO, 1, 0), lane(author, u16::MAX, 0)].choose(&mut self.rng).unwrap()
    }

    /// An amount at the edges of what there is, or within it.
    fn near(&mut self, limit: u128) -> u128 {
        let amount = match self.rng.random_range(0..24) {
            0 => 0,
            1 => 1,
            2 => limit.saturating_sub(1),
            3 => limit,
            4 => limit + 1,
            5 => MAX_AMOUNT,
            6 => limit / 2,
            _ => {
                let part = limit / *[2, 5, 20].choose(&mut self.rng).unwrap();
                self.rng.random_range(0..=part)
            }
        };
        amount.min(MAX_AMOUNT)
    }

    /// The same, and mostly no more than there is.
    fn part_of(&mut self, limit: u128) -> u128 {
        let amount = self.near(limit);
        if self.one_in(4) { amount } else { amount.min(limit) }
    }

    /// Mostly nothing, sometimes up to the edge of the deadline that the step is about.
    fn wait(&mut self, model: &Model) -> u64 {
        if let Some(time) = self.deadline.take()
            && time > model.now
            && self.one_in(2)
        {
            return (time + self.rng.random_range(0..3) - 1).saturating_sub(model.now);
        }
        match self.rng.random_range(0..60) {
            0..40 => 0,
            40..58 => self.rng.random_range(1..30),
            58 => 3_600,
            _ => 86_400,
        }
    }

    fn balance(&self, model: &Model, account: Address) -> u128 {
        model.account(account).balance
    }

    /* ---------- accounts ---------- */

    fn tokens(&mut self, model: &Model) -> (Address, Call) {
        let caller = self.anybody();
        let caller = self.address(caller);
        let held = model.state.token.balance(caller);
        match self.rng.random_range(0..10) {
            0..4 => {
                let limit = if self.scale == Scale::Dust { 1_000 } else { 1_000 * 10_u128.pow(18) };
                let amount = self.near(limit);
                (caller, Call::Mint(token::mintCall { to: caller, amount: U256::from(amount) }))
            }
            4 => (
                caller,
                Call::Mint(token::mintCall { to: caller, amount: U256::MAX - model.state.token.supply + U256::ONE }),
            ),
            5..8 => {
                let limit = held.min(U256::from(MAX_AMOUNT)).to();
                let amount = if self.one_in(2) { U256::MAX } else { U256::from(self.near(limit)) };
                (caller, Call::Approve(token::approveCall { spender: self.place.vault, amount }))
            }
            _ => {
                // Also to the vault, which gets a gift that is nobody's.
                let to = self.recipient();
                let limit = held.min(U256::from(MAX_AMOUNT)).to::<u128>();
                let amount = U256::from(self.near(limit));
                (caller, Call::Transfer(token::transferCall { to, amount }))
            }
        }
    }

    /// What a deposit may reach: what the caller holds, and what the vault still takes.
    fn deposit_amount(&mut self, model: &Model, caller: Address) -> u128 {
        let holds = model.state.token.balance(self.place.vault).min(U256::from(MAX_AMOUNT)).to::<u128>();
        let room = MAX_AMOUNT - holds;
        let held = model.state.token.balance(caller).min(U256::from(MAX_AMOUNT)).to::<u128>();
        if self.scale == Scale::Full && self.one_in(2) {
            let amount = self.near(room);
            return amount.min(MAX_AMOUNT);
        }
        self.near(held)
    }

    fn deposit(&mut self, model: &Model) -> (Address, Call) {
        let caller = if self.one_in(3) { self.anybody() } else { self.rng.random_range(PAYERS) };
        let caller = self.address(caller);
        let beneficiary = if self.one_in(2) { caller } else { self.recipient() };
        let amount = u96(self.deposit_amount(model, caller));
        (caller, Call::Deposit(vault::depositCall { beneficiary, amount }))
    }

    fn withdraw(&mut self, model: &Model) -> (Address, Call) {
        let caller = self.holder(model);
        let owned: Vec<Address> =
            model.state.keys.iter().filter(|(_, key)| key.owner == caller).map(|(name, _)| *name).collect();
        let account = match owned.choose(&mut self.rng) {
            Some(key) if self.one_in(2) => *key,
            _ if self.one_in(8) => self.recipient(),
            _ => caller,
        };
        let to = if self.one_in(3) { self.recipient() } else { caller };
        let amount = u96(self.near(self.balance(model, account)));
        (caller, Call::Withdraw(vault::withdrawCall { account, to, amount }))
    }

    fn pay_many(&mut self, model: &Model) -> (Address, Call) {
        let caller = self.holder(model);
        let count = self.rng.random_range(0..5_usize);
        let mut left = self.balance(model, caller);
        let mut words = Vec::new();
        for _ in 0..count {
            let payee = if self.one_in(30) { Address::ZERO } else { self.recipient() };
            let amount = self.part_of(left);
            left = left.saturating_sub(amount);
            words.push(word(payee, amount));
        }
        (caller, Call::PayMany(vault::payManyCall { words }))
    }

    /* ---------- keys ---------- */

    fn bind(&mut self, model: &Model) -> (Address, Call) {
        let owner = if self.one_in(4) { self.anybody() } else { self.rng.random_range(PAYERS) };
        let free: Vec<usize> = HOT_KEYS.filter(|i| !model.state.keys.contains_key(&self.address(*i))).collect();
        let key = match free.choose(&mut self.rng) {
            Some(key) if !self.one_in(3) => *key,
            _ => self.rng.random_range(0..HOT_KEYS.end),
        };
        // Payers are bound by payers, too, but rarely: a bound one is out of the game.
        let key = if PAYERS.contains(&key) && !self.one_in(40) { HOT_KEYS.start } else { key };
        // Also itself, providers with a stake, and owners of keys, which are all refused.
        let odd = self.one_in(8);
        let key = if odd { *[owner, PAYEES.start, PAYERS.start].choose(&mut self.rng).unwrap() } else { key };
        let signer = if odd || self.one_in(6) { self.anybody() } else { key };
        let named = if self.one_in(8) { self.anybody() } else { owner };
        let signature = self.bind_signature(signer, named);
        let key = if self.one_in(30) { Address::ZERO } else { self.address(key) };
        (self.address(owner), Call::Bind(vault::bindCall { key, signature }))
    }

    fn revoke(&mut self, model: &Model) -> (Address, Call) {
        let bound: Vec<(Address, Address)> = model.state.keys.iter().map(|(key, state)| (*key, state.owner)).collect();
        match bound.choose(&mut self.rng) {
            Some((key, owner)) if self.one_in(4) => (*owner, Call::Revoke(vault::revokeCall { key: *key })),
            _ => {
                let (caller, key) = (self.anybody(), self.anybody());
                (self.address(caller), Call::Revoke(vault::revokeCall { key: self.address(key) }))
            }
        }
    }

    /// A key and who may act for it: mostly one with a deposit behind it.
    fn key_and_owner(&mut self, model: &Model) -> (Address, Address) {
        for _ in 0..4 {
            let i = self.rng.random_range(0..HOT_KEYS.end);
            let key = self.address(i);
            let state = model.key(key);
            let owner = if state.owner.is_zero() { key } else { state.owner };
            if (!state.revoked && self.balance(model, owner) > 0) || self.one_in(8) {
                return (key, owner);
            }
        }
        let payer = self.address(PAYERS.start);
        (payer, payer)
    }

    /// Mostly somebody with a balance.
    fn holder(&mut self, model: &Model) -> Address {
        let actors = self.actors.iter().map(Signer::address);
        let rich: Vec<Address> = actors.filter(|actor| self.balance(model, *actor) > 0).collect();
        match rich.choose(&mut self.rng) {
            Some(holder) if !self.one_in(5) => *holder,
            _ => self.anybody_address(),
        }
    }

    /* ---------- channels ---------- */

    fn open(&mut self, model: &Model) -> (Address, Call) {
        let (key, owner) = self.key_and_owner(model);
        let caller = if self.one_in(10) { self.anybody_address() } else { owner };
        let now = model.now;
        let ahead = match self.rng.random_range(0..12) {
            0 => 0,
            1 => 1,
            2 => MAX_EXPIRY_AHEAD,
            3 => MAX_EXPIRY_AHEAD + 1,
            4..9 => self.rng.random_range(1..7_200),
            _ => self.rng.random_range(1..1_000_000),
        };
        let expiry = if self.one_in(60) { u40((1 << 40) - 1) } else { u40(now + ahead) };
        let mut left = self.balance(model, caller);
        let mut earmarks = Vec::new();
        for _ in 0..*[1_usize, 1, 1, 2, 3, 0].choose(&mut self.rng).unwrap() {
            let lane = if self.one_in(16) { self.bad_lane() } else { self.lane() };
            let mut words = Vec::new();
            for _ in 0..*[1_usize, 2, 4, 5, 0].choose(&mut self.rng).unwrap() {
                let payee = self.payee();
                let payee = if self.one_in(30) { self.recipient() } else { self.address(payee) };
                let amount = self.part_of(left);
                left = left.saturating_sub(amount);
                words.push(word(payee, amount));
            }
            earmarks.push(Earmarks { lane, words });
        }
        (caller, Call::Open(vault::openCall { key, expiry, earmarks }))
    }

    fn anybody_address(&mut self) -> Address {
        let i = self.anybody();
        self.address(i)
    }

    /// A channel that is there, or one that may not be.
    fn channel(&mut self, model: &Model) -> (Address, Address, B256) {
        let open: Vec<_> = model.state.channels.iter().filter(|(_, c)| c.allocated > c.claimed).collect();
        if let Some((name, _)) = open.choose(&mut self.rng)
            && !self.one_in(4)
        {
            return **name;
        }
        let names: Vec<_> = model.state.channels.keys().collect();
        if let Some(name) = names.choose(&mut self.rng)
            && !self.one_in(3)
        {
            return **name;
        }
        let (key, _) = self.key_and_owner(model);
        let payee = self.payee();
        (key, self.address(payee), self.lane())
    }

    fn release(&mut self, model: &Model) -> (Address, Call) {
        let (key, payee, lane) = self.channel(model);
        let owner = model.key(key).owner;
        let owner = if owner.is_zero() { key } else { owner };
        let caller = if self.one_in(12) { self.anybody_address() } else { owner };
        let expiry = model.channel((key, payee, lane)).expiry;
        if expiry < model.now + 30 * 86_400 {
            self.deadline = Some(expiry);
        }
        let mut rows = vec![self.closing(model, (key, payee, lane))];
        for _ in 0..*[0_usize, 0, 1, 2].choose(&mut self.rng).unwrap() {
            let payee = if self.one_in(5) {
                payee
            } else {
                let i = self.payee();
                self.address(i)
            };
            rows.push(self.closing(model, (key, payee, lane)));
        }
        if self.one_in(40) {
            rows.clear();
        }
        (caller, Call::Release(vault::releaseCall { key, lane, rows }))
    }

    fn closing(&mut self, model: &Model, name: (Address, Address, B256)) -> Closing {
        let expired = model.channel(name).expiry <= model.now;
        let unsigned = if expired { !self.one_in(6) } else { self.one_in(4) };
        let signature = if unsigned { Bytes::new() } else { self.release_signature(model, name) };
        Closing { payee: name.1, signature }
    }

    /* ---------- stake ---------- */

    fn stakes(&mut self, model: &Model) -> (Address, Call) {
        let choice = self.rng.random_range(0..12);
        let mut caller = if self.one_in(5) {
            self.anybody_address()
        } else {
            let i = self.rng.random_range(PAYEES);
            self.address(i)
        };
        // Timers and stakes are few.
        let account = |name: &Address| model.account(*name);
        let actors: Vec<Address> = self.actors.iter().map(Signer::address).collect();
        let timers: Vec<Address> = actors.iter().filter(|name| account(name).unbonding_at > 0).copied().collect();
        let staked: Vec<Address> = actors.iter().filter(|name| account(name).stake > 0).copied().collect();
        let likely = match choice {
            3 | 6..9 => timers.choose(&mut self.rng),
            4..6 | 9.. => staked.choose(&mut self.rng),
            _ => None,
        };
        if let Some(name) = likely
            && !self.one_in(5)
        {
            caller = *name;
        }
        let account = model.account(caller);
        let call = match choice {
            0..4 => {
                let amount = if self.one_in(4) { 0 } else { self.near(account.balance) };
                Call::Stake(vault::stakeCall { amount: u96(amount) })
            }
            4..6 => Call::RequestUnstake(vault::requestUnstakeCall {}),
            6..9 => {
                self.deadline = Some(account.unbonding_at);
                Call::WithdrawStake(vault::withdrawStakeCall {})
            }
            _ => {
                let total = *[0_usize, 1, 200, 1_023, 1_024, 1_025].choose(&mut self.rng).unwrap();
                let (first, second) = (total / 3, total / 2 - total / 3);
                Call::Register(vault::registerCall {
                    peerId: vec![1; first].into(),
                    signature: vec![2; second].into(),
                    addresses: vec![3; total - first - second].into(),
                })
            }
        };
        (caller, call)
    }

    fn slash(&mut self, model: &Model) -> (Address, Call) {
        let caller = self.anybody_address();
        if self.one_in(12) {
            let (provider, order) = (self.anybody_address(), B256::repeat_byte(1));
            return (caller, Call::VaultSlash(vault::slashCall { provider, order, reporter: caller }));
        }
        (caller, self.evidence(model))
    }
}
