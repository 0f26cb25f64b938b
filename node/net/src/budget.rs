//! A shared number of bytes that messages in memory may take together.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Bytes that may be held at once by everybody who shares this value.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    free: Arc<AtomicUsize>,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self { free: Arc::new(AtomicUsize::new(bytes)) }
    }

    /// A reservation that holds nothing yet.
    pub(crate) fn empty(&self) -> Reservation {
        Reservation { free: Arc::clone(&self.free), held: 0 }
    }

    /// Reserves `bytes`, or nothing when they are not free.
    pub(crate) fn reserve(&self, bytes: usize) -> Option<Reservation> {
        let mut reservation = self.empty();
        reservation.grow(bytes).then_some(reservation)
    }

    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.free.load(Ordering::Acquire)
    }
}

/// Bytes taken from a [`Budget`]; dropping it gives them back.
#[derive(Debug)]
pub(crate) struct Reservation {
    free: Arc<AtomicUsize>,
    held: usize,
}

impl Reservation {
    /// Takes `bytes` more; false, and nothing taken, when they are not free.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let taken = self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, |free| free.checked_sub(bytes)).is_ok();
        if taken {
            self.held = self.held.saturating_add(bytes);
        }
        taken
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.free.fetch_add(self.held, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    //! Reservations add up and come back.
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn n2_a_budget_is_never_overdrawn_and_comes_back() {
        let budget = Budget::new(10);
        let mut first = budget.reserve(6).unwrap();
        assert!(budget.reserve(5).is_none());
        let second = budget.reserve(4).unwrap();
        assert!(!first.grow(1));
        drop(second);
        assert!(first.grow(4));
        assert_eq!(budget.free(), 0);
        drop(first);
        assert_eq!(budget.free(), 10);
    }
}
