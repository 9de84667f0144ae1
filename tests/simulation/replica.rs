//! One replica of Drowse: the machine, and as much of the shell as it takes to run it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use drowse::agent::{AgentKey, Generation, Life, Revision};
use drowse::lifecycle::pacing::{Pacer, PacingLimits};
use drowse::lifecycle::{CallId, Gate, Machine};
use drowse::time::Moment;

use crate::history::pings::Told;

/// Names a caller.
pub type CallerId = usize;

pub struct Replica {
    pub machine: Machine<CallerId>,
    pub gate: Arc<Gate>,
    pub pacer: Pacer,
    /// Grows with every crash: what was meant for the one before is dropped.
    pub incarnation: u32,
    /// Takes part (false between a crash and the end of the start).
    pub up: bool,
    pub life: Option<Life>,
    pub probe: u64,
    pub armed: Option<Moment>,
    pub arrivals: u64,
    /// The acknowledgements that the leader has, for the revision that it asked about.
    pub asked: Option<(Revision, Vec<bool>)>,
    /// Its resumes on the way, and the generation of the suspended life that each ends.
    pub resumes_under_way: BTreeMap<CallId, Generation>,
    /// What the agent has said to it, for the oracle.
    pub told: Told,
    /// What is in flight in truth, for the oracle.
    pub in_flight: u32,
    /// When it last closed its gate for a suspension, for the oracle.
    pub closed_at: Moment,
}

pub fn key() -> AgentKey {
    AgentKey::new("default", "agent")
}

impl Replica {
    pub fn new(incarnation: u32, now: Moment) -> Self {
        let gate = Arc::new(Gate::default());
        Self {
            machine: Machine::new(Arc::clone(&gate), u64::from(incarnation), now),
            gate,
            pacer: Pacer::new(PacingLimits { in_flight: 1, per_namespace: 1, per_second: 1_000 }),
            incarnation,
            up: true,
            life: None,
            probe: 0,
            armed: None,
            arrivals: 0,
            asked: None,
            resumes_under_way: BTreeMap::new(),
            told: Told::default(),
            in_flight: 0,
            closed_at: Moment::START,
        }
    }
}

impl Replica {
    /// Whether its machine would hear now that this life answers.
    pub fn awaits(&self, life: &Life) -> bool {
        let generation = self.machine.agent().map(|agent| agent.generation).unwrap_or_default();
        self.machine.awaits(life, IpAddr::V4(Ipv4Addr::LOCALHOST), generation)
    }
}

/// How long a call to the API is awaited.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);
