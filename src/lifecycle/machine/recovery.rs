//! What becomes of starts that fail and of pods that die or do not come: when it is tried again, who is kept waiting for that, what
//! is cleared away, and when the controller is reminded.

use std::time::Duration;

use crate::agent::Revision;
use crate::lifecycle::effect::{Effect, Transition};
use crate::lifecycle::observation::{Failure, Mode, SuspendedBy};
use crate::lifecycle::phase::{Phase, Remedy, ResumeStep};
use crate::lifecycle::refusal::Refusal;
use crate::policy::idle::{Says, Signal, Source, Verdict, verdict};

use super::suspend::may_clear;
use super::{Context, Machine, RECHECK};

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
    /// Upstream never replaces a failed pod; a suspend and a resume do. A pod that is up but did not answer gets a
    /// second chance first.
    pub(super) fn needs_clearing(&self) -> bool {
        let is_wedged = self.is_known_to_fail()
            && self.failed_start
            && self.backoff.failures() > 1
            && self.gate.in_flight() == 0;
        self.pod_failure().is_some() || is_wedged
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
    pub(super) fn dead_pod_remains(&self) -> bool {
        self.pod_failure().is_some() || self.is_known_to_fail()
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
        fx.push(Effect::Record(Transition::Clearing));
        fx.push(Effect::Suspend { id, uid, revision, by: SuspendedBy::Idle });
    }

    /// Sees to it that a pod that does not come is not waited for in vain. What is planned is not put off by news.
    pub(super) fn plan_remedy(&mut self, ctx: Context<'_>) {
        let (is_to_clear, awaits_controller) = (self.needs_clearing(), self.awaits_controller());
        let Phase::Resuming(resume) = &mut self.phase else { return };
        let needed = match &resume.step {
            step if !step.is_past_writing() => None,
            _ if is_to_clear => Some((Remedy::ClearPod, CLEAR_AFTER)),
            _ if awaits_controller => {
                let pause = REMIND_AFTER.saturating_mul(1 << resume.reminders.min(16));
                Some((Remedy::Remind, pause.min(REMIND_MAX)))
            }
            _ => None,
        };
        let Some((remedy, pause)) = needed else { return self.forget_reminders() };
        let at = ctx.now + pause;
        let planned = resume.planned.filter(|(before, _)| *before == remedy);
        resume.planned = Some((remedy, planned.map_or(at, |(_, planned)| planned.min(at))));
    }

    pub(super) fn forget_reminders(&mut self) {
        if let Phase::Resuming(resume) = &mut self.phase {
            (resume.planned, resume.reminders) = (None, 0);
        }
    }

    /// Whether there is nothing to be seen yet of what a controller has to do.
    fn awaits_controller(&self) -> bool {
        let has_acted = self.agent.as_ref().is_some_and(|agent| agent.observed >= agent.generation);
        let own = self.pod.as_ref().filter(|pod| self.uid() == Some(&pod.owner));
        own.is_none_or(|pod| !pod.terminating && !has_acted)
    }

    pub(super) fn apply_remedy(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        let Phase::Resuming(resume) = &mut self.phase else { return };
        let is_probing = matches!(resume.step, ResumeStep::Probing(_));
        match resume.planned.take() {
            // It could not be while nobody might be suspended, since the cluster could not be seen.
            Some((Remedy::ClearPod, _)) if self.needs_clearing() && self.is_wanted() && may_clear(ctx) => {
                if is_probing {
                    fx.push(Effect::StopProbe);
                }
                return self.write_next(ctx, fx);
            }
            Some((Remedy::Remind, _)) => self.remind_controller(ctx, fx),
            _ => {}
        }
        self.plan_remedy(ctx);
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
        self.last_failure = Some(failure.clone().into());
        fx.push(Effect::Record(Transition::Failed { failure: failure.clone(), retry_in, took }));
        self.enter(Phase::Failed { failure: failure.clone().into(), retry_at }, ctx, fx);
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
        } else {
            // Who waits without waking it would wait for what nobody does, and keep its pod from being cleared away.
            if let (true, Phase::Failed { failure, .. }) = (ctx.policy.manage, &self.phase) {
                self.refuse_all(
                    &Refusal::ResumeFailed { failure: (**failure).clone(), retry_after: RECHECK },
                    fx,
                );
            }
            if !self.waiters.is_empty() || !self.clear_away(ctx, fx) {
                self.check_at = ctx.now + RECHECK;
            }
        }
    }

    /// What keeps any agent up keeps up one that was not started by us; and it may be in use by another way than ours, on which
    /// we cannot reach it: until its idle timeout is over, it is not idle for that. One that we started is of no use to anybody,
    /// unless somebody has a busy lease for it. Who waits for it is no sign that it works.
    fn may_be_at_work(&self, ctx: Context<'_>) -> bool {
        let mut signals = self.signals(ctx.policy, ctx.now, ctx.calendar);
        signals.retain(|signal| match signal.source {
            Source::Lease => true,
            _ => !self.failed_start && signal.says != Says::Busy,
        });
        if !self.failed_start {
            let seen = self.known_since.max(self.gate.last_activity());
            signals.push(Signal { source: Source::Start, says: Says::LastActive(seen) });
        }
        verdict(&signals, ctx.policy.idle_timeout, ctx.now) != Verdict::Idle
    }

    // Draining | Resuming → Failed: as before, and whoever wants it may begin at once.
    pub(super) fn await_recovery(&mut self, failure: Failure, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        self.enter(Phase::Failed { failure: failure.into(), retry_at: ctx.now }, ctx, fx);
        self.check_at = ctx.now + RECHECK;
        if self.is_wanted() {
            self.retry_due(ctx, fx);
        }
    }

    /// Why the controller will not make a pod, if it says so and waiting would not help.
    pub(super) fn no_pod_to_come(&self) -> Option<Failure> {
        let agent = self.agent.as_ref().filter(|_| self.pod.is_none())?;
        agent.trouble.as_deref().filter(|failure| !failure.class.is_transient()).cloned()
    }
}
