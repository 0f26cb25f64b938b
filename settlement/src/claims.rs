//! Which vouchers to claim now, as a pure function: the best voucher of every
//! channel and the price of gas in, the smallest number of calls out.

use crate::{ChannelState, ops::SignedVoucher};
use alloy::primitives::{Address, U256};
use std::collections::BTreeMap;
use symbolon_primitives::{Amount, Lane, Timestamp};

/// Gas of a claim beside its rows, from the vault's gas budgets.
pub const CLAIM_GAS: u64 = 45_000;

/// Gas of one more row.
pub const ROW_GAS: u64 = 12_000;

/// The most rows of one call.
pub const MAX_ROWS: usize = 100;

/// A voucher in hand, with its channel as the chain has it at depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldVoucher {
    /// The payer key that signed it.
    pub payer: Address,
    /// The voucher.
    pub signed: SignedVoucher,
    /// The channel.
    pub channel: ChannelState,
}

impl HeldVoucher {
    /// What claiming it would credit now (SYM-09), gross of royalty.
    #[must_use]
    pub fn collectible(&self) -> Amount {
        let voucher = &self.signed.voucher;
        if voucher.epoch != self.channel.epoch {
            return Amount::ZERO;
        }
        voucher.cumulative.min(self.channel.allocated).saturating_sub(self.channel.claimed)
    }
}

/// What gas costs, in the vault's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GasPrice {
    /// Wei for one gas.
    pub wei_per_gas: u128,
    /// Base units of the token that one ether (10^18 wei) is worth.
    pub base_per_ether: Amount,
}

impl GasPrice {
    /// The price of `gas`, rounded up; [`Amount::MAX`] when it is no amount.
    #[must_use]
    pub fn fee_up(&self, gas: u64) -> Amount {
        let wei = U256::from(gas).saturating_mul(U256::from(self.wei_per_gas));
        let ether = U256::from(1_000_000_000_000_000_000_u64);
        let base = wei.saturating_mul(U256::from(self.base_per_ether.get())).div_ceil(ether);
        Amount::from_u256(base).unwrap_or(Amount::MAX)
    }
}

/// When a claim is worth it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimPolicy {
    /// The least a call collects, in base units.
    pub min_value: Amount,
    /// The most of it that may go into gas, in basis points.
    pub max_fee_bps: u16,
    /// How long before a channel's expiry it is claimed whatever the policy
    /// says, as long as it collects more than its gas.
    pub before_expiry_margin_secs: u64,
}

impl Default for ClaimPolicy {
    /// At most 5% for gas; everything a day before its expiry.
    fn default() -> Self {
        Self { min_value: Amount::ZERO, max_fee_bps: 500, before_expiry_margin_secs: 24 * 60 * 60 }
    }
}

/// Why a claim is made now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is worth it.
    Worth,
    /// A channel is about to expire.
    Expiring,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who is credited.
    pub payee: Address,
    /// The vouchers.
    pub vouchers: Vec<SignedVoucher>,
    /// What they collect together.
    pub value: Amount,
    /// What their gas costs.
    pub fee: Amount,
    /// Why now.
    pub why: Why,
}

/// The claims to make now. Of several vouchers of one channel the best counts;
/// a row that collects no more than its own gas is left for later; one that
/// goes out anyway takes every other worthwhile row with it.
///
/// # Safety of funds
/// What is not claimed when its owner releases the channel is lost: call it
/// often enough, and with a margin that outlasts a stuck transaction.
#[must_use]
pub fn decide(now: Timestamp, held: &[HeldVoucher], gas: &GasPrice, policy: &ClaimPolicy) -> Vec<Claim> {
    let row_fee = gas.fee_up(ROW_GAS);
    let mut best: BTreeMap<(Address, Address, Lane), HeldVoucher> = BTreeMap::new();
    for voucher in held.iter().filter(|voucher| voucher.collectible() > row_fee) {
        let key = (voucher.signed.voucher.payee, voucher.payer, voucher.signed.voucher.lane);
        best.entry(key)
            .and_modify(|have| {
                if voucher.collectible() > have.collectible() {
                    *have = *voucher;
                }
            })
            .or_insert(*voucher);
    }
    let expiring = |row: &HeldVoucher| now.plus_secs(policy.before_expiry_margin_secs) >= row.channel.expiry;
    let mut rows: Vec<HeldVoucher> = best.into_values().collect();
    // Stable: rows of equal worth stay in the order of their channels.
    rows.sort_by_key(|row| (row.signed.voucher.payee, !expiring(row), core::cmp::Reverse(row.collectible())));
    let mut claims = Vec::new();
    for payee in rows.chunk_by(|a, b| a.signed.voucher.payee == b.signed.voucher.payee) {
        claims.extend(payee.chunks(MAX_ROWS).filter_map(|rows| batch(rows, &expiring, gas, policy)));
    }
    claims
}

fn batch(
    rows: &[HeldVoucher],
    expiring: &impl Fn(&HeldVoucher) -> bool,
    gas: &GasPrice,
    policy: &ClaimPolicy,
) -> Option<Claim> {
    let payee = rows.first()?.signed.voucher.payee;
    let value = Amount::checked_sum(rows.iter().map(HeldVoucher::collectible)).unwrap_or(Amount::MAX);
    let count = u64::try_from(rows.len()).ok()?;
    let fee = gas.fee_up(CLAIM_GAS.saturating_add(ROW_GAS.saturating_mul(count)));
    let ten_thousandths = U256::from(fee.get()) * U256::from(10_000_u64);
    let cheap = ten_thousandths <= U256::from(value.get()) * U256::from(policy.max_fee_bps);
    let why = if value > fee && rows.iter().any(expiring) {
        Why::Expiring
    } else if value >= policy.min_value && cheap {
        Why::Worth
    } else {
        return None;
    };
    Some(Claim { payee, vouchers: rows.iter().map(|row| row.signed).collect(), value, fee, why })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use symbolon_primitives::{Royalty, Signature, Voucher};

    const NOW: Timestamp = Timestamp(1_000_000);
    /// One base unit for one gas.
    const GAS: GasPrice = GasPrice { wei_per_gas: 1_000_000_000, base_per_ether: Amount::from_u64(1_000_000_000) };
    const POLICY: ClaimPolicy =
        ClaimPolicy { min_value: Amount::from_u64(100_000), max_fee_bps: 1_000, before_expiry_margin_secs: 100 };

    fn held(payer: u8, cumulative: u64, expires_in: u64) -> HeldVoucher {
        HeldVoucher {
            payer: Address::repeat_byte(payer),
            signed: SignedVoucher {
                voucher: Voucher {
                    payee: Address::repeat_byte(9),
                    lane: Royalty::NONE.lane(0),
                    cumulative: Amount::from_u64(cumulative),
                    epoch: 2,
                },
                signature: Signature::from_bytes([payer; 64]),
            },
            channel: ChannelState {
                allocated: Amount::from_u64(10_000_000),
                claimed: Amount::ZERO,
                epoch: 2,
                expiry: NOW.plus_secs(expires_in),
            },
        }
    }

    fn only(claims: Vec<Claim>) -> Claim {
        assert_eq!(claims.len(), 1);
        claims.into_iter().next().unwrap()
    }

    #[test]
    fn sym_09_what_a_voucher_collects_is_bounded_by_earmark_epoch_and_claims() {
        let mut voucher = held(1, 500, 1000);
        assert_eq!(voucher.collectible().get(), 500);
        voucher.channel.claimed = Amount::from_u64(200);
        assert_eq!(voucher.collectible().get(), 300);
        voucher.channel.allocated = Amount::from_u64(250);
        assert_eq!(voucher.collectible().get(), 50);
        voucher.channel.claimed = Amount::from_u64(250);
        assert_eq!(voucher.collectible(), Amount::ZERO);
        let old = HeldVoucher { channel: ChannelState { epoch: 3, ..voucher.channel }, ..held(1, 500, 1000) };
        assert_eq!(old.collectible(), Amount::ZERO);
    }

    #[test]
    fn a_claim_waits_until_its_gas_is_a_small_part_of_it() {
        // One row costs 57,000 of gas: a tenth of 570,000.
        assert!(decide(NOW, &[held(1, 569_999, 1000)], &GAS, &POLICY).is_empty());
        let claim = only(decide(NOW, &[held(1, 570_000, 1000)], &GAS, &POLICY));
        assert_eq!((claim.value.get(), claim.fee.get(), claim.why), (570_000, 57_000, Why::Worth));
        let cheap = ClaimPolicy { min_value: Amount::from_u64(570_001), ..POLICY };
        assert!(decide(NOW, &[held(1, 570_000, 1000)], &GAS, &cheap).is_empty());
    }

    #[test]
    fn l11_everything_worth_its_gas_is_claimed_before_the_expiry() {
        assert!(decide(NOW, &[held(1, 60_000, 101)], &GAS, &POLICY).is_empty());
        assert_eq!(only(decide(NOW, &[held(1, 60_000, 100)], &GAS, &POLICY)).why, Why::Expiring);
        assert_eq!(only(decide(NOW, &[held(1, 60_000, 0)], &GAS, &POLICY)).why, Why::Expiring);
        // Not for less than the gas.
        assert!(decide(NOW, &[held(1, 57_000, 100)], &GAS, &POLICY).is_empty());
        // It takes others along, but not those that cost more than they bring.
        let claim = only(decide(NOW, &[held(2, 50_000, 1000), held(3, 12_000, 1), held(1, 60_000, 1)], &GAS, &POLICY));
        assert_eq!(claim.value.get(), 110_000);
        assert_eq!(claim.vouchers.len(), 2);
    }

    #[test]
    fn one_call_for_each_payee_and_hundred_rows_and_one_row_for_each_channel() {
        let mut all: Vec<_> = (0..250_u8).map(|payer| held(payer, 400_000, 1000)).collect();
        all.push(held(3, 300_000, 1000));
        let mut other = held(7, 900_000, 1000);
        other.signed.voucher.payee = Address::repeat_byte(8);
        all.push(other);
        let claims = decide(NOW, &all, &GAS, &POLICY);
        assert_eq!(claims.iter().map(|claim| claim.vouchers.len()).collect::<Vec<_>>(), vec![1, 100, 100, 50]);
        assert_eq!(claims[0].payee, Address::repeat_byte(8));
        let total: u128 = claims.iter().skip(1).map(|claim| claim.value.get()).sum();
        assert_eq!(total, 250 * 400_000);
    }

    #[test]
    fn prices_round_up_and_never_wrap() {
        let tiny = GasPrice { wei_per_gas: 1, base_per_ether: Amount::from_u64(1) };
        assert_eq!(tiny.fee_up(1).get(), 1);
        assert_eq!(tiny.fee_up(0), Amount::ZERO);
        let huge = GasPrice { wei_per_gas: u128::MAX, base_per_ether: Amount::MAX };
        assert_eq!(huge.fee_up(u64::MAX), Amount::MAX);
        assert!(decide(NOW, &[held(1, u64::MAX, 0)], &huge, &POLICY).is_empty());
    }
}
