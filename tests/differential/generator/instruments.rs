//! What actors sign: permits, bindings, releases, vouchers, orders, results. All of it is kept and comes back.

use super::{AUTHORS, Generator, PAYEES, STRANGER};
use crate::{
    model::{
        MAX_AMOUNT, MAX_EPOCH, Model,
        token::{Permit, permit_digest},
        u24, u40, u96,
    },
    step::Call,
};
use alloy_primitives::{Address, B256, Bytes, FixedBytes, U256, keccak256};
use rand::{
    Rng, RngCore,
    seq::{IndexedRandom, SliceRandom},
};
use std::collections::BTreeMap;
use symbolon_contracts::{Bind, Release, Result, Voucher, WorkOrder, court, vault};
use symbolon_primitives::{Domain, Nonce, OrderDigest, ResultsRoot, Seal, Signer, order};

/// Half of the curve's order: the largest s that is low.
const HALF_ORDER: [u8; 32] = alloy_primitives::hex!("7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0");

/// A voucher as a claim's records carry it.
#[derive(Clone, Debug)]
struct Packed {
    payee: Address,
    lane: B256,
    row: [u8; 79],
}

/// Everything ever signed in a history.
#[derive(Debug, Default)]
pub(super) struct Instruments {
    vouchers: Vec<Packed>,
    pub(super) quorums: Vec<vault::settleQuorumCall>,
    results: Vec<(usize, Result, Bytes)>,
    slashed: Vec<court::slashCall>,
    releases: Vec<Bytes>,
    binds: Vec<Bytes>,
}

/// A replica of an order while it is put together.
#[derive(Clone, Debug)]
struct Replica {
    actor: usize,
    leaf: [u8; 61],
    nonce: B256,
}

impl Generator {
    fn domain(&self) -> Domain {
        Domain { chain_id: self.place.chain_id, vault: self.place.vault }
    }

    fn actor_of(&self, address: Address) -> usize {
        self.actors.iter().position(|key| key.address() == address).unwrap_or(STRANGER)
    }

    fn word(&mut self) -> B256 {
        let mut bytes = [0; 32];
        self.rng.fill_bytes(&mut bytes);
        bytes.into()
    }

    /// A signature, hostile in one case of eight: somebody else's, random, zero, high, of another parity, too short.
    fn sign(&mut self, actor: usize, digest: &[u8; 32]) -> [u8; 64] {
        let mut bytes = *self.actors[actor].sign(digest).as_bytes();
        if !self.one_in(8) {
            return bytes;
        }
        match self.rng.random_range(0..5) {
            0 => bytes = *self.actors[STRANGER].sign(digest).as_bytes(),
            1 => self.rng.fill_bytes(&mut bytes),
            2 => bytes = [0; 64],
            3 => {
                bytes[32..].copy_from_slice(&HALF_ORDER);
                // At the limit, or one above it.
                bytes[63] += u8::from(self.one_in(2));
            }
            _ => bytes[32] ^= 0x80,
        }
        bytes
    }

    /// The same where the length is the caller's, too.
    fn sign_bytes(&mut self, actor: usize, digest: &[u8; 32]) -> Bytes {
        let signature = self.sign(actor, digest);
        let length = if self.one_in(20) { *[1, 63, 65].choose(&mut self.rng).unwrap() } else { 64 };
        let mut bytes = signature.to_vec();
        bytes.resize(length, 27);
        bytes.into()
    }

    pub(super) fn bind_signature(&mut self, signer: usize, owner: usize) -> Bytes {
        if let Some(old) = self.instruments.binds.choose(&mut self.rng).cloned()
            && self.one_in(8)
        {
            return old;
        }
        let digest = self.domain().digest(&Bind { owner: self.address(owner) });
        let signature = self.sign_bytes(signer, &digest);
        self.instruments.binds.push(signature.clone());
        signature
    }

    pub(super) fn release_signature(&mut self, model: &Model, (key, payee, lane): (Address, Address, B256)) -> Bytes {
        if let Some(old) = self.instruments.releases.choose(&mut self.rng).cloned()
            && self.one_in(8)
        {
            return old;
        }
        let epoch = model.channel((key, payee, lane)).epoch;
        let epoch = self.near_epoch(epoch);
        let digest = self.domain().digest(&Release { payer: key, lane, epoch: u24(epoch) });
        let signature = self.sign_bytes(self.actor_of(payee), &digest);
        self.instruments.releases.push(signature.clone());
        signature
    }

    fn near_epoch(&mut self, epoch: u32) -> u32 {
        match self.rng.random_range(0..20) {
            0 => epoch.saturating_sub(1),
            1 => (epoch + 1).min(MAX_EPOCH),
            2 => 0,
            3 => MAX_EPOCH,
            _ => epoch,
        }
    }

    pub(super) fn deposit_with_permit(&mut self, model: &Model) -> (Address, Call) {
        let actor = self.anybody();
        let caller = self.address(actor);
        let amount = self.deposit_amount(model, caller);
        let deadline = match self.rng.random_range(0..6) {
            0 => U256::from(model.now - 1),
            1 => U256::from(model.now),
            2 => U256::MAX,
            _ => U256::from(model.now + 40 * 86_400),
        };
        let nonce = model.state.token.nonce(caller) + u64::from(self.one_in(6));
        let value = U256::from(amount) + U256::from(u64::from(self.one_in(10)));
        let permit = Permit { owner: caller, spender: self.place.vault, value, nonce: U256::from(nonce), deadline };
        let digest = permit_digest(self.place.chain_id, self.place.token, &permit);
        let signer = if self.one_in(10) { STRANGER } else { actor };
        let mut compact = *self.actors[signer].sign(&digest).as_bytes();
        let v = if self.one_in(12) { 0 } else { 27 + (compact[32] >> 7) };
        compact[32] &= 0x7f;
        let beneficiary = if self.one_in(2) { caller } else { self.recipient() };
        let call = vault::depositWithPermitCall {
            beneficiary,
            amount: u96(amount),
            deadline,
            v,
            r: B256::from_slice(&compact[..32]),
            s: B256::from_slice(&compact[32..]),
        };
        (caller, Call::DepositWithPermit(call))
    }

    /* ---------- vouchers ---------- */

    /// A total at the edges of a channel.
    fn total(&mut self, model: &Model, name: (Address, Address, B256)) -> u128 {
        let channel = model.channel(name);
        let (low, high) = (channel.claimed, channel.allocated);
        let total = match self.rng.random_range(0..16) {
            0 => 0,
            1 => low.saturating_sub(1),
            2 => low,
            3 => low + 1,
            4 => high.saturating_sub(1),
            5 => high,
            6 => high + 1,
            7 => high * 2,
            8 => MAX_AMOUNT,
            _ => {
                let part = low + (high - low) / *[1, 2, 10].choose(&mut self.rng).unwrap();
                self.rng.random_range(low..=part)
            }
        };
        total.min(MAX_AMOUNT)
    }

    fn voucher(&mut self, model: &Model, name: (Address, Address, B256)) -> Packed {
        let (key, payee, lane) = name;
        let epoch = self.near_epoch(model.channel(name).epoch);
        let cumulative = self.total(model, name);
        let voucher = Voucher { payee, lane, cumulative: u96(cumulative), epoch: u24(epoch) };
        let digest = self.domain().digest(&voucher);
        let signature = self.sign(self.actor_of(key), &digest);
        let mut row = [0; 79];
        row[..64].copy_from_slice(&signature);
        row[64..76].copy_from_slice(&cumulative.to_be_bytes()[4..]);
        row[76..].copy_from_slice(&epoch.to_be_bytes()[1..]);
        let packed = Packed { payee, lane, row };
        self.instruments.vouchers.push(packed.clone());
        packed
    }

    /// One header: new vouchers of the channel's payee and lane by any key, and old ones.
    fn header(&mut self, model: &Model, payee: Address, lane: B256, with_payee: bool) -> Vec<u8> {
        let count = match self.rng.random_range(0..40) {
            0 => 0_usize,
            1 => 40,
            2 if self.one_in(8) => 255,
            n => n % 3 + 1,
        };
        let mut rows = Vec::new();
        let known: Vec<[u8; 79]> = self
            .instruments
            .vouchers
            .iter()
            .filter(|old| (old.payee, old.lane) == (payee, lane))
            .map(|old| old.row)
            .collect();
        let keys: Vec<Address> =
            model.state.channels.keys().filter(|name| (name.1, name.2) == (payee, lane)).map(|name| name.0).collect();
        for _ in 0..count.min(4) {
            let row = match self.rng.random_range(0..8) {
                0..3 if !known.is_empty() => *known.choose(&mut self.rng).unwrap(),
                // One of another channel, which here is nobody's.
                3 if !self.instruments.vouchers.is_empty() && self.one_in(4) => {
                    self.instruments.vouchers.choose(&mut self.rng).unwrap().row
                }
                _ => {
                    let key = keys.choose(&mut self.rng).copied().unwrap_or_else(|| self.actors[0].address());
                    self.voucher(model, (key, payee, lane)).row
                }
            };
            rows.push(row);
        }
        // Long ones repeat themselves.
        while rows.len() < count {
            rows.push(rows[rows.len() % 4]);
        }
        let mut bytes = if with_payee { payee.to_vec() } else { Vec::new() };
        bytes.extend_from_slice(lane.as_slice());
        bytes.push(u8::try_from(count).unwrap());
        bytes.extend(rows.concat());
        bytes
    }

    /// Cut, lengthened, or with a byte changed.
    fn spoil(&mut self, mut records: Vec<u8>) -> Bytes {
        if !records.is_empty() && self.one_in(8) {
            let at = self.rng.random_range(0..records.len());
            match self.rng.random_range(0..3) {
                0 => records.truncate(at),
                1 => records.extend_from_slice(&[7; 50][..self.rng.random_range(1..50)]),
                _ => records[at] ^= 1 << self.rng.random_range(0..8),
            }
        }
        records.into()
    }

    pub(super) fn claim(&mut self, model: &Model) -> (Address, Call) {
        let (_, payee, _) = self.channel(model);
        let mut records = Vec::new();
        for _ in 0..*[1_usize, 1, 2, 3, 0].choose(&mut self.rng).unwrap() {
            let own: Vec<B256> =
                model.state.channels.keys().filter(|name| name.1 == payee).map(|name| name.2).collect();
            let lane = own.choose(&mut self.rng).copied().unwrap_or(B256::ZERO);
            records.extend(self.header(model, payee, lane, false));
        }
        let caller = if self.one_in(15) { self.anybody_address() } else { payee };
        let pay_to = match self.rng.random_range(0..6) {
            0..3 => Address::ZERO,
            3 | 4 => caller,
            _ => self.recipient(),
        };
        (caller, Call::Claim(vault::claimCall { records: self.spoil(records), payTo: pay_to }))
    }

    pub(super) fn claim_for(&mut self, model: &Model) -> (Address, Call) {
        let mut records = Vec::new();
        for _ in 0..*[1_usize, 2, 2, 3, 0].choose(&mut self.rng).unwrap() {
            let (_, payee, lane) = self.channel(model);
            records.extend(self.header(model, payee, lane, true));
        }
        (self.anybody_address(), Call::ClaimFor(vault::claimForCall { records: self.spoil(records) }))
    }

    /* ---------- quorums ---------- */

    pub(super) fn settle_quorum(&mut self, model: &Model) -> (Address, Call) {
        let caller = self.anybody_address();
        // Mostly one of the last, whose time is not over.
        let known = self.instruments.quorums.len();
        let from = if self.one_in(4) { 0 } else { known.saturating_sub(6) };
        if let Some(old) = self.instruments.quorums[from..].choose(&mut self.rng).cloned()
            && self.one_in(4)
        {
            self.deadline = Some(old.order.settleBy.to());
            return (caller, Call::SettleQuorum(Box::new(old)));
        }
        let mut call = self.quorum(model);
        self.deadline = Some(call.order.settleBy.to());
        self.instruments.quorums.push(call.clone());
        if self.one_in(3) {
            self.spoil_quorum(&mut call);
        }
        (caller, Call::SettleQuorum(Box::new(call)))
    }

    fn fuel(&mut self) -> u64 {
        let fuels = [0, 1, 999_999_999, 1_000_000_000, 1_000_000_001, 1 << 40, u64::MAX];
        if self.one_in(2) { *fuels.choose(&mut self.rng).unwrap() } else { self.rng.random_range(0..5_000_000_000) }
    }

    /// The roster's members, a leaf each.
    fn replicas(&mut self, model: &Model, payer: Address, lane: B256, fuel: u64) -> Vec<Replica> {
        let count = *[2_usize, 3, 3, 3, 5, 5, 7, 8, 9].choose(&mut self.rng).unwrap();
        // Providers with a channel first.
        let mut members: Vec<usize> = PAYEES.chain(AUTHORS).chain([0, 1, 2]).collect();
        members[..5].shuffle(&mut self.rng);
        members.sort_by_key(|actor| {
            let channel = model.channel((payer, self.address(*actor), lane));
            channel.allocated <= channel.claimed
        });
        members.truncate(count);
        members.sort_by_key(|actor| self.address(*actor));
        if self.one_in(30) {
            members.swap(0, 1);
        }
        if self.one_in(30) {
            members[0] = members[1];
        }
        members
            .into_iter()
            .map(|actor| {
                let payee = self.address(actor);
                let channel = model.channel((payer, payee, lane));
                let open = channel.allocated - channel.claimed;
                let owed = if self.one_in(3) { self.total(model, (payer, payee, lane)) } else { channel.claimed };
                let flat = self.near(open / 4);
                let rate = U256::from(self.near(open / 2)) * U256::from(1_000_000_000) / U256::from(fuel.max(1));
                let rate = if self.one_in(3) { self.near(7) } else { rate.min(U256::from(MAX_AMOUNT)).to() };
                let epoch = self.near_epoch(channel.epoch);
                let mut leaf = [0; 61];
                leaf[..20].copy_from_slice(payee.as_slice());
                leaf[20..32].copy_from_slice(&owed.to_be_bytes()[4..]);
                leaf[32..44].copy_from_slice(&flat.to_be_bytes()[4..]);
                leaf[44..56].copy_from_slice(&rate.to_be_bytes()[4..]);
                leaf[56..59].copy_from_slice(&epoch.to_be_bytes()[1..]);
                leaf[59..].copy_from_slice(&lane[30..]);
                Replica { actor, leaf, nonce: self.word() }
            })
            .collect()
    }

    /// A payer and a lane: mostly those with the most to pay from, since one channel is no quorum.
    fn order_lane(&mut self, model: &Model) -> (Address, B256) {
        let mut open = BTreeMap::<_, usize>::new();
        for (name, channel) in model.state.channels.iter() {
            *open.entry((name.0, name.2)).or_default() += usize::from(channel.allocated > channel.claimed);
        }
        let mut lanes: Vec<_> = open.into_iter().collect();
        lanes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        lanes.truncate(4);
        match lanes.choose(&mut self.rng) {
            Some((found, _)) if !self.one_in(5) => *found,
            _ => {
                let (payer, _, lane) = self.channel(model);
                (payer, lane)
            }
        }
    }

    /// An order of a payer key and the results of a part of its replicas.
    fn quorum(&mut self, model: &Model) -> vault::settleQuorumCall {
        let (payer, mut lane) = self.order_lane(model);
        if lane[22..30] != [0; 8] || self.one_in(20) {
            lane = self.lanes[self.rng.random_range(0..5)];
        }
        let fuel = self.fuel();
        let replicas = self.replicas(model, payer, lane, fuel);
        let count = replicas.len();
        let majority = count / 2 + 1;
        let quorum = match self.rng.random_range(0..24) {
            0 => 0,
            1 => 1,
            2 => count / 2,
            3 => count,
            _ => majority,
        };
        let hashes: Vec<B256> = replicas.iter().map(|replica| keccak256(replica.leaf)).collect();
        let max_fuel = if self.one_in(2) { fuel } else { fuel.saturating_add(self.rng.random_range(0..1_000)) };
        let after = *[0, 300, 3_600, 21_600, 86_400, 86_400].choose(&mut self.rng).unwrap();
        let mut order = WorkOrder {
            work: self.word(),
            royalty: FixedBytes::from_slice(&lane[..22]),
            roster: keccak256(hashes.concat()),
            quorum: u8::try_from(quorum).unwrap(),
            maxFuel: max_fuel,
            settleBy: u40(model.now + after),
        };
        if self.one_in(40) {
            order.royalty = FixedBytes::from_slice(&self.bad_lane()[..22]);
        }
        let digest = self.domain().digest(&order);
        let payer = self.actor_of(payer);
        let order_signature = if self.one_in(4) {
            self.sign_bytes(payer, &digest)
        } else {
            Bytes::copy_from_slice(self.actors[payer].sign(&digest).as_bytes())
        };
        // Who settles: as few as suffice, all, or one too few.
        let wanted = match self.rng.random_range(0..10) {
            0 => majority - 1,
            1..5 => majority,
            _ => count,
        };
        let mut places: Vec<usize> = (0..count).collect();
        places.shuffle(&mut self.rng);
        places.truncate(wanted);
        places.sort_unstable();
        let root = self.word();
        let seals: Vec<Seal> = places
            .iter()
            .map(|place| {
                let (order, root) = (OrderDigest::from_bytes(digest), ResultsRoot::from_bytes(root.0));
                let replica = &replicas[*place];
                order::seal(order, self.address(replica.actor), root, fuel, Nonce::from_bytes(replica.nonce.0))
            })
            .collect();
        let statement =
            Result { order: digest.into(), resultsRoot: root, fuel, seals: order::seals_hash(&seals).into() };
        let to_sign = self.domain().digest(&statement);
        let flawed = self.one_in(6);
        let mut rows = Vec::new();
        for place in &places {
            let Replica { actor, leaf, nonce } = replicas[*place].clone();
            let signature =
                if flawed { self.sign(actor, &to_sign) } else { *self.actors[actor].sign(&to_sign).as_bytes() };
            self.instruments.results.push((actor, statement.clone(), signature.to_vec().into()));
            rows.extend_from_slice(&leaf);
            rows.extend_from_slice(nonce.as_slice());
            rows.extend_from_slice(&signature);
        }
        let members = places.iter().filter(|place| **place < 8).fold(0, |bits, place| bits | 1 << place);
        let others = (0..count).filter(|place| !places.contains(place)).map(|place| hashes[place]).collect();
        vault::settleQuorumCall {
            order,
            orderSignature: order_signature,
            fuel,
            resultsRoot: root,
            rows: rows.into(),
            members,
            otherLeafHashes: others,
        }
    }

    /// One thing changed after everybody signed.
    fn spoil_quorum(&mut self, call: &mut vault::settleQuorumCall) {
        let mut rows = call.rows.to_vec();
        match self.rng.random_range(0..12) {
            0 => call.fuel = call.order.maxFuel.saturating_add(1),
            1 => call.fuel = call.fuel.saturating_sub(1),
            2 => call.members = call.members.rotate_left(1),
            3 => call.members = self.rng.random(),
            4 => rows.push(0),
            5 => rows.truncate(rows.len().saturating_sub(157)),
            6 => call.otherLeafHashes.push(B256::ZERO),
            7 => drop(call.otherLeafHashes.pop()),
            8 => call.order.settleBy = u40(call.order.settleBy.to::<u64>() + 86_400),
            9 => call.resultsRoot.0[31] ^= 1,
            10 if rows.len() >= 2 * 157 => rows[..2 * 157].rotate_left(157),
            _ if !rows.is_empty() => {
                let at = self.rng.random_range(0..rows.len());
                rows[at] ^= 1 << self.rng.random_range(0..8);
            }
            _ => {}
        }
        call.rows = rows.into();
    }

    /* ---------- evidence ---------- */

    /// Two Results: mostly by one provider, about one order, and different.
    pub(super) fn evidence(&mut self, model: &Model) -> Call {
        if let Some(old) = self.instruments.slashed.choose(&mut self.rng).cloned()
            && self.one_in(5)
        {
            return Call::CourtSlash(Box::new(old));
        }
        let staked: Vec<usize> = PAYEES.filter(|i| model.account(self.address(*i)).stake > 0).collect();
        let mut actor = match staked.choose(&mut self.rng) {
            Some(actor) if !self.one_in(4) => *actor,
            _ => self.anybody(),
        };
        let mut first = Result {
            order: self.word(),
            resultsRoot: self.word(),
            fuel: self.rng.random_range(0..1_000),
            seals: self.word(),
        };
        // What it really signed for an order that was settled, or something made up.
        let known: Vec<_> = self.instruments.results.iter().filter(|(i, ..)| *i == actor).cloned().collect();
        let mut signature = None;
        if let Some((signer, result, bytes)) = known.choose(&mut self.rng).cloned()
            && self.one_in(2)
        {
            (actor, first, signature) = (signer, result, Some(bytes));
        }
        if let Some(slashed) = self.instruments.slashed.choose(&mut self.rng)
            && self.rng.random_ratio(1, 6)
        {
            // The same order once more, with a third result.
            first = slashed.first.clone().into_result();
            signature = None;
        }
        let mut second = first.clone();
        second.seals = self.word();
        match self.rng.random_range(0..10) {
            0 => {}
            1 => second.order = self.word(),
            2..5 => second.fuel = second.fuel.wrapping_add(1),
            _ => second.resultsRoot = self.word(),
        }
        let other = if self.one_in(10) { self.anybody() } else { actor };
        let first_signature = match signature {
            Some(bytes) => bytes,
            None => self.sign_bytes(actor, &self.domain().digest(&first)),
        };
        let second_signature = self.sign_bytes(other, &self.domain().digest(&second));
        let call = court::slashCall {
            vault: self.place.vault,
            first: first.into(),
            firstSignature: first_signature,
            second: second.into(),
            secondSignature: second_signature,
        };
        self.instruments.slashed.push(call.clone());
        Call::CourtSlash(Box::new(call))
    }
}

/// The court's own spelling of a Result is a type of its own.
trait IntoResult {
    fn into_result(self) -> Result;
}

impl IntoResult for court::Result {
    fn into_result(self) -> Result {
        Result { order: self.order, resultsRoot: self.resultsRoot, fuel: self.fuel, seals: self.seals }
    }
}
