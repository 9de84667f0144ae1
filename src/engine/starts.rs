//! Gives out the turns to start that `lifecycle::pacing` decides on.

use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::Notify;

use crate::agent::AgentKey;
use crate::lifecycle::pacing::{Pacer, PacingLimits};
use crate::lifecycle::{Class, Event};
use crate::metrics::Bound;

use super::{Engine, Limits};

/// The pacer behind its lock.
pub(super) struct Starts {
    pacer: Mutex<Pacer>,
    changed: Notify,
}

impl Starts {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { pacer: Mutex::new(Pacer::new(pacing(limits))), changed: Notify::new() }
    }

    pub(super) fn set_limits(&self, limits: &Limits) {
        self.pacer.lock().set_limits(pacing(limits));
        self.changed.notify_one();
    }

    pub(super) fn request(&self, key: &AgentKey, class: Class) {
        self.pacer.lock().request(key, class);
        self.changed.notify_one();
    }

    pub(super) fn cancel(&self, key: &AgentKey) {
        self.pacer.lock().cancel(key);
    }

    pub(super) fn done(&self, key: &AgentKey) {
        self.pacer.lock().done(key);
        self.changed.notify_one();
    }
}

const fn pacing(limits: &Limits) -> PacingLimits {
    PacingLimits {
        in_flight: limits.starts_in_flight,
        per_namespace: limits.starts_per_namespace,
        per_second: limits.starts_per_second,
    }
}

impl Engine {
    /// Gives out turns, for ever.
    pub(super) async fn grant_starts(self: &Arc<Self>) {
        loop {
            let changed = self.starts.changed.notified();
            let next = loop {
                let next = self.starts.pacer.lock().next(self.clock.now());
                match next {
                    Ok(key) => self.grant(&key),
                    Err(at) => break at,
                }
            };
            if self.starts.pacer.lock().waiting() > 0 {
                self.metrics.bound_hit(Bound::Starts);
            }
            match next {
                None => changed.await,
                Some(at) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(self.clock.instant(at)) => {}
                },
            }
        }
    }

    fn grant(self: &Arc<Self>, key: &AgentKey) {
        match self.slot(key) {
            Some(slot) => self.handle(&slot, Event::StartGranted),
            None => self.starts.done(key),
        }
    }
}
