//! How far the front door is on its way out, for every connection to see.

use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// The stages, in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Stage {
    Serving,
    /// Nobody new is to be sent here any more. Whoever comes all the same is served, and asked to go elsewhere with the next request.
    Leaving,
    /// Nobody new is taken. Connections end when the request that they serve is over.
    Draining,
    /// Time is up: who still waits is refused, and tunnels are closed.
    LastWords,
    /// Connections end now.
    Cut,
}

/// The current stage. Reading it is one atomic load.
#[derive(Debug, Default)]
pub(super) struct Stages {
    now: AtomicU8,
    changed: Notify,
}

impl Stages {
    pub(super) fn now(&self) -> Stage {
        match self.now.load(Ordering::Acquire) {
            0 => Stage::Serving,
            1 => Stage::Leaving,
            2 => Stage::Draining,
            3 => Stage::LastWords,
            _ => Stage::Cut,
        }
    }

    /// Goes on to a later stage, and wakes everybody.
    pub(super) fn advance(&self, to: Stage) {
        self.now.fetch_max(to as u8, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    /// Ends at the next change. Make it, poll it, then look at [`Stages::now`], and no change is missed.
    pub(super) fn change(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Waits until this stage is reached.
    pub(super) async fn reached(&self, stage: Stage) {
        while self.now() < stage {
            let mut change = std::pin::pin!(self.change());
            // From here on a change is not missed.
            change.as_mut().enable();
            if self.now() < stage {
                change.await;
            }
        }
    }
}
