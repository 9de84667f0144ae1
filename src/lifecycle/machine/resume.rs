//! The way up: Suspended → Resuming → Running, and what happens when that fails.

use std::time::Duration;

use crate::agent::{Generation, Life, Revision};
use crate::lifecycle::effect::{DrainQuestion, Effect, Start, Transition};
use crate::lifecycle::event::Class;
use crate::lifecycle::observation::{
    AgentSeen, Failure, FailureClass, Mode, PodState, SuspendedBy, WriteError,
};
use crate::lifecycle::phase::{Phase, Resume, ResumeStep};
use crate::lifecycle::refusal::Refusal;
use crate::time::Moment;

use super::suspend::may_clear;
use super::{Context, Machine, Probed, RECHECK, Turn};

/// The first retry of a write that was not confirmed; it doubles.
const RETRY_WRITE: Duration = Duration::from_millis(50);
/// The longest wait between such retries.
const RETRY_WRITE_MAX: Duration = Duration::from_secs(5);
/// How long a controller may take to make a pod until it is reminded for the first time; the time doubles. It takes less than a
/// second, unless it has much to do, and then reminders would be in its way.
const REMIND_AFTER: Duration = Duration::from_secs(20);
/// The longest wait between two reminders.
const REMIND_MAX: Duration = Duration::from_mins(1);
/// How soon it is looked again whether a dead pod may be cleared away by now.
const CLEAR_AFTER: Duration = Duration::from_secs(1);
/// Callers are kept waiting through this many failed starts in a row, if the failures are of a passing kind.
const HELD_THROUGH_FAILURES: u32 = 3;
/// An agent that ran this long was well: its next failure is a first one.
const STABLE_AFTER: Duration = Duration::from_secs(10);

impl<W> Machine<W> {
    /// An operator or a schedule wants it up. Goes past a person's suspension.
    pub(super) fn demand(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        if self.gone || !ctx.policy.manage {
            return;
        }
        self.last_demand = ctx.now;
        match &self.phase {
            Phase::Running { .. } => {}
            Phase::Draining(_) => {
                self.demanded = true;
                self.drain_unwanted(ctx, fx);
            }
            Phase::Failed { .. } => {
                self.demanded = true;
                self.retry_due(ctx, fx);
            }
            Phase::Unknown | Phase::Resuming(_) => self.demanded = true,
            Phase::Suspending | Phase::Suspended => {
                self.demanded = true;
                self.serve_demand(ctx, fx);
            }
        }
    }

    // Suspending | Suspended → Resuming, at once: never dropped because it is stopping.
    pub(super) fn serve_demand(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        if let Some(refusal) = self.start_refusal(ctx) {
            self.demanded = false;
            self.refuse_all(&refusal, fx);
        } else if self.is_wanted() {
            self.begin_resume(ctx, fx);
        } else {
            self.refuse_all(&Refusal::Asleep, fx);
        }
    }

    /// One start for however many want it (invariant 4): asks for its turn.
    fn begin_resume(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        let resume = Resume {
            step: ResumeStep::Paced,
            began: ctx.now,
            addressed: None,
            deadline: None,
            probed_at: Generation::default(),
            cold: true,
            unconfirmed: 0,
            look_again_at: None,
            reminders: 0,
        };
        self.enter(Phase::Resuming(resume.into()), ctx, fx);
        self.turn = Turn::Asked;
        fx.push(Effect::RequestStart(if self.waiters.wants_wake() {
            Class::Interactive
        } else {
            Class::Background
        }));
    }

    pub(super) fn start_granted(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        if self.turn != Turn::Asked {
            // It was wanted when it was asked for.
            fx.push(Effect::StartDone);
            return;
        }
        self.turn = Turn::Granted;
        if let Phase::Resuming(resume) = &mut self.phase {
            resume.deadline = Some(ctx.now + ctx.policy.resume_deadline);
        }
        self.write_next(ctx, fx);
    }

    /// The write that brings the agent nearer to running, if one is needed.
    fn write_next(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        let Some(agent) = &self.agent else { return };
        let (uid, revision, mode) = (agent.uid.clone(), agent.revision, agent.mode);
        let generation = agent.generation;
        match mode {
            // It became a person's suspension since the start was wanted.
            Mode::Suspended if self.start_refusal(ctx).is_some() => self.settle(ctx, fx),
            // Resumed now, the controller might never see that it was suspended, and would keep the dead pod.
            Mode::Suspended if self.dead_pod_remains() => self.step(ResumeStep::ClearingFailedPod),
            Mode::Suspended => {
                let id = self.next_call();
                self.step(ResumeStep::Writing);
                fx.push(Effect::Resume { id, uid, generation, from: Mode::Suspended });
            }
            Mode::Running if self.needs_clearing() && may_clear(ctx) => {
                if ctx.alone {
                    self.clear_failed_pod(fx);
                } else {
                    self.step(ResumeStep::AskingPeers);
                    fx.push(Effect::AskPeers(DrainQuestion { uid, revision, ordered: false }));
                }
            }
            Mode::Running => {
                self.step(ResumeStep::AwaitingPod);
                self.follow_pod(ctx, fx);
            }
        }
    }

    /// Upstream never replaces a failed pod; a suspend and a resume do. A pod that is up but did not answer gets a
    /// second chance first.
    pub(super) fn needs_clearing(&self) -> bool {
        let Some(pod) = self.pod.as_ref().filter(|pod| self.uid() == Some(&pod.owner)) else { return false };
        let failed = matches!(pod.state, PodState::Failed(_)) && !pod.terminating;
        let wedged = self.failed_pod.as_ref() == Some(&pod.uid)
            && self.failed_start
            && self.backoff.failures() > 1
            && self.gate.in_flight() == 0;
        failed || wedged
    }

    /// Whether a suspension by another replica is what this one waits for, too, because it clears the dead pod away. Callers
    /// wait at several replicas at once: if each objected for its own, nobody could clear it. Of two that are about
    /// to do it the leader does.
    pub(super) fn lets_others_clear(&self, ctx: Context<'_>) -> bool {
        let does_it = matches!(&self.phase, Phase::Resuming(resume) if match resume.step {
            ResumeStep::AskingPeers => ctx.may_suspend,
            ResumeStep::ClearingFailedPod => true,
            _ => false,
        });
        self.needs_clearing() && !does_it
    }

    /// Whether a pod that failed is there, and not even on its way out.
    fn dead_pod_remains(&self) -> bool {
        self.pod.as_ref().is_some_and(|pod| {
            let failed =
                matches!(pod.state, PodState::Failed(_)) || self.failed_pod.as_ref() == Some(&pod.uid);
            failed && !pod.terminating && self.uid() == Some(&pod.owner)
        })
    }

    pub(super) fn clears_at(&self, revision: Revision) -> bool {
        matches!(&self.phase, Phase::Resuming(resume) if resume.step == ResumeStep::AskingPeers)
            && self.agent.as_ref().is_some_and(|agent| agent.revision == revision)
    }

    pub(super) fn clear_failed_pod(&mut self, fx: &mut Vec<Effect<W>>) {
        let Some(agent) = &self.agent else { return };
        let (uid, revision) = (agent.uid.clone(), agent.revision);
        self.failed_pod = self.pod.as_ref().map(|pod| pod.uid.clone());
        let id = self.next_call();
        self.step(ResumeStep::ClearingFailedPod);
        fx.push(Effect::Suspend { id, uid, revision, by: SuspendedBy::Idle });
    }

    pub(super) fn resume_call_done(
        &mut self,
        result: Result<AgentSeen, WriteError>,
        ctx: Context<'_>,
        fx: &mut Vec<Effect<W>>,
    ) {
        match result {
            Ok(seen) => {
                self.note_agent(seen);
                self.resume_world_changed(ctx, fx);
                // A read that showed nothing to go on with: the call is over and none has begun.
                let waits = matches!(&self.phase, Phase::Resuming(r) if r.step == ResumeStep::Writing);
                if waits && self.call.is_none() {
                    self.retry_resume_write(ctx);
                }
            }
            Err(WriteError::Conflict) => {
                let id = self.next_call();
                fx.push(Effect::Read { id });
            }
            Err(WriteError::Refused(failure)) => self.fail(&failure, ctx, fx),
            Err(WriteError::Unknown(_) | WriteError::NotSent(_) | WriteError::Gone) => {
                self.retry_resume_write(ctx);
            }
        }
    }

    pub(super) fn retry_resume_write(&mut self, ctx: Context<'_>) {
        if let Phase::Resuming(resume) = &mut self.phase {
            let delay = RETRY_WRITE.saturating_mul(1 << resume.unconfirmed.min(16)).min(RETRY_WRITE_MAX);
            resume.unconfirmed = resume.unconfirmed.saturating_add(1);
            resume.step = ResumeStep::RetryingAt(ctx.now + delay);
            // Whom nothing reaches has not been reminded.
            (resume.look_again_at, resume.reminders) = (None, 0);
        }
    }

    /// Something about the object or the pod is new while the agent is on its way up.
    pub(super) fn resume_world_changed(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        let (Phase::Resuming(resume), Some(mode)) = (&self.phase, self.mode()) else { return };
        match (&resume.step, mode) {
            // Our write, or somebody else's, has made it run.
            (ResumeStep::Paced | ResumeStep::Writing | ResumeStep::RetryingAt(_), Mode::Running) => {
                // That it should run is not news where a dead pod is to be cleared away first.
                if resume.step != ResumeStep::Writing && self.needs_clearing() {
                    return;
                }
                self.begun_to_run(ctx);
                if self.turn == Turn::Asked {
                    self.end_turn(fx);
                }
                self.follow_pod(ctx, fx);
            }
            (ResumeStep::AwaitingPod | ResumeStep::Probing(_), Mode::Running) => self.follow_pod(ctx, fx),
            // The dead pod is being cleared away: go on as soon as it goes.
            (ResumeStep::ClearingFailedPod, Mode::Suspended) => self.write_next(ctx, fx),
            // The peers were asked about a revision that is history.
            (ResumeStep::AskingPeers, _) => self.retry_resume_write(ctx),
            // It was not suspended, or not for long: decide anew.
            (ResumeStep::ClearingFailedPod, Mode::Running) if self.call.is_none() => {
                self.retry_resume_write(ctx);
            }
            (ResumeStep::ClearingFailedPod, Mode::Running) | (ResumeStep::Writing, Mode::Suspended) => {}
            // Somebody suspended it again, or made it a person's suspension.
            (ResumeStep::AwaitingPod | ResumeStep::Probing(_), Mode::Suspended) => {
                // Newer than the demand, which has made it run before.
                let by_person = self.agent.as_ref().is_some_and(|a| a.suspended_by == SuspendedBy::Person);
                self.demanded &= !by_person;
                self.settle(ctx, fx);
            }
            (ResumeStep::Paced | ResumeStep::RetryingAt(_), Mode::Suspended) => {
                if self.start_refusal(ctx).is_some() {
                    self.settle(ctx, fx);
                }
            }
        }
    }

    fn begun_to_run(&mut self, ctx: Context<'_>) {
        self.call = None;
        if let Phase::Resuming(resume) = &mut self.phase {
            resume.step = ResumeStep::AwaitingPod;
            resume.deadline.get_or_insert(ctx.now + ctx.policy.resume_deadline);
        }
    }

    /// Probes the pod that may be believed, stops probing one that may not any more.
    pub(super) fn follow_pod(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        if let Some(failure) = self.new_pod_failure().or_else(|| self.no_pod_to_come()) {
            self.fail(&failure, ctx, fx);
            return;
        }
        let candidate = self.candidate();
        let generation = self.agent.as_ref().map(|agent| agent.generation).unwrap_or_default();
        let Phase::Resuming(resume) = &mut self.phase else { return };
        match (&resume.step, candidate) {
            (ResumeStep::AwaitingPod | ResumeStep::Probing(_), Some((life, address))) => {
                // Whom its node calls ready is not asked any more: the node may know ways that we do not.
                let asked = self.pod.as_ref().filter(|pod| !pod.ready);
                let readiness = asked.and_then(|pod| pod.readiness.clone());
                let next = ResumeStep::Probing(life.clone());
                let moved = resume.step != next || self.probed.is_none_or(|probed| probed.address != address);
                // It may have been suspended and resumed since it was attested, and be ending although nobody has said so here.
                let outdated = resume.probed_at != generation;
                let need_not_ask = readiness.is_none() && self.probed.is_some_and(|probed| probed.asks);
                if moved {
                    resume.step = next;
                    resume.addressed = Some(ctx.now);
                }
                if moved || outdated || need_not_ask {
                    self.probed = Some(Probed { address, asks: readiness.is_some() });
                    resume.probed_at = generation;
                    fx.push(Effect::Probe { life, address, generation, readiness });
                }
            }
            (ResumeStep::Probing(_), None) => {
                resume.step = ResumeStep::AwaitingPod;
                fx.push(Effect::StopProbe);
            }
            _ => {}
        }
        self.plan_look(ctx);
    }

    /// Sees to it that a pod that does not come is not waited for in vain. What is planned is never put off.
    fn plan_look(&mut self, ctx: Context<'_>) {
        let is_to_clear = self.needs_clearing();
        let has_pod = self.pod.as_ref().is_some_and(|pod| self.uid() == Some(&pod.owner));
        let Phase::Resuming(resume) = &mut self.phase else { return };
        let pause = match resume.step {
            ResumeStep::AwaitingPod if is_to_clear => CLEAR_AFTER,
            ResumeStep::AwaitingPod if !has_pod => {
                REMIND_AFTER.saturating_mul(1 << resume.reminders.min(16)).min(REMIND_MAX)
            }
            _ => {
                (resume.look_again_at, resume.reminders) = (None, 0);
                return;
            }
        };
        let at = ctx.now + pause;
        resume.look_again_at = Some(resume.look_again_at.map_or(at, |planned| planned.min(at)));
    }

    fn look_again(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        if let Phase::Resuming(resume) = &mut self.phase {
            resume.look_again_at = None;
        }
        if self.needs_clearing() {
            // It could not be cleared away while nobody might be suspended, since the cluster could not be seen.
            self.write_next(ctx, fx);
        } else {
            self.remind_controller(ctx, fx);
            self.plan_look(ctx);
        }
    }

    /// A controller that could not make the pod (the API server was away, a webhook did not answer) tries again after a pause
    /// that doubles each time, up to a quarter of an hour, although what was in its way may be gone long since. Any write
    /// makes it look again.
    fn remind_controller(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        if !self.is_wanted() || !ctx.policy.manage || self.call.is_some() {
            return;
        }
        let (Phase::Resuming(resume), Some(agent)) = (&mut self.phase, &self.agent) else { return };
        resume.reminders = resume.reminders.saturating_add(1);
        let (uid, generation) = (agent.uid.clone(), agent.generation);
        let id = self.next_call();
        fx.push(Effect::Resume { id, uid, generation, from: Mode::Running });
    }

    // Resuming → Running: the gate opens, the callers go in.
    pub(super) fn answers(&mut self, life: &Life, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        let Phase::Resuming(resume) = &self.phase else { return };
        if resume.step != ResumeStep::Probing(life.clone()) {
            return;
        }
        let addressed = resume.addressed.unwrap_or(ctx.now);
        let start = Start {
            cold: resume.cold,
            resume: addressed.since(resume.began),
            probe: ctx.now.since(addressed),
        };
        let joins = self.must_join(ctx);
        let up = if joins { self.joining(life, ctx) } else { Some(Phase::Running { life: life.clone() }) };
        let Some(up) = up else { return };
        self.enter(up, ctx, fx);
        self.up_since = Some(ctx.now);
        self.demanded = false;
        self.last_failure = None;
        self.failed_pod = None;
        self.check_at = ctx.now + ctx.policy.min_running.min(ctx.policy.idle_timeout);
        fx.push(Effect::Record(Transition::Resumed(start)));
        self.waiters.note_start(start);
        if joins {
            self.join_if_called(ctx, fx);
        } else {
            self.gate.open(!self.waiters.is_empty());
            self.release(ctx, fx);
        }
    }

    pub(super) fn resume_tick(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        let Phase::Resuming(resume) = &self.phase else { return };
        if resume.deadline.is_some_and(|deadline| deadline <= ctx.now) {
            let class = match resume.step {
                ResumeStep::Writing | ResumeStep::RetryingAt(_) => FailureClass::Unreachable,
                ResumeStep::ClearingFailedPod if self.call.is_some() => FailureClass::Unreachable,
                _ => FailureClass::Deadline,
            };
            let waited = format!("not ready after {:?}", ctx.now.since(resume.began));
            let failure = match (class, self.hindrance()) {
                (FailureClass::Deadline, Some(why)) => {
                    Failure::new(why.class, format!("{waited}: {}", why.detail))
                }
                _ => Failure::new(class, format!("{waited}: {}", self.phase.waiting_for())),
            };
            self.fail(&failure, ctx, fx);
        } else if matches!(resume.step, ResumeStep::RetryingAt(at) if at <= ctx.now) {
            self.write_next(ctx, fx);
        } else if resume.step == ResumeStep::AwaitingPod
            && resume.look_again_at.is_some_and(|at| at <= ctx.now)
        {
            self.look_again(ctx, fx);
        }
    }

    // Resuming | Running → Failed. Callers learn why, unless another attempt may still serve them.
    pub(super) fn fail(&mut self, failure: &Failure, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        let took = match &self.phase {
            Phase::Resuming(resume) => Some(ctx.now.since(resume.began)),
            _ => None,
        };
        if took.is_none() {
            self.note_good_run(ctx);
        }
        let retry_in = self.backoff.failed();
        let retry_at = ctx.now + retry_in;
        self.failed_pod = self.pod.as_ref().map(|pod| pod.uid.clone());
        self.failed_start = matches!(&self.phase, Phase::Resuming(resume) if resume.cold);
        self.last_failure = Some(failure.clone());
        fx.push(Effect::Record(Transition::Failed { failure: failure.clone(), retry_in, took }));
        self.enter(Phase::Failed { failure: failure.clone(), retry_at }, ctx, fx);
        self.check_at = retry_at;
        let refusal = Refusal::ResumeFailed { failure: failure.clone(), retry_after: retry_in };
        if self.is_held_through(failure) {
            while let Some(waiter) = self.waiters.pop_expired(retry_at) {
                fx.push(Effect::Refuse { waiter, refusal: refusal.clone() });
            }
        } else {
            self.demanded = false;
            self.refuse_all(&refusal, fx);
        }
    }

    /// It ran until now. If that was long enough, the failures before it do not count any more.
    pub(super) fn note_good_run(&mut self, ctx: Context<'_>) {
        if self.up_since.is_some_and(|up| ctx.now.since(up) >= STABLE_AFTER) {
            self.backoff.succeeded();
        }
    }

    /// Whether callers are kept waiting for the attempt after this failure.
    pub(super) fn is_held_through(&self, failure: &Failure) -> bool {
        failure.class.is_transient() && self.backoff.failures() <= HELD_THROUGH_FAILURES
    }

    // Failed → Resuming if it is wanted; else → Draining (what is left is cleared away) or → Suspended.
    pub(super) fn retry_due(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        if self.is_wanted() && self.start_refusal(ctx).is_none() {
            self.begin_resume(ctx, fx);
        } else if self.mode() == Some(Mode::Suspended) {
            self.settle(ctx, fx);
        } else if self.candidate().is_some() && (!ctx.policy.manage || self.may_be_at_work(ctx)) {
            // Nothing may be done about it, but it may answer by now.
            self.look(ctx, fx);
        } else if !self.waiters.is_empty() || !self.clear_away(ctx, fx) {
            self.check_at = ctx.now + RECHECK;
        }
    }

    /// It was not started by us, so it may be in use by another way than ours, on which we cannot reach it: until its
    /// idle timeout is over, it is not idle for that.
    fn may_be_at_work(&self, ctx: Context<'_>) -> bool {
        let last =
            [self.up_since, Some(self.last_demand), Some(self.gate.last_activity())].into_iter().flatten();
        let last = last.fold(self.known_since, Moment::max);
        !self.failed_start && ctx.now < last + ctx.policy.idle_timeout
    }

    // Draining | Resuming → Failed: as before, and whoever wants it may begin at once.
    pub(super) fn await_recovery(&mut self, failure: Failure, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        self.enter(Phase::Failed { failure, retry_at: ctx.now }, ctx, fx);
        self.check_at = ctx.now + RECHECK;
        if self.is_wanted() {
            self.retry_due(ctx, fx);
        }
    }

    /// Why the controller will not make a pod, if it says so and waiting would not help.
    fn no_pod_to_come(&self) -> Option<Failure> {
        let agent = self.agent.as_ref().filter(|_| self.pod.is_none())?;
        agent.trouble.clone().filter(|failure| !failure.class.is_transient())
    }

    /// What keeps the agent from coming up, as far as anybody says so.
    pub(super) fn hindrance(&self) -> Option<&Failure> {
        let of_pod = self.pod.as_ref().and_then(|pod| pod.hindrance.as_ref());
        of_pod.or_else(|| self.agent.as_ref()?.trouble.as_ref())
    }

    fn step(&mut self, step: ResumeStep) {
        if let Phase::Resuming(resume) = &mut self.phase {
            resume.step = step;
        }
    }
}
