//! The way up: Suspended → Resuming → Running.

use std::time::Duration;

use crate::agent::{Generation, Life};
use crate::lifecycle::effect::{DrainQuestion, Effect, Start, Transition};
use crate::lifecycle::event::Class;
use crate::lifecycle::observation::{AgentSeen, Failure, FailureClass, Mode, SuspendedBy, WriteError};
use crate::lifecycle::phase::{Phase, Resume, ResumeStep};
use crate::lifecycle::refusal::Refusal;

use super::suspend::may_clear;
use super::{Context, Machine, Probed, Turn};

/// The first retry of a write that was not confirmed; it doubles.
const RETRY_WRITE: Duration = Duration::from_millis(50);
/// The longest wait between such retries.
const RETRY_WRITE_MAX: Duration = Duration::from_secs(5);

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
    pub(super) fn begin_resume(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        let resume = Resume {
            step: ResumeStep::Paced,
            began: ctx.now,
            addressed: None,
            deadline: None,
            probed_at: Generation::default(),
            cold: true,
            unconfirmed: 0,
            planned: None,
            reminders: 0,
            write_error: None,
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
    pub(super) fn write_next(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
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
                match self.pod_failure().filter(|_| !ctx.policy.clears_pods()).cloned() {
                    // It stays where it is, so there is nothing to wait for.
                    Some(failure) => self.fail(&failure, ctx, fx),
                    None => self.follow_pod(ctx, fx),
                }
            }
        }
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
                let id = self.next_read();
                fx.push(Effect::Read { id });
            }
            // Nothing depends on a reminder; and whom it has not reached has not been reminded.
            Err(_) if matches!(&self.phase, Phase::Resuming(resume) if resume.step.is_past_writing()) => {
                self.forget_reminders();
                self.plan_remedy(ctx);
            }
            Err(WriteError::Refused(failure)) => self.fail(&failure, ctx, fx),
            Err(
                error @ (WriteError::Unknown(_)
                | WriteError::NotSent(_)
                | WriteError::TurnedAway(_)
                | WriteError::Gone),
            ) => {
                if let Phase::Resuming(resume) = &mut self.phase {
                    resume.write_error = Some(error.to_string().into());
                }
                self.retry_resume_write(ctx);
            }
        }
    }

    pub(super) fn retry_resume_write(&mut self, ctx: Context<'_>) {
        if let Phase::Resuming(resume) = &mut self.phase {
            let delay = RETRY_WRITE.saturating_mul(1 << resume.unconfirmed.min(16)).min(RETRY_WRITE_MAX);
            resume.unconfirmed = resume.unconfirmed.saturating_add(1);
            resume.step = ResumeStep::RetryingAt(ctx.now + delay);
        }
        self.forget_reminders();
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
        self.plan_remedy(ctx);
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
        let up =
            if joins { self.joining(life, ctx) } else { Some(Phase::Running { life: life.clone().into() }) };
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
                // Not the API but another replica has not answered as it should.
                ResumeStep::RetryingAt(_) if self.needs_clearing() => FailureClass::Deadline,
                ResumeStep::Writing | ResumeStep::RetryingAt(_) => FailureClass::Unreachable,
                ResumeStep::ClearingFailedPod if self.call.is_some() => FailureClass::Unreachable,
                _ => FailureClass::Deadline,
            };
            let waited = format!("not ready after {:?}", ctx.now.since(resume.began));
            let failure = match (class, self.hindrance()) {
                (FailureClass::Deadline, Some(why)) => {
                    Failure::new(why.class, format!("{waited}: {}", why.detail))
                }
                _ => Failure::new(class, format!("{waited}: {}", self.waiting_for())),
            };
            self.fail(&failure, ctx, fx);
        } else if matches!(resume.step, ResumeStep::RetryingAt(at) if at <= ctx.now) {
            self.write_next(ctx, fx);
        } else if resume.step.is_past_writing() && resume.planned.is_some_and(|(_, at)| at <= ctx.now) {
            self.apply_remedy(ctx, fx);
        }
    }

    /// What keeps the agent from coming up, as far as anybody says so.
    pub(super) fn hindrance(&self) -> Option<&Failure> {
        let of_pod = self.pod.as_ref().and_then(|pod| pod.hindrance.as_ref());
        of_pod.or_else(|| self.pod_failure()).or_else(|| self.agent.as_ref()?.trouble.as_deref())
    }

    pub(super) fn step(&mut self, step: ResumeStep) {
        if let Phase::Resuming(resume) = &mut self.phase {
            resume.step = step;
        }
    }
}
