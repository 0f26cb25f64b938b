//! What is stored, and the closed list of writes.

use crate::points::WriteKind;
use symbolon_primitives::{Address, Amount, B256, Epoch, Lane, OrderDigest, Seal, Signature, Timestamp};

/// Whose voucher it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Signed by a key of this node.
    Issued,
    /// Signed to this node.
    Received,
}

impl Direction {
    pub(crate) const fn code(self) -> i64 {
        match self {
            Self::Issued => 0,
            Self::Received => 1,
        }
    }

    pub(crate) const fn from_code(code: i64) -> Option<Self> {
        match code {
            0 => Some(Self::Issued),
            1 => Some(Self::Received),
            _ => None,
        }
    }
}

/// One epoch of one channel, seen from one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VoucherKey {
    /// Issued or received.
    pub direction: Direction,
    /// The payer key.
    pub payer: Address,
    /// The payee.
    pub payee: Address,
    /// The channel's lane.
    pub lane: Lane,
    /// The channel's epoch.
    pub epoch: Epoch,
}

/// A voucher with its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoucherRow {
    /// Where it belongs.
    pub key: VoucherKey,
    /// Absolute total of the epoch, in base units.
    pub cumulative: Amount,
    /// The payer key's signature.
    pub signature: Signature,
    /// The order it pays last, where it pays one.
    pub order: Option<OrderDigest>,
    /// When it was stored.
    pub created_at: Timestamp,
}

/// One epoch of a channel that a key of this node pays in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayerEpoch {
    /// The payer key.
    pub payer: Address,
    /// The payee.
    pub payee: Address,
    /// The channel's lane.
    pub lane: Lane,
    /// The channel's epoch.
    pub epoch: Epoch,
}

impl PayerEpoch {
    /// The vouchers issued in it.
    #[must_use]
    pub const fn issued(&self) -> VoucherKey {
        let Self { payer, payee, lane, epoch } = *self;
        VoucherKey { direction: Direction::Issued, payer, payee, lane, epoch }
    }
}

/// When a store was last made from a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// How many times this state was restored.
    pub generation: u64,
    /// When.
    pub at: Timestamp,
}

/// A provider's Commit for an order (SYM-22).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitRow {
    /// The order.
    pub order: OrderDigest,
    /// Who committed.
    pub provider: Address,
    /// To what.
    pub seal: Seal,
    /// The provider's signature.
    pub signature: Signature,
    /// When it was stored.
    pub created_at: Timestamp,
}

/// A transaction that is to happen once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxPlan {
    /// Hash of the intent: the same intent is the same transaction.
    pub id: B256,
    /// The chain it is for (EIP-155).
    pub chain_id: u64,
    /// Whose nonces it uses.
    pub sender: Address,
    /// What it is for, as reports group it.
    pub kind: String,
    /// The intent itself, in the transaction manager's encoding.
    pub body: Vec<u8>,
    /// When it was planned.
    pub at: Timestamp,
}

/// Where a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TxState {
    /// Wanted; no nonce, nothing sent.
    Planned,
    /// Signed under a nonce; maybe sent.
    Sent,
    /// Mined and successful.
    Confirmed,
    /// Reverted, or refused before it was ever mined.
    Failed,
}

impl TxState {
    pub(crate) const fn code(self) -> i64 {
        match self {
            Self::Planned => 0,
            Self::Sent => 1,
            Self::Confirmed => 2,
            Self::Failed => 3,
        }
    }

    pub(crate) const fn from_code(code: i64) -> Option<Self> {
        match code {
            0 => Some(Self::Planned),
            1 => Some(Self::Sent),
            2 => Some(Self::Confirmed),
            3 => Some(Self::Failed),
            _ => None,
        }
    }

    /// Whether nothing more happens to it.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Confirmed | Self::Failed)
    }
}

/// One signed transaction of an intent; a replacement is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxAttempt {
    /// The transaction's hash.
    pub hash: B256,
    /// The nonce it is signed under.
    pub nonce: u64,
    /// The bytes to broadcast (EIP-2718).
    pub raw: Vec<u8>,
    /// When it was signed.
    pub at: Timestamp,
}

/// How a transaction was mined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxOutcome {
    /// Which attempt it was.
    pub hash: B256,
    /// The block's number.
    pub block: u64,
    /// Gas of the whole transaction.
    pub gas_used: u64,
    /// What that gas cost, in wei.
    pub fee_wei: u128,
}

/// A journalled transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxIntent {
    /// What is wanted.
    pub plan: TxPlan,
    /// Where it stands.
    pub state: TxState,
    /// The nonce it holds.
    pub nonce: Option<u64>,
    /// Everything signed for it, oldest first.
    pub attempts: Vec<TxAttempt>,
    /// How it was mined.
    pub outcome: Option<TxOutcome>,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// One durable effect. A list of them is written as one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Write {
    /// Stores a machine's snapshot in place of the last one.
    PutRecord {
        /// Which machine or collection.
        kind: String,
        /// Which one of it.
        id: Vec<u8>,
        /// The snapshot.
        bytes: Vec<u8>,
    },
    /// Forgets a snapshot; nothing happens when there is none.
    DeleteRecord {
        /// Which machine or collection.
        kind: String,
        /// Which one of it.
        id: Vec<u8>,
    },
    /// Stores a voucher as the best of its epoch. Storing the same one again does nothing.
    ///
    /// # Safety of funds
    /// An issued voucher must be stored before it is sent, a received one
    /// before it is acted on (SYM-24).
    PutVoucher(VoucherRow),
    /// Stores a Commit. Storing the same seal again does nothing.
    PutCommit(CommitRow),
    /// Writes nothing, and refuses the whole list when this store may not
    /// promise in the epoch: it was restored from a backup and the epoch is not
    /// cleared.
    ///
    /// # Safety of funds
    /// Belongs into the write that stores an order, before the order is signed away.
    Promise(PayerEpoch),
    /// Lets a restored store promise in an epoch again, from `settled` on.
    /// Does nothing in a store that never was restored.
    ///
    /// # Safety of funds
    /// Only when the chain shows, at the head and at depth, that this is the
    /// channel's epoch and that everything earmarked in it is claimed, `settled`
    /// as an absolute total: then no voucher that was lost can be above it.
    ClearEpoch {
        /// Which epoch.
        epoch: PayerEpoch,
        /// Earmarked and claimed, as an absolute total.
        settled: Amount,
        /// When the chain was looked at.
        at: Timestamp,
    },
    /// Plans a transaction. Planning the same id again does nothing.
    PlanTx(TxPlan),
    /// Records a signed transaction before it is sent.
    AddTxAttempt {
        /// The intent.
        id: B256,
        /// The signed transaction.
        attempt: TxAttempt,
    },
    /// Takes the nonce back: another transaction was mined under it.
    ///
    /// # Safety of funds
    /// Only when none of its attempts can be mined any more.
    RequeueTx {
        /// The intent.
        id: B256,
        /// When.
        at: Timestamp,
    },
    /// Records the end of a transaction.
    FinishTx {
        /// The intent.
        id: B256,
        /// Confirmed, or failed.
        succeeded: bool,
        /// How it was mined; nothing when it never was.
        outcome: Option<TxOutcome>,
        /// When.
        at: Timestamp,
    },
}

impl Write {
    /// What it does.
    #[must_use]
    pub const fn kind(&self) -> WriteKind {
        match self {
            Self::PutRecord { .. } => WriteKind::PutRecord,
            Self::DeleteRecord { .. } => WriteKind::DeleteRecord,
            Self::PutVoucher(_) => WriteKind::PutVoucher,
            Self::PutCommit(_) => WriteKind::PutCommit,
            Self::Promise(_) => WriteKind::Promise,
            Self::ClearEpoch { .. } => WriteKind::ClearEpoch,
            Self::PlanTx(_) => WriteKind::PlanTx,
            Self::AddTxAttempt { .. } => WriteKind::AddTxAttempt,
            Self::RequeueTx { .. } => WriteKind::RequeueTx,
            Self::FinishTx { .. } => WriteKind::FinishTx,
        }
    }

    /// A [`Write::PutRecord`].
    #[must_use]
    pub fn put(kind: &str, id: impl Into<Vec<u8>>, bytes: impl Into<Vec<u8>>) -> Self {
        Self::PutRecord { kind: kind.to_owned(), id: id.into(), bytes: bytes.into() }
    }

    /// A [`Write::DeleteRecord`].
    #[must_use]
    pub fn delete(kind: &str, id: impl Into<Vec<u8>>) -> Self {
        Self::DeleteRecord { kind: kind.to_owned(), id: id.into() }
    }
}
