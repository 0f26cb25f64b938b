//! How an endpoint fares: for how long it is left out, and why. A value that
//! takes the time as an argument.

use crate::ChainError;
use std::time::{Duration, Instant};

/// How long an endpoint is left out after its first failure.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// The longest it is left out without having asked for it.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct Health {
    /// When it last served the right chain.
    pub(crate) verified: Option<Instant>,
    /// The newest block it showed.
    pub(crate) head: Option<u64>,
    /// What went wrong last; nothing since it answered well.
    pub(crate) trouble: Option<ChainError>,
    failures: u32,
    out_until: Option<Instant>,
    held_until: Option<Instant>,
}

impl Health {
    /// Notes a failure; answers for how long the endpoint is left out. `hold`
    /// is what it asked for itself.
    pub(crate) fn failed(&mut self, now: Instant, hold: Option<Duration>, why: ChainError) -> Duration {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(8)).min(LONGEST_PAUSE);
        let pause = hold.map_or(pause, |hold| hold.max(pause));
        self.failures = self.failures.saturating_add(1);
        self.out_until = now.checked_add(pause);
        self.held_until = hold.and_then(|hold| now.checked_add(hold));
        // It may be another machine when it comes back.
        self.verified = None;
        self.trouble = Some(why);
        pause
    }

    pub(crate) fn answered(&mut self) {
        self.failures = 0;
        self.out_until = None;
        self.held_until = None;
        self.trouble = None;
    }

    pub(crate) fn is_verified(&self, now: Instant, for_at_most: Duration) -> bool {
        self.verified.is_some_and(|at| now.saturating_duration_since(at) < for_at_most)
    }

    /// For how long yet it is left out.
    pub(crate) fn left_out(&self, now: Instant) -> Option<Duration> {
        left(self.out_until, now)
    }

    /// For how long yet it wants to be left alone.
    pub(crate) fn hold_left(&self, now: Instant) -> Option<Duration> {
        left(self.held_until, now)
    }

    pub(crate) fn held(&self, now: Instant) -> bool {
        self.hold_left(now).is_some()
    }
}

fn left(until: Option<Instant>, now: Instant) -> Option<Duration> {
    until.map(|until| until.saturating_duration_since(now)).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n4_a_failing_endpoint_is_left_out_for_a_growing_while_and_comes_back() {
        let (mut health, now) = (Health::default(), Instant::now());
        assert_eq!(health.left_out(now), None);
        let pauses: Vec<u128> = (0..10).map(|_| health.failed(now, None, ChainError::NoEndpoint).as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        assert!(health.left_out(now).is_some() && !health.held(now) && health.trouble.is_some());
        assert_eq!(health.left_out(now + LONGEST_PAUSE), None);
        health.answered();
        assert!(health.left_out(now).is_none() && health.trouble.is_none());
        // It asked for more, and gets it; for less, and does not.
        assert_eq!(health.failed(now, Some(Duration::from_secs(9)), ChainError::NoEndpoint), Duration::from_secs(9));
        assert!(health.held(now));
        assert_eq!(health.failed(now, Some(Duration::ZERO), ChainError::NoEndpoint), Duration::from_millis(500));
        assert!(!health.held(now));
        health.verified = Some(now);
        assert!(health.is_verified(now, Duration::from_secs(1)));
        assert!(!health.is_verified(now + Duration::from_secs(1), Duration::from_secs(1)));
        health.failed(now, None, ChainError::NoEndpoint);
        assert!(!health.is_verified(now, Duration::from_secs(1)));
    }
}
