//! Every place in which an agent can be, and the way from any of them to where nothing is left to do.

use crate::lifecycle::phase::{DrainStep, Phase, ResumeStep};
use crate::lifecycle::{Event, FailureClass, Mode, PodState};
use crate::units::{Ping, Written};

use super::bench::{Bench, IDLE, LONG, START_WITHIN, up};

/// A phase and its step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Station {
    Unknown,
    Running,
    Joining,
    Asked,
    AskingPeers,
    Writing,
    Fenced,
    Settling,
    Suspending,
    Suspended,
    Paced,
    WritingResume,
    Retrying,
    AwaitingPod,
    Probing,
    AskingToClear,
    Clearing,
    FailedForNow,
    FailedForGood,
}

impl Station {
    pub(super) const ALL: [Self; 19] = [
        Self::Unknown,
        Self::Running,
        Self::Joining,
        Self::Asked,
        Self::AskingPeers,
        Self::Writing,
        Self::Fenced,
        Self::Settling,
        Self::Suspending,
        Self::Suspended,
        Self::Paced,
        Self::WritingResume,
        Self::Retrying,
        Self::AwaitingPod,
        Self::Probing,
        Self::AskingToClear,
        Self::Clearing,
        Self::FailedForNow,
        Self::FailedForGood,
    ];

    /// Those that a start passes through.
    pub(super) const RESUMING: [Self; 7] = [
        Self::Paced,
        Self::WritingResume,
        Self::Retrying,
        Self::AwaitingPod,
        Self::Probing,
        Self::AskingToClear,
        Self::Clearing,
    ];
}

impl Bench {
    /// A bench whose pod is up and has not answered through two starts. The next attempt is due.
    pub(super) fn wedged() -> Self {
        let mut bench = Self::at(Station::Probing);
        bench.after(START_WITHIN).is("Failed deadline", "stop probe, end turn");
        bench.now = bench.now + LONG;
        bench.call(100).is("Resuming Paced", "ask for a turn");
        bench.granted().is("Resuming Probing p1", "probe p1");
        bench.after(START_WITHIN).is("Failed deadline", "refuse 100 hold_timed_out, stop probe, end turn");
        bench.now = bench.now + LONG;
        bench
    }

    /// A bench at this place. Wherever somebody must want the agent for it to be there, an operator does.
    pub(super) fn at(station: Station) -> Self {
        use Station::{
            Asked, AskingPeers, AskingToClear, AwaitingPod, Clearing, FailedForGood, FailedForNow, Fenced,
            Joining, Paced, Probing, Retrying, Running, Settling, Suspended, Suspending, Unknown, Writing,
            WritingResume,
        };
        let before = match station {
            Unknown => return Self::new(),
            Running | Suspended | Joining => Unknown,
            Asked | AskingPeers | Fenced | Writing | FailedForNow | FailedForGood => Running,
            Suspending | Settling => Writing,
            Paced => Suspended,
            WritingResume => Paced,
            Retrying | AwaitingPod => WritingResume,
            Probing => AwaitingPod,
            AskingToClear | Clearing => FailedForNow,
        };
        let mut bench = Self::at(before);
        bench.step_to(station);
        bench
    }

    fn step_to(&mut self, station: Station) {
        match station {
            Station::Unknown => {}
            Station::Running => {
                self.runs();
                self.pod_up("p1");
                self.answers("p1").is("Running p1", "");
            }
            Station::Joining => {
                self.alone = false;
                self.runs();
                self.pod_up("p1");
                self.answers("p1").is("Draining Joining", "");
            }
            Station::Asked => {
                self.policy.ping = Ping::read("/ping").unwrap();
                self.after(IDLE).is("Running p1", "ping p1");
            }
            Station::AskingPeers => {
                self.alone = false;
                self.noise();
                self.after(IDLE).is("Draining AskingPeers", "ask peers");
            }
            Station::Writing => self.after(IDLE).is("Draining Writing", "suspend"),
            Station::Fenced => {
                (self.alone, self.may_suspend) = (false, false);
                self.now = self.now + IDLE;
                self.asked().is("Draining Fenced", "acknowledge");
            }
            Station::Settling => self.lost().is("Draining Settling", "mark wanted"),
            Station::Suspending => self.done().is("Suspending", "retire"),
            Station::Suspended => self.sleeps().is("Suspended", ""),
            Station::Paced => self.demand().is("Resuming Paced", "ask for a late turn"),
            Station::WritingResume => self.granted().is("Resuming Writing", "resume"),
            Station::Retrying => self.lost().is("Resuming Retrying", ""),
            Station::AwaitingPod => self.done().is("Resuming AwaitingPod", ""),
            Station::Probing => self.pod_up("p1").is("Resuming Probing p1", "probe p1"),
            Station::FailedForNow => {
                self.pod_fails("p1", FailureClass::Crash).is("Failed crash", "retire");
            }
            Station::FailedForGood => {
                self.pod_fails("p1", FailureClass::Image).is("Failed image", "retire");
            }
            Station::AskingToClear => {
                self.alone = false;
                self.demand().is("Resuming Paced", "ask for a late turn");
                self.granted().is("Resuming AskingPeers", "ask peers");
            }
            Station::Clearing => {
                self.demand().is("Resuming Paced", "ask for a late turn");
                self.granted().is("Resuming ClearingFailedPod", "suspend");
            }
        }
    }

    /// From here on the world does its part, promptly and well, until nobody waits and nothing is on the move.
    pub(super) fn calm(&mut self) {
        for _ in 0..5_000 {
            if !self.calm_step() {
                return;
            }
        }
        panic!("never calm: {:?}", self.machine);
    }

    /// The next thing that the world or the clock does; false if there is none.
    fn calm_step(&mut self) -> bool {
        if self.gate.in_flight() > 0 {
            if self.leave_gate() {
                self.feed(Event::PlaceFreed);
            }
        } else if !self.calls.is_empty() {
            let pending = self.calls.remove(0);
            self.answer_to(&pending);
        } else if self.oracle.turns.granted > 0 {
            self.told_of_turn();
        } else if self.oracle.turns.queued > 0 {
            self.granted();
        } else if self.asks_peers() {
            self.acked();
        } else if let Some(event) = self.calm_world() {
            self.feed(event);
        } else if let Phase::Resuming(resume) = self.machine.phase()
            && let ResumeStep::Probing(life) = &resume.step
        {
            let life = life.clone();
            self.feed(Event::Answers(life));
        } else {
            return self.calm_wait();
        }
        true
    }

    fn asks_peers(&self) -> bool {
        match self.machine.phase() {
            Phase::Draining(drain) => drain.step == DrainStep::AskingPeers,
            Phase::Resuming(resume) => resume.step == ResumeStep::AskingPeers,
            _ => false,
        }
    }

    /// The controller acts on the object, and what is not known yet is told.
    fn calm_world(&mut self) -> Option<Event<u32>> {
        if self.machine.is_gone() {
            return None;
        }
        let known = self.machine.agent().map(|agent| (agent.revision, agent.observed));
        if self.object.observed < self.object.generation {
            self.object.observed = self.object.generation;
            self.revision += 1;
            self.object.revision = crate::agent::Revision(self.revision);
        }
        if known != Some((self.object.revision, self.object.observed)) {
            return Some(Event::Agent(self.object.clone()));
        }
        self.calm_pod()
    }

    fn calm_pod(&mut self) -> Option<Event<u32>> {
        let running = self.object.mode == Mode::Running;
        let ours = |pod: &crate::lifecycle::PodSeen| pod.owner == self.object.uid;
        match self.pod.clone() {
            None if running => {
                let name = format!("p{}", self.revision);
                Some(Event::Pod(self.set_pod(&name, false, up())))
            }
            Some(pod) if !running || pod.terminating || !ours(&pod) => {
                self.pod = None;
                self.revision += 1;
                let revision = crate::agent::Revision(self.revision);
                Some(Event::PodGone { pod: pod.uid, revision })
            }
            Some(pod) if pod.state == PodState::Starting => {
                let name = pod.uid.0.to_string();
                Some(Event::Pod(self.set_pod(&name, false, up())))
            }
            Some(pod) if self.machine.pod() != Some(&pod) => {
                let name = pod.uid.0.to_string();
                Some(Event::Pod(self.set_pod(&name, false, pod.state)))
            }
            None if self.machine.pod().is_some() => {
                self.revision += 1;
                let pod = self.machine.pod()?.uid.clone();
                Some(Event::PodGone { pod, revision: crate::agent::Revision(self.revision) })
            }
            _ => None,
        }
    }

    /// Nothing is left but to wait, if anything is under way at all.
    fn calm_wait(&mut self) -> bool {
        let on_the_move = matches!(self.machine.phase(), Phase::Draining(drain) if drain.step != DrainStep::Joining)
            || matches!(self.machine.phase(), Phase::Resuming(_));
        let wanted = self.machine.is_wanted() || self.machine.held() > 0;
        if !on_the_move && !wanted {
            return false;
        }
        assert!(self.machine.next_deadline().is_some(), "waits for ever: {:?}", self.machine);
        let before = self.now;
        self.at_deadline();
        assert!(self.now.since(before) <= LONG, "waits too long: {:?}", self.machine);
        true
    }
}
