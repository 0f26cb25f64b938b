//! What may leave the process, as a type.

use crate::{StoreError, StoreHandle, Write};

/// A value that may leave the process: what it relies on is on disk.
///
/// [`StoreHandle::keep`] makes one once its writes are durable. Whatever sends asks for a `Durable`, so a voucher
/// that was signed and not yet written does not type-check as something to send (SYM-24, L3). This compiles:
///
/// ```
/// use symbolon_store::{Durable, StoreHandle, Write};
///
/// fn send(voucher: &Durable<[u8; 64]>) {}
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let store = StoreHandle::open(dir.path()).await?;
/// let voucher = [7; 64];
/// let voucher = store.keep(vec![Write::put("voucher", [1], voucher)], voucher).await?;
/// send(&voucher);
/// # Ok(())
/// # }
/// ```
///
/// The same without the write does not:
///
/// ```compile_fail,E0308
/// use symbolon_store::{Durable, StoreHandle, Write};
///
/// fn send(voucher: &Durable<[u8; 64]>) {}
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// let store = StoreHandle::open(dir.path()).await?;
/// let voucher = [7; 64];
/// send(&voucher);
/// # Ok(())
/// # }
/// ```
///
/// And nobody else can make one. What makes no promise says so by name:
///
/// ```
/// # use symbolon_store::Durable;
/// let question = Durable::promises_nothing("is anybody there?");
/// ```
///
/// ```compile_fail,E0451
/// # use symbolon_store::Durable;
/// let question = Durable { value: "is anybody there?" };
/// ```
///
/// # Safety of funds
/// The type says that a write has ended, not that it was the right one: what has to be written for a value is the
/// caller's to know, and a machine's effects say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durable<T> {
    value: T,
}

impl<T> Durable<T> {
    /// A value that nobody can hold this node to: a question, a repetition of what is on disk already, or what
    /// another party signed.
    pub const fn promises_nothing(value: T) -> Self {
        Self { value }
    }

    /// What is made of the value, and of nothing that came after it.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Durable<U> {
        Durable { value: make(self.value) }
    }

    /// The value.
    pub const fn get(&self) -> &T {
        &self.value
    }

    /// The value, for whatever does not leave the process.
    pub fn into_inner(self) -> T {
        self.value
    }
}

/// Each of them is as durable as all.
impl<T: IntoIterator> IntoIterator for Durable<T> {
    type Item = Durable<T::Item>;
    type IntoIter = core::iter::Map<T::IntoIter, fn(T::Item) -> Durable<T::Item>>;

    fn into_iter(self) -> Self::IntoIter {
        self.value.into_iter().map(|value| Durable { value })
    }
}

impl StoreHandle {
    /// Writes the whole list, or nothing of it, and then gives `value` as something that may leave the process. An
    /// empty list is not waited for: what is unchanged is on disk already.
    ///
    /// # Errors
    /// As [`StoreHandle::write`]; `value` is gone then.
    pub async fn keep<T>(&self, writes: Vec<Write>, value: T) -> Result<Durable<T>, StoreError> {
        if !writes.is_empty() {
            self.write(writes).await?;
        }
        Ok(Durable { value })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn sym_24_l3_what_may_leave_is_on_disk_and_what_was_not_written_is_not_given() {
        let dir = tempfile::tempdir().unwrap();
        let store = StoreHandle::open(dir.path()).await.unwrap();
        let kept = store.keep(vec![Write::put("n", [1], [7])], vec![7, 8]).await.unwrap();
        assert_eq!(store.read(|view| view.record("n", &[1])).unwrap(), Some(vec![7]));
        assert_eq!(kept.get(), &[7, 8]);
        let doubled: Vec<i32> = kept.into_iter().map(|one| one.map(|one| one * 2).into_inner()).collect();
        assert_eq!(doubled, [14, 16]);
        let too_large = Write::put("n", [2], vec![0; crate::MAX_RECORD_BYTES + 1]);
        assert!(matches!(store.keep(vec![too_large], ()).await, Err(StoreError::TooLarge { .. })));
        store.clone().close().await;
        assert!(matches!(store.keep(vec![Write::put("n", [3], [1])], ()).await, Err(StoreError::Closed)));
        assert!(store.keep(Vec::new(), ()).await.is_ok(), "nothing changed");
    }
}
