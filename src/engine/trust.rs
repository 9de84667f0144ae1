//! How long what the watch has told is believed after it broke (invariant 3): an outage of the API must not stop warm
//! agents, and the address of a pod that ended unseen must not be dialled for ever.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::time::Moment;

/// The watch stands.
const FRESH: u64 = u64::MAX;

/// Since when the watch is broken, and how long it is trusted all the same. Read by every dial, so without a lock.
pub(super) struct Trust {
    /// Microseconds, as [`Moment`]; or [`FRESH`].
    stale_since: AtomicU64,
    limit_micros: AtomicU64,
}

impl Trust {
    /// Before the first complete view there is nobody to dial.
    pub(super) fn new(limit: Duration) -> Self {
        Self { stale_since: AtomicU64::new(FRESH), limit_micros: AtomicU64::new(micros(limit)) }
    }

    pub(super) fn set_limit(&self, limit: Duration) {
        self.limit_micros.store(micros(limit), Ordering::Relaxed);
    }

    /// The watch stands, or is broken. Of several reports that it is broken the first one counts.
    pub(super) fn note(&self, stands: bool, now: Moment) {
        if stands {
            self.stale_since.store(FRESH, Ordering::Relaxed);
        } else {
            let now = now.as_micros();
            let _ = self.stale_since.compare_exchange(FRESH, now, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Whether what the watch has told may still be believed.
    pub(super) fn holds(&self, now: Moment) -> bool {
        match self.stale_since.load(Ordering::Relaxed) {
            FRESH => true,
            since => now.as_micros().saturating_sub(since) <= self.limit_micros.load(Ordering::Relaxed),
        }
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_ends_a_while_after_the_watch_broke_and_comes_back_with_it() {
        let at = |secs| Moment::START + Duration::from_secs(secs);
        let trust = Trust::new(Duration::from_secs(10));
        assert!(trust.holds(at(1000)));
        trust.note(false, at(1000));
        trust.note(false, at(1009));
        assert!(trust.holds(at(1010)) && !trust.holds(at(1011)), "the first report counts");
        trust.set_limit(Duration::from_secs(20));
        assert!(trust.holds(at(1020)));
        trust.note(true, at(1500));
        assert!(trust.holds(at(1501)));
    }
}
