//! Busy leases: whoever works with an agent says so, and the agent stays up. The same for every way to take one.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::agent::AgentKey;
use crate::policy::lease::{DEFAULT_TTL, Lease, LeaseError, Leases};
use crate::units::Timeout;

use super::snapshot::{LeaseAnswer, LeaseView};
use super::{Engine, Slot};

/// Characters of a lease's id at most.
const MAX_ID: usize = 64;

/// What is wanted, as it is written in JSON.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseOrder {
    /// Whose lease, where nothing else says it.
    #[serde(default, deserialize_with = "agent")]
    pub agent: Option<AgentKey>,
    /// What to do.
    #[serde(default)]
    pub action: LeaseAction,
    /// Which lease; one that is taken without an id gets one.
    pub id: Option<String>,
    /// Why the agent is busy.
    #[serde(default)]
    pub reason: String,
    /// How long it lasts unless it is renewed.
    pub ttl: Option<Timeout>,
}

fn agent<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<AgentKey>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
}

/// What to do with a lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeaseAction {
    /// Take one, or renew the one of this id.
    #[default]
    Take,
    /// Renew one that lasts.
    Renew,
    /// End one.
    End,
    /// Tell which there are.
    List,
}

/// Why nothing was done.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LeaseFault {
    /// There is no such agent, or Drowse does not manage it.
    #[error("Drowse manages no agent of that name")]
    UnknownAgent,
    /// The order cannot be understood.
    #[error("{0}")]
    Bad(String),
    /// The core says no.
    #[error(transparent)]
    Refused(#[from] LeaseError),
}

impl LeaseFault {
    /// The code, like those of HTTP.
    pub const fn code(&self) -> u16 {
        match self {
            Self::Bad(_) => 400,
            Self::UnknownAgent | Self::Refused(LeaseError::Unknown) => 404,
            Self::Refused(LeaseError::Capped) => 409,
            Self::Refused(LeaseError::TooMany) => 429,
        }
    }
}

impl LeaseOrder {
    /// Bytes of an order at most: a reason of 200 characters, escaped, and what goes with it.
    pub const MAX_BYTES: usize = 4096;

    /// Reads an order; an empty one takes a lease with all defaults.
    pub fn read(json: &[u8]) -> Result<Self, LeaseFault> {
        let json = if json.iter().all(u8::is_ascii_whitespace) { b"{}" } else { json };
        let order: Self = serde_json::from_slice(json).map_err(|error| {
            LeaseFault::Bad(format!(
                "not an order for a lease: {error}; send for example {{\"action\": \"take\", \"reason\": \"thinking\", \"ttl\": \"1m\"}}"
            ))
        })?;
        let good = |id: &String| !id.is_empty() && id.len() <= MAX_ID && !id.contains(char::is_control);
        if !order.id.iter().all(good) {
            return Err(LeaseFault::Bad(format!("an id has from 1 to {MAX_ID} bytes")));
        }
        if matches!(order.action, LeaseAction::Renew | LeaseAction::End) && order.id.is_none() {
            return Err(LeaseFault::Bad("which lease? send its id".to_owned()));
        }
        Ok(order)
    }
}

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
