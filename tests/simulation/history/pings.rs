//! Agents that are asked whether they are at work: busy, wedged, broken and mute ones, answers that are late, doubled and lost;
//! and the oracle for whoever suspends one that has said it is busy.

use std::time::Duration;

use drowse::agent::Life;
use drowse::lifecycle::{CallId, Event};
use drowse::policy::ping::{PingAnswer, PingFault, PingFaultKind};
use drowse::time::Moment;

use super::{Happening, History};
use crate::faults::Sabotage;
use crate::replica::CallerId;
use crate::world::Temper;

/// How long an answer counts that is awaited.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// What one replica was told by the agent, as the oracle sees it. Of one life.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    /// The question that is under way, and since when.
    question: Option<(CallId, Moment)>,
    /// Since when it is asked without having said that it is healthy.
    spell: Option<Moment>,
    /// When it said last that it is busy.
    busy: Option<Moment>,
}

impl History {
    /// How an agent will answer in this life of it.
    pub(super) fn temper(&mut self) -> Temper {
        if !self.plan.pings {
            return Temper::Idle;
        }
        match self.rng.u32(0..8) {
            0 => Temper::Wedged,
            1 => Temper::Broken,
            2 => Temper::Mute,
            3..6 => {
                let from = self.now + self.delay(0, 10_000);
                Temper::Works { from, until: from + self.delay(0, 40_000) }
            }
            _ => Temper::Idle,
        }
    }

    /// A question leaves a replica.
    pub(super) fn ping(&mut self, replica: usize, id: CallId, life: Life) {
        let incarnation = self.replicas[replica].incarnation;
        let told = &mut self.replicas[replica].told;
        if told.question.is_some_and(|(_, asked)| self.now.since(asked) < ANSWER_TIMEOUT) {
            return self.violated(format!("replica {replica} asks before it has an answer"));
        }
        told.question = Some((id, self.now));
        told.spell.get_or_insert(self.now);
        let there = self.delay(0, 50);
        self.after(there, Happening::Ping(replica, incarnation, id, life));
    }

    /// It arrives; the answer may be late, come twice, or never.
    pub(super) fn asked_whether_at_work(
        &mut self,
        replica: usize,
        incarnation: u32,
        id: CallId,
        life: &Life,
    ) {
        let said = self.says(life);
        let Some(said) = said else { return };
        let lost = self.percent(10);
        let times = if lost { self.rng.usize(0..3) } else { 1 };
        for _ in 0..times {
            let back = if lost { self.delay(0, 30_000) } else { self.delay(0, 400) };
            self.after(back, Happening::Said(replica, incarnation, id, said.clone()));
        }
    }

    /// What the life says now. Nobody is there to answer for one that is over.
    fn says(&mut self, life: &Life) -> Option<PingAnswer> {
        let broken = || PingAnswer::Failed(PingFault::new(PingFaultKind::Unreachable, "refused"));
        if self.percent(3) {
            return Some(PingAnswer::NotAsked);
        }
        let pod = self.world.pod.as_ref().filter(|pod| pod.uid() == life.pod);
        let Some(pod) = pod.filter(|pod| pod.listening) else {
            return self.rng.bool().then(broken);
        };
        match pod.temper {
            Temper::Idle => Some(PingAnswer::Healthy),
            Temper::Wedged => Some(PingAnswer::Busy),
            Temper::Broken => Some(broken()),
            Temper::Mute => None,
            Temper::Works { from, until } if from <= self.now && self.now < until => Some(PingAnswer::Busy),
            Temper::Works { .. } => Some(PingAnswer::Healthy),
        }
    }

    /// An answer comes back to the replica.
    pub(super) fn said(&mut self, replica: usize, incarnation: u32, id: CallId, said: PingAnswer) {
        if !self.is_current(replica, incarnation) {
            return;
        }
        let now = self.now;
        let told = &mut self.replicas[replica].told;
        let counts = told.question.is_some_and(|(asked, at)| asked == id && now.since(at) < ANSWER_TIMEOUT);
        if counts {
            told.question = None;
            match said {
                PingAnswer::Busy => told.busy = Some(now),
                PingAnswer::Healthy => (told.busy, told.spell) = (None, None),
                PingAnswer::Failed(_) | PingAnswer::NotAsked => {}
            }
        }
        let deaf = self.sabotage == Some(Sabotage::DeafToPing) && said == PingAnswer::Busy;
        let answer = if deaf { PingAnswer::Healthy } else { said };
        self.to(replica, incarnation, Event::Pinged { id, answer });
    }

    /// A replica that leads has found the agent idle.
    pub(super) fn expect_not_busy(&mut self, replica: usize, healthy: bool) {
        if !self.plan.pings {
            return;
        }
        let (told, policy) = (self.replicas[replica].told, &self.plan.policy);
        let capped = told.spell.is_some_and(|since| self.now >= since + policy.busy_cap);
        let busy = told.busy.is_some_and(|at| self.now < at + policy.idle_timeout);
        if busy && !capped {
            self.violated(format!("{replica} suspends an agent that says it is at work"));
        } else if !healthy && !capped {
            self.violated(format!("{replica} suspends an agent that was not asked"));
        }
    }
}

/// Whether this is an agent's word that it is not at work.
pub fn is_healthy(event: &Event<CallerId>) -> bool {
    matches!(event, Event::Pinged { answer: PingAnswer::Healthy, .. })
}
