//! A request in flight on which no byte moves in either direction keeps its agent up for `busy_cap` at most. Then the
//! request is ended here, which gives its place at the gate back: a suspension never has to look past one.
//!
//! The marks are made by the stream of the caller's connection, and looked at by its one lazy timer.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use crate::time::Moment;

/// When nobody is watched.
const NOBODY: u64 = u64::MAX;

/// Since when the request of a connection is silent. All marks are made by the one task that serves it.
#[derive(Debug)]
pub(super) struct Silence {
    since: AtomicU64,
    cap_us: AtomicU64,
    over: AtomicBool,
}

impl Silence {
    pub(super) const fn new() -> Self {
        Self { since: AtomicU64::new(NOBODY), cap_us: AtomicU64::new(0), over: AtomicBool::new(false) }
    }

    /// A request is sent to its agent.
    pub(super) fn begin(&self, now: Moment, cap: Duration) {
        self.over.store(false, Ordering::Relaxed);
        self.cap_us.store(u64::try_from(cap.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.since.store(now.as_micros(), Ordering::Relaxed);
    }

    /// It is over, or no request any more.
    pub(super) fn end(&self) {
        self.since.store(NOBODY, Ordering::Relaxed);
        self.over.store(false, Ordering::Relaxed);
    }

    /// Whether there is a request for which [`Silence::broken`] matters.
    pub(super) fn is_watched(&self) -> bool {
        self.since.load(Ordering::Relaxed) != NOBODY
    }

    /// Bytes have moved.
    pub(super) fn broken(&self, now: Moment) {
        if self.is_watched() {
            self.since.store(now.as_micros(), Ordering::Relaxed);
        }
    }

    /// When it will have lasted for too long.
    pub(super) fn due(&self) -> Option<Moment> {
        let since = self.since.load(Ordering::Relaxed);
        let watched = since != NOBODY && !self.is_over();
        watched
            .then(|| Moment::from_micros(since) + Duration::from_micros(self.cap_us.load(Ordering::Relaxed)))
    }

    /// It has: whoever polls the request next ends it.
    pub(super) fn expire(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// What comes of this, or `None` when it was silent for too long. Whoever calls [`Silence::expire`] polls it again.
    pub(super) async fn bound<F: Future>(&self, mut answer: Pin<&mut F>) -> Option<F::Output> {
        std::future::poll_fn(|cx| match answer.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.is_over() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAP: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Moment {
        Moment::START + Duration::from_secs(seconds)
    }

    #[test]
    fn the_cap_runs_from_the_last_byte_while_there_is_a_request() {
        let silence = Silence::new();
        silence.broken(at(1));
        assert_eq!(silence.due(), None, "nobody is watched");
        silence.begin(at(2), CAP);
        assert_eq!(silence.due(), Some(at(12)));
        silence.broken(at(7));
        assert_eq!(silence.due(), Some(at(17)));
        silence.expire();
        assert!(silence.is_over() && silence.due().is_none(), "it is told once");
        silence.begin(at(20), CAP);
        assert!(!silence.is_over(), "that was the request before");
        assert_eq!(silence.due(), Some(at(30)));
        silence.end();
        silence.broken(at(21));
        assert_eq!(silence.due(), None);
    }

    #[test]
    fn a_cap_beyond_all_time_never_comes() {
        let silence = Silence::new();
        silence.begin(at(1), Duration::MAX);
        assert_eq!(silence.due(), Some(Moment::from_micros(u64::MAX)));
    }
}
