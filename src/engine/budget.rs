//! A number that many share: bytes of held bodies, callers that wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A shared budget. [`Budget::reserve`] never waits.
#[derive(Debug)]
pub struct Budget {
    limit: AtomicU64,
    used: AtomicU64,
}

/// A part of a budget; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    amount: u64,
}

impl Budget {
    /// A budget of this size.
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit: AtomicU64::new(limit), used: AtomicU64::new(0) })
    }

    /// Takes this much, if it is there.
    pub fn reserve(self: &Arc<Self>, amount: u64) -> Option<Reservation> {
        let limit = self.limit.load(Ordering::Relaxed);
        self.used
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |used| {
                used.checked_add(amount).filter(|total| *total <= limit)
            })
            .ok()?;
        Some(Reservation { budget: Arc::clone(self), amount })
    }

    /// Changes the size. What is taken beyond a smaller size stays taken until it is given back.
    pub fn resize(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// The size.
    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// How much is taken.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Acquire)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.amount, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_not_given_and_what_is_dropped_comes_back() {
        let budget = Budget::new(10);
        let six = budget.reserve(6).unwrap();
        assert!(budget.reserve(5).is_none());
        let four = budget.reserve(4).unwrap();
        assert_eq!(budget.used(), 10);
        drop((six, four));
        assert_eq!(budget.used(), 0);
        assert!(budget.reserve(11).is_none());
    }

    #[test]
    fn shrinking_takes_nothing_away_and_refuses_more() {
        let budget = Budget::new(10);
        let all = budget.reserve(10).unwrap();
        budget.resize(5);
        assert!(budget.reserve(1).is_none());
        drop(all);
        assert!(budget.reserve(5).is_some());
    }
}
