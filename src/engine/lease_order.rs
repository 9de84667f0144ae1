//! An order for a busy lease: what is sent for one, however it is sent.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::agent::AgentKey;
use crate::policy::lease::LeaseError;
use crate::units::Timeout;

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

/// Whether a lease may be known by this.
pub(super) fn is_lease_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= MAX_ID && !id.contains(char::is_control)
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
        if !order.id.iter().all(|id| is_lease_id(id)) {
            return Err(LeaseFault::Bad(format!("an id has from 1 to {MAX_ID} bytes")));
        }
        if matches!(order.action, LeaseAction::Renew | LeaseAction::End) && order.id.is_none() {
            return Err(LeaseFault::Bad("which lease? send its id".to_owned()));
        }
        Ok(order)
    }
}
