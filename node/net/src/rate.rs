//! Rate limits: how often something may happen, and the memory it takes to know.

use std::time::Duration;

use tokio::time::Instant;

/// A rate: `burst` at once, then one more every `every`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many may happen at once after a rest. At least 1.
    pub burst: u32,
    /// How long until one more may happen.
    pub every: Duration,
}

impl Rate {
    /// A rate of `burst` at once and one more every `every`.
    pub const fn new(burst: u32, every: Duration) -> Self {
        Self { burst, every }
    }
}

/// One metered thing under a [`Rate`].
///
/// It keeps a single instant, the moment at which the meter is at rest again,
/// so a map of these costs little for every peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meter {
    rested_at: Instant,
}

impl Meter {
    pub(crate) fn new(now: Instant) -> Self {
        Self { rested_at: now }
    }

    /// Counts one event; false when it comes too early, and then it is not counted.
    pub(crate) fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let base = self.rested_at.max(now);
        let Some(next) = base.checked_add(rate.every) else {
            return false;
        };
        let allowed = rate.every.saturating_mul(rate.burst);
        if next.saturating_duration_since(now) > allowed {
            return false;
        }
        self.rested_at = next;
        true
    }

    /// True when forgetting this meter changes nothing.
    pub(crate) fn is_rested(&self, now: Instant) -> bool {
        self.rested_at <= now
    }
}

#[cfg(test)]
mod tests {
    //! Rates are exact at their edges.
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn n3_a_meter_allows_the_burst_and_refills_one_at_a_time() {
        let start = Instant::now();
        let rate = Rate::new(3, Duration::from_secs(1));
        let mut meter = Meter::new(start);
        assert!((0..3).all(|_| meter.take(rate, start)));
        assert!(!meter.take(rate, start));
        let later = start + Duration::from_millis(999);
        assert!(!meter.take(rate, later));
        let later = start + Duration::from_secs(1);
        assert!(meter.take(rate, later));
        assert!(!meter.take(rate, later));
        assert!(!meter.is_rested(later));
        let rested = start + Duration::from_secs(4);
        assert!(meter.is_rested(rested));
        assert!((0..3).all(|_| meter.take(rate, rested)));
        assert!(!meter.take(rate, rested));
    }

    #[tokio::test]
    async fn n3_a_refused_event_does_not_lengthen_the_wait() {
        let start = Instant::now();
        let rate = Rate::new(1, Duration::from_secs(1));
        let mut meter = Meter::new(start);
        assert!(meter.take(rate, start));
        assert!((0..1_000).all(|_| !meter.take(rate, start)));
        assert!(meter.take(rate, start + Duration::from_secs(1)));
    }

    #[tokio::test]
    async fn n3_a_burst_of_zero_allows_nothing() {
        let start = Instant::now();
        assert!(!Meter::new(start).take(Rate::new(0, Duration::from_secs(1)), start));
    }
}
