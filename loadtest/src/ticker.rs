//! Timers that are late by microseconds. Tokio's own wake up to a millisecond late, which is more than what an
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
pub(crate) struct Ticker(Timer);

impl Ticker {
    /// Starts now; the first tick comes after one period.
    pub(crate) fn start(period: Duration) -> io::Result<Self> {
        let timer = Timer::new()?;
        timer.set(period, period)?;
        Ok(Self(timer))
    }

    /// Waits for the next tick, and gives how many have passed since the last call.
    pub(crate) async fn ticks(&self) -> io::Result<u64> {
        self.0.expirations().await
    }
}

/// Rings once, after a time that is set anew each time.
#[derive(Debug)]
pub(crate) struct Alarm(Timer);

impl Alarm {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(Timer::new()?))
    }

    /// Waits for so long.
    pub(crate) async fn wait(&self, span: Duration) -> io::Result<()> {
        if !span.is_zero() {
            self.0.set(span, Duration::ZERO)?;
            self.0.expirations().await?;
        }
        Ok(())
    }
}

/// A timer of the system.
#[derive(Debug)]
struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    #[expect(deprecated, reason = "unsound for a type that does not own its file only, and OwnedFd does")]
    fn new() -> io::Result<Self> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Self(AsyncFd::new(timer)?))
    }

    /// Lets it expire after `first`, above zero, and then each `period`, or never again if that is zero.
    fn set(&self, first: Duration, period: Duration) -> io::Result<()> {
        let spec = Itimerspec { it_interval: timespec(period), it_value: timespec(first) };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &spec)?;
        Ok(())
    }

    /// Waits until it has expired, and gives how often.
    async fn expirations(&self) -> io::Result<u64> {
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

fn timespec(span: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: span.subsec_nanos().into(),
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

    #[tokio::test]
    async fn an_alarm_rings_each_time_and_never_early() {
        let (clock, alarm) = (Clock::start(), Alarm::new().unwrap());
        for millis in [2, 0, 1, 3] {
            let (span, before) = (Duration::from_millis(millis), clock.now());
            alarm.wait(span).await.unwrap();
            // The clock here has steps of a microsecond.
            assert!(clock.now().since(before) + Duration::from_micros(1) >= span);
        }
    }
}
