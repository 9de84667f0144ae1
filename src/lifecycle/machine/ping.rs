//! Asking an agent whether it is at work, before it is suspended for being idle (rule key `ping`).
//!
//! It is asked while its gate is open, so that no caller notices: what comes meanwhile is activity like any other, and is read
//! again when the gate has closed. `HealthyBusy`, and no answer that can be used, are a signal with a cap.

use std::time::Duration;

use crate::lifecycle::effect::{Effect, Transition};
use crate::lifecycle::event::CallId;
use crate::lifecycle::phase::{Phase, PhaseName};
use crate::policy::Policy;
use crate::policy::idle::{Says, Source, Verdict};
use crate::policy::ping::{PingAnswer, PingFault, PingFaultKind, Said, Word};
use crate::time::Moment;
use crate::units::PingTarget;

use super::suspend::may_suspend;
use super::{Context, Machine};

/// How long an answer is awaited. Longer than whoever asks takes, with the wait for its turn.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// How soon it is tried again to ask an agent when too many others were being asked.
const RETRY_NOT_ASKED: Duration = Duration::from_secs(5);

/// What is known from asking. Of those few who are asked, and only while they are up.
#[derive(Debug, Default)]
pub(super) struct Pings {
    asked: Option<Asked>,
    /// What it said that keeps it up.
    word: Option<Word>,
    /// It was suspended all the same.
    overruled: Option<Said>,
}

/// A question that is under way.
#[derive(Debug)]
struct Asked {
    id: CallId,
    target: PingTarget,
    deadline: Moment,
}

impl<W> Machine<W> {
    /// Whether it is to be asked before it is suspended: not if it has said that it is busy for as long as it may.
    pub(super) fn asks_first(&self, ctx: Context<'_>) -> bool {
        ctx.policy.ping.target().is_some() && may_suspend(ctx) && !self.overrules(ctx)
    }

    /// Whether it has said that it is busy, or nothing that can be used, for as long as it may.
    pub(super) fn overrules(&self, ctx: Context<'_>) -> bool {
        self.spell(ctx).is_some_and(|word| word.is_capped(ctx.policy.busy_cap, ctx.now))
    }

    /// Asks, one question at a time.
    pub(super) fn ask(&mut self, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        let (Phase::Running { life }, Some(target)) = (&self.phase, ctx.policy.ping.target()) else { return };
        let (life, target) = ((**life).clone(), target.clone());
        match self.pings.as_ref().and_then(|pings| pings.asked.as_ref()) {
            Some(asked) if asked.deadline > ctx.now => self.check_at = asked.deadline,
            Some(_) => {
                let fault = PingFault::new(PingFaultKind::TimedOut, "it was asked, and nothing came of that");
                self.note_word(target, Said::Nothing(fault), ctx, fx);
                self.consider_suspending(ctx, fx);
            }
            None => {
                self.calls += 1;
                let (id, deadline) = (CallId(self.calls), ctx.now + ANSWER_TIMEOUT);
                let asked = Asked { id, target: target.clone(), deadline };
                self.pings.get_or_insert_default().asked = Some(asked);
                self.check_at = deadline;
                fx.push(Effect::Ping { id, life, target });
            }
        }
    }

    /// The answer, perhaps to a question that is not asked any more.
    pub(super) fn pinged(
        &mut self,
        id: CallId,
        answer: PingAnswer,
        ctx: Context<'_>,
        fx: &mut Vec<Effect<W>>,
    ) {
        let Some(pings) = &mut self.pings else { return };
        let Some(asked) = pings.asked.take_if(|asked| asked.id == id) else { return };
        // A rule may ask elsewhere by now.
        let counts = asked.deadline > ctx.now && ctx.policy.ping.target() == Some(&asked.target);
        if counts && answer == PingAnswer::Healthy {
            pings.word = None;
        }
        if !matches!(self.phase, Phase::Running { .. }) {
            return;
        }
        match answer {
            _ if !counts => {}
            PingAnswer::NotAsked => {
                self.check_at = ctx.now + RETRY_NOT_ASKED;
                return;
            }
            PingAnswer::Busy => self.note_word(asked.target, Said::Busy, ctx, fx),
            PingAnswer::Failed(fault) => self.note_word(asked.target, Said::Nothing(fault), ctx, fx),
            PingAnswer::Healthy => {
                if self.verdict(ctx) == Verdict::Idle && self.no_suspend_before <= ctx.now {
                    return self.suspend_idle(ctx, fx);
                }
            }
        }
        self.consider_suspending(ctx, fx);
    }

    fn note_word(&mut self, target: PingTarget, said: Said, ctx: Context<'_>, fx: &mut Vec<Effect<W>>) {
        let since = self.spell(ctx).map_or(ctx.now, |word| word.since);
        let pings = self.pings.get_or_insert_default();
        pings.asked = None;
        if let Said::Nothing(fault) = &said
            && !pings.word.as_ref().is_some_and(|word| word.target == target && word.is_like(&said))
        {
            fx.push(Effect::Record(Transition::PingFailed(fault.clone())));
        }
        pings.word = Some(Word { target, said, at: ctx.now, since });
    }

    /// What it says now goes on with this.
    fn spell(&self, ctx: Context<'_>) -> Option<&Word> {
        let word = self.word(ctx.policy)?;
        let active = self
            .signals(ctx.policy, ctx.now, ctx.calendar)
            .iter()
            .filter_map(|signal| match signal.says {
                Says::Busy => Some(ctx.now),
                Says::LastActive(at) => Some(at),
                Says::BusyUntil(_) => None,
            })
            .max();
        let (idle_timeout, busy_cap) = (ctx.policy.idle_timeout, ctx.policy.busy_cap);
        word.goes_on(idle_timeout, busy_cap, active.unwrap_or(Moment::START), ctx.now).then_some(word)
    }

    /// As one signal among the others.
    pub(super) fn ping_signal(&self, policy: &Policy) -> Option<(Source, Says)> {
        let until = self.word(policy)?.until(policy.idle_timeout, policy.busy_cap);
        Some((Source::Ping, Says::BusyUntil(until)))
    }

    /// What it says is of its life.
    pub(super) fn forget_pings(&mut self, to: PhaseName) {
        let overrules = matches!(&self.phase, Phase::Draining(drain) if drain.overrules);
        let asleep = matches!(to, PhaseName::Suspending | PhaseName::Suspended);
        let word = self.pings.take().and_then(|pings| pings.word).filter(|_| overrules && asleep);
        if let Some(word) = word {
            self.pings = Some(Box::new(Pings { overruled: Some(word.said), ..Pings::default() }));
        }
    }
}

/// What people and the API are shown.
impl<W> Machine<W> {
    /// What it said last that keeps it up, if this policy still asks.
    pub fn word(&self, policy: &Policy) -> Option<&Word> {
        let word = self.pings.as_ref()?.word.as_ref()?;
        (policy.ping.target() == Some(&word.target)).then_some(word)
    }

    /// Whether it is being asked.
    pub fn is_asked(&self) -> bool {
        self.pings.as_ref().is_some_and(|pings| pings.asked.is_some())
    }

    /// What it had said when it was suspended all the same.
    pub fn overruled(&self) -> Option<&Said> {
        self.pings.as_ref()?.overruled.as_ref()
    }
}
