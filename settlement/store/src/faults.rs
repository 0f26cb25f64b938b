//! The first fault of the disk closes the store for writing (N12).

use crate::StoreError;
use std::sync::OnceLock;

/// What closed the store, if anything did.
#[derive(Debug, Default)]
pub(crate) struct Faults(OnceLock<StoreError>);

impl Faults {
    /// Runs a step and remembers the fault it meets.
    pub(crate) fn note<T>(&self, step: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        step().map_err(|error| self.seen(error))
    }

    /// Remembers an error that is the disk's.
    pub(crate) fn seen(&self, error: StoreError) -> StoreError {
        if error.is_disk() && !matches!(error, StoreError::ReadOnly) {
            // Only the first one counts; whatever follows may follow from it.
            let _known = self.0.set(error.clone());
        }
        error
    }

    pub(crate) fn first(&self) -> Option<&StoreError> {
        self.0.get()
    }

    /// An error once anything has closed the store.
    pub(crate) fn refuse(&self) -> Result<(), StoreError> {
        if self.first().is_some() { Err(StoreError::ReadOnly) } else { Ok(()) }
    }
}
