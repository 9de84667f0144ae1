//! A connection to an agent that is no request in flight any more: one that was upgraded, or carries a stream of events. It
//! holds no place at the gate: data that moves on it is noted, and whether that keeps the agent up is for the policy to
//! say (`open_connections`).

use std::sync::Arc;

use crate::lifecycle::{Activity, Event};
use crate::metrics::OpenKind;
use crate::policy::OpenConnections;
use crate::upstream::Upstream;

use super::permit::Permit;
use super::{Engine, Outcome, Slot};

/// An open connection to one life of an agent.
pub struct OpenConnection {
    kind: OpenKind,
    slot: Arc<Slot>,
    engine: Arc<Engine>,
    upstream: Arc<Upstream>,
    /// Where its data is noted; `None` where nothing counts, because its path is one that must not wake.
    activity: Option<Arc<Activity>>,
}

impl Permit {
    /// Ends the request, and keeps its connection open: counted first, so that there is no moment at which the agent
    /// has neither a request nor a connection.
    pub fn keep_open(self, kind: OpenKind, outcome: Outcome) -> OpenConnection {
        let (slot, engine) = self.holder();
        let activity = (outcome == Outcome::Answered).then(|| slot.activity());
        if let Some(activity) = &activity {
            activity.connection_opened(engine.clock().now());
        }
        engine.metrics().kept_open(kind);
        let upstream = Arc::clone(self.upstream());
        self.finish(outcome);
        OpenConnection { kind, slot, engine, upstream, activity }
    }
}

impl OpenConnection {
    /// Data has come from either side, and nothing of it is sent on yet. If the agent is about to be suspended, this
    /// prevents it where it still can.
    pub fn moved(&self) {
        let Some(activity) = &self.activity else { return };
        activity.note_data(self.engine.clock().now());
        if self.counts() && !self.slot.gate().is_open() {
            self.engine.handle(&self.slot, Event::DataMoved);
        }
    }

    /// Waits while the agent's gate is closed, so that nothing is sent to an agent that falls asleep. Where data does
    /// not count, that is nobody's concern, and it waits for nothing.
    pub async fn until_admitted(&self) {
        while self.counts() {
            let mut changed = std::pin::pin!(self.slot.changed.notified());
            // From here on a change is not missed.
            changed.as_mut().enable();
            if self.slot.gate().is_open() {
                return;
            }
            changed.await;
        }
    }

    /// The life that it leads to.
    pub const fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// Whether the agent is falling asleep, or this life of it is over.
    pub fn is_going(&self) -> bool {
        !self.slot.gate().is_open() || self.upstream.ended.is_cancelled()
    }

    /// Waits until this life of the agent is over.
    pub async fn ended(&self) {
        self.upstream.ended.cancelled().await;
    }

    fn counts(&self) -> bool {
        self.activity.is_some() && self.slot.policy().open_connections != OpenConnections::Ignore
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.engine.metrics().kept_open_no_more(self.kind);
        if let Some(activity) = &self.activity {
            activity.connection_closed(self.engine.clock().now());
        }
    }
}
