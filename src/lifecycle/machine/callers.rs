//! The queue in front of the gate: arrive, leave, be released, be refused. Every caller ends in exactly one of
//! these (invariant 6).

use std::borrow::Cow;

use crate::lifecycle::effect::{Effect, Start};
use crate::lifecycle::event::Arrival;
use crate::lifecycle::gate::Entry;
use crate::lifecycle::observation::{Failure, Mode, SuspendedBy};
use crate::lifecycle::phase::{Phase, ResumeStep};
use crate::lifecycle::refusal::Refusal;

use super::{Context, Machine};

impl<W> Machine<W> {
    pub(super) fn arrive(&mut self, arrival: Arrival<W>, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        // Running: the gate may have opened, or a place become free, since the caller looked.
        if matches!(self.phase, Phase::Running { .. })
            && self.gate.enter_or_wait(ctx.policy.in_flight_limit()) == Entry::Admitted
        {
            fx.push(Effect::Release { waiter: arrival.waiter, start: Start::default() });
            return;
        }
        if let Some(refusal) = self.refusal_on_arrival(&arrival, ctx) {
            fx.push(Effect::Refuse { waiter: arrival.waiter, refusal });
            self.queue_shrank();
            return;
        }
        self.waiters.push(arrival.id, arrival.waiter, arrival.deadline, arrival.wakes);
        match self.phase {
            Phase::Suspending | Phase::Suspended => self.serve_demand(ctx, fx),
            Phase::Draining(_) if arrival.wakes || self.is_joining() => self.drain_unwanted(ctx, fx),
            Phase::Failed { retry_at, .. } if retry_at <= ctx.now => self.retry_due(ctx, fx),
            _ => {}
        }
    }

    fn refusal_on_arrival(&self, arrival: &Arrival<W>, ctx: Context<'_>) -> Option<Refusal> {
        if self.gone {
            return Some(Refusal::Gone);
        }
        if self.waiters.len() >= ctx.policy.max_held as usize {
            return Some(Refusal::QueueFull { max_held: ctx.policy.max_held });
        }
        match &self.phase {
            // It is up for all that is known, so its caller wakes nobody.
            Phase::Draining(_) if self.is_joining() => None,
            Phase::Draining(_) | Phase::Suspending | Phase::Suspended if !arrival.wakes => {
                Some(self.wake_refusal(ctx).unwrap_or(Refusal::Asleep))
            }
            Phase::Suspending | Phase::Suspended => self.wake_refusal(ctx),
            Phase::Failed { failure, retry_at } => {
                let hopeless = !self.is_held_through(failure) || arrival.deadline <= *retry_at;
                (hopeless && *retry_at > ctx.now).then(|| Refusal::ResumeFailed {
                    failure: (**failure).clone(),
                    retry_after: retry_at.since(ctx.now),
                })
            }
            _ => None,
        }
    }

    /// Why traffic must not resume this agent, if so.
    pub(super) fn wake_refusal(&self, ctx: Context<'_>) -> Option<Refusal> {
        let agent = self.agent.as_ref()?;
        if !ctx.policy.manage {
            Some(Refusal::NotManaged)
        } else if agent.mode == Mode::Suspended
            && agent.suspended_by == SuspendedBy::Person
            && !ctx.policy.resume_user_suspended
        {
            Some(Refusal::SuspendedByPerson)
        } else {
            None
        }
    }

    /// Why it must not be started, if so: an operator's demand goes past a person's suspension.
    pub(super) fn start_refusal(&self, ctx: Context<'_>) -> Option<Refusal> {
        self.wake_refusal(ctx).filter(|why| !self.demanded || *why != Refusal::SuspendedByPerson)
    }

    /// Lets callers in, in order of arrival, as far as there are places.
    pub(super) fn release(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        if !matches!(self.phase, Phase::Running { .. }) {
            return;
        }
        while !self.waiters.is_empty() && self.gate.enter_from_queue(ctx.policy.in_flight_limit()) {
            // Not empty, so there is one; a place without a caller would never be given back.
            if let Some((waiter, start)) = self.waiters.release_first() {
                fx.push(Effect::Release { waiter, start });
            }
        }
        self.queue_shrank();
    }

    /// What a caller who is held now waits for, and what keeps that from coming, as far as anybody says so.
    pub fn waiting_for(&self) -> Cow<'static, str> {
        let resume = match &self.phase {
            Phase::Resuming(resume) => resume,
            Phase::Draining(drain) => return because(self.phase.waiting_for(), drain.refused.as_ref()),
            _ => return self.phase.waiting_for().into(),
        };
        let what = match resume.step {
            ResumeStep::AwaitingPod if self.needs_clearing() => {
                "waiting until a failed pod may be cleared away"
            }
            ResumeStep::AwaitingPod if self.pod.as_ref().is_some_and(|pod| pod.terminating) => {
                "waiting for the pod before to end"
            }
            ResumeStep::RetryingAt(_) if self.needs_clearing() => {
                "waiting for the other replicas to agree that a failed pod is cleared away"
            }
            _ => self.phase.waiting_for(),
        };
        let is_writing = matches!(resume.step, ResumeStep::Writing | ResumeStep::RetryingAt(_));
        let write_error = resume.write_error.as_ref().filter(|_| is_writing);
        match (self.hindrance(), write_error) {
            (None, Some(error)) => format!("{what} ({error})").into(),
            (why, _) => because(what, why),
        }
    }

    /// Without a queue, newcomers need not line up.
    pub(super) fn queue_shrank(&self) {
        if self.waiters.is_empty() {
            self.gate.clear_waiting();
        }
    }

    pub(super) fn refuse_expired(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        while let Some(waiter) = self.waiters.pop_expired(ctx.now) {
            let refusal = Refusal::HoldTimedOut { waiting_for: self.waiting_for() };
            fx.push(Effect::Refuse { waiter, refusal });
        }
        self.queue_shrank();
    }

    pub(super) fn refuse_all(&mut self, refusal: &Refusal, fx: &mut Vec<Effect<W>>) {
        while let Some(waiter) = self.waiters.pop_first() {
            fx.push(Effect::Refuse { waiter, refusal: refusal.clone() });
        }
        self.queue_shrank();
    }

    /// The last caller left before the resume was even written: let the agent sleep.
    pub(super) fn forget_unwanted_start(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        let not_begun = matches!(&self.phase, Phase::Resuming(resume) if resume.step == ResumeStep::Paced);
        if !not_begun || self.is_wanted() {
            return;
        }
        match (self.mode(), self.last_failure.as_deref().cloned()) {
            // It was about to be recovered.
            (Some(Mode::Running), Some(failure)) => self.await_recovery(failure, ctx, fx),
            _ => self.settle(ctx, fx),
        }
    }
}

fn because(what: &'static str, why: Option<&Failure>) -> Cow<'static, str> {
    match why {
        Some(why) => format!("{what} ({}: {})", why.class.as_str(), why.detail).into(),
        None => what.into(),
    }
}
