//! What a caller's connection is doing, and since when; and the stream that notes it.
//!
//! hyper has a timer for request heads that is made anew for every request, and none for idle connections. Here
//! one lazy timer per connection looks at these marks instead, so that a warm request touches no timer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::{Buf as _, Bytes};
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::time::{Clock, Moment};

use super::settings::Settings;
use super::silence::Silence;
use super::transport::Transport;

/// The marks of one connection. With HTTP/1.1 all are made by the one task that serves it.
#[derive(Debug)]
pub(super) struct Activity {
    clock: Clock,
    /// Requests that are being served.
    busy: AtomicU32,
    idle_since: AtomicU64,
    head_since: Mark,
    stalled_since: Mark,
    /// It carries several requests at once (HTTP/2), each served by a task of its own.
    multiplexed: AtomicBool,
    /// There was a request on it.
    asked: AtomicBool,
    /// Of several requests: those whose callers have part of an answer and have not asked for more.
    unread: AtomicU32,
    /// When the caller last took part of one of several answers.
    taken: AtomicU64,
    /// Who looks at [`Self::due`], to be woken when one of several requests changes what it says.
    looking: AtomicWaker,
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
            busy: AtomicU32::new(0),
            idle_since: AtomicU64::new(clock.now().as_micros()),
            head_since: Mark::none(),
            stalled_since: Mark::none(),
            multiplexed: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            unread: AtomicU32::new(0),
            taken: AtomicU64::new(0),
            looking: AtomicWaker::new(),
            silence: Arc::new(Silence::new()),
        }
    }

    /// From here on it carries several requests at once. What comes is not always part of a head then, so that only
    /// whole heads count.
    pub(super) fn multiplex(&self) {
        self.multiplexed.store(true, Ordering::Relaxed);
        self.head_since.take();
    }

    pub(super) fn is_multiplexed(&self) -> bool {
        self.multiplexed.load(Ordering::Relaxed)
    }

    /// A request has come.
    pub(super) fn ask(&self) {
        if !self.was_asked() {
            self.asked.store(true, Ordering::Relaxed);
        }
    }

    /// Whether one ever has.
    pub(super) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Part of a request's head has come.
    pub(super) fn is_being_asked(&self) -> bool {
        self.head_since.get().is_some()
    }

    /// Something is being served.
    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire) > 0
    }

    /// A request is being served; gives the moment at which its head began to arrive.
    pub(super) fn begin(&self) -> Moment {
        self.busy.fetch_add(1, Ordering::Relaxed);
        self.head_since.take().unwrap_or_else(|| self.clock.now())
    }

    /// It was served, or its caller has left.
    pub(super) fn end(&self, now: Moment) {
        self.silence.end();
        self.idle_since.store(now.as_micros(), Ordering::Relaxed);
        self.busy.fetch_sub(1, Ordering::Release);
        if self.is_multiplexed() {
            self.looking.wake();
        }
    }

    /// When it will have taken too long over what it does now. A request that is being served may take as long
    /// as it wants, unless it is silent.
    pub(super) fn due(&self, settings: &Settings) -> Option<(Moment, Overdue)> {
        if let Some(since) = self.stalled_since.get() {
            return Some((since + settings.idle_connection_timeout, Overdue::Stalled));
        }
        if self.unread.load(Ordering::Acquire) > 0 {
            let since = Moment::from_micros(self.taken.load(Ordering::Relaxed));
            return Some((since + settings.idle_connection_timeout, Overdue::Stalled));
        }
        if self.busy.load(Ordering::Acquire) > 0 {
            // Those of a connection with several see to that themselves.
            return self.silence.due().map(|at| (at, Overdue::Silent));
        }
        if let Some(since) = self.head_since.get() {
            return Some((since + settings.head_timeout, Overdue::Head));
        }
        let since = Moment::from_micros(self.idle_since.load(Ordering::Relaxed));
        Some((since + settings.idle_connection_timeout, Overdue::Idle))
    }

    /// To be woken when [`Self::due`] may say something else than the last time. With HTTP/1.1 nobody else changes it.
    pub(super) fn look(&self, waker: &Waker) {
        if self.is_multiplexed() {
            self.looking.register(waker);
        }
    }

    /// Bytes have come.
    fn read(&self) {
        self.moved();
        if self.busy.load(Ordering::Relaxed) == 0 && !self.is_multiplexed() && self.head_since.get().is_none()
        {
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

    fn hand_out(&self) {
        self.taken.store(self.clock.now().as_micros(), Ordering::Relaxed);
        if self.unread.fetch_add(1, Ordering::AcqRel) == 0 {
            self.looking.wake();
        }
    }

    fn took(&self) {
        self.taken.store(self.clock.now().as_micros(), Ordering::Relaxed);
        self.unread.fetch_sub(1, Ordering::AcqRel);
        // Who looks too early sees that it does, and looks again.
    }
}

/// A use of a connection that is no request any more.
pub(super) struct Busy<'a>(&'a Activity);

impl<'a> Busy<'a> {
    pub(super) fn begin(activity: &'a Activity) -> Self {
        activity.begin();
        Self(activity)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.end(self.0.clock.now());
    }
}

/// Whether the caller of one of several requests still has to take what it was given of its answer. HTTP/2 has a window
/// for each (RFC 9113 §5.2), of which the stream below says nothing.
#[derive(Debug, Default)]
pub(super) struct Unread(bool);

impl Unread {
    /// More of the answer is asked for, so what was given was taken.
    pub(super) fn asked(&mut self, activity: &Activity) {
        if std::mem::take(&mut self.0) {
            activity.took();
        }
    }

    /// Part of the answer is given.
    pub(super) fn given(&mut self, activity: &Activity) {
        if activity.is_multiplexed() && !self.0 {
            self.0 = true;
            activity.hand_out();
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
    pub(super) stream: Transport,
    /// What was read to see which version of HTTP it is.
    pub(super) early: Bytes,
    pub(super) activity: Arc<Activity>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.early.is_empty() {
            let count = self.early.len().min(buffer.remaining());
            buffer.put_slice(&self.early[..count]);
            self.early.advance(count);
            return Poll::Ready(Ok(()));
        }
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
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        // TLS takes what is written, and may find only here that it has to wait.
        if matches!(self.stream, Transport::Tls(_)) {
            self.activity.written(polled.is_pending());
        }
        polled
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
