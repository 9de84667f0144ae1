//! How long to wait after a failed start: exponential, with jitter so that many agents do not retry together.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_mins(5);

/// The delays after consecutive failures. Deterministic for a seed.
#[derive(Debug)]
pub struct Backoff {
    seed: u64,
    /// `None` while nothing has failed: that is so of nearly all agents, and this is large.
    delays: Option<Box<ExponentialBackoff>>,
    failures: u32,
}

impl Backoff {
    /// Nothing has failed yet. The seed spreads the jitter of different agents.
    pub const fn new(seed: u64) -> Self {
        Self { seed, delays: None, failures: 0 }
    }

    /// One more failure: how long to wait now, between 0.25 s and 10 min (twice the longest, by jitter).
    pub fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let seed = self.seed;
        self.delays.get_or_insert_with(|| Box::new(delays(seed))).next().unwrap_or(LONGEST)
    }

    /// It works again.
    pub fn succeeded(&mut self) {
        if self.failures > 0 {
            *self = Self::new(self.seed);
        }
    }

    /// How many failures in a row.
    pub const fn failures(&self) -> u32 {
        self.failures
    }
}

fn delays(seed: u64) -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(FIRST)
        .with_max_delay(LONGEST)
        .with_factor(2.0)
        .with_jitter()
        .with_jitter_seed(seed)
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_stay_bounded_and_start_anew_after_a_success() {
        let mut backoff = Backoff::new(7);
        let delays: Vec<_> = (0..40).map(|_| backoff.failed()).collect();
        assert!(delays[0] >= FIRST && delays[0] < FIRST * 2, "{:?}", delays[0]);
        assert!(delays[6] > delays[0] * 8, "{delays:?}");
        assert!(delays.iter().all(|delay| *delay <= LONGEST * 2), "{delays:?}");
        assert_eq!(backoff.failures(), 40);
        backoff.succeeded();
        assert_eq!((backoff.failures(), backoff.failed()), (0, delays[0]));
    }

    #[test]
    fn two_agents_do_not_retry_at_the_same_time() {
        assert_ne!(Backoff::new(1).failed(), Backoff::new(2).failed());
    }
}
