//! Another replica is about to suspend the agent, and asks (guards ACK and FENCE).

use crate::lifecycle::activity::Activity;
use crate::lifecycle::effect::{DrainQuestion, Effect};
use crate::lifecycle::observation::{Mode, SuspendedBy};
use crate::lifecycle::phase::{Drain, DrainStep, Phase};
use crate::policy::idle::{Says, Signal, Source, Verdict, verdict};
use crate::time::Moment;

use super::suspend::FENCE_TIMEOUT;
use super::{Context, Machine};

impl<W> Machine<W> {
    /// Another asks for an acknowledgement: the leader, or whoever has an order to suspend it.
    pub(super) fn drain_asked(
        &mut self,
        question: &DrainQuestion,
        ctx: Context<'_>,
        fx: &mut Vec<Effect<W>>,
    ) {
        let DrainQuestion { uid, revision, ordered } = question;
        let revision = *revision;
        let same = self.agent.as_ref().is_some_and(|agent| agent.uid == *uid && agent.revision == revision);
        let agreed = same
            && ctx.policy.manage
            && (self.drains_at(DrainStep::Fenced, revision) || self.close_for(*ordered, ctx, fx));
        fx.push(if agreed { Effect::Acknowledge(revision) } else { Effect::Veto(revision) });
    }

    fn close_for(&mut self, ordered: bool, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) -> bool {
        let idle = match &self.phase {
            // As whoever has the order looks at it himself.
            Phase::Running { .. } if ordered => {
                self.waiters.is_empty() && !self.is_kept_by_connections(ctx) && self.gate.close_if_idle()
            }
            Phase::Running { .. } => {
                self.own_verdict(ctx) == Verdict::Idle && self.close_if_still(ctx, Self::own_verdict)
            }
            // Closed already: fine, if nothing lingers and nobody wants it, or wants what comes after a dead pod.
            Phase::Resuming(_) | Phase::Failed { .. } => {
                self.mode() == Some(Mode::Running)
                    && self.gate.in_flight() == 0
                    && ((!self.is_wanted() && self.waiters.is_empty()) || self.lets_others_clear(ctx))
            }
            Phase::Draining(_) if self.is_joining() => {
                (ordered || self.own_verdict(ctx) == Verdict::Idle) && self.gate.in_flight() == 0
            }
            Phase::Unknown | Phase::Draining(_) | Phase::Suspending | Phase::Suspended => false,
        };
        if let (true, Some(agent)) = (idle, &self.agent) {
            let drain = self.drain(agent, DrainStep::Fenced, SuspendedBy::Idle, ctx.now + FENCE_TIMEOUT);
            self.enter(Phase::Draining(Drain { ordered, ..drain }.into()), ctx, fx);
        }
        idle
    }

    /// The verdict on what this replica has to answer for. What was active by way of others is for them to say, who are asked as
    /// well; it also came here a little later than it was there, and would make a no of every yes. A lease counts while it lasts,
    /// whoever gave it: that replica may be gone, and the one that asks may not have heard of it yet.
    fn own_verdict(&self, ctx: Context<'_>) -> Verdict {
        let mut signals = self.signals(ctx.policy, ctx.now, ctx.calendar);
        let leases = |of: fn(&Activity) -> Moment| self.activity.as_deref().map_or(Moment::START, of);
        let (own, elsewhere) = (leases(Activity::leased_until), leases(Activity::leased_elsewhere_until));
        signals.retain(|signal| !matches!(signal.source, Source::Elsewhere | Source::Lease));
        if own > Moment::START {
            signals.push(Signal { source: Source::Lease, says: Says::LastActive(own) });
        }
        signals.push(Signal { source: Source::Lease, says: Says::BusyUntil(elsewhere) });
        verdict(&signals, ctx.policy.idle_timeout, ctx.now)
    }
}
