//! Pure: what an operator wants for an agent, and what follows from it.

pub mod glob;
pub mod idle;
pub mod keep_awake;
pub mod lease;
pub mod messages;
mod open_connections;
pub mod ping;
mod protocol;
pub mod rules;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::units::{Ping, Windows};

pub use open_connections::OpenConnections;
pub use protocol::Protocol;

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
    /// What it is spoken to in.
    pub protocol: Protocol,
    /// Paths whose requests neither wake it nor keep it up. A trailing `*` matches any rest.
    pub must_not_wake: Vec<String>,
    /// What an open connection without a request means for it: one that was upgraded, or a stream of events.
    pub open_connections: OpenConnections,
    /// Traffic also resumes it when a person suspended it.
    pub resume_user_suspended: bool,
    /// Say what would be suspended, and suspend nothing.
    pub dry_run: bool,
    /// When it counts as up after a start.
    pub ready: messages::Ready,
    /// How long one busy signal keeps it up at most: a busy lease, a message that it has not answered, its own word, a
    /// connection that is kept without data, a request in flight on which no byte moves.
    pub busy_cap: Duration,
    /// While one of these is open, it is not suspended for being idle.
    pub keep_awake: Windows,
    /// Where it is asked whether it is at work, before it is suspended.
    pub ping: Ping,
    /// The messages that wake it.
    pub messages: Arc<messages::Messages>,
    /// False while the global switch `suspend: off` is thrown.
    pub suspend: bool,
    /// Why this very agent must not be suspended, whatever the rules say.
    pub obstacle: Option<Arc<str>>,
}

/// What keeps Drowse's hands off an agent, whatever the rules say. The backend finds out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HandsOff {
    /// Its name is no DNS label, as a host, a subject and every command want it: nobody could call it, to wake it.
    NoLabel,
    /// A member of a warm pool that nobody has claimed yet: nobody may use it, and suspended it would be replaced.
    PoolMember,
    /// Its claim is deleted, and with it the agent and its data, this long after a pod of it has ended; and
    /// to suspend an agent is to end its pod.
    ClaimExpires {
        /// The name of the claim.
        claim: Arc<str>,
        /// Its `ttlSecondsAfterFinished`.
        ttl_seconds: u32,
    },
}

impl HandsOff {
    /// The reason, for people.
    pub fn reason(&self) -> String {
        match self {
            Self::NoLabel => "left alone: its name is no DNS label (63 characters at most, of a-z, 0-9 and -), so nobody could call it"
                .to_owned(),
            Self::PoolMember => "a member of a warm pool that nobody has claimed".to_owned(),
            Self::ClaimExpires { claim, ttl_seconds } => format!(
                "not suspended: its claim {claim} has ttlSecondsAfterFinished: {ttl_seconds}, so the end of its pod may \
                 delete the agent with its data; remove that field or set it to {} or more",
                Self::SAFE_TTL_SECONDS
            ),
        }
    }

    /// A claim that lives this long after its pod has ended outlives any suspension: the pod of a suspended agent is
    /// gone a termination grace after it has ended, usually within seconds.
    pub const SAFE_TTL_SECONDS: u32 = 600;
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
            protocol: Protocol::Http1,
            must_not_wake: Vec::new(),
            open_connections: OpenConnections::Traffic,
            resume_user_suspended: false,
            dry_run: false,
            ready: messages::Ready::Port,
            busy_cap: Duration::from_hours(8),
            keep_awake: Windows::default(),
            ping: Ping::Off,
            messages: Arc::default(),
            suspend: true,
            obstacle: None,
        }
    }
}

impl Policy {
    /// Whether a dead pod is cleared away, which takes a suspension.
    pub const fn clears_pods(&self) -> bool {
        !self.dry_run && self.obstacle.is_none()
    }

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
