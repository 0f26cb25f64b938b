//! Durable state of one node: what it signed, what was signed to it, the
//! snapshots of its machines and the journal of its transactions.
//!
//! Layer 1. One SQLite file in the data folder, one writing process (a lock
//! file), one writing connection. A call that writes returns when the bytes
//! are on disk: WAL with `synchronous = FULL`, and the folder's own entry is
//! synced when the file is made. What may leave the process only then is a
//! [`Durable`], which [`StoreHandle::keep`] alone makes of what was written.
//!
//! The store holds no protocol rule beyond the guards that must survive a
//! mistake above it, which stand in the database itself as triggers: the total
//! of a voucher never falls (SYM-24, L2), one total has one signature, and a
//! provider has one Commit for an order (SYM-22).
//!
//! An epoch of a channel is one row, its best voucher, raised in place; a lower
//! one is remembered only where it paid an order. So a voucher costs one
//! statement, and its guards look at the row they guard and no other.
//!
//! After an error of the disk the store refuses every further write until it
//! is opened again (N12): whoever needs a write before it signs stops signing,
//! while reads, and with them claims, go on. A file that is damaged or cannot
//! be written opens in that state: what can be read of it is read from a copy.
//!
//! A store made from a backup is older than what its keys have signed. It
//! promises nothing as payer in an epoch until the chain has cleared it.
//!
//! Content (modules, inputs, outputs) is absent: it lives in plain files.

#![warn(clippy::arithmetic_side_effects)]

mod backup;
mod durable;
mod error;
mod faults;
mod handle;
mod leaves;
mod lock;
mod look;
mod open;
mod points;
mod queue;
mod rescue;
mod rows;
mod schema;
mod store;
mod sum;
mod transaction;
mod view;

pub use backup::{Contents, backup, restore};
pub use durable::Durable;
pub use error::StoreError;
pub use handle::StoreHandle;
pub use look::Look;
pub use points::{Moment, Point, Witness, WriteKind};
pub use rows::{
    CommitRow, Direction, PayerEpoch, Restored, TxAttempt, TxIntent, TxOutcome, TxPlan, TxState, VoucherKey,
    VoucherRow, Write,
};
pub use schema::SCHEMA_VERSION;
pub use store::{Checked, Store, StoreOptions};
pub use transaction::Transaction;
pub use view::{GasTotal, Record, View};

/// The largest snapshot one record holds, in bytes.
pub const MAX_RECORD_BYTES: usize = 4 << 20;

/// The longest name of a kind, and the longest id of a record, in bytes.
pub const MAX_NAME_BYTES: usize = 128;
