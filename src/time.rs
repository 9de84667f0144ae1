//! The only module that reads the operating system's clock.
//!
//! Everything else is given a [`Moment`], and what the calendar says. The clock is tokio's, so that a test with paused time
//! moves all of Drowse at once; the calendar is the machine's.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime};

/// A point in monotonic time: microseconds since Drowse started. Fits an atomic word.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(u64);

impl Moment {
    /// When Drowse started.
    pub const START: Self = Self(0);

    /// The moment this many microseconds after the start.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the start.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    /// Saturates: a deadline beyond the end of time never comes.
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    /// Saturates at the start.
    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Duration::from_micros(self.0))
    }
}

/// Reads the time. Copy it to whoever is at the edge and needs it.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: tokio::time::Instant,
    started_wall: SystemTime,
}

impl Clock {
    /// A clock whose [`Moment::START`] is now.
    #[allow(clippy::disallowed_methods, reason = "this is the module that may")]
    pub fn start() -> Self {
        Self { started: tokio::time::Instant::now(), started_wall: machine() }
    }

    /// The current moment.
    #[allow(clippy::disallowed_methods, reason = "this is the module that may")]
    pub fn now(&self) -> Moment {
        Moment::START + tokio::time::Instant::now().duration_since(self.started)
    }

    /// The calendar time of a moment, for people and logs.
    pub fn wall(&self, moment: Moment) -> jiff::Timestamp {
        jiff::Timestamp::try_from(self.started_wall + moment.since(Moment::START))
            .unwrap_or(jiff::Timestamp::MAX)
    }

    /// The calendar time so long before a moment: also of what was before Drowse started.
    pub fn wall_before(&self, moment: Moment, before: Duration) -> jiff::Timestamp {
        self.wall(moment).checked_sub(before).unwrap_or(jiff::Timestamp::MIN)
    }

    /// What the calendar says now. Unlike [`Clock::wall`], which counts on from the start, it follows when the machine's
    /// clock is set, and when the machine has slept.
    pub fn calendar() -> jiff::Timestamp {
        jiff::Timestamp::try_from(machine()).unwrap_or(jiff::Timestamp::MAX)
    }

    /// The moment as tokio's timers want it.
    pub fn instant(&self, moment: Moment) -> tokio::time::Instant {
        let far = Duration::from_hours(365 * 24);
        self.started + moment.since(Moment::START).min(far)
    }
}

/// What the machine's clock says.
#[cfg(not(debug_assertions))]
#[allow(clippy::disallowed_methods, reason = "this is the module that may")]
fn machine() -> SystemTime {
    SystemTime::now()
}

/// What the machine's clock says. In builds for tests it can be wrong, by as many seconds as `DROWSE_CLOCK_OFFSET_SECS` says.
#[cfg(debug_assertions)]
#[allow(clippy::disallowed_methods, reason = "this is the module that may")]
fn machine() -> SystemTime {
    static OFFSET: std::sync::LazyLock<i64> = std::sync::LazyLock::new(|| {
        let offset = std::env::var("DROWSE_CLOCK_OFFSET_SECS").ok();
        offset.and_then(|offset| offset.parse().ok()).unwrap_or_default()
    });
    let (now, offset) = (SystemTime::now(), Duration::from_secs(OFFSET.unsigned_abs()));
    let wrong = if *OFFSET < 0 { now.checked_sub(offset) } else { now.checked_add(offset) };
    wrong.unwrap_or(now)
}
