//! A timer that is late by microseconds. Tokio's own wakes up to a millisecond late, which is more than what an
//! agent on this machine takes to answer.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// Ticks at a fixed pace, however late one looks.
#[derive(Debug)]
pub(crate) struct Ticker(AsyncFd<OwnedFd>);

impl Ticker {
    /// Starts now; the first tick comes after one period.
    #[expect(deprecated, reason = "unsound for a type that does not own its file only, and OwnedFd does")]
    pub(crate) fn start(period: Duration) -> io::Result<Self> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let period = Timespec {
            tv_sec: i64::try_from(period.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: period.subsec_nanos().into(),
        };
        let spec = Itimerspec { it_interval: period, it_value: period };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &spec)?;
        Ok(Self(AsyncFd::new(timer)?))
    }

    /// Waits for the next tick, and gives how many have passed since the last call.
    pub(crate) async fn ticks(&self) -> io::Result<u64> {
        loop {
            let mut ready = self.0.readable().await?;
            let read = ready.try_io(|timer| {
                let mut count = [0; 8];
                rustix::io::read(timer, &mut count)?;
                Ok(u64::from_ne_bytes(count))
            });
            if let Ok(result) = read {
                return result;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::drowse::time::{Clock, Moment};

    #[tokio::test]
    async fn no_tick_comes_early_and_none_is_lost() {
        let period = Duration::from_millis(1);
        let clock = Clock::start();
        let ticker = Ticker::start(period).unwrap();
        let mut ticks = 0;
        while ticks < 20 {
            ticks += ticker.ticks().await.unwrap();
            let passed = clock.now().since(Moment::START);
            assert!(period * u32::try_from(ticks).unwrap() <= passed, "{ticks} ticks in {passed:?}");
        }
    }
}
