//! The way down: Running → Draining → Suspending, and every way back up from Draining.
//!
//! Guards ACK and FENCE live here. The write is conditional on the very revision that every replica has
//! acknowledged, so whatever happens in between makes it fail.

use std::time::Duration;

use crate::agent::Revision;
use crate::lifecycle::Activity;
use crate::lifecycle::effect::{Abandoned, DrainQuestion, Effect, Transition};
use crate::lifecycle::observation::{AgentSeen, Mode, SuspendedBy, WriteError};
use crate::lifecycle::phase::{Drain, DrainStep, Phase};
use crate::policy::idle::{Source, Verdict};

use super::{Context, Machine, RECHECK};

/// How long the leader waits for its peers. Their answer is a compare-and-swap away.
const PEERS_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the leader listens for messages at most: some rounds of questions to the servers.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the answer to a write is awaited before it counts as unknown. Longer than any backend's own bound.
const WRITE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a replica that acknowledged stays closed without news before it asks for some.
pub(super) const FENCE_TIMEOUT: Duration = Duration::from_secs(5);
/// How soon a read or write that settles a drain is repeated.
const SETTLE_RETRY: Duration = Duration::from_secs(1);
/// How soon a suspension that a peer or somebody else's change prevented is tried again.
const RETRY_SUSPEND: Duration = Duration::from_secs(5);
/// How soon an idle agent is looked at again when too many others are being suspended.
pub(super) const RECHECK_CROWDED: Duration = Duration::from_millis(250);
/// How soon an agent in a keep-awake window is looked at again at the latest: the calendar may have been set forward.
const RECHECK_CALENDAR: Duration = Duration::from_mins(5);
/// How soon a suspension that was refused for good is tried again.
const RETRY_REFUSED: Duration = Duration::from_mins(5);

impl<W> Machine<W> {
    // Running → Draining, or stay and look again later.
    pub(super) fn consider_suspending(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        let idle_timeout = ctx.policy.idle_timeout;
        match self.verdict(ctx) {
            Verdict::UpUntil(until, source) => {
                self.would_suspend_told = false;
                self.check_at = match source {
                    Source::KeepAwake => until.min(ctx.now + RECHECK_CALENDAR),
                    // They may end before, and the timeout runs from there.
                    Source::Connections => until.min(ctx.now + idle_timeout),
                    _ => until,
                };
            }
            // Whenever it ends, the timeout runs from there: it cannot be due before this.
            Verdict::Busy(_) => {
                self.would_suspend_told = false;
                self.check_at = ctx.now + idle_timeout;
            }
            Verdict::Idle if self.no_suspend_before > ctx.now => self.check_at = self.no_suspend_before,
            Verdict::Idle if self.asks_first(ctx) && ctx.crowded => self.check_at = ctx.now + RECHECK_CROWDED,
            Verdict::Idle if self.asks_first(ctx) => self.ask(ctx, fx),
            Verdict::Idle => self.suspend_idle(ctx, fx),
        }
    }

    /// Everything says idle, and so does the agent if it is to be asked.
    pub(super) fn suspend_idle(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        let policy = ctx.policy;
        if policy.manage && (policy.dry_run || policy.obstacle.is_some()) {
            // Not more often than it would be asked if it were busy.
            let pause = if policy.ping.target().is_some() { policy.idle_timeout } else { RECHECK };
            self.check_at = ctx.now + pause.max(RECHECK);
            if !std::mem::replace(&mut self.would_suspend_told, true) {
                let obstacle = policy.obstacle.clone().filter(|_| !policy.dry_run);
                let told = obstacle.map_or(Transition::WouldSuspend, Transition::Obstructed);
                fx.push(Effect::Record(told));
            }
        } else if may_suspend(ctx) && ctx.crowded {
            self.check_at = ctx.now + RECHECK_CROWDED;
        } else if may_suspend(ctx) {
            let overrules = self.overrules(ctx);
            if !self.close_if_still_idle(ctx) {
                self.check_at = ctx.now + policy.idle_timeout;
                return;
            }
            self.begin_drain(SuspendedBy::Idle, false, ctx, fx);
            if let Phase::Draining(drain) = &mut self.phase {
                drain.overrules = overrules;
            }
        } else {
            self.check_at = ctx.now + RECHECK;
        }
    }

    /// Closes the gate, and proves both that nothing is in flight and that nothing came and went meanwhile.
    pub(super) fn close_if_still_idle(&self, ctx: Context<'_>) -> bool {
        self.close_if_still(ctx, Self::verdict)
    }

    /// The same, with another verdict on the signals.
    pub(super) fn close_if_still(
        &self,
        ctx: Context<'_>,
        verdict: fn(&Self, Context<'_>) -> Verdict,
    ) -> bool {
        if !self.gate.close_if_idle() {
            return false;
        }
        // Only now does the last activity stand still.
        Activity::look_after_closing();
        let idle = verdict(self, ctx) == Verdict::Idle;
        if !idle {
            self.gate.open(false);
        }
        idle
    }

    /// The gate is closed. Ask the peers, or with none, write.
    fn begin_drain(&mut self, by: SuspendedBy, ordered: bool, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        let Some(agent) = &self.agent else { return };
        let revision = agent.revision;
        // What somebody orders, and what is dead anyway, waits for no silence.
        let listens = ctx.listens && !ordered && matches!(self.phase, Phase::Running { .. });
        let (step, patience) = if listens {
            (DrainStep::Listening, LISTEN_TIMEOUT)
        } else {
            (DrainStep::AskingPeers, PEERS_TIMEOUT)
        };
        let drain = Drain { ordered, begun_here: true, ..self.drain(agent, step, by, ctx.now + patience) };
        self.enter(Phase::Draining(drain.into()), ctx, fx);
        if listens {
            fx.push(Effect::Listen(revision));
        } else {
            self.ask_peers(revision, ctx, fx);
        }
    }

    // Draining(Listening) → Draining(AskingPeers).
    pub(super) fn quiet(&mut self, revision: Revision, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        if !self.drains_at(DrainStep::Listening, revision) {
            return;
        }
        if self.verdict(ctx) != Verdict::Idle {
            self.reopen(Abandoned::NotQuiet, ctx, fx);
            return;
        }
        if let Phase::Draining(drain) = &mut self.phase {
            drain.step = DrainStep::AskingPeers;
            drain.deadline = ctx.now + PEERS_TIMEOUT;
        }
        self.ask_peers(revision, ctx, fx);
    }

    // Draining(Listening) → Running.
    pub(super) fn not_quiet(&mut self, revision: Revision, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        if self.drains_at(DrainStep::Listening, revision) {
            self.reopen(Abandoned::NotQuiet, ctx, fx);
        }
    }

    fn ask_peers(&mut self, revision: Revision, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        // At a revision at which it is suspended nobody routes to it.
        if ctx.alone || self.mode() == Some(Mode::Suspended) {
            self.peers_acknowledged(revision, ctx, fx);
        } else {
            let ordered = matches!(&self.phase, Phase::Draining(drain) if drain.ordered);
            let question = self.uid().cloned().map(|uid| DrainQuestion { uid, revision, ordered });
            fx.extend(question.map(Effect::AskPeers));
        }
    }

    pub(super) fn drain(
        &self,
        agent: &AgentSeen,
        step: DrainStep,
        by: SuspendedBy,
        deadline: crate::time::Moment,
    ) -> Drain {
        let life = match &self.phase {
            Phase::Running { life } => Some((**life).clone()),
            Phase::Draining(before) => before.life.clone(),
            _ => None,
        };
        Drain {
            revision: agent.revision,
            generation: agent.generation,
            life,
            step,
            deadline,
            by,
            begun_here: false,
            ordered: false,
            overrules: false,
            abandon: Abandoned::Conflict,
            refused: None,
        }
    }

    // Draining(AskingPeers) → Draining(Writing).
    pub(super) fn peers_acknowledged(
        &mut self,
        revision: Revision,
        ctx: Context<'_>,
        fx: &mut Vec<Effect<W>>,
    ) {
        if self.clears_at(revision) {
            if may_clear(ctx) {
                self.clear_failed_pod(fx);
            } else {
                self.retry_resume_write(ctx);
            }
            return;
        }
        if !self.drains_at(DrainStep::AskingPeers, revision) {
            return;
        }
        let ordered = matches!(&self.phase, Phase::Draining(drain) if drain.ordered);
        let may = if ordered { may_order(ctx) } else { may_suspend(ctx) && !ctx.policy.dry_run };
        // The leadership or the policy may have changed since the peers were asked.
        if !may {
            self.change_mind(Abandoned::Veto, ctx, fx);
            return;
        }
        let id = self.next_call();
        if let (Phase::Draining(drain), Some(agent)) = (&mut self.phase, &self.agent) {
            drain.step = DrainStep::Writing;
            drain.deadline = ctx.now + WRITE_TIMEOUT;
            fx.push(Effect::Suspend { id, uid: agent.uid.clone(), revision, by: drain.by });
        }
    }

    // Draining(AskingPeers) → Running.
    pub(super) fn peers_vetoed(&mut self, revision: Revision, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        if self.drains_at(DrainStep::AskingPeers, revision) {
            self.change_mind(Abandoned::Veto, ctx, fx);
        } else if self.clears_at(revision) {
            self.retry_resume_write(ctx);
        }
    }

    /// The leader has written nothing, so nothing can come of this drain any more: reopen at once. Peers that
    /// acknowledged stay fenced until the object changes, so change it.
    fn change_mind(&mut self, why: Abandoned, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        let object = self.agent.as_ref().map(|agent| (agent.uid.clone(), agent.generation));
        self.reopen(why, ctx, fx);
        // While it joins, that may have been done already.
        let changes = matches!(&self.phase, Phase::Draining(drain) if drain.step == DrainStep::Settling);
        if let (false, Some((uid, generation))) = (ctx.alone || changes, object) {
            // Nobody waits for the answer: not `self.call`.
            self.calls += 1;
            let id = crate::lifecycle::CallId(self.calls);
            fx.push(Effect::Resume { id, uid, generation, from: Mode::Running });
        }
    }

    /// Somebody wants the agent while it is being drained.
    pub(super) fn drain_unwanted(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        let pod_is_dead = self.needs_clearing();
        let Phase::Draining(drain) = &mut self.phase else { return };
        drain.abandon = Abandoned::Demand;
        match drain.step {
            // The suspension clears the pod away, without which nobody can be served.
            DrainStep::Fenced if pod_is_dead => {}
            // Nobody else knows of it yet.
            DrainStep::Listening => self.reopen(Abandoned::Demand, ctx, fx),
            DrainStep::AskingPeers => self.change_mind(Abandoned::Demand, ctx, fx),
            // On one's own word nobody reopens after this point: make the leader's write fail, and see it fail.
            DrainStep::Fenced | DrainStep::Joining => self.settle_by_write(ctx, fx),
            // The answer is under way; the demand is remembered by the queue.
            DrainStep::Writing | DrainStep::Settling => {}
        }
    }

    /// A lease keeps its agent from being suspended because it is idle, also when that is under way. What somebody has ordered
    /// goes on, and what is joining is not being suspended.
    pub(super) fn leased(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        if matches!(&self.phase, Phase::Draining(drain) if !drain.ordered && drain.step != DrainStep::Joining)
        {
            self.drain_unwanted(ctx, fx);
        }
    }

    /// Nobody answered in time.
    pub(super) fn drain_overdue(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        match &mut self.phase {
            Phase::Draining(drain) if drain.step == DrainStep::Listening => {
                self.reopen(Abandoned::NotQuiet, ctx, fx);
            }
            Phase::Draining(drain) if drain.step == DrainStep::AskingPeers => {
                self.change_mind(Abandoned::Veto, ctx, fx);
            }
            Phase::Draining(drain) => {
                if drain.step == DrainStep::Writing && drain.abandon != Abandoned::Demand {
                    drain.abandon = Abandoned::NoAnswer;
                }
                self.settle_by_write(ctx, fx);
            }
            _ => {}
        }
    }

    /// A write that changes nothing but the revision: it makes any suspension that is still under way fail, and
    /// itself fails if one was faster. Either way the object then tells.
    pub(super) fn settle_by_write(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        let Some(agent) = &self.agent else { return };
        let (uid, generation) = (agent.uid.clone(), agent.generation);
        let id = self.next_call();
        self.settling_until(ctx.now + WRITE_TIMEOUT);
        fx.push(Effect::Resume { id, uid, generation, from: Mode::Running });
    }

    fn settle_by_read(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        let id = self.next_read();
        self.settling_until(ctx.now + WRITE_TIMEOUT);
        fx.push(Effect::Read { id });
    }

    fn settling_until(&mut self, deadline: crate::time::Moment) {
        if let Phase::Draining(drain) = &mut self.phase {
            drain.step = DrainStep::Settling;
            drain.deadline = deadline;
        }
    }

    /// The answer to the suspension, or to a write or read that settles it.
    pub(super) fn drain_call_done(
        &mut self,
        result: Result<AgentSeen, WriteError>,
        ctx: Context<'_>,
        fx: &mut Vec<Effect<W>>,
    ) {
        let Phase::Draining(drain) = &mut self.phase else { return };
        let suspending = drain.step == DrainStep::Writing;
        match result {
            Ok(seen) => {
                let news = seen.revision > drain.revision;
                if self.note_agent(seen) {
                    self.world_changed(ctx, fx);
                } else if !news && self.mode() == Some(Mode::Suspended) {
                    // It slept before, and at most the mark on it was lost.
                    self.settle(ctx, fx);
                } else if !news {
                    // A read past the caches that shows nothing new: then let a write show something.
                    self.settle_by_write(ctx, fx);
                }
            }
            // Not written, because the object is newer than we knew: find out what it says.
            Err(WriteError::Conflict) => {
                self.settle_by_read(ctx, fx);
            }
            // Not written, and nothing else will come of it.
            Err(WriteError::Refused(_)) if suspending => {
                self.no_suspend_before = ctx.now + RETRY_REFUSED;
                self.reopen(Abandoned::Refused, ctx, fx);
            }
            // Not written, and nothing else will come of it: warm agents are served while the API is away.
            Err(WriteError::NotSent(_) | WriteError::TurnedAway(_)) if suspending => {
                self.no_suspend_before = ctx.now + RECHECK;
                self.reopen(Abandoned::NoAnswer, ctx, fx);
            }
            // It may have been written, or be written yet.
            Err(WriteError::Unknown(_)) if suspending => {
                if drain.abandon != Abandoned::Demand {
                    drain.abandon = Abandoned::NoAnswer;
                }
                self.settle_by_write(ctx, fx);
            }
            // Somebody has to do something about it.
            Err(WriteError::Refused(failure)) => {
                drain.refused = Some(failure);
                self.settling_until(ctx.now + RETRY_SUSPEND);
            }
            Err(_) => self.settling_until(ctx.now + SETTLE_RETRY),
        }
    }

    /// A newer revision has come: it says how the drain ended.
    pub(super) fn drain_decided(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        let Phase::Draining(drain) = &self.phase else { return };
        let (by, abandon, overrules) = (drain.by, drain.abandon, drain.overrules);
        let begun_here = drain.begun_here;
        match self.mode() {
            // Draining → Suspending.
            Some(Mode::Suspended) => {
                if begun_here {
                    fx.push(Effect::Record(Transition::Suspended(by)));
                }
                self.settle(ctx, fx);
                if let (true, Some(said)) = (overrules, self.overruled()) {
                    fx.push(Effect::Record(Transition::PingOverruled(said.clone())));
                }
            }
            // Draining → Running.
            _ => self.reopen(abandon, ctx, fx),
        }
    }

    /// Back up. Held callers go on without a resume if the pod is still the one that served.
    pub(super) fn reopen(&mut self, why: Abandoned, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        let Phase::Draining(drain) = &self.phase else { return };
        if drain.begun_here {
            fx.push(Effect::Record(Transition::SuspendAbandoned(why)));
        }
        // A newer generation may be a suspension and a resume that we did not see: then look at the pod anew.
        let unchanged = self.agent.as_ref().is_some_and(|agent| agent.generation == drain.generation);
        match drain.life.clone() {
            Some(life) if unchanged && self.serves(&life) && self.must_join(ctx) => {
                if let Some(joining) = self.joining(&life, ctx) {
                    self.enter(joining, ctx, fx);
                    self.join_if_called(ctx, fx);
                }
            }
            Some(life) if unchanged && self.serves(&life) => {
                self.enter(Phase::Running { life: life.into() }, ctx, fx);
                self.demanded = false;
                self.check_at = ctx.now
                    + match why {
                        Abandoned::NotQuiet => RETRY_SUSPEND.min(ctx.policy.idle_timeout),
                        _ => RETRY_SUSPEND,
                    };
                if why == Abandoned::Veto {
                    // Whatever happens before: each time that it is asked about costs a write.
                    self.no_suspend_before = self.no_suspend_before.max(self.check_at);
                }
                self.gate.open(!self.waiters.is_empty());
                self.release(ctx, fx);
            }
            _ => self.settle(ctx, fx),
        }
    }

    /// An operator wants it down. Nothing happens if it is in use: never suspend a working agent.
    pub(super) fn suspend_now(&mut self, by: SuspendedBy, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        if self.is_joining() && may_order(ctx) {
            // First things first: it is found to be up, and whoever orders this asks again.
            return self.settle_by_write(ctx, fx);
        }
        let idle = match self.phase {
            _ if ctx.policy.obstacle.is_some() => false,
            Phase::Running { .. } => self.gate.close_if_idle(),
            // For a person's mark on an agent that sleeps, the same write serves.
            Phase::Suspending | Phase::Suspended => by == SuspendedBy::Person,
            Phase::Failed { .. } => self.gate.in_flight() == 0,
            _ => false,
        };
        if idle && may_order(ctx) && self.waiters.is_empty() && !self.is_kept_by_connections(ctx) {
            self.demanded = false;
            self.begin_drain(by, true, ctx, fx);
        } else if let (true, Phase::Running { .. }) = (idle, &self.phase) {
            // Somebody may wait for a place that has just become free, or an open connection is to keep it up.
            self.gate.open(!self.waiters.is_empty());
        }
    }

    /// The retry of a failed start is due, and nobody wants it: clear away what is left of it.
    pub(super) fn clear_away(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) -> bool {
        let may = may_suspend(ctx) && !ctx.policy.dry_run && self.gate.in_flight() == 0;
        if may {
            self.begin_drain(SuspendedBy::Idle, false, ctx, fx);
        }
        may
    }
}

/// Whether Drowse may suspend this agent by itself.
pub(super) fn may_suspend(ctx: Context<'_>) -> bool {
    ctx.may_suspend && may_order(ctx) && ctx.policy.suspend && ctx.policy.obstacle.is_none()
}

/// Whether a dead pod may be cleared away by a suspension that is followed by a resume. Whoever is called needs no leader
/// for that.
pub(super) fn may_clear(ctx: Context<'_>) -> bool {
    may_order(ctx) && ctx.policy.clears_pods()
}

/// Whether a suspension may be written at all, if somebody orders it.
pub(super) fn may_order(ctx: Context<'_>) -> bool {
    ctx.may_order && ctx.policy.manage
}
