//! Who subscribes: whether an agent is there, and in which queue group it takes its messages.

use std::time::Duration;

use crate::agent::AgentKey;
use crate::lifecycle::PhaseName;
use crate::metrics::Bound;
use crate::nats::directory::{Directory, Inbox};
use crate::nats::leaf::codec;
use crate::nats::mailbox::Interest;

use super::Door;

/// A message and a subscription of two connections may overtake each other in the server by so much.
const CROSSED: Duration = Duration::from_millis(100);

/// What the directory says about one agent's subscriptions.
pub(super) struct InterestOf<'a> {
    pub(super) directory: &'a Directory,
    pub(super) key: &'a AgentKey,
    /// What is sent now arrives, or comes back here once. Not before the server has taken note of how the agent's messages are
    /// asked for: they would come back by its old queue group although the agent has them.
    pub(super) is_routed: bool,
}

impl Interest for InterestOf<'_> {
    fn takes(&self, subject: &[u8]) -> bool {
        let subject = std::str::from_utf8(subject);
        subject.is_ok_and(|subject| self.directory.reaches(self.key, subject))
    }

    fn is_routed(&self) -> bool {
        self.is_routed
    }
}

impl Door {
    /// The link tells of a subscription.
    pub(super) fn interest(&mut self, interest: &codec::Interest, present: bool) {
        if let Some(check) = &self.check {
            check.note_interest(interest, present);
        }
        for key in self.directory.note_interest(interest, present) {
            // Whoever is left when the agent's own subscription goes is somebody else.
            if present {
                self.learn(&key);
            }
            self.interest_changed(&key);
        }
        if self.directory.take_left_out() > 0 {
            self.metrics.bound_hit(Bound::Subscriptions);
            if !std::mem::replace(&mut self.told_left_out, true) {
                let what =
                    "more queue groups subscribe than Drowse remembers; that an agent does may not be seen";
                tracing::warn!(subject = %String::from_utf8_lossy(&interest.subject), "{what}");
            }
        }
    }

    /// The link stands, and all subscriptions that there are have been told.
    pub(super) fn all_interest_told(&mut self) {
        for key in self.agents.keys().cloned().collect::<Vec<_>>() {
            self.learn(&key);
            self.interest_changed(&key);
        }
    }

    /// Learns in which queue group the agent takes its messages, while it is up and all subscriptions are known.
    pub(super) fn learn(&mut self, key: &AgentKey) {
        let Some(agent) = self.agents.get(key).filter(|_| self.is_up) else { return };
        let is_up = match agent.slot.phase() {
            PhaseName::Running | PhaseName::Draining | PhaseName::Resuming => true,
            PhaseName::Suspended => false,
            // It may be there, or not.
            PhaseName::Suspending | PhaseName::Failed | PhaseName::Unknown => return,
        };
        let Some(queue) = self.directory.learned_queue(key, is_up) else { return };
        let Some(known) = self.directory.inbox(key).cloned() else { return };
        tracing::info!(agent = %key, queue = &*queue, "the agent subscribes in another queue group than was thought");
        self.set_inbox(key, Some(Inbox { queue, ..known }));
        self.with_mailbox(key, |mailbox, _, now, _| mailbox.may_be_copies(now - CROSSED));
    }

    pub(super) fn interest_changed(&mut self, key: &AgentKey) {
        let subscribed = self.directory.is_subscribed(key);
        let now = self.engine.clock().now();
        let Some(agent) = self.agents.get_mut(key) else { return };
        let since = agent.subscribed_at.take();
        agent.subscribed_at = subscribed.then(|| since.unwrap_or(now));
        if subscribed && since.is_none() && agent.slot.policy().messages.is_service() {
            // A new life describes itself anew.
            self.discovery.begin_life(key);
            self.services.notify_one();
        }
        self.engine.subscribed(&agent.slot, subscribed);
        self.with_mailbox(key, |mailbox, interest, now, fx| {
            mailbox.interest_changed(subscribed, interest, now, fx);
        });
    }
}
