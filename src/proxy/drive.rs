//! Looks after a caller's connection while something polls it: one lazy timer for all that it may take too long over, and the
//! stages of Drowse's own end.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

use crate::time::{Clock, Moment};

use super::Caller;
use super::activity::Overdue;
use super::stage::Stage;

/// How a connection came to its end.
pub(super) enum End {
    /// By HTTP's own rules, or because one side broke them.
    Http(hyper::Result<()>),
    Overdue(Overdue),
    /// Drowse ends.
    Cut,
}

/// Polls until it is ready; an error if it is overdue, or Drowse ends.
pub(super) async fn drive<T>(
    caller: &Caller,
    mut poll: impl FnMut(&mut Context<'_>, Stage) -> Poll<T>,
) -> Result<T, End> {
    let (door, activity) = (&caller.door, &caller.activity);
    let mut timer = Timer::new(door.engine.clock());
    let mut sleep = pin!(tokio::time::sleep(Duration::ZERO));
    let mut change = pin!(door.stages.change());
    let mut seen = None;
    std::future::poll_fn(|cx| {
        // One atomic load, unless the stage has changed (or this is the first time).
        while seen != Some(door.stages.now()) {
            seen = Some(door.stages.now());
            change.set(door.stages.change());
            if change.as_mut().poll(cx).is_ready() {
                seen = None;
            }
        }
        let stage = seen.unwrap_or(Stage::Serving);
        if stage == Stage::Cut {
            return Poll::Ready(Err(End::Cut));
        }
        activity.look(cx.waker());
        loop {
            activity.turn();
            if let Poll::Ready(result) = poll(cx, stage) {
                return Poll::Ready(Ok(result));
            }
            let due = activity.due(&door.settings.load());
            match timer.poll(sleep.as_mut(), due, cx) {
                // The request ends by itself, with an answer if it has none.
                Poll::Ready(Overdue::Silent) => activity.silence.expire(),
                // Its stream looks, once it is polled.
                Poll::Ready(Overdue::Unheard) => activity.looked(),
                other => return other.map(|overdue| Err(End::Overdue(overdue))),
            }
        }
    })
    .await
}

/// A timer that is set only when something comes due earlier than it is set to. When it fires too early, which it
/// does about once in an idle timeout, it is set anew.
struct Timer {
    clock: Clock,
    /// When it fires; `None` when it has fired, or was never set.
    set_to: Option<Moment>,
}

impl Timer {
    const fn new(clock: Clock) -> Self {
        Self { clock, set_to: None }
    }

    fn poll(
        &mut self,
        mut sleep: Pin<&mut Sleep>,
        due: Option<(Moment, Overdue)>,
        cx: &mut Context<'_>,
    ) -> Poll<Overdue> {
        let Some((at, what)) = due else { return Poll::Pending };
        if self.set_to.is_some_and(|set_to| set_to <= at) && !sleep.is_elapsed() {
            return Poll::Pending;
        }
        while self.clock.now() < at {
            sleep.as_mut().reset(self.clock.instant(at));
            self.set_to = Some(at);
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        Poll::Ready(what)
    }
}
