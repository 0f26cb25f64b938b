//! Rows that tests write.

use std::path::Path;
use symbolon_primitives::{Address, Amount, B256, Lane, OrderDigest, Seal, Signature, Timestamp};
use symbolon_store::{CommitRow, Direction, PayerEpoch, TxAttempt, TxPlan, VoucherKey, VoucherRow};

/// The name of the database in a folder.
pub(crate) const FILE: &str = "symbolon.db";

pub(crate) fn key(direction: Direction) -> VoucherKey {
    VoucherKey {
        direction,
        payer: Address::repeat_byte(1),
        payee: Address::repeat_byte(2),
        lane: Lane::default(),
        epoch: 3,
    }
}

pub(crate) fn voucher(direction: Direction, cumulative: u64, signature: u8) -> VoucherRow {
    VoucherRow {
        key: key(direction),
        cumulative: Amount::from_u64(cumulative),
        signature: Signature::from_bytes([signature; 64]),
        order: Some(OrderDigest::from_bytes([signature; 32])),
        created_at: Timestamp(7),
    }
}

pub(crate) fn commit(seal: u8, signature: u8) -> CommitRow {
    CommitRow {
        order: OrderDigest::from_bytes([1; 32]),
        provider: Address::repeat_byte(9),
        seal: Seal::from_bytes([seal; 32]),
        signature: Signature::from_bytes([signature; 64]),
        created_at: Timestamp(8),
    }
}

pub(crate) fn plan(id: u8) -> TxPlan {
    TxPlan {
        id: B256::repeat_byte(id),
        chain_id: 31_337,
        sender: Address::repeat_byte(4),
        kind: "claim".to_owned(),
        body: vec![id],
        at: Timestamp(u64::from(id)),
    }
}

pub(crate) fn attempt(nonce: u64, hash: u8) -> TxAttempt {
    TxAttempt { hash: B256::repeat_byte(hash), nonce, raw: vec![hash; 3], at: Timestamp(20) }
}

pub(crate) fn epoch(epoch: u32) -> PayerEpoch {
    let VoucherKey { payer, payee, lane, .. } = key(Direction::Issued);
    PayerEpoch { payer, payee, lane, epoch }
}

/// A connection past the store, as a mistake above it would have it.
pub(crate) fn past(dir: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(dir.join(FILE)).unwrap()
}
