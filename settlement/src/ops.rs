//! One builder for each call: typed values in, an [`Intent`] out. The packed
//! layouts are those that the vault's interface documents.
//!
//! Every builder takes a tag. Equal calls with equal tags are one transaction
//! for ever, so a call that may be meant twice (a deposit, a claim after a
//! top-up) is told apart by it; [`tag`] makes one from whatever names the wish.

use crate::{Intent, IntentKind};
use alloy::{
    primitives::{Address, B256, Bytes, U256, aliases::U40, keccak256},
    sol,
    sol_types::{SolCall, SolStruct},
};
use symbolon_contracts::{Closing, Earmarks, court, court_address, factory, factory_address, token, vault};
use symbolon_primitives::{
    Amount, Epoch, Lane, Leaf, Nonce, ResultStatement, ResultsRoot, Signature, SignedOrder, Timestamp, Voucher,
    WorkOrder,
};

/// Why a call cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpsError {
    /// A row for somebody who has no leaf.
    #[error("{provider} has no leaf in the order")]
    NoLeaf {
        /// Who.
        provider: Address,
    },
    /// Two rows for one provider.
    #[error("{provider} stands in two rows")]
    TwoRows {
        /// Who.
        provider: Address,
    },
    /// Fewer rows than the quorum.
    #[error("{have} rows, the quorum is {need}")]
    TooFewRows {
        /// How many rows there are.
        have: usize,
        /// The quorum.
        need: usize,
    },
}

/// A tag from the parts that name a wish, such as a job's id and a counter.
#[must_use]
pub fn tag(parts: &[&[u8]]) -> B256 {
    keccak256(parts.iter().map(keccak256).collect::<Vec<_>>().concat())
}

/// Payee (20 bytes) and amount (12): a word of earmarks and of `payMany`.
#[must_use]
pub fn amount_word(payee: Address, amount: Amount) -> B256 {
    let mut word = B256::ZERO;
    let (to, low) = word.0.split_at_mut(20);
    to.copy_from_slice(payee.as_slice());
    low.copy_from_slice(&amount.to_be_bytes12());
    word
}

fn call(kind: IntentKind, to: Address, call: &impl SolCall, tag: B256) -> Intent {
    Intent::new(kind, to, call.abi_encode()).tagged(tag)
}

fn bytes(signature: &Signature) -> Bytes {
    Bytes::copy_from_slice(signature.as_bytes())
}

/// Allows `vault` to move `amount` of the sender's tokens.
#[must_use]
pub fn approve(token_at: Address, vault: Address, amount: Amount, tag: B256) -> Intent {
    let approve = token::approveCall { spender: vault, amount: U256::from(amount.get()) };
    call(IntentKind::Approve, token_at, &approve, tag)
}

/// Mints devnet tokens.
#[must_use]
pub fn mint(token_at: Address, to: Address, amount: Amount, tag: B256) -> Intent {
    call(IntentKind::Mint, token_at, &token::mintCall { to, amount: U256::from(amount.get()) }, tag)
}

/// Moves `amount` of the sender's approved tokens to `beneficiary`'s account.
///
/// # Safety of funds
/// The beneficiary owns them from then on.
#[must_use]
pub fn deposit(vault_at: Address, beneficiary: Address, amount: Amount, tag: B256) -> Intent {
    let deposit = vault::depositCall { beneficiary, amount: amount.to_u96() };
    call(IntentKind::Deposit, vault_at, &deposit, tag)
}

sol! {
    #[allow(missing_docs)]
    struct Permit {
        address owner;
        address spender;
        uint256 value;
        uint256 nonce;
        uint256 deadline;
    }
}

/// What the owner signs to permit `vault` to move `amount` (EIP-2612);
/// `separator` and `nonce` are the token's.
#[must_use]
pub fn permit_digest(
    separator: B256,
    nonce: U256,
    owner: Address,
    vault: Address,
    amount: Amount,
    deadline: Timestamp,
) -> [u8; 32] {
    let permit =
        Permit { owner, spender: vault, value: U256::from(amount.get()), nonce, deadline: U256::from(deadline.0) };
    let hash = permit.eip712_hash_struct();
    keccak256([&[0x19, 0x01], separator.as_slice(), hash.as_slice()].concat()).0
}

/// As [`deposit`], with a permit in place of an approval.
///
/// # Safety of funds
/// The beneficiary owns them from then on.
#[must_use]
pub fn deposit_with_permit(
    vault_at: Address,
    beneficiary: Address,
    amount: Amount,
    deadline: Timestamp,
    permit: &Signature,
    tag: B256,
) -> Intent {
    // EIP-2612 wants the parity apart from s.
    let (r, vs) = permit.as_bytes().split_at(32);
    let (r, vs) = (B256::from_slice(r), U256::from_be_slice(vs));
    let deposit = vault::depositWithPermitCall {
        beneficiary,
        amount: amount.to_u96(),
        deadline: U256::from(deadline.0),
        v: if vs.bit(255) { 28 } else { 27 },
        r,
        s: B256::from(vs & (U256::MAX >> 1)),
    };
    call(IntentKind::Deposit, vault_at, &deposit, tag)
}

/// Pays `amount` of `account`'s free balance out to `to`.
#[must_use]
pub fn withdraw(vault_at: Address, account: Address, to: Address, amount: Amount, tag: B256) -> Intent {
    let withdraw = vault::withdrawCall { account, to, amount: amount.to_u96() };
    call(IntentKind::Withdraw, vault_at, &withdraw, tag)
}

/// Credits many accounts from the sender's free balance.
///
/// # Safety of funds
/// A gift: it settles nothing.
#[must_use]
pub fn pay_many(vault_at: Address, payments: &[(Address, Amount)], tag: B256) -> Intent {
    let words = payments.iter().map(|(payee, amount)| amount_word(*payee, *amount)).collect();
    call(IntentKind::PayMany, vault_at, &vault::payManyCall { words }, tag)
}

/// Binds `key`, which signed its consent, to the sender for ever.
#[must_use]
pub fn bind(vault_at: Address, key: Address, consent: &Signature, tag: B256) -> Intent {
    call(IntentKind::Bind, vault_at, &vault::bindCall { key, signature: bytes(consent) }, tag)
}

/// Ends new earmarks for a key of the sender, for ever.
#[must_use]
pub fn revoke(vault_at: Address, key: Address, tag: B256) -> Intent {
    call(IntentKind::Revoke, vault_at, &vault::revokeCall { key }, tag)
}

/// Earmarks on one lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneEarmarks {
    /// The lane.
    pub lane: Lane,
    /// Who gets how much more.
    pub amounts: Vec<(Address, Amount)>,
}

/// The most earmarks of one [`open`]: each writes a slot anew, on a lane of its own, within the gas of a transaction.
pub const OPEN_ROWS: usize = 600;

/// The most channels of one [`release`]: with a consent each it is as long as pools take, and within the gas of a
/// transaction.
pub const RELEASE_ROWS: usize = 500;

/// Opens channels of `key`, or tops them up: [`OPEN_ROWS`] of them at most.
///
/// # Safety of funds
/// What is earmarked comes back at the expiry, or when its payee agrees.
#[must_use]
pub fn open(vault_at: Address, key: Address, expiry: Timestamp, lanes: &[LaneEarmarks], tag: B256) -> Intent {
    let earmarks = lanes
        .iter()
        .map(|lane| Earmarks {
            lane: lane.lane.word(),
            words: lane.amounts.iter().map(|(payee, amount)| amount_word(*payee, *amount)).collect(),
        })
        .collect();
    let open = vault::openCall { key, expiry: U40::saturating_from(expiry.0), earmarks };
    call(IntentKind::Open, vault_at, &open, tag)
}

/// Takes back what channels of `key` on one lane have left: each payee with its
/// signed consent, or with none after the expiry; [`RELEASE_ROWS`] of them at most.
#[must_use]
pub fn release(
    vault_at: Address,
    key: Address,
    lane: Lane,
    rows: &[(Address, Option<Signature>)],
    tag: B256,
) -> Intent {
    let rows = rows
        .iter()
        .map(|(payee, consent)| Closing { payee: *payee, signature: consent.as_ref().map(bytes).unwrap_or_default() })
        .collect();
    call(IntentKind::Release, vault_at, &vault::releaseCall { key, lane: lane.word(), rows }, tag)
}

/// A voucher with its payer key's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedVoucher {
    /// What was promised.
    pub voucher: Voucher,
    /// By whom.
    pub signature: Signature,
}

/// Lane (32), count (1), count x [signature (64), cumulative (12), epoch (3)], repeated.
#[must_use]
pub fn claim_records(vouchers: &[SignedVoucher]) -> Vec<u8> {
    records(vouchers, |_, _| {})
}

/// As [`claim_records`], each header led by its payee (20).
#[must_use]
pub fn claim_for_records(vouchers: &[SignedVoucher]) -> Vec<u8> {
    records(vouchers, |packed, payee| packed.extend_from_slice(payee.as_slice()))
}

fn records(vouchers: &[SignedVoucher], header: impl Fn(&mut Vec<u8>, Address)) -> Vec<u8> {
    let mut sorted = vouchers.to_vec();
    sorted.sort_by_key(|row| (row.voucher.payee, row.voucher.lane));
    let mut packed = Vec::new();
    for channel in sorted.chunk_by(|a, b| (a.voucher.payee, a.voucher.lane) == (b.voucher.payee, b.voucher.lane)) {
        for rows in channel.chunks(usize::from(u8::MAX)) {
            let (Some(first), Ok(count)) = (rows.first(), u8::try_from(rows.len())) else { continue };
            header(&mut packed, first.voucher.payee);
            packed.extend_from_slice(first.voucher.lane.word().as_slice());
            packed.push(count);
            for row in rows {
                packed.extend_from_slice(row.signature.as_bytes());
                packed.extend_from_slice(&row.voucher.cumulative.to_be_bytes12());
                packed.extend_from_slice(&epoch_bytes(row.voucher.epoch));
            }
        }
    }
    packed
}

fn epoch_bytes(epoch: Epoch) -> [u8; 3] {
    let [_, low @ ..] = epoch.to_be_bytes();
    low
}

/// Claims the sender's own vouchers; pays its whole balance out where `pay_to`
/// names somebody.
#[must_use]
pub fn claim(vault_at: Address, vouchers: &[SignedVoucher], pay_to: Option<Address>, tag: B256) -> Intent {
    let records = claim_records(vouchers).into();
    let claim = vault::claimCall { records, payTo: pay_to.unwrap_or_default() };
    call(IntentKind::Claim, vault_at, &claim, tag)
}

/// Claims anybody's vouchers, for their payees.
#[must_use]
pub fn claim_for(vault_at: Address, vouchers: &[SignedVoucher], tag: B256) -> Intent {
    let records = claim_for_records(vouchers).into();
    call(IntentKind::Claim, vault_at, &vault::claimForCall { records }, tag)
}

/// What one replica of a quorum brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuorumRow {
    /// Who.
    pub provider: Address,
    /// What opens its seal.
    pub nonce: Nonce,
    /// Its signature over the Result with the seals of exactly these rows.
    pub signature: Signature,
}

/// Settles an order by a quorum of equal Results (SYM-08). The rows may come in
/// any order.
///
/// # Errors
/// [`OpsError`] when the rows do not fit the order's leaves.
pub fn settle_quorum(
    vault_at: Address,
    order: &SignedOrder,
    root: ResultsRoot,
    fuel: u64,
    rows: &[QuorumRow],
    tag: B256,
) -> Result<Intent, OpsError> {
    settle_quorum_of(vault_at, (&order.order, &order.signature, &order.leaves), (root, fuel), rows, tag)
}

/// As [`settle_quorum`], of an order whose work is not at hand: the chain need not know it.
///
/// # Errors
/// As [`settle_quorum`].
pub fn settle_quorum_of(
    vault_at: Address,
    (order, signature, leaves): (&WorkOrder, &Signature, &[Leaf]),
    (root, fuel): (ResultsRoot, u64),
    rows: &[QuorumRow],
    tag: B256,
) -> Result<Intent, OpsError> {
    let need = usize::from(order.quorum);
    if rows.len() < need {
        return Err(OpsError::TooFewRows { have: rows.len(), need });
    }
    for row in rows {
        if !leaves.iter().any(|leaf| leaf.provider == row.provider) {
            return Err(OpsError::NoLeaf { provider: row.provider });
        }
        if rows.iter().filter(|other| other.provider == row.provider).count() > 1 {
            return Err(OpsError::TwoRows { provider: row.provider });
        }
    }
    let (mut members, mut packed, mut others) = (0_u8, Vec::new(), Vec::new());
    for (bit, leaf) in (0_u32..).zip(leaves) {
        match rows.iter().find(|row| row.provider == leaf.provider) {
            Some(row) => {
                members |= 1_u8.checked_shl(bit).unwrap_or_default();
                packed.extend_from_slice(&leaf.to_bytes61());
                packed.extend_from_slice(row.nonce.as_bytes());
                packed.extend_from_slice(row.signature.as_bytes());
            }
            None => others.push(B256::from(leaf.hash())),
        }
    }
    let settle = vault::settleQuorumCall {
        order: order.to_abi(),
        orderSignature: bytes(signature),
        resultsRoot: root.word(),
        fuel,
        members,
        rows: packed.into(),
        otherLeafHashes: others,
    };
    Ok(call(IntentKind::SettleQuorum, vault_at, &settle, tag))
}

/// Locks `amount` of the sender's free balance as stake, and stops a running timer.
#[must_use]
pub fn stake(vault_at: Address, amount: Amount, tag: B256) -> Intent {
    call(IntentKind::Stake, vault_at, &vault::stakeCall { amount: amount.to_u96() }, tag)
}

/// Starts the timer of the sender's whole stake.
#[must_use]
pub fn request_unstake(vault_at: Address, tag: B256) -> Intent {
    call(IntentKind::RequestUnstake, vault_at, &vault::requestUnstakeCall {}, tag)
}

/// Pays the sender's stake out after the timer.
#[must_use]
pub fn withdraw_stake(vault_at: Address, tag: B256) -> Intent {
    call(IntentKind::WithdrawStake, vault_at, &vault::withdrawStakeCall {}, tag)
}

/// Registers the sender's peer id, which signed the sender's address.
#[must_use]
pub fn register(vault_at: Address, peer_id: &[u8], signature: &[u8], addresses: &[u8], tag: B256) -> Intent {
    let register = vault::registerCall {
        peerId: Bytes::copy_from_slice(peer_id),
        signature: Bytes::copy_from_slice(signature),
        addresses: Bytes::copy_from_slice(addresses),
    };
    call(IntentKind::Register, vault_at, &register, tag)
}

/// Shows the court two different Results of one provider for one order (SYM-12).
#[must_use]
pub fn slash(
    vault_at: Address,
    first: (&ResultStatement, &Signature),
    second: (&ResultStatement, &Signature),
    tag: B256,
) -> Intent {
    let slash = court::slashCall {
        vault: vault_at,
        first: first.0.to_abi().into(),
        firstSignature: bytes(first.1),
        second: second.0.to_abi().into(),
        secondSignature: bytes(second.1),
    };
    call(IntentKind::Slash, court_address(), &slash, tag)
}

/// Has the factory deploy a token's vault.
#[must_use]
pub fn deploy_vault(token: Address, tag: B256) -> Intent {
    call(IntentKind::Deploy, factory_address(), &factory::deployCall { token }, tag)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use symbolon_primitives::Royalty;

    fn voucher(payee: u8, number: u16, cumulative: u64) -> SignedVoucher {
        SignedVoucher {
            voucher: Voucher {
                payee: Address::repeat_byte(payee),
                lane: Royalty::NONE.lane(number),
                cumulative: Amount::from_u64(cumulative),
                epoch: 0x01_02_03,
            },
            signature: Signature::from_bytes([payee; 64]),
        }
    }

    #[test]
    fn sym_06_records_are_packed_as_the_vault_reads_them() {
        let rows = [voucher(2, 1, 7), voucher(1, 0, 8), voucher(2, 1, 9)];
        let packed = claim_for_records(&rows);
        assert_eq!(packed.len(), (20 + 33 + 79) + (20 + 33 + 2 * 79));
        assert_eq!(&packed[..20], &[1; 20]);
        assert_eq!(packed[52], 1);
        assert_eq!(&packed[53..117], &[1; 64]);
        assert_eq!(&packed[117..129], &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8]);
        assert_eq!(&packed[129..132], &[1, 2, 3]);
        assert_eq!(&packed[132..152], &[2; 20]);
        assert_eq!(packed[132 + 52], 2);
        // Without payees: 20 bytes less a header. A header counts at most 255 rows.
        assert_eq!(claim_records(&rows).len(), packed.len() - 40);
        assert_eq!(claim_records(&vec![voucher(1, 0, 1); 300]).len(), 2 * 33 + 300 * 79);
        assert!(claim_records(&[]).is_empty());
    }

    #[test]
    fn sym_03_an_earmark_word_is_payee_and_amount() {
        let word = amount_word(Address::repeat_byte(0xab), Amount::MAX);
        assert_eq!(&word[..20], &[0xab; 20]);
        assert_eq!(&word[20..], &[0xff; 12]);
    }

    #[test]
    fn l10_tags_do_not_run_into_each_other() {
        assert_ne!(tag(&[b"ab", b"c"]), tag(&[b"a", b"bc"]));
        assert_ne!(tag(&[b"a"]), tag(&[b"a", b""]));
    }
}
