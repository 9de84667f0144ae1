//! The character of one history, drawn from its seed; and the sabotage that the oracle must notice.

use std::time::Duration;

use fastrand::Rng;

use crate::policy::Policy;

/// A fault in Drowse or in a guard of it, made on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sabotage {
    /// The others agree to every suspension, whatever is in flight there (guard ACK).
    NoAck,
    /// Whoever answers at an agent's address is taken for the agent (guard IDENT).
    NoIdent,
    /// The status claims to be as new as the spec (guard OBS), and nobody reads past the caches.
    NoObs,
    /// Who has agreed to a suspension forgets it, and takes requests again (guard FENCE).
    NoFence,
    /// A suspension is written whatever has happened since it was decided.
    NoPrecondition,
    /// Requests are sent a second time.
    Echo,
    /// A resume is lost, and its answer says that it was written.
    LostResume,
    /// Agents do not answer.
    Mute,
    /// Nobody leads.
    NoLeader,
}

impl Sabotage {
    pub const ALL: [Self; 9] = [
        Self::NoAck,
        Self::NoIdent,
        Self::NoObs,
        Self::NoFence,
        Self::NoPrecondition,
        Self::Echo,
        Self::LostResume,
        Self::Mute,
        Self::NoLeader,
    ];

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| format!("{it:?}") == name)
    }
}

/// How long faults happen.
pub const CHAOS: Duration = Duration::from_secs(20);
/// What is held is let go after this long at most: the longest way that a request waits for a link.
pub const LONGEST_CUT: Duration = Duration::from_secs(3);
/// How far a watch lags behind at most, links that are cut apart.
pub const LONGEST_LAG: Duration = Duration::from_millis(800);

/// The character of one history.
#[derive(Debug, Clone)]
pub struct Plan {
    pub doors: usize,
    pub agents: usize,
    /// Addresses for pods: few, so that they are given to one after another.
    pub nodes: usize,
    pub callers: usize,
    pub policy: Policy,
    pub max_latency: Duration,
    /// Mean time between the requests of one caller.
    pub between_calls: Duration,
    /// How long an agent works on one at most.
    pub longest_work: Duration,
    /// Of a hundred requests: callers that leave early.
    pub impatient: u32,
    /// How far watches lag behind at most.
    pub lag: Duration,
    /// How long a pod takes to start, and to end.
    pub slowest_start: Duration,
    pub slowest_end: Duration,
    /// How long the controller thinks about what it has read.
    pub slowest_controller: Duration,
    /// Of a hundred calls to the API: lost on the way there, whose answer is lost, applied late.
    pub lost_calls: u32,
    /// Of a hundred questions between replicas: never answered.
    pub lost_questions: u32,
    /// How often a watch is cut, on average; it may go on from an older state.
    pub watch_cuts: u32,
    /// How many times a front door dies and starts again.
    pub crashes: u32,
    pub longest_down: Duration,
    /// How many times a link is cut for a while.
    pub cuts: u32,
    /// How many pods die by themselves.
    pub deaths: u32,
    /// Whether anything but suspensions goes wrong.
    pub faulty: bool,
}

impl Plan {
    pub fn draw(rng: &mut Rng, sabotage: Option<Sabotage>) -> Self {
        let millis = |rng: &mut Rng, range: std::ops::Range<u64>| Duration::from_millis(rng.u64(range));
        let faulty = rng.u32(0..3) != 0;
        let rate = |rng: &mut Rng, most: u32| if faulty && rng.bool() { rng.u32(0..=most) } else { 0 };
        let agents = rng.usize(1..=3);
        let mut plan = Self {
            doors: rng.usize(1..=3),
            agents,
            nodes: agents + rng.usize(0..=1),
            callers: rng.usize(1..=4),
            policy: Policy {
                route: true,
                manage: true,
                idle_timeout: millis(rng, 150..1_500),
                min_running: millis(rng, 0..500),
                hold_timeout: Duration::from_secs(15),
                resume_deadline: Duration::from_secs(6),
                port: Some(super::nodes::PORT),
                ..Policy::default()
            },
            max_latency: millis(rng, 1..40),
            between_calls: millis(rng, 100..2_500),
            longest_work: millis(rng, 1..800),
            impatient: if rng.bool() { rng.u32(0..30) } else { 0 },
            lag: Duration::from_millis(rng.u64(0..LONGEST_LAG.as_millis() as u64)),
            slowest_start: millis(rng, 10..800),
            slowest_end: millis(rng, 10..400),
            slowest_controller: millis(rng, 5..400),
            lost_calls: rate(rng, 15),
            lost_questions: rate(rng, 20),
            watch_cuts: rate(rng, 6),
            crashes: rate(rng, 4),
            longest_down: Duration::from_secs(2),
            cuts: rate(rng, 6),
            deaths: rate(rng, 5),
            faulty,
        };
        // Those of dead pods are kept for a while.
        plan.nodes += plan.deaths as usize;
        plan.provoke(sabotage);
        plan
    }

    /// Makes more of what a sabotage needs to do harm.
    fn provoke(&mut self, sabotage: Option<Sabotage>) {
        let soon = |span: &mut Duration, most: u64| *span = (*span).min(Duration::from_millis(most));
        match sabotage {
            Some(Sabotage::NoAck) => self.doors = self.doors.max(2),
            Some(Sabotage::NoFence) => {
                self.doors = 3;
                soon(&mut self.between_calls, 600);
            }
            Some(Sabotage::NoPrecondition) => {
                self.lost_calls = 25;
                soon(&mut self.policy.idle_timeout, 300);
                soon(&mut self.between_calls, 500);
            }
            Some(Sabotage::NoIdent | Sabotage::NoObs) => {
                (self.agents, self.nodes, self.callers) = (3, 3, 4);
                self.lag = LONGEST_LAG;
                soon(&mut self.policy.idle_timeout, 200);
                soon(&mut self.policy.min_running, 100);
                soon(&mut self.slowest_start, 50);
                soon(&mut self.slowest_end, 20);
                soon(&mut self.between_calls, 500);
            }
            _ => {}
        }
    }
}
