//! Busy leases: whoever works with an agent says so, and the agent stays up. The same for every way to take one.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::agent::AgentKey;
use crate::policy::lease::{DEFAULT_TTL, Lease, LeaseError, Leases};
use crate::units::Timeout;

use super::lease_order::{LeaseAction, LeaseFault, LeaseOrder};
use super::snapshot::{LeaseAnswer, LeaseView};
use super::{Engine, Slot};

/// All leases.
#[derive(Default)]
pub(super) struct LeaseDesk {
    all: Mutex<HashMap<AgentKey, Leases>>,
    given: AtomicU64,
}

impl Engine {
    /// Carries out an order. Wakes nobody.
    pub fn lease(self: &Arc<Self>, key: &AgentKey, order: &LeaseOrder) -> Result<LeaseAnswer, LeaseFault> {
        if let Some(other) = order.agent.as_ref().filter(|agent| *agent != key) {
            return Err(LeaseFault::Bad(format!(
                "this is about {key}, and the order names {other}; name one"
            )));
        }
        let slot = self.slot(key).filter(|slot| slot.policy().manage).ok_or(LeaseFault::UnknownAgent)?;
        let (now, cap) = (self.clock.now(), slot.policy().busy_cap);
        let ttl = order.ttl.map_or(DEFAULT_TTL, Timeout::get);
        let mut all = self.leases.all.lock();
        let leases = all.entry(key.clone()).or_default();
        let told = match (order.action, &order.id) {
            (LeaseAction::List, _) | (LeaseAction::Renew | LeaseAction::End, None) => {
                leases.active(now).map(|(id, lease)| self.lease_view(id, lease)).collect()
            }
            (LeaseAction::Take, id) => {
                let id = id.clone().unwrap_or_else(|| {
                    format!("lease-{}", self.leases.given.fetch_add(1, Ordering::Relaxed) + 1)
                });
                vec![self.lease_view(&id, &leases.take(&id, &order.reason, ttl, cap, now)?)]
            }
            (LeaseAction::Renew, Some(id)) => vec![self.lease_view(id, &leases.renew(id, ttl, cap, now)?)],
            (LeaseAction::End, Some(id)) if leases.end(id, now) => Vec::new(),
            (LeaseAction::End, Some(_)) => return Err(LeaseError::Unknown.into()),
        };
        let until = leases.busy_until(now).map(|(until, _)| until);
        if leases.is_empty() {
            all.remove(key);
        }
        drop(all);
        self.lease_changed(&slot, until, order.action);
        Ok(LeaseAnswer { leases: told, phase: slot.phase() })
    }

    fn lease_changed(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        until: Option<crate::time::Moment>,
        action: LeaseAction,
    ) {
        if action != LeaseAction::List {
            // With the last one ended, the idle timeout runs from now.
            slot.activity().set_leased_until(until.unwrap_or(self.clock.now()));
            self.activity_changed(slot);
        }
    }

    pub(super) fn leases_of(&self, key: &AgentKey) -> Vec<LeaseView> {
        let now = self.clock.now();
        let all = self.leases.all.lock();
        let active = all.get(key).map(|leases| leases.active(now));
        active.into_iter().flatten().map(|(id, lease)| self.lease_view(id, lease)).collect()
    }

    pub(super) fn forget_leases(&self, key: &AgentKey) {
        self.leases.all.lock().remove(key);
    }

    fn lease_view(&self, id: &str, lease: &Lease) -> LeaseView {
        LeaseView {
            id: id.to_owned(),
            reason: lease.reason.to_string(),
            since: self.clock.wall(lease.taken),
            until: self.clock.wall(lease.until),
        }
    }
}
