//! What a caller's connection is doing, and since when; and the stream that notes it.
//!
//! hyper has a timer for request heads that is made anew for every request, and none for idle connections. Here
//! one lazy timer per connection looks at these marks instead, so that a warm request touches no timer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::time::{Clock, Moment};

use super::settings::Settings;
use super::silence::Silence;

/// The marks of one connection. All are made by the one task that serves it.
#[derive(Debug)]
pub(super) struct Activity {
    clock: Clock,
    busy: AtomicBool,
    idle_since: AtomicU64,
    head_since: Mark,
    stalled_since: Mark,
    /// Of the request that is being served.
    pub(super) silence: Arc<Silence>,
}

/// A moment, or none.
#[derive(Debug)]
struct Mark(AtomicU64);

/// What a connection has been doing for too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Overdue {
    /// Sending a request head.
    Head,
    /// Nothing.
    Idle,
    /// Not taking what we write.
    Stalled,
    /// Waiting for an agent, with no byte in either direction: its request has to end.
    Silent,
}

impl Activity {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            busy: AtomicBool::new(false),
            idle_since: AtomicU64::new(clock.now().as_micros()),
            head_since: Mark::none(),
            stalled_since: Mark::none(),
            silence: Arc::new(Silence::new()),
        }
    }

    /// A request is being served; gives the moment at which its head began to arrive.
    pub(super) fn begin(&self) -> Moment {
        self.busy.store(true, Ordering::Relaxed);
        self.head_since.take().unwrap_or_else(|| self.clock.now())
    }

    /// It was served, or its caller has left.
    pub(super) fn end(&self, now: Moment) {
        self.silence.end();
        self.idle_since.store(now.as_micros(), Ordering::Relaxed);
        self.busy.store(false, Ordering::Relaxed);
    }

    /// When it will have taken too long over what it does now. A request that is being served may take as long
    /// as it wants, unless it is silent.
    pub(super) fn due(&self, settings: &Settings) -> Option<(Moment, Overdue)> {
        if let Some(since) = self.stalled_since.get() {
            return Some((since + settings.idle_connection_timeout, Overdue::Stalled));
        }
        if self.busy.load(Ordering::Relaxed) {
            return self.silence.due().map(|at| (at, Overdue::Silent));
        }
        if let Some(since) = self.head_since.get() {
            return Some((since + settings.head_timeout, Overdue::Head));
        }
        let since = Moment::from_micros(self.idle_since.load(Ordering::Relaxed));
        Some((since + settings.idle_connection_timeout, Overdue::Idle))
    }

    /// Bytes have come.
    fn read(&self) {
        self.moved();
        if !self.busy.load(Ordering::Relaxed) && self.head_since.get().is_none() {
            self.head_since.set(self.clock.now());
        }
    }

    fn moved(&self) {
        if self.silence.is_watched() {
            self.silence.broken(self.clock.now());
        }
    }

    /// A write was taken, or has to wait.
    fn written(&self, waits: bool) {
        if !waits {
            self.moved();
        }
        match (waits, self.stalled_since.get()) {
            (true, None) => self.stalled_since.set(self.clock.now()),
            (false, Some(_)) => {
                self.stalled_since.take();
            }
            _ => {}
        }
    }
}

impl Mark {
    const NONE: u64 = u64::MAX;

    const fn none() -> Self {
        Self(AtomicU64::new(Self::NONE))
    }

    fn set(&self, moment: Moment) {
        self.0.store(moment.as_micros(), Ordering::Relaxed);
    }

    fn get(&self) -> Option<Moment> {
        Self::read(self.0.load(Ordering::Relaxed))
    }

    /// Not an atomic exchange: only one task makes marks.
    fn take(&self) -> Option<Moment> {
        let mark = self.get();
        if mark.is_some() {
            self.0.store(Self::NONE, Ordering::Relaxed);
        }
        mark
    }

    fn read(word: u64) -> Option<Moment> {
        (word != Self::NONE).then(|| Moment::from_micros(word))
    }
}

/// A caller's stream, whose reads and writes leave marks.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) stream: TcpStream,
    pub(super) activity: Arc<Activity>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.activity.read();
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.activity.written(polled.is_pending());
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.activity.written(polled.is_pending());
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HEAD: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_mins(2);

    fn settings() -> Settings {
        Settings { head_timeout: HEAD, idle_connection_timeout: IDLE, ..Settings::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn each_thing_that_a_connection_does_has_its_own_limit() {
        let clock = Clock::start();
        let activity = Activity::new(clock);
        let (settings, start) = (settings(), clock.now());
        assert_eq!(activity.due(&settings), Some((start + IDLE, Overdue::Idle)));

        tokio::time::advance(Duration::from_secs(7)).await;
        let first_byte = clock.now();
        activity.read();
        tokio::time::advance(Duration::from_secs(1)).await;
        activity.read();
        assert_eq!(activity.due(&settings), Some((first_byte + HEAD, Overdue::Head)));

        assert_eq!(activity.begin(), first_byte, "a request arrives with the first byte of its head");
        assert_eq!(activity.due(&settings), None, "a request that is served may take its time");
        activity.read();

        let blocked = clock.now();
        activity.written(true);
        tokio::time::advance(Duration::from_secs(1)).await;
        activity.written(true);
        assert_eq!(activity.due(&settings), Some((blocked + IDLE, Overdue::Stalled)));
        activity.written(false);
        assert_eq!(activity.due(&settings), None);

        let end = clock.now();
        activity.end(end);
        assert_eq!(activity.due(&settings), Some((end + IDLE, Overdue::Idle)));
    }
}
