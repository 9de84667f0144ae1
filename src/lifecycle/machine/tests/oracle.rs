//! What must hold after every single event, whatever it was. Every test on the bench checks it along the way.

use std::collections::BTreeMap;

use crate::lifecycle::phase::{Phase, ResumeStep};
use crate::lifecycle::{Effect, Mode};

use super::bench::Bench;
use super::show::show;
use crate::lifecycle::machine::Turn;

/// How a caller that was held has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    Released,
    Refused(&'static str),
    Left,
}

/// The pacer as far as one agent sees it.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Asked for, not given out.
    pub(super) queued: u32,
    /// Given out, but the machine has not heard of it.
    pub(super) granted: u32,
    /// Given out and not given back.
    pub(super) under_way: u32,
}

/// The accounts.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    pub(super) turns: Turns,
    pub(super) ended: BTreeMap<u32, Ended>,
}

impl Oracle {
    fn end(&mut self, caller: u32, how: Ended) {
        let before = self.ended.insert(caller, how);
        assert_eq!(before, None, "caller {caller} ended twice");
    }

    pub(super) fn left(&mut self, caller: u32) {
        self.ended.entry(caller).or_insert(Ended::Left);
    }

    fn note(&mut self, effect: &Effect<u32>) {
        let turns = &mut self.turns;
        match effect {
            Effect::Release { waiter, .. } => self.end(*waiter, Ended::Released),
            Effect::Refuse { waiter, refusal } => self.end(*waiter, Ended::Refused(refusal.as_str())),
            // More than one only if a turn that was on its way when it was cancelled was used after all.
            Effect::RequestStart(_) => turns.queued += 1,
            Effect::CancelStart => turns.queued = 0,
            Effect::StartDone => {
                assert!(turns.under_way > 0, "a turn was given back twice");
                turns.under_way -= 1;
            }
            _ => {}
        }
    }
}

impl Bench {
    /// Judges one step: the effects it had, and the state it led to.
    pub(super) fn judge(&mut self, effects: &[Effect<u32>]) {
        for effect in effects {
            self.oracle.note(effect);
            match effect {
                Effect::Suspend { uid, revision, .. } => {
                    self.expect_may_write(uid);
                    assert!(self.may_order.unwrap_or(self.may_suspend), "only who takes part suspends");
                    assert_eq!(Some(*revision), self.machine.agent().map(|agent| agent.revision));
                    let asleep = self.machine.mode() == Some(Mode::Suspended);
                    let in_use = self.gate.in_flight() > 0 && !asleep && !self.clears();
                    assert!(!in_use, "suspended with {} in flight", self.gate.in_flight());
                }
                Effect::Resume { uid, .. } => self.expect_may_write(uid),
                _ => {}
            }
        }
        let phase = self.machine.phase();
        assert_eq!(self.gate.is_open(), matches!(phase, Phase::Running { .. }), "the gate in {phase:?}");
        assert!(self.machine.held() <= self.most_held, "more are held than may be");
        assert_eq!(
            self.machine.turn == Turn::Asked,
            self.turn_should_be_asked(),
            "the turn in {}",
            show(phase)
        );
    }

    fn expect_may_write(&self, uid: &crate::agent::AgentUid) {
        assert!(self.ever_managed, "an unmanaged agent was written to");
        assert!(!self.machine.is_gone(), "an agent that is gone was written to");
        assert_eq!(self.machine.uid(), Some(uid), "somebody else was written to");
    }

    fn clears(&self) -> bool {
        matches!(self.machine.phase(), Phase::Resuming(r) if r.step == ResumeStep::ClearingFailedPod)
    }

    fn turn_should_be_asked(&self) -> bool {
        matches!(self.machine.phase(), Phase::Resuming(r) if r.step == ResumeStep::Paced)
    }

    /// Nothing is owed: nobody waits, no turn is kept.
    #[track_caller]
    pub(super) fn expect_nothing_owed(&self) {
        let turns = &self.oracle.turns;
        assert_eq!((turns.queued, turns.granted, turns.under_way), (0, 0, 0), "turns to start");
        assert_eq!(self.machine.held(), 0, "callers that wait");
        let forgotten: Vec<_> =
            self.arrived.iter().filter(|caller| !self.oracle.ended.contains_key(caller)).collect();
        assert!(forgotten.is_empty(), "callers that were neither released nor refused: {forgotten:?}");
    }
}
