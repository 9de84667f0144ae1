//! Time as far as the machine can tell moments apart: what is over by now, what lies ahead, and what never comes.
//!
//! The machine compares moments with `now`, and stores `now` plus a delay; the policy of the model has no delay that is added to a
//! stored moment. So any time may pass between two events, and a deadline is either awaited or has come. The end of each history
//! is at [`Moment::NOW`]: each tick in it lies two steps after the one before, which leaves one in between for what was awaited.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(u64);

/// A delay that is not over as long as anything happens.
pub const FOR_EVER: Duration = Duration::MAX;

impl Moment {
    pub const START: Self = Self(0);
    /// The present of every history that is looked at.
    pub const NOW: Self = Self(1 << 20);
    pub const NEVER: Self = Self(u64::MAX);

    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The moment before so many ticks.
    pub const fn ticks_ago(ticks: u64) -> Self {
        Self(Self::NOW.0 - 2 * ticks)
    }

    /// Nothing in the model depends on how long something took.
    #[allow(clippy::unused_self, reason = "as in Drowse")]
    pub const fn since(self, _earlier: Self) -> Duration {
        Duration::ZERO
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        match span {
            Duration::ZERO => self,
            FOR_EVER => Self::NEVER,
            _ => Self(self.0.saturating_add(1)),
        }
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    fn sub(self, _span: Duration) -> Self {
        self
    }
}

/// Two histories that differ in nothing else are the same to the machine.
impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::NEVER => "never",
            at if at > Self::NOW => "later",
            _ => "over",
        })
    }
}
