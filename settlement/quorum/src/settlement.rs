//! What the vault and the court take: a quorum's settlement, and evidence of
//! two different Results.

use crate::terms::MemberSet;
use serde::{Deserialize, Serialize};
use symbolon_primitives::{Address, Leaf, Nonce, OrderDigest, ResultStatement, ResultsRoot, Signature, WorkOrder};

/// One replica's row: 157 bytes on chain (leaf 61, nonce 32, signature 64).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its leaf.
    pub leaf: Leaf,
    /// Opens its seal.
    pub nonce: Nonce,
    /// Its signature over the common Result.
    pub signature: Signature,
}

/// Everything `settleQuorum` takes (SYM-08).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// The order's name.
    pub digest: OrderDigest,
    /// The payer key.
    pub payer: Address,
    /// The order.
    pub order: WorkOrder,
    /// The payer key's signature over it.
    pub order_signature: Signature,
    /// The canonical results root.
    pub results_root: ResultsRoot,
    /// The fuel everybody is paid for.
    pub fuel: u64,
    /// Which leaves are rows.
    pub members: MemberSet,
    /// The rows, ascending by provider.
    pub rows: Vec<Row>,
    /// keccak256 of every other leaf, in roster order.
    pub other_leaf_hashes: Vec<[u8; 32]>,
}

/// A Result and its author's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedStatement {
    /// What is signed.
    pub statement: ResultStatement,
    /// The signature.
    pub signature: Signature,
}

/// Two Results of one provider over one order with different root or fuel:
/// what the court slashes for (SYM-12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Who signed both.
    pub provider: Address,
    /// The one seen first.
    pub first: SignedStatement,
    /// The other one.
    pub second: SignedStatement,
}
