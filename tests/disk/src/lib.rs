//! A disk that a test can watch and break.
//!
//! Between SQLite and its own file layer: everything that changes a file in a
//! watched folder is counted and recorded, and from a chosen change on it
//! fails. From the record follow all states that a cut of the power could have
//! left behind. The store under test knows nothing of it: the layer is put in
//! as SQLite's default one.
//!
//! What is recorded is what SQLite asks of the system. Whether the system keeps
//! what it promised about `fsync` is not tested here.

#![allow(unsafe_code)]

mod layer;
mod record;

pub use record::{Change, Fault, Image, Record, Tear, Trouble};

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
};

#[derive(Debug, Default)]
struct State {
    record: Record,
    trouble: Option<Trouble>,
    changes: u64,
    fired: bool,
}

static FOLDERS: OnceLock<Mutex<BTreeMap<PathBuf, State>>> = OnceLock::new();

fn with<T>(dir: &Path, act: impl FnOnce(&mut State) -> T) -> Option<T> {
    let folders = FOLDERS.get()?;
    folders.lock().unwrap_or_else(PoisonError::into_inner).get_mut(dir).map(act)
}

/// One watched folder; no longer watched when this is dropped.
#[derive(Debug)]
pub struct Disk {
    dir: PathBuf,
}

impl Disk {
    /// Watches the SQLite files that are opened in `dir` from now on.
    ///
    /// # Errors
    /// When the folder is not there, or SQLite takes no layer.
    pub fn watch(dir: &Path) -> std::io::Result<Self> {
        layer::install()?;
        let dir = dir.canonicalize()?;
        let folders = FOLDERS.get_or_init(Mutex::default);
        folders.lock().unwrap_or_else(PoisonError::into_inner).insert(dir.clone(), State::default());
        Ok(Self { dir })
    }

    /// Makes changes fail from now on, counted from here.
    pub fn trouble(&self, trouble: Option<Trouble>) {
        with(&self.dir, |state| {
            state.trouble = trouble;
            state.changes = 0;
            state.fired = false;
        });
    }

    /// Whether any change has failed since [`Disk::trouble`].
    #[must_use]
    pub fn fired(&self) -> bool {
        with(&self.dir, |state| state.fired).unwrap_or_default()
    }

    /// How many changes there were since [`Disk::trouble`].
    #[must_use]
    pub fn changes(&self) -> u64 {
        with(&self.dir, |state| state.changes).unwrap_or_default()
    }

    /// Notes in the record that something was acknowledged.
    pub fn acknowledged(&self, what: u64) {
        with(&self.dir, |state| state.record.push(Change::Acknowledged(what)));
    }

    /// What has happened so far.
    #[must_use]
    pub fn record(&self) -> Record {
        with(&self.dir, |state| state.record.clone()).unwrap_or_default()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Some(folders) = FOLDERS.get() {
            folders.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.dir);
        }
    }
}

/// A change is about to happen; the fault it meets, if any.
fn meets(dir: &Path, change: Change) -> Option<Fault> {
    with(dir, |state| {
        let number = state.changes;
        state.changes = number.saturating_add(1);
        let fault = state.trouble.and_then(|trouble| trouble.at(number));
        if fault.is_some() {
            state.fired = true;
        } else {
            state.record.push(change);
        }
        fault
    })
    .flatten()
}

fn is_watched(dir: &Path) -> bool {
    with(dir, |_| ()).is_some()
}
