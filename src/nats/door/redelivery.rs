//! What an agent got before its life ended and did not answer: it is sent to the next life, or its sender is told.
//!
//! Every replica has seen these requests, and one of them does it: the leader. The others keep them for a while, in case it is not
//! there any more.

use bytes::Bytes;

use crate::agent::AgentKey;
use crate::lifecycle::PhaseName;
use crate::nats::requests::Orphan;
use crate::policy::messages::Redeliver;
use crate::time::Moment;

use super::Door;
use super::holding::Waiting;

impl Door {
    /// From when on subscriptions are those of the next life.
    pub(super) fn note_end_of_life(&mut self, key: &AgentKey, phase: PhaseName) {
        let now = self.engine.clock().now();
        let is_over = !matches!(phase, PhaseName::Running | PhaseName::Draining | PhaseName::Unknown);
        if let Some(agent) = self.agents.get_mut(key).filter(|_| is_over) {
            agent.life_ended.get_or_insert(now);
        }
    }

    /// With a new life, what the one before has got and not answered is sent again. Of phases that follow each other at once only
    /// the last one is seen, so the life itself is compared.
    pub(super) fn note_life(&mut self, key: &AgentKey) {
        let Some(agent) = self.agents.get_mut(key) else { return };
        let Some((life, ready)) = agent.slot.life() else { return };
        let ended = agent.life_ended.take();
        if agent.life.replace(life.clone()).is_some_and(|before| before != life) {
            let begins = beginning(ready, agent.subscribed_at, ended);
            self.redeliver(key, begins);
        }
    }

    /// The life that got what came before this is over.
    pub(super) fn redeliver(&mut self, key: &AgentKey, before: Moment) {
        self.requests.end_life(key, before, self.engine.clock().now());
        self.owes_changed(key);
        if self.engine.leads() {
            self.redeliver_orphans(key);
        } else {
            // Should it be for a moment only, it is looked at again.
            self.led = false;
        }
    }

    /// Nobody has sent them again, nor told their senders, for as long as that could take: whoever leads has not seen them.
    pub(super) fn give_up_orphans(&mut self, now: Moment) {
        for (key, Orphan { reply, .. }) in self.requests.take_left(now, self.settings.hold.timeout) {
            self.tell_unanswered(&key, &reply);
        }
    }

    /// A replica that has become the leader does what the one before may not have done.
    pub(super) fn note_whether_leads(&mut self) {
        let leads = self.engine.leads();
        if leads && !self.led {
            for key in self.requests.agents_with_orphans() {
                self.redeliver_orphans(&key);
            }
        }
        self.led = leads;
    }

    fn redeliver_orphans(&mut self, key: &AgentKey) {
        let open = self.requests.take_orphans(key);
        let Some(agent) = self.agents.get(key) else { return };
        let redeliver = agent.slot.policy().messages.redeliver;
        let patience = self.settings.hold.timeout;
        for Orphan { reply, message } in open {
            match message {
                Some(message) if redeliver == Redeliver::Requests => {
                    self.let_wait(key, Waiting { message, patience, stored: None, redelivered: true });
                }
                _ => self.tell_unanswered(key, &reply),
            }
        }
    }

    fn tell_unanswered(&self, key: &AgentKey, reply: &Bytes) {
        if let Some(reply) = self.may_answer(reply) {
            self.outbox.error(reply, 503, format!("{key} was suspended before it had answered"));
        }
    }
}

/// From when on messages went to the life that is ready since then: it may subscribe long before. A subscription that is older
/// than the end of the life before is still that one's.
fn beginning(ready: Moment, subscribed: Option<Moment>, ended: Option<Moment>) -> Moment {
    match (subscribed, ended) {
        (Some(subscribed), Some(ended)) if subscribed >= ended => subscribed.min(ready),
        _ => ready,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_life_begins_with_its_subscription_unless_that_is_of_the_one_before() {
        let at = |seconds| Moment::START + Duration::from_secs(seconds);
        let begins = |subscribed: Option<u64>, ended: Option<u64>| {
            beginning(at(9), subscribed.map(at), ended.map(at)).since(Moment::START).as_secs()
        };
        assert_eq!(begins(Some(5), Some(3)), 5, "before it is ready");
        assert_eq!(begins(None, Some(3)), 9, "not yet");
        assert_eq!(begins(Some(2), Some(3)), 9, "the server has not noticed the end of the one before");
        assert_eq!(begins(Some(10), Some(3)), 9);
        assert_eq!(begins(Some(5), None), 9, "its end was not seen");
    }
}
