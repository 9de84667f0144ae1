//! A request in flight on which no byte moves in either direction keeps its agent up for `busy_cap` at most. Then the
//! request is ended here, which gives its place at the gate back: a suspension never has to look past one.
//!
//! The marks are made by the stream of the caller's connection, and looked at by its one lazy timer. Where a connection carries
//! several requests (HTTP/2), each has marks of its own, made by the bodies that pass, and a timer of its own.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Sleep;

use crate::time::{Clock, Moment};
use crate::upstream::request_body::Progress;

/// When nobody is watched.
const NOBODY: u64 = u64::MAX;

/// Since when the request of a connection is silent. All marks are made by the one task that serves the request.
#[derive(Debug)]
pub(super) struct Silence {
    since: AtomicU64,
    cap_us: AtomicU64,
    over: AtomicBool,
    own: Option<Mutex<Own>>,
}

/// What one of several requests of a connection needs to see to itself.
#[derive(Debug)]
struct Own {
    clock: Clock,
    upload: Option<Arc<Progress>>,
    /// How much of the upload had been taken at the last look.
    taken: u64,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Silence {
    pub(super) const fn new() -> Self {
        Self {
            since: AtomicU64::new(NOBODY),
            cap_us: AtomicU64::new(0),
            over: AtomicBool::new(false),
            own: None,
        }
    }

    /// For one of several requests of a connection, with what is known of its body.
    pub(super) fn of_one(clock: Clock, upload: Option<Arc<Progress>>) -> Self {
        let own = Own { clock, upload, taken: 0, timer: None };
        Self { own: Some(Mutex::new(own)), ..Self::new() }
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

    /// Part of an answer is passed on. With one request a connection, its stream sees that.
    pub(super) fn answered(&self) {
        if let Some(own) = &self.own {
            self.broken(own.lock().clock.now());
        }
    }

    /// Whether it has lasted for too long; the task is woken when that becomes so.
    pub(super) fn poll_over(&self, cx: &mut Context<'_>) -> bool {
        if let Some(own) = &self.own {
            own.lock().poll(self, cx);
        }
        self.is_over()
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
            Poll::Pending if self.poll_over(cx) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}

impl Own {
    /// Expires the silence when it is due. The timer is set anew only when it fires.
    fn poll(&mut self, silence: &Silence, cx: &mut Context<'_>) {
        while let Some(due) = silence.due() {
            let now = self.clock.now();
            if now < due {
                let at = self.clock.instant(due);
                let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
                if timer.is_elapsed() {
                    timer.as_mut().reset(at);
                }
                if timer.as_mut().poll(cx).is_pending() {
                    return;
                }
                continue;
            }
            let taken = self.upload.as_ref().map_or(0, |upload| upload.taken());
            if std::mem::replace(&mut self.taken, taken) == taken {
                silence.expire();
            } else {
                // When exactly is not known: the cap is between one and two of itself for a body that ends in silence.
                silence.broken(now);
            }
        }
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
