//! What a replica may not do yet that has just started (guard JOIN).
//!
//! A suspension may be under way that was agreed on before this replica took part: the leader did not ask it, or asked the
//! process that ran in its place before. So an agent that it first sees running gets nothing from here until its object has
//! changed since. The leader asks whoever takes part after it knows the revision that it writes at, and such a
//! suspension is written at an older one. When somebody calls, this replica makes that change itself: the mark that
//! settles every other doubt, too.

use crate::agent::{Life, Revision};
use crate::lifecycle::effect::Effect;
use crate::lifecycle::observation::{Mode, SuspendedBy};
use crate::lifecycle::phase::{Drain, DrainStep, Phase};
use crate::policy::idle::Verdict;

use super::suspend::{RECHECK_CROWDED, may_suspend};
use super::{Context, Machine, RECHECK};

impl<W> Machine<W> {
    /// Whether nothing may be routed to it although it runs. Nobody suspends what Drowse does not manage.
    pub(super) fn must_join(&self, ctx: Context<'_>) -> bool {
        self.is_as_found && ctx.inherits && ctx.policy.manage
    }

    pub(super) fn is_joining(&self) -> bool {
        matches!(&self.phase, Phase::Draining(drain) if drain.step == DrainStep::Joining)
    }

    /// The phase in which it stays until its object has changed.
    pub(super) fn joining(&self, life: &Life, ctx: Context<'_>) -> Option<Phase> {
        let agent = self.agent.as_ref()?;
        let look_again = ctx.now + ctx.policy.idle_timeout;
        let drain = self.drain(agent, DrainStep::Joining, SuspendedBy::Idle, look_again);
        Some(Phase::Draining(Drain { life: Some(life.clone()), ..drain }.into()))
    }

    /// Whoever waits already has called.
    pub(super) fn join_if_called(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        if !self.waiters.is_empty() {
            self.drain_unwanted(ctx, fx);
        }
    }

    /// The leader suspends it in the ordinary way, for which it has to be up in the ordinary way.
    pub(super) fn joining_due(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        let due = match self.verdict(ctx) {
            Verdict::Idle if ctx.crowded => ctx.now + RECHECK_CROWDED,
            Verdict::Idle if may_suspend(ctx) && !ctx.policy.dry_run => {
                return self.settle_by_write(ctx, fx);
            }
            Verdict::Idle => ctx.now + RECHECK,
            Verdict::UpUntil(until, _) => until,
            Verdict::Busy(_) => ctx.now + ctx.policy.idle_timeout,
        };
        if let Phase::Draining(drain) = &mut self.phase {
            drain.deadline = due;
        }
    }

    /// Its pod may go while nobody calls.
    pub(super) fn joining_pod_changed(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        let Phase::Draining(drain) = &self.phase else { return };
        if !drain.life.as_ref().is_some_and(|life| self.serves(life)) {
            self.lost(ctx, fx);
        }
    }

    /// The others may have counted this replica out. What is in flight goes on: that cannot be undone.
    pub(super) fn rejoin(&mut self, until: Revision, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        self.found_until = self.found_until.max(until);
        if let Some(call) = &mut self.call {
            call.is_newer = false;
        }
        if self.mode() != Some(Mode::Running) {
            return;
        }
        self.is_as_found = true;
        if let Phase::Running { life } = &self.phase
            && self.must_join(ctx)
            && let Some(joining) = self.joining(life, ctx)
        {
            self.enter(joining, ctx, fx);
            self.join_if_called(ctx, fx);
        }
    }
}
