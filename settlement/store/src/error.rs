//! Why the store refuses or fails. Cheap to clone: one failed commit is the
//! answer to every transaction that shared it.

use crate::PayerEpoch;
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
    /// A list of writes was refused in its middle, and with it all that shared its sync. A fault in this crate.
    #[error("a list of writes was refused in its middle")]
    HalfRefused,
    /// The disk is full, broken or gone.
    #[error("the disk failed")]
    Disk(#[source] Arc<rusqlite::Error>),
    /// A row whose bytes are not those that were written.
    #[error("a row of {table} has changed on disk")]
    Rotten {
        /// The table.
        table: &'static str,
    },
    /// The folder or the file cannot be written.
    #[error("{} cannot be written", path.display())]
    WriteProtected {
        /// The folder or file.
        path: PathBuf,
    },
    /// There is something where a new file or store was to be.
    #[error("{} exists already; it is not overwritten", path.display())]
    Occupied {
        /// What is there.
        path: PathBuf,
    },
    /// There is no store to back up.
    #[error("there is no store in {}", path.display())]
    NoStore {
        /// The folder.
        path: PathBuf,
    },
    /// A file that is no backup, or none any more.
    #[error("{} cannot be restored: {why}", path.display())]
    BadBackup {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A restored store may not promise anything in this epoch.
    #[error("this store was restored from a backup and may have promised more in epoch {} to {} than it knows", epoch.epoch, epoch.payee)]
    Frozen {
        /// The epoch.
        epoch: PayerEpoch,
    },
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
        matches!(
            self,
            Self::Disk(_) | Self::ReadOnly | Self::Rotten { .. } | Self::Damaged { .. } | Self::WriteProtected { .. }
        )
    }

    /// Whether there is no room left.
    #[must_use]
    pub fn is_full(&self) -> bool {
        // The second has no code of its own in SQLite: no room for the index of the log.
        let is_full = |error: &rusqlite::Error| {
            error.sqlite_error_code() == Some(ErrorCode::DiskFull)
                || error.sqlite_error().is_some_and(|error| error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
        };
        matches!(self, Self::Disk(error) if is_full(error))
    }

    /// What to do about it, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Folder { .. } => "check that the folder exists, is yours, and can be written",
            Self::Locked { .. } => "one process has a data folder: stop the other one, or give another --data",
            Self::SchemaTooNew { .. } => "a newer symbolon wrote this folder: use that version, or another --data",
            Self::SchemaTooOld { .. } => "start the node on it once: that brings it up to date",
            Self::ForeignDatabase { .. } => "give another --data, or move the file away",
            Self::Disk(_) if self.is_full() => "make room on the disk and start again; until then only claims go out",
            Self::Damaged { .. } | Self::Rotten { .. } | Self::BadRow { .. } => {
                "let it claim what it holds, then move the folder away and use symbolon restore; a damaged folder can still be backed up"
            }
            Self::Disk(_) | Self::ReadOnly => "check the disk and start again; until then only claims go out",
            Self::WriteProtected { .. } => "mount the disk writable and start again; until then only claims go out",
            Self::Frozen { .. } => "it is free again once all of its earmark is claimed, or after its release",
            Self::Occupied { .. } => "move it away, or give another place",
            Self::NoStore { .. } => "name the node's folder with --data",
            Self::BadBackup { .. } => "take another backup",
            Self::Closed => "start again",
            _ => return None,
        })
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
