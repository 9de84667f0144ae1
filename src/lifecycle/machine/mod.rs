//! The machine: one agent's state, and what each event does to it.
//!
//! This file has the state and the dispatch; `world` reacts to what is observed, `suspend` and `resume` are the
//! two ways, `recovery` is what becomes of failures, `ping` asks before the way down, `asked` answers another replica,
//! `callers` is the queue in front of the gate, `joining` what a replica may not do yet that has just started. The gate is
//! open in phase Running and in no other.

mod asked;
mod callers;
mod joining;
mod ping;
mod recovery;
mod resume;
mod suspend;
#[cfg(test)]
mod tests;
mod world;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::agent::{AgentUid, Generation, Life, PodUid, Revision};
use crate::policy::idle::{Says, Signal, Source, Verdict, verdict};
use crate::policy::keep_awake::open_at;
use crate::policy::{OpenConnections, Policy};
use crate::time::Moment;

use super::activity::Activity;
use super::backoff::Backoff;
use super::effect::{Abandoned, Effect, Transition};
use super::event::{CallId, Event};
use super::gate::Gate;
use super::observation::{AgentSeen, Failure, Mode, PodSeen, WriteError};
use super::phase::{DrainStep, Phase, PhaseName, ResumeStep};
use super::refusal::Refusal;
use super::waitlist::Waitlist;
use ping::Pings;

/// How often an agent that is idle but may not be suspended is looked at again.
const RECHECK: Duration = Duration::from_secs(30);

/// What the machine needs to know besides its own state.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Context<'a> {
    /// The time.
    pub now: Moment,
    /// What the calendar says now. It may be set at any time.
    pub calendar: Timestamp,
    /// What the operator wants for this agent.
    pub policy: &'a Policy,
    /// This replica is the leader, and may write suspensions.
    pub may_suspend: bool,
    /// This replica may write suspensions that somebody orders: its view of the world is complete and fresh, and the others
    /// count it as one of them.
    pub may_order: bool,
    /// There is no other replica, whatever happens.
    pub alone: bool,
    /// An agent that is found running may have been left so by an earlier run, of which a write may still be on its way.
    pub inherits: bool,
    /// Messages reach the agent that do not pass its gate: before it is suspended, somebody listens for them.
    pub listens: bool,
    /// As many suspensions are being written as may be at once: wait for a place.
    pub crowded: bool,
}

/// One agent. `W` is whatever the shell needs to reach a caller that waits.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Machine<W> {
    gate: Arc<Gate>,
    /// Of those few of which anything but requests is known.
    activity: Option<Arc<Activity>>,
    phase: Phase,
    since: Moment,
    agent: Option<AgentSeen>,
    /// It has not changed since this replica first saw it running, or since it takes part again (guard JOIN).
    is_as_found: bool,
    /// What is seen of it up to here is from before this replica took part again, also if it is shown only now.
    found_until: Revision,
    /// Boxed, as what is `None` of most agents in a large fleet: they sleep.
    pod: Option<Box<PodSeen>>,
    /// Observations of pods up to here are old news.
    pod_floor: Revision,
    waiters: Waitlist<W>,
    /// An operator or a schedule wants it up, though nobody waits.
    demanded: bool,
    turn: Turn,
    /// The call to the backend whose answer is awaited.
    call: Option<Box<Call>>,
    calls: u64,
    backoff: Backoff,
    last_failure: Option<Box<Failure>>,
    /// A pod whose failure was dealt with, though it may still be seen.
    failed_pod: Option<PodUid>,
    /// That pod was started by us, and not only looked at: it may be in use by other ways than ours.
    failed_start: bool,
    /// Since when anything is known about it.
    known_since: Moment,
    /// The life that is served, or probed.
    probed: Option<Probed>,
    up_since: Option<Moment>,
    /// When an operator or a schedule last wanted it up; [`Moment::START`] is never.
    last_demand: Moment,
    /// When the signals are weighed next, or in phase Failed, when it is looked at again.
    check_at: Moment,
    /// A suspension was refused for good: not again before this.
    no_suspend_before: Moment,
    would_suspend_told: bool,
    pings: Option<Box<Pings>>,
    gone: bool,
}

/// A life that is served, or probed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Probed {
    /// Where it is.
    address: IpAddr,
    /// It is asked in its own way whether it is ready.
    asks: bool,
}

/// A call to the backend, and which object it is about.
#[derive(Debug)]
struct Call {
    id: CallId,
    uid: Option<AgentUid>,
    /// What it brings back is from after this replica took part (again): it writes, and was sent since then.
    is_newer: bool,
}

/// This agent's turn to start, see `pacing`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Turn {
    None,
    Asked,
    Granted,
}

impl<W> Machine<W> {
    /// An agent of which nothing is known yet. The seed spreads the jitter of different agents' retries.
    pub fn new(gate: Arc<Gate>, seed: u64, now: Moment) -> Self {
        Self {
            gate,
            activity: None,
            phase: Phase::Unknown,
            since: now,
            agent: None,
            is_as_found: false,
            found_until: Revision::default(),
            pod: None,
            pod_floor: Revision::default(),
            waiters: Waitlist::default(),
            demanded: false,
            turn: Turn::None,
            call: None,
            calls: 0,
            backoff: Backoff::new(seed),
            last_failure: None,
            failed_pod: None,
            failed_start: false,
            known_since: now,
            probed: None,
            up_since: None,
            last_demand: Moment::START,
            check_at: now,
            no_suspend_before: Moment::START,
            would_suspend_told: false,
            pings: None,
            gone: false,
        }
    }

    /// One step. Effects are appended in the order in which they are to be run.
    pub fn handle(&mut self, event: Event<W>, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        match event {
            Event::Agent(seen) => {
                if self.note_agent(seen) {
                    self.world_changed(ctx, fx);
                }
            }
            Event::AgentGone(uid) => self.agent_gone(&uid, ctx, fx),
            Event::Pod(seen) => {
                if self.note_pod(seen) {
                    self.world_changed(ctx, fx);
                }
            }
            Event::PodGone { pod, revision } => {
                if self.note_pod_gone(&pod, revision) {
                    self.world_changed(ctx, fx);
                }
            }
            Event::Arrive(arrival) => self.arrive(arrival, ctx, fx),
            Event::Leave(id) => {
                drop(self.waiters.remove(id));
                self.queue_shrank();
            }
            Event::PlaceFreed => self.release(ctx, fx),
            Event::Demand => self.demand(ctx, fx),
            Event::SuspendNow(by) => self.suspend_now(by, ctx, fx),
            Event::StartGranted => self.start_granted(ctx, fx),
            Event::Done { id, result } => self.call_done(id, result, ctx, fx),
            Event::Answers(life) => self.answers(&life, ctx, fx),
            Event::DrainAsked(question) => self.drain_asked(&question, ctx, fx),
            Event::Quiet(revision) => self.quiet(revision, ctx, fx),
            Event::NotQuiet(revision) => self.not_quiet(revision, ctx, fx),
            Event::DataMoved => self.drain_unwanted(ctx, fx),
            Event::Leased => self.leased(ctx, fx),
            Event::Pinged { id, answer } => self.pinged(id, answer, ctx, fx),
            Event::PeersAcknowledged(revision) => self.peers_acknowledged(revision, ctx, fx),
            Event::PeersVetoed(revision) => self.peers_vetoed(revision, ctx, fx),
            Event::Rejoin(until) => self.rejoin(until, ctx, fx),
            Event::Tick => self.tick(ctx, fx),
            Event::Ending => self.refuse_all(&Refusal::ShuttingDown, fx),
        }
        self.forget_unwanted_start(ctx, fx);
        debug_assert_eq!(
            self.gate.is_open(),
            matches!(self.phase, Phase::Running { .. }),
            "{:?}",
            self.phase
        );
    }

    /// When [`Event::Tick`] is due. A later one is late, an earlier one is harmless.
    pub fn next_deadline(&self) -> Option<Moment> {
        let own = match &self.phase {
            Phase::Unknown | Phase::Suspending | Phase::Suspended => None,
            Phase::Running { .. } => Some(self.check_at),
            Phase::Draining(drain) => Some(drain.deadline),
            Phase::Resuming(resume) => {
                let next = match resume.step {
                    ResumeStep::RetryingAt(at) => Some(at),
                    ResumeStep::AwaitingPod | ResumeStep::Probing(_) => resume.planned.map(|(_, at)| at),
                    _ => None,
                };
                [resume.deadline, next].into_iter().flatten().min()
            }
            Phase::Failed { retry_at, .. } => Some(self.check_at.max(*retry_at)),
        };
        [own, self.waiters.next_deadline()].into_iter().flatten().min()
    }

    fn tick(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        self.refuse_expired(ctx, fx);
        match &self.phase {
            Phase::Running { .. } => {
                // `max_in_flight` may have been raised.
                self.release(ctx, fx);
                self.consider_suspending(ctx, fx);
            }
            Phase::Draining(_) if self.is_joining() && !self.must_join(ctx) => {
                // It is not managed any more.
                self.reopen(Abandoned::Conflict, ctx, fx);
            }
            // What keeps it up may have ended before its time.
            Phase::Draining(_) if self.is_joining() => self.joining_due(ctx, fx),
            Phase::Draining(drain) if drain.deadline <= ctx.now => self.drain_overdue(ctx, fx),
            Phase::Resuming(_) => self.resume_tick(ctx, fx),
            // A rule may name it by now.
            Phase::Unknown if !self.gone => self.settle(ctx, fx),
            Phase::Failed { retry_at, .. } if self.check_at.max(*retry_at) <= ctx.now => {
                self.retry_due(ctx, fx);
            }
            _ => {}
        }
    }

    /// A call to the backend came back. Only the newest one decides; what an older one saw is still true.
    fn call_done(
        &mut self,
        id: CallId,
        result: Result<AgentSeen, WriteError>,
        ctx: Context<'_>,
        fx: &mut Vec<Effect<W>>,
    ) {
        let Some(call) = self.call.take_if(|call| call.id == id) else {
            // What was written before the object was deleted does not bring it back.
            if let (Ok(seen), false) = (result, self.gone) {
                self.handle(Event::Agent(seen), ctx, fx);
            }
            return;
        };
        if result.is_ok() && call.is_newer {
            // It was not there when anything was agreed on without this replica.
            self.found_until = Revision::default();
        }
        let result = match (result, call.uid) {
            (Err(WriteError::Gone), Some(uid)) if Some(&uid) == self.uid() => {
                return self.agent_gone(&uid, ctx, fx);
            }
            // It was about a predecessor of the same name.
            (Err(WriteError::Gone), _) => Err(WriteError::Conflict),
            (result, _) => result,
        };
        match self.phase {
            Phase::Draining(_) => self.drain_call_done(result, ctx, fx),
            Phase::Resuming(_) => self.resume_call_done(result, ctx, fx),
            _ => debug_assert!(false, "calls are awaited only while draining or resuming"),
        }
    }

    /// The one way from phase to phase: whatever must happen on leaving one happens here.
    fn enter(&mut self, next: Phase, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        let (from, to) = (self.phase.name(), next.name());
        let serves = |name| matches!(name, PhaseName::Running | PhaseName::Draining);
        if self.gate.is_open() {
            self.gate.close();
        }
        if serves(from) && !serves(to) {
            fx.push(Effect::Retire);
        }
        if serves(from) != serves(to) {
            self.forget_pings(to);
        }
        if from == PhaseName::Running && to != PhaseName::Failed {
            self.note_good_run(ctx);
        }
        if let Phase::Resuming(resume) = &self.phase {
            if matches!(resume.step, ResumeStep::Probing(_)) && to != PhaseName::Running {
                fx.push(Effect::StopProbe);
            }
            self.end_turn(fx);
        }
        self.call = None;
        self.phase = next;
        if from != to {
            self.since = ctx.now;
            fx.push(Effect::Record(Transition::Phase { from, to }));
        }
    }

    fn end_turn(&mut self, fx: &mut Vec<Effect<W>>) {
        match std::mem::replace(&mut self.turn, Turn::None) {
            Turn::None => {}
            Turn::Asked => fx.push(Effect::CancelStart),
            Turn::Granted => fx.push(Effect::StartDone),
        }
    }

    fn next_call(&mut self) -> CallId {
        self.begin_call(true)
    }

    fn next_read(&mut self) -> CallId {
        self.begin_call(false)
    }

    fn begin_call(&mut self, is_newer: bool) -> CallId {
        self.calls += 1;
        let id = CallId(self.calls);
        self.call = Some(Box::new(Call { id, uid: self.uid().cloned(), is_newer }));
        id
    }

    fn mode(&self) -> Option<Mode> {
        self.agent.as_ref().map(|agent| agent.mode)
    }

    fn is_wanted(&self) -> bool {
        self.demanded || self.waiters.wants_wake()
    }
}

/// What people and the API are shown.
impl<W> Machine<W> {
    /// The gate that requests pass.
    pub const fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Where signs of its activity besides requests are noted.
    pub fn activity(&mut self) -> &Arc<Activity> {
        self.activity.get_or_insert_default()
    }

    /// Where the agent is in its life.
    pub const fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Since when it is in this phase.
    pub const fn since(&self) -> Moment {
        self.since
    }

    /// The newest observation of the object.
    pub const fn agent(&self) -> Option<&AgentSeen> {
        self.agent.as_ref()
    }

    /// The newest observation of its pod.
    pub fn pod(&self) -> Option<&PodSeen> {
        self.pod.as_deref()
    }

    /// How many callers wait.
    pub fn held(&self) -> usize {
        self.waiters.len()
    }

    /// The last request, message or data that was seen; [`Moment::START`] if none was.
    pub fn last_activity(&self) -> Moment {
        let besides = self
            .activity
            .as_deref()
            .map(|activity| activity.message().max(activity.data()).max(activity.elsewhere()));
        self.gate.last_activity().max(besides.unwrap_or_default())
    }

    /// How many messages wait for it.
    pub fn messages_waiting(&self) -> u32 {
        self.activity.as_deref().map_or(0, Activity::waiting)
    }

    /// How many connections to it are open without a request.
    pub fn open_connections(&self) -> u32 {
        self.activity.as_deref().map_or(0, Activity::connections)
    }

    /// Whether the object was deleted, and nothing about this name is left.
    pub const fn is_gone(&self) -> bool {
        self.gone
    }

    /// The last failure, until a start succeeds, and how many there were in a row.
    pub fn last_failure(&self) -> Option<(&Failure, u32)> {
        self.last_failure.as_deref().map(|failure| (failure, self.backoff.failures()))
    }

    /// Whether this life, at this address, probed since this generation of the object, is the one whose answer is awaited: the shell publishes where to reach it just before
    /// it reports [`Event::Answers`].
    pub fn awaits(&self, life: &Life, address: IpAddr, generation: Generation) -> bool {
        let Phase::Resuming(resume) = &self.phase else { return false };
        self.probed.is_some_and(|probed| probed.address == address)
            && resume.probed_at == generation
            && resume.step == ResumeStep::Probing(life.clone())
    }

    /// What every source of activity says. The one place that lists them. The two times are the same.
    pub fn signals(&self, policy: &Policy, now: Moment, calendar: Timestamp) -> Vec<Signal> {
        let signal = |source, says| Signal { source, says };
        let mut signals = Vec::with_capacity(8);
        if self.gate.in_flight() > 0 || !self.waiters.is_empty() {
            signals.push(signal(Source::Requests, Says::Busy));
        } else if self.gate.last_activity() > Moment::START {
            signals.push(signal(Source::Requests, Says::LastActive(self.gate.last_activity())));
        }
        if let Some(activity) = &self.activity {
            let (message, owes) = (activity.message(), activity.unanswered_until());
            let leased = activity.leased_until().max(activity.leased_elsewhere_until());
            if message > Moment::START {
                signals.push(signal(Source::Messages, Says::LastActive(message)));
            }
            // What was in use there has ended then, unless that is said again, and the idle timeout runs from there.
            let elsewhere = activity.elsewhere().max(activity.used_elsewhere_until());
            if elsewhere > Moment::START {
                signals.push(signal(Source::Elsewhere, Says::LastActive(elsewhere)));
            }
            if owes > Moment::START {
                signals.push(signal(Source::Unanswered, Says::BusyUntil(owes)));
            }
            if leased > Moment::START {
                // Whatever was leased has ended then, and the idle timeout runs from there.
                signals.push(signal(Source::Lease, Says::LastActive(leased)));
            }
            if let Some(says) = of_connections(activity, policy) {
                signals.push(signal(Source::Connections, says));
            }
        }
        if let Some((source, says)) = self.ping_signal(policy) {
            signals.push(signal(source, says));
        }
        if let Some(open) = open_at(&policy.keep_awake, calendar) {
            let left = open.until.duration_since(calendar).unsigned_abs();
            signals.push(signal(Source::KeepAwake, Says::BusyUntil(now + left)));
        }
        if let Some(up) = self.up_since {
            signals.push(signal(Source::MinRunning, Says::BusyUntil(up + policy.min_running)));
        }
        let start = self.up_since.unwrap_or(Moment::START).max(self.last_demand);
        if start > Moment::START {
            signals.push(signal(Source::Start, Says::LastActive(start)));
        }
        signals
    }

    fn verdict(&self, ctx: Context<'_>) -> Verdict {
        verdict(&self.signals(ctx.policy, ctx.now, ctx.calendar), ctx.policy.idle_timeout, ctx.now)
    }

    /// Whether it is up for as long as connections to it are open, and some are.
    fn is_kept_by_connections(&self, ctx: Context<'_>) -> bool {
        let says = self.activity.as_deref().and_then(|activity| of_connections(activity, ctx.policy));
        matches!(says, Some(Says::BusyUntil(until)) if until > ctx.now)
    }

    fn uid(&self) -> Option<&AgentUid> {
        self.agent.as_ref().map(|agent| &agent.uid)
    }

    /// Whether the leader's drain is at this step and about this revision.
    fn drains_at(&self, step: DrainStep, revision: Revision) -> bool {
        matches!(&self.phase, Phase::Draining(drain) if drain.step == step && drain.revision == revision)
    }
}

/// What the open connections to an agent say.
fn of_connections(activity: &Activity, policy: &Policy) -> Option<Says> {
    let last = match policy.open_connections {
        OpenConnections::Ignore => Moment::START,
        OpenConnections::Traffic => activity.data(),
        // One that is forgotten counts for `busy_cap`, and then no more.
        OpenConnections::Keep if activity.connections() > 0 => {
            return Some(Says::BusyUntil(
                activity.connection_event() + policy.busy_cap.max(policy.idle_timeout),
            ));
        }
        OpenConnections::Keep => activity.data().max(activity.connection_ended()),
    };
    (last > Moment::START).then_some(Says::LastActive(last))
}
