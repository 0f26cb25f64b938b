//! Channels and everything that pays from them: sections 1.2, 1.4 and 1.5.

use super::{
    Answer, Channel, ChannelName, Fault, MAX_AMOUNT, MAX_EPOCH, MAX_EXPIRY_AHEAD, Model, Refusal, records, refuse,
    signer, split, u24, u40, u96,
};
use alloy_primitives::{Address, B256, U256, keccak256};
use symbolon_contracts::{Voucher, vault};
use symbolon_primitives::{Nonce, OrderDigest, ResultsRoot, order};

/// Author, and share in basis points.
fn royalty_terms(lane: B256) -> (Address, u16) {
    (Address::from_slice(&lane[..20]), u16::from_be_bytes([lane[20], lane[21]]))
}

/// The author's part of everything ever paid on a lane, when that is `total`.
fn royalty_of(lane: B256, total: u128) -> u128 {
    let (author, bps) = royalty_terms(lane);
    if author.is_zero() {
        return 0;
    }
    (U256::from(total) * U256::from(bps) / U256::from(10_000)).to()
}

/// What one instrument paid: the payee's part and the author's.
#[derive(Clone, Copy, Debug, Default)]
struct Paid {
    payee: u128,
    author: u128,
}

impl Paid {
    fn gross(self) -> u128 {
        self.payee + self.author
    }
}

impl Model {
    pub(super) fn open(&mut self, caller: Address, call: &vault::openCall) -> Answer {
        self.unbound(caller)?;
        let (key, expiry) = (call.key, call.expiry.to::<u64>());
        if key != caller && self.own_key(caller, key)?.revoked && !self.has(Fault::RevokedOpens) {
            return refuse(vault::KeyIsRevoked { key });
        }
        if expiry <= self.now {
            return refuse(vault::ExpiryPassed { expiry: call.expiry });
        }
        let latest = self.now + MAX_EXPIRY_AHEAD;
        if expiry > latest {
            return refuse(vault::ExpiryTooFar { expiry: call.expiry, latest: u40(latest) });
        }
        let mut total = 0;
        for earmarks in &call.earmarks {
            let lane = earmarks.lane;
            let (author, bps) = royalty_terms(lane);
            if bps > 10_000 || (bps > 0 && author.is_zero()) {
                return refuse(vault::BadLane { lane });
            }
            for word in &earmarks.words {
                let (payee, amount) = split(*word);
                self.earmark((key, payee, lane), amount, expiry)?;
                total += amount;
            }
            self.emit(&vault::Opened { key, lane, expiry: call.expiry, words: earmarks.words.clone() });
        }
        if total > MAX_AMOUNT {
            return refuse(vault::AmountTooLarge { amount: U256::from(total) });
        }
        self.debit(caller, total)?;
        Ok(vec![])
    }

    fn earmark(&mut self, name: ChannelName, amount: u128, expiry: u64) -> Result<(), Refusal> {
        let payee = name.1;
        if payee.is_zero() {
            return refuse(vault::ZeroAddress {});
        }
        let mut channel = self.channel(name);
        if channel.epoch == MAX_EPOCH {
            return refuse(vault::EpochExhausted { payee });
        }
        if channel.allocated + amount > MAX_AMOUNT {
            return refuse(vault::AllocationTooLarge { payee });
        }
        if channel.allocated > 0 && amount > 0 {
            self.notes.push("an earmark was topped up");
        }
        channel.allocated += amount;
        channel.expiry = if self.has(Fault::ExpiryReplaced) { expiry } else { channel.expiry.max(expiry) };
        self.state.channels.insert(name, channel);
        Ok(())
    }

    pub(super) fn release(&mut self, caller: Address, call: &vault::releaseCall) -> Answer {
        self.unbound(caller)?;
        let (key, lane) = (call.key, call.lane);
        if key != caller {
            self.own_key(caller, key)?;
        }
        let mut total = 0;
        for row in &call.rows {
            let (name, payee) = ((key, row.payee, lane), row.payee);
            let channel = self.channel(name);
            let early = u64::from(self.has(Fault::ReleaseEarly));
            if self.now + early < channel.expiry {
                if row.signature.is_empty() {
                    return refuse(vault::NotExpired { payee, expiry: u40(channel.expiry) });
                }
                let consent = vault::Release { payer: key, lane, epoch: u24(channel.epoch) };
                if signer(&row.signature, &self.domain().digest(&consent)) != Some(payee) {
                    return refuse(vault::BadSignature {});
                }
                self.notes.push("a channel was released before its expiry");
            } else if channel.expiry > 0 {
                self.notes.push("a channel was released after its expiry");
            }
            if channel.epoch == MAX_EPOCH {
                return refuse(vault::EpochExhausted { payee });
            }
            let refund = channel.allocated - channel.claimed;
            let epoch = if self.has(Fault::EpochStays) { channel.epoch } else { channel.epoch + 1 };
            self.state.channels.insert(name, Channel { allocated: channel.claimed, epoch, ..channel });
            self.emit(&vault::Released { key, payee, lane, epoch: u24(channel.epoch), refund: u96(refund) });
            total += refund;
        }
        self.credit(caller, total)?;
        Ok(vec![U256::from(total)])
    }

    /// SYM-09, the one payment rule, and SYM-16, the author's part. Credits nobody yet.
    fn pay(&mut self, name: ChannelName, epoch: u32, total: U256) -> Paid {
        let mut channel = self.channel(name);
        if channel.epoch != epoch && !self.has(Fault::AnyEpoch) {
            if channel.allocated > 0 {
                self.notes.push("an instrument named another epoch");
            }
            return Paid::default();
        }
        let mut target = total.min(U256::from(channel.allocated)).to::<u128>();
        if self.has(Fault::NoClamp) && channel.allocated > 0 {
            target = total.min(U256::from(MAX_AMOUNT)).to();
        }
        let before = channel.claimed;
        if target <= before {
            if channel.allocated > 0 {
                self.notes.push("an instrument had nothing new to say");
            }
            if self.has(Fault::ClaimedFalls) {
                channel.claimed = target;
                self.state.channels.insert(name, channel);
            }
            return Paid::default();
        }
        if total > U256::from(target) {
            self.notes.push("an instrument was clamped");
        }
        if let Some(key) = self.state.keys.get(&name.0) {
            self.notes.push(if key.revoked {
                "a revoked key's instrument paid"
            } else {
                "a bound key's instrument paid"
            });
        }
        channel.claimed = target;
        self.state.channels.insert(name, channel);
        let mut author = royalty_of(name.2, target) - royalty_of(name.2, before);
        if self.has(Fault::RoyaltyByPayment) {
            author = royalty_of(name.2, target - before);
        }
        Paid { payee: target - before - author, author }
    }

    fn pay_author(&mut self, lane: B256, payee: Address, amount: u128) -> Result<(), Refusal> {
        if amount > 0 {
            let (author, _) = royalty_terms(lane);
            self.credit(author, amount)?;
            self.emit(&vault::RoyaltyCredited { author, payee, amount: u96(amount) });
        }
        Ok(())
    }

    /// One header of a claim; answers what the payee got.
    fn claim_header(&mut self, header: &records::Header) -> Result<u128, Refusal> {
        let (payee, lane) = (header.payee, header.lane);
        let mut bitmap = U256::ZERO;
        let mut sum = Paid::default();
        for (i, row) in header.rows.iter().enumerate() {
            let voucher = Voucher { payee, lane, cumulative: u96(row.cumulative), epoch: u24(row.epoch) };
            let Some(key) = signer(&row.signature, &self.domain().digest(&voucher)) else {
                self.notes.push("a voucher was signed by nobody");
                continue;
            };
            let paid = self.pay((key, payee, lane), row.epoch, U256::from(row.cumulative));
            if paid.gross() > 0 {
                bitmap.set_bit(i, !self.has(Fault::NoBitmap));
            }
            sum.payee += paid.payee;
            sum.author += paid.author;
        }
        self.credit(payee, sum.payee)?;
        self.emit(&vault::Claimed { payee, lane, paid: bitmap, credited: u96(sum.payee) });
        self.pay_author(lane, payee, sum.author)?;
        Ok(sum.payee)
    }

    fn claim_all(&mut self, headers: &[records::Header]) -> Result<u128, Refusal> {
        let mut credited = 0;
        for header in headers {
            credited += self.claim_header(header)?;
        }
        Ok(credited)
    }

    pub(super) fn claim_for(&mut self, records: &[u8]) -> Answer {
        let headers = records::headers(records, None)?;
        Ok(vec![U256::from(self.claim_all(&headers)?)])
    }

    pub(super) fn claim(&mut self, caller: Address, call: &vault::claimCall) -> Answer {
        let headers = records::headers(&call.records, Some(caller))?;
        let credited = self.claim_all(&headers)?;
        if !call.payTo.is_zero() {
            self.pay_balance_out(caller, call.payTo)?;
        }
        Ok(vec![U256::from(credited)])
    }

    /// The whole balance leaves; a payout that moves nothing leaves the credit.
    fn pay_balance_out(&mut self, caller: Address, to: Address) -> Result<(), Refusal> {
        self.unbound(caller)?;
        let amount = self.account(caller).balance;
        if amount == 0 {
            return Ok(());
        }
        if self.pay_out(to, amount) {
            self.notes.push("a claim paid out");
            return self.debit(caller, amount);
        }
        self.emit(&vault::PayoutFailed { account: caller, to, amount: u96(amount) });
        Ok(())
    }

    /// SYM-08, SYM-08a, SYM-10, SYM-11.
    pub(super) fn settle_quorum(&mut self, call: &vault::settleQuorumCall) -> Answer {
        let order = &call.order;
        let settle_by = order.settleBy.to::<u64>() + u64::from(self.has(Fault::SettlesLate));
        if self.now > settle_by {
            return refuse(vault::SettleByPassed { settleBy: order.settleBy });
        }
        if call.fuel > order.maxFuel {
            return refuse(vault::FuelAboveMaximum { fuel: call.fuel, maxFuel: order.maxFuel });
        }
        let rows = records::quorum_rows(&call.rows);
        let replicas = rows.len() + call.otherLeafHashes.len();
        self.check_shape(call, rows.len(), replicas)?;
        let digest = self.domain().digest(order);
        let Some(payer) = signer(&call.orderSignature, &digest) else { return refuse(vault::BadSignature {}) };
        // The roster, leaf by leaf.
        let mut leaves = Vec::new();
        let (mut own, mut others) = (rows.iter(), call.otherLeafHashes.iter());
        for place in 0..replicas {
            let leaf = if call.members >> place & 1 == 1 {
                own.next().map(|row| keccak256(row.leaf))
            } else {
                others.next().copied()
            };
            let Some(leaf) = leaf else { return refuse(vault::BadRoster {}) };
            leaves.extend_from_slice(leaf.as_slice());
        }
        if keccak256(&leaves) != order.roster {
            return refuse(vault::BadRoster {});
        }
        // What every row's provider must have signed.
        let (order_digest, root) = (OrderDigest::from_bytes(digest), ResultsRoot::from_bytes(call.resultsRoot.0));
        let seal = |row: &records::QuorumRow| {
            order::seal(order_digest, row.provider, root, call.fuel, Nonce::from_bytes(row.nonce.0))
        };
        let seals = order::seals_hash(&rows.iter().map(seal).collect::<Vec<_>>()).into();
        let statement =
            symbolon_contracts::Result { order: digest.into(), resultsRoot: call.resultsRoot, fuel: call.fuel, seals };
        let result = self.domain().digest(&statement);
        let mut last = Address::ZERO;
        for (i, row) in rows.iter().enumerate() {
            if row.provider <= last || signer(&row.signature, &result) != Some(row.provider) {
                return refuse(vault::BadRow { row: U256::from(i) });
            }
            last = row.provider;
        }
        self.pay_quorum(call, payer, digest.into(), &rows)
    }

    fn check_shape(&self, call: &vault::settleQuorumCall, count: usize, replicas: usize) -> Result<(), Refusal> {
        let quorum = call.order.quorum;
        let majority = 2 * usize::from(quorum) + usize::from(self.has(Fault::HalfIsQuorum));
        if quorum < 2 {
            return refuse(vault::QuorumTooSmall { quorum });
        }
        if replicas > 8 {
            return refuse(vault::TooManyReplicas { replicas: U256::from(replicas) });
        }
        if majority <= replicas {
            return refuse(vault::QuorumNotMajority { quorum, replicas: U256::from(replicas) });
        }
        if count < usize::from(quorum) {
            return refuse(vault::NotEnoughRows { rows: U256::from(count), quorum });
        }
        if !call.rows.len().is_multiple_of(157) {
            return refuse(vault::BadRow { row: U256::from(count) });
        }
        if u32::from(call.members) >> replicas != 0 {
            return refuse(vault::BadRoster {});
        }
        Ok(())
    }

    fn pay_quorum(
        &mut self,
        call: &vault::settleQuorumCall,
        payer: Address,
        order: B256,
        rows: &[records::QuorumRow],
    ) -> Answer {
        let (mut paid, mut credits) = (0, Vec::new());
        for row in rows {
            let mut lane = B256::ZERO;
            lane[..22].copy_from_slice(call.order.royalty.as_slice());
            lane[30..].copy_from_slice(&row.lane_number.to_be_bytes());
            let billed = U256::from(row.rate) * U256::from(call.fuel);
            let gfuel = U256::from(1_000_000_000);
            let by_fuel = if self.has(Fault::PriceRoundsDown) { billed / gfuel } else { billed.div_ceil(gfuel) };
            let total = U256::from(row.owed) + U256::from(row.flat) + by_fuel;
            let part = self.pay((payer, row.provider, lane), row.epoch, total);
            self.notes.push(if part.gross() > 0 { "a quorum's row paid" } else { "a quorum's row could not be paid" });
            if part.author > 0 {
                self.notes.push("a quorum paid an author");
            }
            self.credit(row.provider, part.payee)?;
            self.pay_author(lane, row.provider, part.author)?;
            let mut credit = B256::from(U256::from(part.gross()));
            credit[..20].copy_from_slice(row.provider.as_slice());
            credits.push(credit);
            paid += part.gross();
        }
        self.emit(&vault::ResultsSettled {
            order,
            payer,
            resultsRoot: call.resultsRoot,
            fuel: call.fuel,
            paid: u96(paid),
            credits,
        });
        Ok(vec![U256::from(paid)])
    }
}
