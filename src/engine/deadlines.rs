//! When which machine wants its next tick. One ordered set and one task for all agents.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::lifecycle::{Event, Machine};
use crate::time::Moment;

use super::hold::Caller;
use super::{Engine, Slot};

/// All armed deadlines. An agent has at most one.
#[derive(Default)]
pub(super) struct Deadlines {
    queue: Mutex<Queue>,
    earlier: Notify,
}

#[derive(Default)]
struct Queue {
    /// By time, then by the address of the slot, which is unique while it is in here.
    due: BTreeMap<(Moment, usize), Arc<Slot>>,
    armed: std::collections::HashMap<usize, Moment>,
}

impl Deadlines {
    /// Makes the armed deadline what the machine says. Under the machine's lock, so that the last word wins.
    pub(super) fn arm(&self, slot: &Arc<Slot>, machine: &Machine<Caller>) {
        let id = Arc::as_ptr(slot).addr();
        let wanted = machine.next_deadline();
        let mut queue = self.queue.lock();
        if queue.armed.get(&id).copied() == wanted {
            return;
        }
        queue.remove(id);
        let Some(at) = wanted else { return };
        let is_earliest = queue.due.first_key_value().is_none_or(|((first, _), _)| at < *first);
        queue.due.insert((at, id), Arc::clone(slot));
        queue.armed.insert(id, at);
        drop(queue);
        if is_earliest {
            self.earlier.notify_one();
        }
    }

    /// The agent is gone. Under the machine's lock.
    pub(super) fn disarm(&self, slot: &Arc<Slot>, _machine: &Machine<Caller>) {
        self.queue.lock().remove(Arc::as_ptr(slot).addr());
    }

    fn next(&self) -> Option<Moment> {
        self.queue.lock().due.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes out the agent whose deadline is the earliest, if it has come.
    pub(super) fn pop_due(&self, now: Moment) -> Option<Arc<Slot>> {
        let mut queue = self.queue.lock();
        let (at, id) = *queue.due.first_key_value()?.0;
        if at > now {
            return None;
        }
        queue.armed.remove(&id);
        queue.due.remove(&(at, id))
    }
}

impl Queue {
    fn remove(&mut self, id: usize) {
        if let Some(at) = self.armed.remove(&id) {
            self.due.remove(&(at, id));
        }
    }
}

impl Engine {
    /// Ticks every machine when it wants to be, for ever.
    pub(super) async fn fire_deadlines(self: &Arc<Self>) {
        loop {
            let earlier = self.deadlines.earlier.notified();
            while let Some(slot) = self.deadlines.pop_due(self.clock.now()) {
                self.handle(&slot, Event::Tick);
            }
            match self.deadlines.next() {
                None => earlier.await,
                Some(at) => tokio::select! {
                    () = earlier => {}
                    () = tokio::time::sleep_until(self.clock.instant(at)) => {}
                },
            }
        }
    }
}
