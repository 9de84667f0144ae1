//! Bounded waiting for a condition: the only file here that reads the clock and pauses.
#![expect(
    clippy::disallowed_methods,
    reason = "the conditions are states of other programs, which tell nobody"
)]

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::interrupt;

/// Between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(50);

/// Measures how long something takes.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

/// Waits until `probe` has an answer. Fails when it fails, when `limit` has passed, or when we are told to end;
/// `what` completes the sentence "gave up waiting for ...".
pub(crate) fn until<T>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let begin = Instant::now();
    loop {
        if let Some(answer) = probe()? {
            return Ok(answer);
        }
        if interrupt::asked() {
            bail!("told to end while waiting for {what}");
        }
        if begin.elapsed() >= limit {
            bail!("gave up waiting for {what} after {} s", limit.as_secs());
        }
        thread::sleep(PAUSE);
    }
}

/// Waits until `probe` says yes; whether it did within `limit`. Nothing interrupts it: it is used to clean up.
pub(crate) fn whether(limit: Duration, mut probe: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    loop {
        if probe() {
            return true;
        }
        if begin.elapsed() >= limit {
            return false;
        }
        thread::sleep(PAUSE);
    }
}
