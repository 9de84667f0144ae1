//! Who answers: this agent, this life of it, and where it runs.

use serde::Serialize;

use crate::agent::AgentKey;
use crate::time::{Clock, Moment};

/// As `GET /whoami` shows it.
#[derive(Debug, Serialize)]
pub(super) struct Identity {
    /// Namespace and name.
    pub(super) agent: String,
    pub(super) pid: u32,
    /// Differs from life to life.
    pub(super) boot: String,
    hostname: String,
    /// From `POD_NAME` and `POD_UID`, which a pod can be given from its own fields.
    pod_name: Option<String>,
    pod_uid: Option<String>,
}

impl Identity {
    /// Reads the environment.
    pub(super) fn new(key: &AgentKey, clock: &Clock) -> Self {
        let pid = std::process::id();
        Self {
            agent: key.to_string(),
            pid,
            boot: format!("{pid:x}-{:x}", clock.wall(Moment::START).as_microsecond()),
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            pod_name: std::env::var("POD_NAME").ok(),
            pod_uid: std::env::var("POD_UID").ok(),
        }
    }
}
