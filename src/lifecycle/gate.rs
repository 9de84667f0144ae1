//! The gate of an agent: one atomic word that every request passes.
//!
//! A warm request costs two compare-and-swaps and takes no lock. Closing for a suspension is one
//! compare-and-swap that also proves that nothing is in flight (invariants 1 and 2). Whoever changes more than
//! the number in flight (`open`, `close`, the waiting mark) holds the agent's lock; `enter` and `leave` do not.

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::time::Moment;

const IN_FLIGHT: u64 = 0xffff_ffff;
const EPOCH_ONE: u64 = 1 << 32;
const EPOCH: u64 = 0x3fff_ffff << 32;
const WAITING: u64 = 1 << 62;
const OPEN: u64 = 1 << 63;

/// What happened to somebody who wanted in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// In, and counted until [`Gate::leave`].
    Admitted,
    /// The agent has as many requests as it may have, or others wait for a place.
    Full,
    /// The agent is not up.
    Closed,
}

/// The gate. Starts closed.
#[derive(Debug)]
pub struct Gate {
    /// `open:1 waiting:1 epoch:30 in_flight:32`
    word: AtomicU64,
    /// The last activity, as microseconds of a [`Moment`].
    touched: AtomicU64,
}

impl Default for Gate {
    fn default() -> Self {
        Self { word: AtomicU64::new(0), touched: AtomicU64::new(0) }
    }
}

impl Gate {
    /// Asks for a place. `limit` is the agent's `max_in_flight`.
    pub fn enter(&self, limit: u32) -> Entry {
        let entered = self.update(|word| match word {
            w if w & OPEN == 0 => Err(Entry::Closed),
            w if w & WAITING != 0 || w & IN_FLIGHT >= u64::from(limit) => Err(Entry::Full),
            w => Ok(w + 1),
        });
        entered.map_or_else(|entry| entry, |_| Entry::Admitted)
    }

    /// Gives the place back; `touch` is the moment of the activity, `None` for what does not count as any.
    /// True means that somebody waits for a place, and the caller must say so to the agent's machine.
    #[must_use = "if somebody waits, the machine must be told"]
    pub fn leave(&self, touch: Option<Moment>) -> bool {
        if let Some(moment) = touch {
            // Before the count goes down: whoever proves that nothing is in flight sees this activity.
            self.touch(moment);
        }
        self.word.fetch_sub(1, Ordering::AcqRel) & WAITING != 0
    }

    /// Records activity. An older moment never replaces a newer one.
    pub fn touch(&self, moment: Moment) {
        self.touched.fetch_max(moment.as_micros(), Ordering::AcqRel);
    }

    /// Closes if nothing is in flight; this is the proof that a suspension needs.
    #[must_use = "the gate is closed only if this is true"]
    pub fn close_if_idle(&self) -> bool {
        let closed = self.update(|word| match word {
            w if w & OPEN == 0 => Err(Entry::Closed),
            w if w & IN_FLIGHT != 0 => Err(Entry::Full),
            w => Ok(next_epoch(w) & !OPEN & !WAITING),
        });
        closed.is_ok()
    }

    /// Closes whatever is in flight: the pod is gone, or somebody else suspended the agent.
    pub fn close(&self) {
        let _always = self.update(|word| Ok(next_epoch(word) & !OPEN & !WAITING));
    }

    /// Opens. What the requests will be sent to is published before. With `waiting`, newcomers queue up behind
    /// those who wait, who get their places by [`Gate::enter_from_queue`].
    pub fn open(&self, waiting: bool) {
        let mark = if waiting { WAITING } else { 0 };
        let _always = self.update(|word| Ok((next_epoch(word) & !WAITING) | OPEN | mark));
    }

    /// Asks for a place under the agent's lock. If there is none, marks that somebody waits, in the very step
    /// that saw it full: so at least one is in flight whom [`Gate::leave`] will tell.
    pub fn enter_or_wait(&self, limit: u32) -> Entry {
        let entered = self.update(|word| match word {
            w if w & OPEN == 0 => Err(Entry::Closed),
            w if w & WAITING != 0 => Err(Entry::Full),
            w if w & IN_FLIGHT >= u64::from(limit) => Ok(w | WAITING),
            w => Ok(w + 1),
        });
        match entered {
            Ok(word) if word & WAITING != 0 => Entry::Full,
            Ok(_) => Entry::Admitted,
            Err(entry) => entry,
        }
    }

    /// Takes a place for the first in the queue, past the waiting mark. Under the agent's lock.
    #[must_use = "the place is taken only if this is true"]
    pub fn enter_from_queue(&self, limit: u32) -> bool {
        let entered = self.update(|word| match word {
            w if w & OPEN == 0 => Err(Entry::Closed),
            w if w & IN_FLIGHT >= u64::from(limit) => Err(Entry::Full),
            w => Ok(w + 1),
        });
        entered.is_ok()
    }

    /// The queue is empty. Under the agent's lock.
    pub fn clear_waiting(&self) {
        self.word.fetch_and(!WAITING, Ordering::AcqRel);
    }

    /// How many are in.
    pub fn in_flight(&self) -> u32 {
        #[allow(clippy::cast_possible_truncation, reason = "masked to 32 bits")]
        let count = (self.load() & IN_FLIGHT) as u32;
        count
    }

    /// Whether requests pass.
    pub fn is_open(&self) -> bool {
        self.load() & OPEN != 0
    }

    /// Changes at every opening and closing (and comes round after 2^30 of them): a request that finds its
    /// connection refused uses it to see whether the agent has moved on.
    pub fn epoch(&self) -> u32 {
        #[allow(clippy::cast_possible_truncation, reason = "masked to 30 bits")]
        let epoch = ((self.load() & EPOCH) >> 32) as u32;
        epoch
    }

    /// The last activity; [`Moment::START`] if there was none.
    pub fn last_activity(&self) -> Moment {
        Moment::from_micros(self.touched.load(Ordering::Acquire))
    }

    fn load(&self) -> u64 {
        self.word.load(Ordering::Acquire)
    }

    /// One step on the word: `Ok` is the new word, `Err` leaves it as it is.
    fn update(&self, step: impl Fn(u64) -> Result<u64, Entry>) -> Result<u64, Entry> {
        let mut seen = self.load();
        loop {
            let next = step(seen)?;
            match self.word.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(next),
                Err(now) => seen = now,
            }
        }
    }
}

const fn next_epoch(word: u64) -> u64 {
    (word & !EPOCH) | ((word + EPOCH_ONE) & EPOCH)
}
