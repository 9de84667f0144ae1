//! What is observed, in whatever order it comes, and what follows for each phase.

use crate::agent::{AgentUid, Generation, Life, PodUid, Revision};
use crate::lifecycle::effect::Effect;
use crate::lifecycle::observation::{AgentSeen, Failure, Mode, PodSeen, PodState};
use crate::lifecycle::phase::{DrainStep, Phase, PhaseName, Resume, ResumeStep};
use crate::lifecycle::refusal::Refusal;
use std::net::IpAddr;

use super::{Context, Machine};

impl<W> Machine<W> {
    /// Keeps the observation if it is news.
    pub(super) fn note_agent(&mut self, seen: AgentSeen) -> bool {
        // Revisions are global, so this also drops late news of a predecessor of the same name.
        if self.agent.as_ref().is_some_and(|known| seen.revision <= known.revision) {
            return false;
        }
        self.gone = false;
        let is_found = self.agent.is_none() || seen.revision <= self.found_until;
        self.is_as_found = is_found && seen.mode == Mode::Running;
        self.agent = Some(seen);
        true
    }

    /// Keeps the observation if it is news.
    pub(super) fn note_pod(&mut self, seen: PodSeen) -> bool {
        if seen.revision <= self.pod_floor {
            return false;
        }
        self.pod_floor = seen.revision;
        self.pod = Some(Box::new(seen));
        true
    }

    /// A pod that is gone stays gone, however late its last observations come. Whoever does not see it because his view is
    /// older than the pod says nothing about its end: it would be told again, and not be believed.
    pub(super) fn note_pod_gone(&mut self, pod: &PodUid, revision: Revision) -> bool {
        self.pod_floor = self.pod_floor.max(revision);
        self.pod.take_if(|known| known.uid == *pod && known.revision <= revision).is_some()
    }

    pub(super) fn agent_gone(&mut self, uid: &AgentUid, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        if self.uid() != Some(uid) {
            return;
        }
        self.enter(Phase::Unknown, ctx, fx);
        self.pod = None;
        self.demanded = false;
        self.last_failure = None;
        self.failed_pod = None;
        self.backoff.succeeded();
        self.gone = true;
        self.refuse_all(&Refusal::Gone, fx);
    }

    /// Compares the phase with what is known now.
    pub(super) fn world_changed(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        if self.gone {
            // The pods of a deleted agent go after it.
            return;
        }
        match &self.phase {
            // Unknown → any.
            Phase::Unknown => self.settle(ctx, fx),
            // Running → Suspending | Suspended (somebody else did), → Resuming | Failed (the pod was lost).
            Phase::Running { life } => {
                if self.mode() == Some(Mode::Suspended) || !self.serves(life) {
                    self.lost(ctx, fx);
                }
            }
            // Draining → Running | Suspending, only by a newer revision (guard FENCE).
            Phase::Draining(drain) => {
                if self.agent.as_ref().is_some_and(|agent| agent.revision > drain.revision) {
                    self.drain_decided(ctx, fx);
                } else if drain.step == DrainStep::Joining {
                    self.joining_pod_changed(ctx, fx);
                }
            }
            // Suspending → Suspended; either → Resuming (somebody else resumed it).
            Phase::Suspending | Phase::Suspended => self.settle(ctx, fx),
            Phase::Resuming(_) => self.resume_world_changed(ctx, fx),
            // Failed → Resuming when a new pod shows up; → Suspended when somebody suspended it.
            Phase::Failed { .. } => {
                let replaced =
                    self.candidate().is_some_and(|(life, _)| Some(&life.pod) != self.failed_pod.as_ref());
                let suspended_by_us =
                    self.mode() == Some(Mode::Suspended) && self.wake_refusal(ctx).is_none();
                if replaced || (self.mode() == Some(Mode::Suspended) && !suspended_by_us) {
                    self.settle(ctx, fx);
                }
            }
        }
    }

    /// Takes the phase from what is observed.
    pub(super) fn settle(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        match self.mode() {
            None => {}
            // Nobody's business, so it is not even dialled.
            Some(_) if !ctx.policy.route && !ctx.policy.manage => {
                let from = self.phase.name();
                if from != PhaseName::Unknown {
                    self.enter(Phase::Unknown, ctx, fx);
                }
                self.refuse_all(&Refusal::NotManaged, fx);
            }
            // Its pod is known to be dead: there is nothing to wait for.
            Some(Mode::Running) => match self.known_failure() {
                Some(failure) => self.await_recovery(failure, ctx, fx),
                None => self.look(ctx, fx),
            },
            Some(Mode::Suspended) => {
                let phase = if self.pod.is_some() { Phase::Suspending } else { Phase::Suspended };
                if self.phase != phase {
                    self.enter(phase, ctx, fx);
                }
                self.serve_demand(ctx, fx);
            }
        }
    }

    /// It should be running and we did not start it: wait for its pod without writing anything.
    pub(super) fn look(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        let resume = Resume {
            step: ResumeStep::AwaitingPod,
            began: ctx.now,
            addressed: None,
            deadline: Some(ctx.now + ctx.policy.resume_deadline),
            probed_at: Generation::default(),
            // One that is seen for the first time was not started for anybody, even if its pod is yet to be seen.
            cold: self.phase != Phase::Unknown && self.candidate().is_none(),
            unconfirmed: 0,
            planned: None,
            reminders: 0,
            write_error: None,
        };
        self.enter(Phase::Resuming(resume.into()), ctx, fx);
        self.follow_pod(ctx, fx);
    }

    /// The pod that served is gone, failed or dying, or the agent was suspended by somebody else.
    pub(super) fn lost(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        match self.new_pod_failure() {
            Some(failure) if self.mode() == Some(Mode::Running) => self.fail(&failure, ctx, fx),
            _ => self.settle(ctx, fx),
        }
    }

    /// Whether this life can go on being served.
    pub(super) fn serves(&self, life: &Life) -> bool {
        let Some(pod) = &self.pod else { return false };
        self.uid() == Some(&life.agent)
            && pod.uid == life.pod
            // It may have been given to somebody else.
            && pod.owner == life.agent
            && !pod.terminating
            // A pod that its node has rebuilt is the same pod at another address.
            && matches!(pod.state, PodState::Up(address) if self.probed.is_some_and(|probed| probed.address == address))
    }

    /// The pod that may be believed (invariant 3): of our object, not dying, and seen by a controller that has
    /// acted on the newest spec (guard OBS). The identity at the address is for the probe to attest (IDENT).
    pub(super) fn candidate(&self) -> Option<(Life, IpAddr)> {
        let (agent, pod) = (self.agent.as_ref()?, self.pod.as_ref()?);
        let PodState::Up(address) = pod.state else { return None };
        let believable = agent.mode == Mode::Running
            && agent.observed >= agent.generation
            && pod.owner == agent.uid
            && !pod.terminating;
        believable.then(|| (Life { agent: agent.uid.clone(), pod: pod.uid.clone() }, address))
    }

    /// The agent's pod, unless it is on its way out.
    pub(super) fn standing_pod(&self) -> Option<&PodSeen> {
        self.pod.as_deref().filter(|pod| self.uid() == Some(&pod.owner) && !pod.terminating)
    }

    /// Why the pod failed, if it did.
    pub(super) fn pod_failure(&self) -> Option<&Failure> {
        match &self.standing_pod()?.state {
            PodState::Failed(failure) => Some(failure),
            _ => None,
        }
    }

    /// Whether the pod is the one whose failure was dealt with.
    pub(super) fn is_known_to_fail(&self) -> bool {
        self.standing_pod().is_some_and(|pod| self.failed_pod.as_ref() == Some(&pod.uid))
    }

    /// Why the current pod failed, if that was dealt with and the pod is still there.
    fn known_failure(&self) -> Option<Failure> {
        self.pod_failure().filter(|_| self.is_known_to_fail()).and(self.last_failure.as_deref().cloned())
    }

    /// Why the current pod failed, unless that was dealt with.
    pub(super) fn new_pod_failure(&self) -> Option<Failure> {
        self.pod_failure().filter(|_| !self.is_known_to_fail()).cloned()
    }
}
