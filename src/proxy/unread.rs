//! The tasks of a connection that carries several requests (HTTP/2), one for each, and how long a caller may leave one of its
//! answers untaken.
//!
//! Each stream has a window of its own (RFC 9113 §5.2). While that is full hyper does not poll the answer, and the socket says
//! nothing of it: so the task looks for itself, and drops the request, which resets its stream and no other.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use hyper::rt::Executor;
use tokio::time::Sleep;

use crate::time::{Clock, Moment};

use super::Door;

tokio::task_local! {
    /// Of the request that this task serves.
    static OWN: Arc<Unread>;
}

/// What is handed out of an answer at once. hyper asks for more when its buffer for the stream has room, so that a caller who
/// takes so much in `idle_connection_timeout` is one who takes something.
pub(super) const PORTION: usize = 16 * 1024;

/// When there is nothing to take.
const NOTHING: u64 = u64::MAX;

/// Since when the caller of one of several requests has something of its answer to take.
#[derive(Debug)]
pub(super) struct Unread {
    clock: Clock,
    since: AtomicU64,
}

impl Unread {
    const fn new(clock: Clock) -> Self {
        Self { clock, since: AtomicU64::new(NOTHING) }
    }

    /// That of the request that this task serves; `None` where a connection has one request at a time.
    pub(super) fn own() -> Option<Arc<Self>> {
        OWN.try_with(Arc::clone).ok()
    }

    /// More of the answer is asked for, so what was given was taken.
    pub(super) fn asked(&self) {
        self.since.store(NOTHING, Ordering::Relaxed);
    }

    /// Part of the answer is given.
    pub(super) fn given(&self) {
        self.since.store(self.clock.now().as_micros(), Ordering::Relaxed);
    }

    fn since(&self) -> Option<Moment> {
        let since = self.since.load(Ordering::Relaxed);
        (since != NOTHING).then(|| Moment::from_micros(since))
    }

    /// Whether the caller has taken nothing for as long as it may. Looked at after the request was polled: all marks are made by
    /// its task. The timer is set only by who waits, and anew only when it fires.
    fn poll_over(&self, door: &Door, timer: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(since) = self.since() {
            let due = since + door.settings.load().idle_connection_timeout;
            if self.clock.now() >= due {
                return Poll::Ready(());
            }
            let at = self.clock.instant(due);
            let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
            if timer.is_elapsed() {
                timer.as_mut().reset(at);
            }
            if timer.as_mut().poll(cx).is_pending() {
                break;
            }
        }
        Poll::Pending
    }
}

/// Gives each request of a connection a task, for whose end the front door waits.
#[derive(Clone)]
pub(super) struct Spawner(pub(super) Arc<Door>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Spawner {
    fn execute(&self, task: F) {
        // In a box, since a future has room for what it is given and for what becomes of it.
        self.0.tasks.spawn(run(Box::pin(task), Arc::clone(&self.0)));
    }
}

async fn run(request: Pin<Box<impl Future<Output = ()>>>, door: Arc<Door>) {
    let unread = Arc::new(Unread::new(door.engine.clock()));
    let mut request = pin!(OWN.scope(Arc::clone(&unread), request));
    let mut timer = None;
    std::future::poll_fn(|cx| {
        if request.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let over = unread.poll_over(&door, &mut timer, cx);
        if over.is_ready() {
            tracing::debug!("a caller takes nothing of an answer; resetting its stream");
        }
        over
    })
    .await;
}
