//! Why the store refuses or fails. Cheap to clone: one failed commit is the
//! answer to every transaction that shared it.

use rusqlite::ErrorCode;
use std::{io, path::PathBuf, sync::Arc};
use symbolon_primitives::{Amount, B256, Seal};

/// Why the store did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The data folder cannot be made, read or locked.
    #[error("data folder {}", path.display())]
    Folder {
        /// The folder or the file in it.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// Another process has the data folder (N9).
    #[error("data folder {} is in use{}", path.display(), pid.map(|pid| format!(" by process {pid}")).unwrap_or_default())]
    Locked {
        /// The folder.
        path: PathBuf,
        /// Who holds it, when it said so.
        pid: Option<u32>,
    },
    /// A newer program wrote the file (N13).
    #[error("the store has schema {have}, this program knows up to {supported}")]
    SchemaTooNew {
        /// The file's schema.
        have: u32,
        /// The newest this program knows.
        supported: u32,
    },
    /// An older program wrote the file, and it is only looked at (N13).
    #[error("the store has schema {have}, this program reads {needed}; a node that opens it brings it up to date")]
    SchemaTooOld {
        /// The file's schema.
        have: u32,
        /// What this program reads.
        needed: u32,
    },
    /// A database of another program.
    #[error("the file belongs to another program (application id {application_id:#x})")]
    ForeignDatabase {
        /// The id the file carries.
        application_id: i64,
    },
    /// SQLite's own check found the file damaged.
    #[error("the store is damaged: {finding}")]
    Damaged {
        /// The first finding.
        finding: String,
    },
    /// An earlier error of the disk closed the store for writing (N12).
    #[error("the store takes no more writes after an error of the disk; open it again")]
    ReadOnly,
    /// The disk is full, broken or gone.
    #[error("the disk failed")]
    Disk(#[source] Arc<rusqlite::Error>),
    /// Any other answer of SQLite; a fault in this crate or a trigger's refusal.
    #[error("the database refused")]
    Sql(#[source] Arc<rusqlite::Error>),
    /// A voucher's total would fall within its epoch (L2).
    #[error("voucher total {offered}, the epoch stands at {have}")]
    VoucherBelow {
        /// The highest total stored.
        have: Amount,
        /// The total refused.
        offered: Amount,
    },
    /// A second, different signature for a total already issued.
    #[error("total {cumulative} was issued under another signature")]
    VoucherConflict {
        /// The total.
        cumulative: Amount,
    },
    /// A second, different Commit of one provider for one order (SYM-22).
    #[error("committed to {have}, refused {offered}")]
    CommitConflict {
        /// The seal stored.
        have: Seal,
        /// The seal refused.
        offered: Seal,
    },
    /// A transaction intent that was never planned.
    #[error("no transaction intent {id}")]
    UnknownTx {
        /// The intent.
        id: B256,
    },
    /// A transaction intent that has its outcome already.
    #[error("transaction intent {id} is finished")]
    TxFinished {
        /// The intent.
        id: B256,
    },
    /// An attempt under a nonce other than the one the intent holds.
    #[error("transaction intent {id} holds nonce {have}, not {offered}")]
    NonceConflict {
        /// The intent.
        id: B256,
        /// The nonce it holds.
        have: u64,
        /// The nonce refused.
        offered: u64,
    },
    /// Something above a limit of the store.
    #[error("{what} of {have}, at most {limit}")]
    TooLarge {
        /// What was too large.
        what: &'static str,
        /// Its size or value.
        have: u64,
        /// The limit.
        limit: u64,
    },
    /// A row that this program cannot have written.
    #[error("a row of {table} does not read back")]
    BadRow {
        /// The table.
        table: &'static str,
    },
    /// The writer has stopped.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Whether the disk, not the caller, is at fault: the store is read-only
    /// from here on.
    #[must_use]
    pub fn is_disk(&self) -> bool {
        matches!(self, Self::Disk(_) | Self::ReadOnly)
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let disk = matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::DiskFull
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
                    | ErrorCode::CannotOpen
                    | ErrorCode::ReadOnly
                    | ErrorCode::OutOfMemory
            )
        );
        if disk { Self::Disk(Arc::new(error)) } else { Self::Sql(Arc::new(error)) }
    }
}
