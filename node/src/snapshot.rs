//! Machines as the store keeps them: their whole state, in one encoding.

use crate::context::NodeError;
use serde::{Serialize, de::DeserializeOwned};
use symbolon_store::{StoreHandle, View, Write};

/// A kind of record and what it holds.
pub(crate) trait Snapshot: Serialize + DeserializeOwned {
    /// The kind's name in the store.
    const KIND: &'static str;

    /// Takes over what the store keeps beside the record and later than it. Every record that is read goes through here.
    ///
    /// # Errors
    /// [`NodeError`] when the store does not read.
    fn catch_up(&mut self, _view: &View<'_>) -> Result<(), NodeError> {
        Ok(())
    }
}

/// The write that stores `value` under `id`.
pub(crate) fn put<T: Snapshot>(id: &[u8], value: &T) -> Result<Write, NodeError> {
    let bytes = postcard::to_allocvec(value).map_err(|_| NodeError::Snapshot { kind: T::KIND })?;
    Ok(Write::put(T::KIND, id, bytes))
}

/// Everything stored of a kind.
///
/// # Safety of funds
/// A record that cannot be read stops the node: guessing would sign twice.
pub(crate) fn all<T: Snapshot>(store: &StoreHandle) -> Result<Vec<T>, NodeError> {
    store.read(|view| all_in(&view))
}

/// As [`all`], of an open view.
pub(crate) fn all_in<T: Snapshot>(view: &View<'_>) -> Result<Vec<T>, NodeError> {
    let mut values = Vec::new();
    view.for_each_record(T::KIND, |_, bytes| {
        values.push(read(view, bytes)?);
        Ok::<_, NodeError>(())
    })?;
    Ok(values)
}

/// The one stored under `id`, if any.
pub(crate) fn one_in<T: Snapshot>(view: &View<'_>, id: &[u8]) -> Result<Option<T>, NodeError> {
    view.record(T::KIND, id)?.map(|bytes| read(view, &bytes)).transpose()
}

fn read<T: Snapshot>(view: &View<'_>, bytes: &[u8]) -> Result<T, NodeError> {
    let mut value: T = postcard::from_bytes(bytes).map_err(|_| NodeError::Snapshot { kind: T::KIND })?;
    value.catch_up(view)?;
    Ok(value)
}
