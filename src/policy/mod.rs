//! Pure: what an operator wants for an agent, and what follows from it.

pub mod glob;
pub mod idle;
pub mod rules;

use std::num::NonZeroU32;
use std::time::Duration;

/// What holds for one agent, after rules and annotations were applied. [`rules`] makes it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a key of the configuration")]
pub struct Policy {
    /// The front door routes to it.
    pub route: bool,
    /// It is suspended when idle and resumed on demand. Otherwise it is only watched.
    pub manage: bool,
    /// How long nothing must happen before it is suspended.
    pub idle_timeout: Duration,
    /// How long it stays up after a resume, whatever happens.
    pub min_running: Duration,
    /// How long one caller waits for it.
    pub hold_timeout: Duration,
    /// How long a resume may take before it counts as failed.
    pub resume_deadline: Duration,
    /// How many callers wait for it at most.
    pub max_held: u32,
    /// How many requests it gets at once; `None` is no limit.
    pub max_in_flight: Option<NonZeroU32>,
    /// The port of a request that names none; `None` is the one that the agent declares.
    pub port: Option<u16>,
    /// Paths whose requests neither wake it nor keep it up. A trailing `*` matches any rest.
    pub must_not_wake: Vec<String>,
    /// Traffic also resumes it when a person suspended it.
    pub resume_user_suspended: bool,
    /// Say what would be suspended, and suspend nothing.
    pub dry_run: bool,
    /// False while the global switch `suspend: off` is thrown.
    pub suspend: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            route: false,
            manage: false,
            idle_timeout: Duration::from_mins(15),
            min_running: Duration::from_mins(1),
            hold_timeout: Duration::from_secs(55),
            resume_deadline: Duration::from_mins(5),
            max_held: 1_000,
            max_in_flight: None,
            port: None,
            must_not_wake: Vec::new(),
            resume_user_suspended: false,
            dry_run: false,
            suspend: true,
        }
    }
}

impl Policy {
    /// `max_in_flight` as the gate wants it.
    pub fn in_flight_limit(&self) -> u32 {
        self.max_in_flight.map_or(u32::MAX, NonZeroU32::get)
    }

    /// Whether a request for this path (without query) leaves a sleeping agent asleep and an awake one to
    /// fall asleep.
    pub fn must_not_wake(&self, path: &str) -> bool {
        self.must_not_wake.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => path.starts_with(prefix),
            None => path == pattern,
        })
    }
}
