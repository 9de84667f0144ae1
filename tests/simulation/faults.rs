//! What may go wrong in a history, drawn from its seed; and the sabotage that the oracle must notice.

use std::num::NonZeroU32;
use std::time::Duration;

use drowse::policy::Policy;
use drowse::units::{Ping, Windows, Written};
use fastrand::Rng;

/// The character of one history.
#[derive(Debug)]
pub struct Plan {
    pub replicas: usize,
    pub policy: Policy,
    pub callers: usize,
    /// Mean time between callers.
    pub between_callers: Duration,
    /// Of a hundred calls to the API: lost before, answered never, applied late, refused.
    pub lost_calls: u32,
    /// Of a hundred messages between replicas.
    pub lost_messages: u32,
    /// Of a hundred observations: delivered twice, and very late.
    pub strange_observations: u32,
    /// Of a hundred pods: crash at the start, never listen, die some time.
    pub bad_pods: u32,
    pub crashes: u32,
    pub person_changes: u32,
    pub leader_changes: u32,
    pub status_noise: u32,
    /// Of a hundred callers: those that leave early.
    pub impatient: u32,
    pub must_not_wake: u32,
    /// Messages pass by the gate, so somebody listens for them before a suspension.
    pub listens: bool,
    /// The agent is asked whether it is at work.
    pub pings: bool,
    /// Connections that stay open without a request.
    pub connections: usize,
    /// Mean time between data on one of them.
    pub between_data: Duration,
}

impl Plan {
    pub fn draw(rng: &mut Rng) -> Self {
        let rate = |rng: &mut Rng, most: u32| if rng.bool() { 0 } else { rng.u32(0..=most) };
        let max_in_flight = [None, None, NonZeroU32::new(1), NonZeroU32::new(3)];
        let mut plan = Self {
            replicas: rng.usize(1..=3),
            policy: Policy {
                route: true,
                manage: true,
                idle_timeout: Duration::from_millis(rng.u64(50..3_000)),
                min_running: Duration::from_millis(rng.u64(0..1_000)),
                hold_timeout: Duration::from_secs(20),
                resume_deadline: Duration::from_secs(8),
                max_held: 12,
                max_in_flight: max_in_flight[rng.usize(0..4)],
                ..Policy::default()
            },
            callers: rng.usize(5..40),
            between_callers: Duration::from_millis(rng.u64(20..4_000)),
            lost_calls: rate(rng, 30),
            lost_messages: rate(rng, 30),
            strange_observations: rate(rng, 30),
            bad_pods: rate(rng, 40),
            crashes: rate(rng, 3),
            person_changes: rate(rng, 4),
            leader_changes: rate(rng, 3),
            status_noise: rate(rng, 20),
            impatient: rate(rng, 50),
            must_not_wake: rate(rng, 20),
            listens: rng.u32(0..4) == 0,
            pings: rng.u32(0..3) == 0,
            connections: 0,
            between_data: Duration::ZERO,
        };
        if rng.bool() {
            plan.policy.keep_awake = window(rng.u32(1..=30));
        }
        if plan.pings {
            plan.policy.ping = Ping::read("/ping").expect("a path");
            plan.policy.busy_cap = Duration::from_millis(rng.u64(500..30_000));
        }
        if rng.bool() {
            plan.connections = rng.usize(1..10);
            plan.between_data = Duration::from_millis(rng.u64(20..6_000));
        }
        plan
    }
}

/// Open for so many seconds of every minute.
fn window(seconds: u32) -> Windows {
    Windows::read(&format!("* * * * * for {seconds}s UTC")).expect("a window")
}

/// A fault in Drowse itself (or in a guard), made on purpose: the oracle must notice each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sabotage {
    /// The gate forgets a request that is in flight.
    BrokenGate,
    /// A caller that is let through is never told.
    DroppedWakeUp,
    /// A resume is sent twice.
    DoubleResume,
    /// The leader does not wait for acknowledgements (guard ACK).
    NoAck,
    /// Who acknowledged goes on routing (guard FENCE).
    NoFence,
    /// Who has just started routes at once (guard JOIN).
    NoJoin,
    /// The status claims to be newer than it is (guard OBS), and the pod is not read past the caches.
    NoObs,
    /// A turn to start is never given back.
    LostTurn,
    /// Whoever asks the agent takes its `HealthyBusy` for `Healthy`.
    DeafToPing,
    /// Data on an open connection is passed on and not noted.
    UnnotedData,
    /// Data on an open connection does not wait for the gate.
    PassedData,
}
