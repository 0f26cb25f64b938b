//! The writer: one connection, one process, durable when a call returns.

use crate::{
    StoreError, Transaction, View, Write,
    faults::Faults,
    lock::FolderLock,
    open::{self, Opened},
    points::{Moment, Point, Witness, WriteKind},
    transaction::Numbers,
};
use rusqlite::{Connection, TransactionBehavior};
use std::{
    cell::RefCell,
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// Limits of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// The most the database file may grow to. Reaching it is a full disk: the
    /// store takes no more writes until it is opened with more room.
    pub max_bytes: Option<u64>,
    /// The longest the file is checked for damage when it is opened. What was
    /// not looked at by then is noticed when it is read.
    pub check_within: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { max_bytes: None, check_within: Duration::from_secs(5) }
    }
}

/// How much of the file was checked when it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// All of it.
    Whole,
    /// The time was over first.
    Partly,
}

/// The opened store. Dropping it lets go of the folder.
#[derive(Debug)]
pub struct Store {
    // Declared before what it lies in, so that it is closed first.
    conn: Connection,
    path: PathBuf,
    faults: Arc<Faults>,
    checked: Checked,
    touched: RefCell<BTreeSet<WriteKind>>,
    numbers: RefCell<Numbers>,
    last_sync: Duration,
    witness: Option<Arc<dyn Witness>>,
    /// Where a copy of a store lies that cannot be used in its place.
    _stand_in: Option<tempfile::TempDir>,
    _lock: FolderLock,
}

impl Store {
    /// Opens the store in `dir`, making both when they are not there. Takes
    /// the folder for this process, checks the file and brings an older schema
    /// up to date.
    ///
    /// A store that is damaged, or lies where nothing can be written or on a full disk, opens all
    /// the same as far as it can be read, and takes no writes (N12):
    /// [`Store::closed_by`] says why.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process has the folder,
    /// [`StoreError::SchemaTooNew`], [`StoreError::ForeignDatabase`] or
    /// [`StoreError::Damaged`] for a file that cannot be used, and errors of
    /// the disk.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_with(dir, StoreOptions::default())
    }

    /// As [`Store::open`], with limits.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(dir: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        Self::open_inner(dir, options, None)
    }

    /// As [`Store::open_with`]; `witness` sees every point of every write.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_watched(dir: &Path, options: StoreOptions, witness: Arc<dyn Witness>) -> Result<Self, StoreError> {
        Self::open_inner(dir, options, Some(witness))
    }

    pub(crate) fn open_inner(
        dir: &Path,
        options: StoreOptions,
        witness: Option<Arc<dyn Witness>>,
    ) -> Result<Self, StoreError> {
        let Opened { conn, path, lock, checked, closed_by, stand_in } = open::open(dir, options)?;
        let faults = Arc::new(Faults::default());
        if let Some(error) = closed_by {
            faults.seen(error);
        }
        Ok(Self {
            conn,
            path,
            faults,
            checked,
            touched: RefCell::default(),
            numbers: RefCell::default(),
            last_sync: Duration::ZERO,
            witness,
            _stand_in: stand_in,
            _lock: lock,
        })
    }

    /// The stored state.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        View { conn: &self.conn, faults: &self.faults }
    }

    /// Whether a fault of the disk has closed the store for writing (N12).
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.closed_by().is_some()
    }

    /// The fault that closed the store for writing.
    #[must_use]
    pub fn closed_by(&self) -> Option<&StoreError> {
        self.faults.first()
    }

    /// How much of the file was checked when it was opened.
    #[must_use]
    pub const fn checked(&self) -> Checked {
        self.checked
    }

    /// Writes the whole list, or nothing of it. Durable when it returns.
    ///
    /// # Errors
    /// [`StoreError`] of the first write that is refused, or of the disk.
    pub fn write(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        self.transaction(|tx| tx.apply_all(writes))
    }

    /// Runs `body` as one atomic write. What it answers is durable when this
    /// returns; when it answers an error nothing is written.
    ///
    /// # Errors
    /// What `body` answers, [`StoreError::ReadOnly`] after an earlier error of
    /// the disk, [`StoreError::Disk`] on a new one.
    pub fn transaction<T, E: From<StoreError>>(
        &mut self,
        body: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let faults = Arc::clone(&self.faults);
        faults.refuse()?;
        self.touched.borrow_mut().clear();
        let begun = self.conn.transaction_with_behavior(TransactionBehavior::Immediate);
        let tx = begun.map_err(|error| faults.seen(error.into()))?;
        let value = body(&Transaction::new(&tx, &faults, &self.touched, &self.numbers))?;
        // The disk may have failed inside, whatever `body` made of it.
        faults.refuse()?;
        pass(self.witness.as_ref(), &self.touched, Moment::Staged);
        let began = Instant::now();
        faults.note(|| Ok(tx.commit()?))?;
        self.last_sync = began.elapsed();
        pass(self.witness.as_ref(), &self.touched, Moment::Durable);
        Ok(value)
    }

    /// Runs jobs in one transaction, each of which answers whether it stands. One that does not
    /// leaves the others alone: it is undone, except where a job says beforehand that it has
    /// written nothing then, which saves it a savepoint.
    pub(crate) fn group<J>(&mut self, jobs: impl Iterator<Item = (bool, J)>) -> Result<(), StoreError>
    where
        J: FnOnce(&Transaction<'_>) -> bool,
    {
        self.transaction(|tx| {
            for (plain, job) in jobs {
                let before = tx.changes();
                if !plain {
                    tx.savepoint("SAVEPOINT job")?;
                }
                let stands = job(tx);
                if tx.is_lost() {
                    return Err(StoreError::ReadOnly);
                }
                if plain {
                    if !stands && tx.changes() != before {
                        // It was not what it said: nothing of the group may stand.
                        return Err(StoreError::HalfRefused);
                    }
                } else {
                    if !stands {
                        tx.savepoint("ROLLBACK TO job")?;
                    }
                    tx.savepoint("RELEASE job")?;
                }
            }
            Ok(())
        })
    }

    /// How long the last commit took, most of it the disk.
    pub(crate) const fn last_sync(&self) -> Duration {
        self.last_sync
    }

    pub(crate) fn faults(&self) -> Arc<Faults> {
        Arc::clone(&self.faults)
    }

    /// A second connection that only reads.
    pub(crate) fn reader(&self) -> Result<Connection, StoreError> {
        open::reader(&self.path)
    }

    pub(crate) const fn conn(&self) -> &Connection {
        &self.conn
    }
}

fn pass(witness: Option<&Arc<dyn Witness>>, touched: &RefCell<BTreeSet<WriteKind>>, moment: Moment) {
    let Some(witness) = witness else { return };
    for write in touched.borrow().iter() {
        witness.at(Point { write: *write, moment });
    }
}
