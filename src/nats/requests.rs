//! Pure: requests that agents have received as messages, and have not answered yet.
//!
//! A reply is seen if its inbox was watched before it was sent. The first request from an inbox may be answered before
//! the watch stands; of that one only hints say that it was answered.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::agent::AgentKey;
use crate::time::Moment;

use super::leaf::codec::Message;
use super::mailbox::size;
use super::requester::Requester;

/// Requests without an answer at once at most; beyond that, new ones do not keep their agents up.
const MAX_OPEN: usize = 10_000;
/// What is kept of them to be sent again at most, in bytes. Of those beyond that only their reply subjects are kept.
const MAX_BYTES: usize = 64 << 20;
/// Inboxes that are watched at once at most.
const MAX_WATCHES: usize = 2_048;
/// How long a request is kept at least that its agent is not waited for any more: the agent may be suspended soon, and
/// its sender is still to be told.
const KEEP_FOR: Duration = Duration::from_hours(1);
/// How long a request is kept at least whose life is over: whoever is to send it again, or to tell its sender, has done so by then,
/// or another one has taken its place and done it.
const ORPHANED_FOR: Duration = Duration::from_mins(2);
/// When the server has taken note that an inbox is watched.
const WATCHED_AFTER: Duration = Duration::from_millis(250);
/// How long an inbox is watched after the last request from it.
const WATCH_FOR: Duration = Duration::from_mins(5);

/// A request that is not answered yet.
#[derive(Debug)]
struct Open {
    /// As it was, if it may be sent again.
    message: Option<Message>,
    /// When the agent got it.
    arrived: Moment,
    /// The inbox was watched when it came, so its answer cannot be missed.
    watched: bool,
    requester: Requester,
    /// Its answer is a stream of replies.
    streams: bool,
    /// Since when the life that got it is over.
    orphaned: Option<Moment>,
}

/// A request whose agent's life is over, without an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Orphan {
    /// Where its answer goes.
    pub reply: Bytes,
    /// As it was, unless it was not kept.
    pub message: Option<Message>,
}

/// What an agent owes to whom sent a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owed {
    /// A stream of replies.
    pub streams: bool,
    /// The message may be sent again, if it is not answered.
    pub again: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Requests {
    open: HashMap<AgentKey, OfAgent>,
    /// Who owes replies to a subject.
    debtors: HashMap<Bytes, Debtors>,
    bytes: usize,
    watches: HashMap<Box<str>, Watch>,
    /// Replies that came over the other connection before the request itself was seen, and whether each ends a stream.
    early: HashMap<Bytes, bool>,
    early_order: VecDeque<(Bytes, Moment)>,
    /// When the last of them was forgotten before its time.
    forgot: Option<Moment>,
}

/// Those of one agent.
#[derive(Debug, Default)]
struct OfAgent {
    /// By the subject of the reply.
    open: HashMap<Bytes, Open>,
    /// In the order of arrival.
    order: BTreeSet<(Moment, Bytes)>,
}

/// Mostly one agent. If several have been asked in one inbox, it cannot be seen whose reply is whose, and all of them are
/// waited for until there are as many.
#[derive(Debug, Default)]
struct Debtors {
    agents: Vec<AgentKey>,
    replies: usize,
}

/// An inbox that is watched.
#[derive(Debug)]
struct Watch {
    /// The last request from it.
    used: Moment,
    /// Whom its owner has asked.
    agents: HashSet<AgentKey>,
    /// A reply was seen: the server lets us watch it.
    is_proved: bool,
}

/// Replies that are remembered in case their requests are seen later: how many, and for how long.
const MAX_EARLY: usize = 4_096;
const EARLY_FOR: Duration = Duration::from_secs(5);

impl Requests {
    /// An agent has received this. The inbox to be watched, if that is a new one.
    pub fn took(&mut self, key: &AgentKey, message: &Message, owed: Owed, now: Moment) -> Option<Box<str>> {
        let reply = message.reply.as_ref().map(|reply| Bytes::copy_from_slice(reply))?;
        let inbox = inbox_of(&reply)?;
        let known = self.watches.get(&inbox);
        let forgot = self.forgot.is_some_and(|forgot| forgot + EARLY_FOR > now);
        let watched = known.is_some_and(|watch| watch.is_proved) && !forgot;
        let is_new = known.is_none() && self.watches.len() < MAX_WATCHES;
        if is_new {
            self.watches.insert(inbox.clone(), Watch::new(now));
        }
        if let Some(watch) = self.watches.get_mut(&inbox) {
            watch.used = watch.used.max(now);
            if watch.used != ALWAYS && !watch.agents.contains(key) {
                watch.agents.insert(key.clone());
            }
        }
        let answered = self.early.remove(&reply).is_some_and(|ends| ends || !owed.streams);
        if !answered && self.debtors.len() < MAX_OPEN {
            self.remove(key, &reply);
            let fits = owed.again && self.bytes + size(message) <= MAX_BYTES;
            let message = fits.then(|| message.detached());
            self.bytes += message.as_ref().map_or(0, size);
            let (requester, streams) = (Requester::default(), owed.streams);
            let open = Open { message, arrived: now, watched, requester, streams, orphaned: None };
            self.debtors.entry(reply.clone()).or_default().agents.push(key.clone());
            let of_agent = self.open.entry(key.clone()).or_default();
            of_agent.order.insert((now, reply.clone()));
            of_agent.open.insert(reply, open);
        }
        is_new.then_some(inbox)
    }

    /// A reply was seen. Whose it may be, if it was waited for. One that `ends` a stream is the last one in any case; of a stream
    /// of replies, any other only shows that the agent is at work.
    pub fn replied(&mut self, subject: &Bytes, ends: bool, now: Moment) -> Vec<AgentKey> {
        if let Some(watch) = inbox_of(subject).and_then(|inbox| self.watches.get_mut(&inbox)) {
            watch.is_proved = true;
        }
        let Some(debtors) = self.debtors.get_mut(subject) else {
            self.note_early(subject, ends, now);
            return Vec::new();
        };
        let agents = debtors.agents.clone();
        let open = |key: &AgentKey| self.open.get(key).and_then(|of_agent| of_agent.open.get(subject));
        if ends || !agents.iter().filter_map(open).any(|open| open.streams) {
            debtors.replies += 1;
            if debtors.replies >= agents.len() {
                for key in &agents {
                    self.remove(key, subject);
                }
            }
        }
        agents
    }

    fn note_early(&mut self, subject: &Bytes, ends: bool, now: Moment) {
        while let Some((oldest, since)) = self.early_order.front() {
            let is_over = *since + EARLY_FOR <= now;
            if !is_over && self.early_order.len() < MAX_EARLY {
                break;
            }
            if !is_over {
                self.forgot = Some(now);
            }
            self.early.remove(oldest);
            self.early_order.pop_front();
        }
        if self.early.insert(subject.clone(), ends).is_none() {
            self.early_order.push_back((subject.clone(), now));
        }
    }

    fn remove(&mut self, key: &AgentKey, reply: &Bytes) -> Option<Orphan> {
        let of_agent = self.open.get_mut(key)?;
        let (reply, open) = of_agent.open.remove_entry(reply)?;
        of_agent.order.remove(&(open.arrived, reply.clone()));
        if of_agent.open.is_empty() {
            self.open.remove(key);
        }
        self.bytes -= open.message.as_ref().map_or(0, size);
        if let Some(debtors) = self.debtors.get_mut(&reply) {
            debtors.agents.retain(|other| other != key);
            if debtors.agents.is_empty() {
                self.debtors.remove(&reply);
            }
        }
        Some(Orphan { reply, message: open.message })
    }

    /// Those of an agent for which this holds, in the order of arrival.
    fn remove_all(&mut self, key: &AgentKey, mut which: impl FnMut(&Open) -> bool) -> Vec<Orphan> {
        let ordered = self.open.get(key).map(|of_agent| (of_agent.order.iter(), &of_agent.open));
        let replies: Vec<_> = ordered
            .into_iter()
            .flat_map(|(order, open)| order.filter_map(|(_, reply)| open.get_key_value(reply)))
            .filter(|(_, open)| which(open))
            .map(|(reply, _)| reply.clone())
            .collect();
        replies.iter().filter_map(|reply| self.remove(key, reply)).collect()
    }

    /// Watches an inbox for good. Whether that is new.
    pub fn watch_always(&mut self, inbox: &str) -> bool {
        self.watches.insert(inbox.into(), Watch::new(ALWAYS)).is_none()
    }

    /// The agent has sent this many messages since the last look, and not all answers to requests that came before `until` could
    /// be seen: as many are taken as answered, the oldest first. Of the others the answers can be seen from now on.
    pub fn presume_answered(&mut self, key: &AgentKey, sent: u64, until: Moment) {
        let sent = usize::try_from(sent).unwrap_or(usize::MAX);
        let mut taken = 0;
        self.remove_all(key, |open| {
            let presumed = !open.watched && open.arrived <= until && taken < sent;
            taken += usize::from(presumed);
            presumed
        });
        let of_agent = self.open.get_mut(key).into_iter();
        for open in of_agent.flat_map(|of_agent| of_agent.open.values_mut()) {
            // By then the server knows that the inbox is watched.
            open.watched |= open.arrived + WATCHED_AFTER <= until;
        }
    }

    /// The connection broke: answers may have passed unseen.
    pub fn lose_sight(&mut self) {
        for open in self.open.values_mut().flat_map(|of_agent| of_agent.open.values_mut()) {
            open.watched = false;
            open.requester.lose_sight();
        }
        for watch in self.watches.values_mut() {
            watch.is_proved = false;
        }
    }

    /// Who waits for an answer at present. A requester that is gone has it, or has given up. The agents that owe it nothing
    /// any longer.
    pub fn look_for_requesters(&mut self, listens: impl Fn(&[u8]) -> bool, now: Moment) -> Vec<AgentKey> {
        let mut gone = Vec::new();
        for (key, of_agent) in &mut self.open {
            for (reply, open) in &mut of_agent.open {
                if open.requester.is_gone(listens(reply), now) {
                    gone.push((key.clone(), reply.clone()));
                }
            }
        }
        for (key, reply) in &gone {
            self.remove(key, reply);
        }
        gone.into_iter().map(|(key, _)| key).collect()
    }

    /// Until when the agent is waited for, if it owes an answer to anybody. Each is waited for no longer than `cap`.
    pub fn owes_until(&self, key: &AgentKey, cap: Duration) -> Option<Moment> {
        let of_agent = self.open.get(key)?;
        let mut latest = of_agent.order.iter().rev();
        // The life that is up owes nothing of what the one before got.
        let is_owed = |reply: &Bytes| of_agent.open.get(reply).is_some_and(|open| open.orphaned.is_none());
        latest.find(|(_, reply)| is_owed(reply)).map(|(arrived, _)| *arrived + cap)
    }

    /// The life that got what came before this is over.
    pub fn end_life(&mut self, key: &AgentKey, before: Moment, now: Moment) {
        let of_agent = self.open.get_mut(key);
        let open = of_agent.into_iter().flat_map(|of_agent| of_agent.open.values_mut());
        for open in open.filter(|open| open.arrived < before) {
            open.orphaned.get_or_insert(now);
        }
    }

    /// Those whose lives before have not answered everything.
    pub fn agents_with_orphans(&self) -> Vec<AgentKey> {
        let has = |of_agent: &OfAgent| of_agent.open.values().any(|open| open.orphaned.is_some());
        self.open.iter().filter(|(_, of_agent)| has(of_agent)).map(|(key, _)| key.clone()).collect()
    }

    /// What the lives before have not answered, in the order of arrival.
    pub fn take_orphans(&mut self, key: &AgentKey) -> Vec<Orphan> {
        self.remove_all(key, |open| open.orphaned.is_some())
    }

    /// The same of all agents, if it is left for so long, and longer than whoever is to send it again may take to become known.
    pub fn take_left(&mut self, now: Moment, patience: Duration) -> Vec<(AgentKey, Orphan)> {
        let is_left = |open: &Open| open.orphaned.is_some_and(|since| since + ORPHANED_FOR + patience <= now);
        let keys = self.agents_with_orphans();
        let of = |key: AgentKey| {
            self.remove_all(&key, is_left).into_iter().map(move |orphan| (key.clone(), orphan))
        };
        keys.into_iter().flat_map(of).collect()
    }

    /// All that the agent has not answered is forgotten.
    pub fn forget(&mut self, key: &AgentKey) {
        self.remove_all(key, |_| true);
    }

    /// Forgets what is not waited for any longer. Inboxes that need not be watched any more.
    pub fn expire(
        &mut self,
        now: Moment,
        cap_of: impl Fn(&AgentKey) -> Duration,
        is_watched: impl Fn(&AgentKey) -> bool,
    ) -> Vec<Box<str>> {
        for key in self.open.keys().cloned().collect::<Vec<_>>() {
            let cap = cap_of(&key);
            self.remove_all(&key, |open| open.arrived + cap + cap.max(KEEP_FOR) <= now);
        }
        let used: HashSet<_> = self.debtors.keys().filter_map(inbox_of).collect();
        let over = |inbox: &str, watch: &Watch| {
            // Of agents that are not watched, no replies need be seen.
            let is_idle = watch.used + WATCH_FOR <= now || !watch.agents.iter().any(&is_watched);
            watch.used != ALWAYS && is_idle && !used.contains(inbox)
        };
        self.watches.extract_if(|inbox, watch| over(inbox, watch)).map(|(inbox, _)| inbox).collect()
    }
}

impl Watch {
    fn new(used: Moment) -> Self {
        Self { used, agents: HashSet::new(), is_proved: false }
    }
}

/// The last use of an inbox that is watched for good.
const ALWAYS: Moment = Moment::from_micros(u64::MAX);

/// Where all callers of the Synadia Agent Protocol get their replies.
pub const SYNADIA_INBOXES: &str = "_INBOX.agents.>";

/// What is watched for a reply: `_INBOX.<client>.*` for `_INBOX.<client>.<request>`, since one client asks again and again; else
/// the subject itself.
fn inbox_of(reply: &Bytes) -> Option<Box<str>> {
    let text = std::str::from_utf8(reply).ok()?;
    if text.starts_with("_INBOX.agents.") {
        return Some(SYNADIA_INBOXES.into());
    }
    match text.rsplit_once('.') {
        Some((client, _)) if client.starts_with("_INBOX") && client.contains('.') => {
            Some(format!("{client}.*").into())
        }
        _ => Some(text.into()),
    }
}

#[cfg(test)]
mod tests;
