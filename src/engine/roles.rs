//! What this replica is among the others: whether it leads, whether it takes part, and how the others are asked.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use crate::agent::{AgentKey, Revision};
use crate::lifecycle::{DrainQuestion, Event};
use crate::policy::idle::{Says, Source, Verdict, verdict};
use crate::time::{Clock, Moment};

use super::{Engine, Other, Slot};

/// How the other replicas are asked. No call may block.
pub trait Peers: Send + Sync {
    /// Ask every other replica whether nothing is in flight to this agent at this revision of its object, and say by
    /// [`Engine::peers_said`] what came of it. Who takes part must be found out after this call.
    fn ask(&self, key: &AgentKey, question: DrainQuestion);
}

/// What a replica says when it is asked (guard ACK).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word {
    /// Nothing is in flight here, and the gate is closed.
    Agreed,
    /// No.
    Vetoed {
        /// How long ago the agent was last active here: zero while it is busy, `None` if nothing is known of any activity.
        active_ago: Option<Duration>,
    },
}

/// What this replica is among the others.
#[derive(Default)]
pub(super) struct Roles {
    /// Without it there never is another replica.
    peers: OnceLock<Arc<dyn Peers>>,
    /// Microseconds, as [`Moment`].
    leads_until: AtomicU64,
    /// When it was last told.
    led: AtomicBool,
    takes_part: AtomicBool,
    seen: Mutex<Seen>,
    /// Questions of others, while the machine decides on them.
    questions: Mutex<Vec<Question>>,
}

/// What is known of the others.
#[derive(Clone, Default)]
pub struct Seen {
    /// The pod of the leader, if that is another.
    pub leader: Option<Arc<str>>,
    /// Why the others cannot be asked, so that nobody is suspended.
    pub hindrance: Option<Arc<str>>,
    /// The others.
    pub others: Arc<[Other]>,
}

struct Question {
    key: AgentKey,
    revision: Revision,
    agreed: Option<bool>,
}

impl Roles {
    /// Whether there never is another replica.
    pub(super) fn alone(&self) -> bool {
        self.peers.get().is_none()
    }

    pub(super) fn leads(&self, now: Moment) -> bool {
        self.alone() || now.as_micros() < self.leads_until.load(Ordering::Acquire)
    }

    pub(super) fn takes_part(&self) -> bool {
        self.alone() || self.takes_part.load(Ordering::Acquire)
    }

    /// Whether the others can be asked, as far as that is known.
    pub(super) fn can_ask(&self) -> bool {
        self.seen.lock().hindrance.is_none()
    }

    /// For people.
    pub(super) fn seen(&self) -> Seen {
        self.seen.lock().clone()
    }

    /// Asks the others, by a call that does not block.
    pub(super) fn ask(&self, key: &AgentKey, question: DrainQuestion) {
        if let Some(peers) = self.peers.get() {
            peers.ask(key, question);
        }
    }

    /// The machine has decided.
    pub(super) fn decided(&self, key: &AgentKey, revision: Revision, agreed: bool) {
        let mut questions = self.questions.lock();
        for question in questions.iter_mut().filter(|it| it.key == *key && it.revision == revision) {
            question.agreed = Some(agreed);
        }
    }
}

impl Engine {
    /// From here on there may be other replicas: this one takes part and leads only when it is told so. At most once, before
    /// [`Engine::run`].
    pub fn set_peers(&self, peers: Arc<dyn Peers>) {
        let installed = self.roles.peers.set(peers);
        debug_assert!(installed.is_ok(), "there is one way to ask");
        self.metrics.leads(false);
        self.metrics.replicas_can_agree(false);
    }

    /// Whether this replica leads now.
    pub fn leads(&self) -> bool {
        self.roles.leads(self.clock.now())
    }

    /// This replica leads until then, unless it is told of another end.
    pub fn set_leads_until(self: &Arc<Self>, until: Moment) {
        self.roles.leads_until.store(until.as_micros(), Ordering::Release);
        self.note_whether_leads();
        if self.leads() && !self.roles.led.swap(true, Ordering::AcqRel) {
            tracing::info!("this replica leads: it decides who is suspended");
            self.tick_all();
        }
    }

    /// A term may end without a word, when the Lease cannot be reached.
    pub fn note_whether_leads(&self) {
        let leads = self.leads();
        self.metrics.leads(leads);
        if !leads && self.roles.led.swap(false, Ordering::AcqRel) {
            tracing::info!("this replica does not lead any more");
        }
    }

    /// The others count on this replica's word from now on.
    pub fn set_takes_part(self: &Arc<Self>) {
        if !self.roles.takes_part.swap(true, Ordering::AcqRel) {
            self.tick_all();
        }
    }

    /// The others may not count on this replica's word, or have not for a while: whatever they have agreed on meanwhile, nothing
    /// is routed from here until it is known not to be suspended. Where that was up to some revision, also by what is shown only now.
    pub fn fence_all(self: &Arc<Self>, until: Revision) {
        self.roles.takes_part.store(false, Ordering::Release);
        self.metrics.replicas_can_agree(false);
        for slot in self.table.all() {
            self.handle(&slot, Event::Rejoin(until));
        }
    }

    /// What is known of the others now.
    pub fn note_replicas(self: &Arc<Self>, seen: Seen) {
        let lost = self.elsewhere.set_others(&seen.others, self.clock.now());
        self.lost_elsewhere(&lost);
        self.metrics.replicas_can_agree(self.roles.takes_part() && seen.hindrance.is_none());
        *self.roles.seen.lock() = seen;
    }

    /// What came of [`Peers::ask`]. When the agent was last active elsewhere, if that is why they said no.
    /// Once for each call of it.
    pub fn peers_said(self: &Arc<Self>, key: &AgentKey, revision: Revision, word: Word) {
        self.suspending.fetch_sub(1, Ordering::Relaxed);
        let Some(slot) = self.slot(key) else { return };
        match word {
            Word::Agreed => self.handle(&slot, Event::PeersAcknowledged(revision)),
            Word::Vetoed { active_ago } => {
                if let Some(ago) = active_ago {
                    slot.activity().note_elsewhere(self.clock.now() - ago);
                }
                self.handle(&slot, Event::PeersVetoed(revision));
            }
        }
    }

    /// Another replica asks: see [`Peers::ask`].
    pub fn asked_by_peer(self: &Arc<Self>, key: &AgentKey, question: DrainQuestion) -> Word {
        // Nothing is known of it: then also not that nothing is in flight to one that was taken for another.
        let Some(slot) = self.slot(key) else { return Word::Vetoed { active_ago: None } };
        let revision = question.revision;
        self.roles.questions.lock().push(Question { key: key.clone(), revision, agreed: None });
        self.handle(&slot, Event::DrainAsked(question));
        let mut questions = self.roles.questions.lock();
        // Of two that ask the same, either takes either's.
        let at = questions.iter().position(|it| it.key == *key && it.revision == revision);
        let agreed = at.map(|at| questions.swap_remove(at)).and_then(|question| question.agreed);
        drop(questions);
        if agreed == Some(true) { Word::Agreed } else { Word::Vetoed { active_ago: self.active_ago(&slot) } }
    }

    fn active_ago(&self, slot: &Arc<Slot>) -> Option<Duration> {
        let (policy, now) = (slot.policy(), self.clock.now());
        let mut signals = slot.machine.lock().signals(&policy, now, Clock::calendar());
        // That is for the others to say.
        signals.retain(|signal| signal.source != Source::Elsewhere);
        if matches!(verdict(&signals, policy.idle_timeout, now), Verdict::Busy(_)) {
            return Some(Duration::ZERO);
        }
        let last = signals.iter().filter_map(|signal| match signal.says {
            Says::LastActive(at) => Some(at),
            Says::BusyUntil(until) if until > now => Some(now),
            _ => None,
        });
        last.max().map(|at| now.since(at))
    }
}
