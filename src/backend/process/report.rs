//! Reports what has changed, level-triggered: an agent that changes twice before it is reported is reported once, so
//! what waits to be reported is bounded by the number of agents.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indexmap::IndexMap;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use super::object::profile;
use super::{Agent, Shared};
use crate::agent::AgentKey;
use crate::backend::BackendEvent;

/// Agents with something to report, in the order in which they changed.
#[derive(Default)]
pub(super) struct Reports {
    dirty: Mutex<IndexMap<AgentKey, Arc<Agent>>>,
    changed: Notify,
    stopped: AtomicBool,
}

impl Reports {
    /// Something about this agent has changed.
    pub(super) fn dirty(&self, agent: &Arc<Agent>) {
        if !self.stopped.load(Ordering::Relaxed) {
            self.dirty.lock().insert(agent.key.clone(), Arc::clone(agent));
            self.changed.notify_one();
        }
    }

    fn next(&self) -> Option<Arc<Agent>> {
        self.dirty.lock().shift_remove_index(0).map(|(_, agent)| agent)
    }
}

/// Sends reports until nobody listens any more.
pub(super) async fn run(shared: Arc<Shared>, events: mpsc::Sender<BackendEvent>) {
    let mut synced = false;
    loop {
        while let Some(agent) = shared.reports.next() {
            for event in report(&agent) {
                if events.send(event).await.is_err() {
                    shared.reports.stopped.store(true, Ordering::Relaxed);
                    return;
                }
            }
        }
        if !std::mem::replace(&mut synced, true) {
            let _ = events.send(BackendEvent::Synced).await;
        }
        shared.reports.changed.notified().await;
    }
}

/// Everything about one agent, as it is now.
fn report(agent: &Agent) -> Vec<BackendEvent> {
    let (key, object) = (|| agent.key.clone(), agent.object.lock());
    if object.removed && object.pod().is_none() {
        return vec![BackendEvent::AgentGone { key: key(), uid: object.seen().uid }];
    }
    let mut events = Vec::with_capacity(3);
    if let Some((pod, revision)) = object.last_gone.clone() {
        events.push(BackendEvent::PodGone { key: key(), pod, revision });
    }
    events.push(BackendEvent::Agent { key: key(), seen: object.seen(), profile: profile(&object) });
    if let Some(seen) = object.pod() {
        events.push(BackendEvent::Pod { key: key(), seen });
    }
    events
}
