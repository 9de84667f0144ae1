//! Pure: the messages that wait for one agent, and what is done about them.
//!
//! A message comes here because no subscription of the agent took it. It waits until the agent is up and subscribes, is
//! sent again in the order of arrival, and is over when the server has shown that it did not come back here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::lifecycle::Refusal;
use crate::time::Moment;

use super::leaf::codec::Message;
use super::requester::Requester;

mod held;

pub use held::{Bounds, Effect, Ending, Held, HoldId, Incoming, Interest, Sending, size};

/// How long an agent that is up and subscribes may take to subscribe also this subject. After that its messages get what
/// they would get without us: "no responders".
const SETTLE: Duration = Duration::from_secs(2);

/// Whether the agent is being kept up for what waits here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wake {
    No,
    /// Its senders have woken as many as they may: not before this, unless another sender wants it up.
    Delayed(Moment),
    Asked,
    /// It is up.
    Up,
    /// It could not be woken; not again before this.
    NotBefore(Moment),
}

/// The messages that wait for one agent.
#[derive(Debug)]
pub struct Mailbox {
    /// Those that wait for the agent.
    waiting: BTreeMap<HoldId, Held>,
    /// Those that were sent again, until it is known that they did not come back.
    sent: BTreeMap<HoldId, Held>,
    /// The places in the hold stream of all of them.
    places: BTreeSet<u64>,
    sends: Sending,
    wake: Wake,
    /// Since when it subscribes to anything.
    subscribed_since: Option<Moment>,
}

impl Default for Mailbox {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            sent: BTreeMap::new(),
            places: BTreeSet::new(),
            sends: Sending(0),
            wake: Wake::No,
            subscribed_since: None,
        }
    }
}

impl Mailbox {
    /// How many messages wait, or are on their way.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.sent.len()
    }

    /// Whether nothing is left to do.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_empty()
    }

    /// A message that waits or is on its way.
    pub fn get(&self, id: HoldId) -> Option<&Held> {
        self.waiting.get(&id).or_else(|| self.sent.get(&id))
    }

    fn get_mut(&mut self, id: HoldId) -> Option<&mut Held> {
        self.waiting.get_mut(&id).or_else(|| self.sent.get_mut(&id))
    }

    /// A message for the agent. `Err`: as many wait as may.
    pub fn hold(
        &mut self,
        id: HoldId,
        incoming: Incoming,
        bounds: Bounds,
        interest: &impl Interest,
        now: Moment,
        fx: &mut Vec<Effect>,
    ) -> Result<(), Box<Message>> {
        let Incoming { message, patience, stored, redelivered, streams, wakes_after } = incoming;
        if self.len() >= bounds.messages {
            return Err(message.into());
        }
        let keep_alive_at =
            bounds.keep_alive.filter(|_| streams && message.reply.is_some()).map(|every| now + every);
        let waits = keep_alive_at.is_some() && !(self.wake == Wake::Up && interest.reaches(&message.subject));
        if waits {
            fx.push(Effect::KeepAlive(id));
        }
        let held = Held {
            message,
            arrived: now,
            deadline: now + patience,
            stored,
            redelivered,
            requester: Requester::default(),
            send: Sending(0),
            keep_alive_at,
        };
        self.places.extend(held.stored);
        let reached = self.wake == Wake::Up && interest.reaches(&held.message.subject);
        self.waiting.insert(id, held);
        match (self.wake, wakes_after) {
            (Wake::No, Some(after)) => self.wake = Wake::Delayed(after),
            (Wake::Delayed(_), None) => self.wake = Wake::No,
            _ => {}
        }
        if reached {
            // Of those that were there before, none is reached.
            self.send(id, fx);
            fx.push(Effect::Mark(self.sends));
        } else if self.wake != Wake::Up {
            self.go_on(interest, now, fx);
        }
        Ok(())
    }

    /// Whether a message would make somebody ask for the agent to be woken.
    pub fn would_wake(&self) -> bool {
        matches!(self.wake, Wake::No | Wake::Delayed(_))
    }

    /// Until when nobody is woken for senders who have woken enough.
    pub fn delayed_until(&self) -> Option<Moment> {
        match self.wake {
            Wake::Delayed(until) => Some(until),
            _ => None,
        }
    }

    /// It is in the hold stream. Whether it is still needed there.
    pub fn stored(&mut self, id: HoldId, place: u64) -> bool {
        let Some(held) = self.get_mut(id) else { return false };
        held.stored = Some(place);
        self.places.insert(place);
        true
    }

    /// The hold stream is another one, so none of these has a place in it: each, and when it came.
    pub fn forget_places(&mut self) -> Vec<(HoldId, Message, Moment)> {
        self.places.clear();
        let all = self.waiting.iter_mut().chain(&mut self.sent);
        let mut all: Vec<_> = all
            .map(|(id, held)| {
                held.stored = None;
                (*id, held.message.clone(), held.arrived)
            })
            .collect();
        all.sort_by_key(|(id, ..)| *id);
        all
    }

    /// The first place in the hold stream of what is here.
    pub fn first_stored(&self) -> Option<u64> {
        self.places.first().copied()
    }

    /// A message that was sent has come back: nobody took it, or the agent may have (`is_copy`). It is sent again at the next
    /// change, or the next tick.
    pub fn came_back(&mut self, id: HoldId, is_copy: bool) {
        if let Some(held) = self.sent.remove(&id) {
            let redelivered = held.redelivered || is_copy;
            self.waiting.insert(id, Held { redelivered, ..held });
        }
    }

    /// Of everything that was sent up to here it is known by now whether it came back.
    pub fn marked(&mut self, up_to: Sending, fx: &mut Vec<Effect>) {
        self.end_sent(&Ending::Delivered, |_, held| held.send <= up_to, fx);
    }

    /// A message cannot be sent.
    pub fn not_sent(&mut self, id: HoldId, fx: &mut Vec<Effect>) {
        self.end_sent(&Ending::NotSent, |sent, _| sent == id, fx);
    }

    /// The server takes nothing with this subject: what was sent did not reach anybody.
    pub fn refused(&mut self, subject: &str, fx: &mut Vec<Effect>) {
        self.end_sent(&Ending::NotSent, |_, held| *held.message.subject == *subject.as_bytes(), fx);
    }

    fn end_sent(&mut self, ending: &Ending, which: impl Fn(HoldId, &Held) -> bool, fx: &mut Vec<Effect>) {
        let ended: Vec<_> = self.sent.extract_if(.., |id, held| which(*id, held)).collect();
        for (_, held) in ended {
            self.forget_place(held.stored);
            fx.push(Effect::Drop(held.into(), ending.clone()));
        }
        self.release_if_empty(fx);
    }

    /// What came since then may have reached the agent as well.
    pub fn may_be_copies(&mut self, since: Moment) {
        for held in self.waiting.values_mut() {
            held.redelivered |= held.arrived >= since;
        }
    }

    /// It is not known what became of what was sent: the connection broke. It is sent again, and marked.
    pub fn lost_track(&mut self, interest: &impl Interest, now: Moment, fx: &mut Vec<Effect>) {
        for (id, held) in std::mem::take(&mut self.sent) {
            self.waiting.insert(id, Held { redelivered: true, ..held });
        }
        // What it subscribes is judged only when it can be sent to again.
        self.subscribed_since = None;
        self.go_on(interest, now, fx);
    }

    /// Others may have taken over what is in the hold stream.
    pub fn may_be_taken_over(&mut self) {
        for held in self.waiting.values_mut() {
            held.redelivered |= held.stored.is_some();
        }
    }

    /// The agent is up, and stays up for us.
    pub fn woken(&mut self, interest: &impl Interest, now: Moment, fx: &mut Vec<Effect>) {
        if self.wake == Wake::Asked {
            self.wake = Wake::Up;
        }
        self.release_if_empty(fx);
        self.go_on(interest, now, fx);
    }

    /// Nobody is woken any more: whatever waits has ended.
    pub fn close(&mut self, refusal: &Refusal, fx: &mut Vec<Effect>) {
        let waiting: Vec<_> = self.waiting.keys().copied().collect();
        for id in waiting {
            self.end(id, Ending::Refused(refusal.clone()), fx);
        }
        self.marked(self.sends, fx);
    }

    /// Takes away all that wait, or are on their way.
    pub fn take_all(&mut self) -> Vec<Held> {
        let sent = std::mem::take(&mut self.sent).into_iter();
        self.waiting.extend(sent.map(|(id, held)| (id, Held { redelivered: true, ..held })));
        std::mem::take(&mut self.waiting).into_values().collect()
    }

    /// It was up, and its life is over.
    pub fn went_down(&mut self, interest: &impl Interest, now: Moment, fx: &mut Vec<Effect>) {
        if self.wake == Wake::Up {
            self.wake = Wake::No;
            self.go_on(interest, now, fx);
        }
    }

    /// The agent cannot be woken, at least not now.
    pub fn not_woken(&mut self, refusal: &Refusal, now: Moment, fx: &mut Vec<Effect>) {
        let retry = match refusal {
            // Of the first of them the time is over. What came later has more. And whoever ends decides itself what
            // becomes of them.
            Refusal::HoldTimedOut { .. } | Refusal::ShuttingDown => {
                self.wake = Wake::NotBefore(now);
                return;
            }
            Refusal::ResumeFailed { retry_after, .. } => Some(*retry_after),
            Refusal::Overloaded | Refusal::QueueFull { .. } => Some(Duration::from_secs(1)),
            _ => None,
        };
        self.wake = retry.map_or(Wake::No, |after| Wake::NotBefore(now + after));
        // Who waits for a reply learns it at once; what only has to be delivered waits for the next attempt.
        let told: Vec<_> = self
            .waiting
            .iter()
            .filter(|(_, held)| retry.is_none() || held.message.reply.is_some())
            .map(|(id, _)| *id)
            .collect();
        for id in told {
            self.end(id, Ending::Refused(refusal.clone()), fx);
        }
        self.release_if_empty(fx);
    }

    /// The subscriptions of the agent have changed: it has any, or none.
    pub fn interest_changed(
        &mut self,
        subscribed: bool,
        interest: &impl Interest,
        now: Moment,
        fx: &mut Vec<Effect>,
    ) {
        let counts = subscribed && interest.is_routed();
        self.subscribed_since = if counts { self.subscribed_since.or(Some(now)) } else { None };
        self.go_on(interest, now, fx);
    }

    /// Who waits for a reply at present. The message of a requester that is gone goes, too.
    pub fn look_for_requesters(
        &mut self,
        listens: impl Fn(&[u8]) -> bool,
        now: Moment,
        fx: &mut Vec<Effect>,
    ) {
        let is_gone = |held: &mut Held| {
            let reply = held.message.reply.as_ref();
            reply.is_some_and(|reply| held.requester.is_gone(listens(reply), now))
        };
        let gone: Vec<_> =
            self.waiting.iter_mut().filter_map(|(id, held)| is_gone(held).then_some(*id)).collect();
        for id in gone {
            self.end(id, Ending::RequesterGone, fx);
        }
        self.release_if_empty(fx);
    }

    /// Time has passed. To be told every quarter of a second while there is something here.
    pub fn tick(&mut self, bounds: Bounds, interest: &impl Interest, now: Moment, fx: &mut Vec<Effect>) {
        let mut over = Vec::new();
        let settled =
            self.wake == Wake::Up && self.subscribed_since.is_some_and(|since| since + SETTLE <= now);
        for (id, held) in &mut self.waiting {
            if held.deadline <= now {
                over.push((*id, Ending::TimedOut));
            } else if settled && held.arrived + SETTLE <= now && !interest.reaches(&held.message.subject) {
                over.push((*id, Ending::NotSubscribed));
            } else if held.keep_alive_at.is_some_and(|at| at <= now) {
                held.keep_alive_at = bounds.keep_alive.map(|every| now + every);
                fx.push(Effect::KeepAlive(*id));
            }
        }
        for (id, ending) in over {
            self.end(id, ending, fx);
        }
        self.release_if_empty(fx);
        self.go_on(interest, now, fx);
    }

    /// Whatever can be done for those that wait is done.
    fn go_on(&mut self, interest: &impl Interest, now: Moment, fx: &mut Vec<Effect>) {
        match self.wake {
            Wake::No if !self.waiting.is_empty() => {
                self.wake = Wake::Asked;
                fx.push(Effect::Wake);
            }
            Wake::NotBefore(at) | Wake::Delayed(at) if at <= now && !self.waiting.is_empty() => {
                self.wake = Wake::Asked;
                fx.push(Effect::Wake);
            }
            Wake::Up => self.send_all(interest, fx),
            _ => {}
        }
    }

    fn send_all(&mut self, interest: &impl Interest, fx: &mut Vec<Effect>) {
        let reached: Vec<_> = self
            .waiting
            .iter()
            .filter(|(_, held)| interest.reaches(&held.message.subject))
            .map(|(id, _)| *id)
            .collect();
        for id in &reached {
            self.send(*id, fx);
        }
        if !reached.is_empty() {
            fx.push(Effect::Mark(self.sends));
        }
    }

    fn send(&mut self, id: HoldId, fx: &mut Vec<Effect>) {
        let Some(held) = self.waiting.remove(&id) else { return };
        self.sends.0 += 1;
        self.sent.insert(id, Held { send: self.sends, ..held });
        fx.push(Effect::Send(id));
    }

    fn end(&mut self, id: HoldId, ending: Ending, fx: &mut Vec<Effect>) {
        if let Some(held) = self.waiting.remove(&id) {
            self.forget_place(held.stored);
            fx.push(Effect::Drop(held.into(), ending));
        }
    }

    fn forget_place(&mut self, place: Option<u64>) {
        if let Some(place) = place {
            self.places.remove(&place);
        }
    }

    fn release_if_empty(&mut self, fx: &mut Vec<Effect>) {
        if self.is_empty() && self.wake != Wake::No {
            self.wake = Wake::No;
            fx.push(Effect::Release);
        }
    }
}

#[cfg(test)]
mod tests;
