//! Pure: requests that agents have received as messages, and have not answered yet.
//!
//! A reply is seen if its inbox was watched before it was sent. The first request from an inbox may be answered before
//! the watch stands; of that one only hints say that it was answered.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::agent::AgentKey;
use crate::time::Moment;

use super::leaf::codec::Message;
use super::requester::Requester;

/// Requests without an answer at once at most; beyond that, new ones do not keep their agents up.
const MAX_OPEN: usize = 10_000;
/// Inboxes that are watched at once at most.
const MAX_WATCHES: usize = 2_048;
/// How long an inbox is watched after the last request from it.
const WATCH_FOR: Duration = Duration::from_mins(5);

/// A request that is not answered yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Open {
    /// As it was.
    pub message: Message,
    /// When the agent got it.
    pub arrived: Moment,
    /// The inbox was watched when it came, so its answer cannot be missed.
    watched: bool,
    requester: Requester,
    /// Its answer is a stream of replies.
    streams: bool,
    /// The life that got it is over.
    orphaned: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Requests {
    /// By the subject of the reply, each with its agent.
    open: HashMap<Bytes, (AgentKey, Open)>,
    watches: HashMap<Box<str>, Watch>,
    /// Replies that came over the other connection before the request itself was seen, and whether each ends a stream.
    early: HashMap<Bytes, bool>,
    early_order: VecDeque<Bytes>,
}

/// An inbox that is watched.
#[derive(Debug)]
struct Watch {
    /// The last request from it.
    used: Moment,
    /// A reply was seen: the server lets us watch it.
    is_proved: bool,
}

/// Replies that are remembered in case their requests are seen later.
const MAX_EARLY: usize = 4_096;

impl Requests {
    /// An agent has received this, and answers it by one reply or by a stream of them. The inbox to be watched, if that is a
    /// new one.
    pub fn took(
        &mut self,
        key: &AgentKey,
        message: &Message,
        streams: bool,
        now: Moment,
    ) -> Option<Box<str>> {
        let reply = message.reply.clone()?;
        let inbox = inbox_of(&reply)?;
        let known = self.watches.get(&inbox);
        let watched = known.is_some_and(|watch| watch.is_proved);
        let is_new = known.is_none() && self.watches.len() < MAX_WATCHES;
        match self.watches.get_mut(&inbox) {
            Some(watch) => watch.used = watch.used.max(now),
            None if is_new => _ = self.watches.insert(inbox.clone(), Watch { used: now, is_proved: false }),
            None => {}
        }
        let answered = self.early.remove(&reply).is_some_and(|ends| ends || !streams);
        if !answered && self.open.len() < MAX_OPEN {
            let requester = Requester::default();
            let message = message.clone();
            let open = Open { message, arrived: now, watched, requester, streams, orphaned: false };
            self.open.insert(reply, (key.clone(), open));
        }
        is_new.then_some(inbox)
    }

    /// A reply was seen. Whose it is, if it was waited for. One that `ends` a stream is the last one in any case; of a stream of
    /// replies, any other only shows that the agent is at work.
    pub fn replied(&mut self, subject: &Bytes, ends: bool) -> Option<AgentKey> {
        if let Some(watch) = inbox_of(subject).and_then(|inbox| self.watches.get_mut(&inbox)) {
            watch.is_proved = true;
        }
        if let Some((key, open)) = self.open.get(subject) {
            let key = key.clone();
            if ends || !open.streams {
                self.open.remove(subject);
            }
            return Some(key);
        }
        if self.early.insert(subject.clone(), ends).is_none() {
            self.early_order.push_back(subject.clone());
            if self.early_order.len() > MAX_EARLY
                && let Some(oldest) = self.early_order.pop_front()
            {
                self.early.remove(&oldest);
            }
        }
        None
    }

    /// Watches an inbox for good. Whether that is new.
    pub fn watch_always(&mut self, inbox: &str) -> bool {
        let watch = Watch { used: Moment::from_micros(u64::MAX), is_proved: false };
        self.watches.insert(inbox.into(), watch).is_none()
    }

    /// The agent has sent this many messages since the requests that came in that time, and not all of their answers could
    /// be seen: as many are taken as answered, the oldest first.
    pub fn presume_answered(&mut self, key: &AgentKey, sent: u64, until: Moment) {
        let mut unseen: Vec<_> = self
            .open
            .iter()
            .filter(|(_, (owner, open))| owner == key && !open.watched && open.arrived <= until)
            .map(|(reply, (_, open))| (open.arrived, reply.clone()))
            .collect();
        unseen.sort();
        for (_, reply) in unseen.into_iter().take(usize::try_from(sent).unwrap_or(usize::MAX)) {
            self.open.remove(&reply);
        }
    }

    /// The connection broke: answers may have passed unseen.
    pub fn lose_sight(&mut self) {
        for (_, open) in self.open.values_mut() {
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
        let gone = |reply: &Bytes, open: &mut Open| open.requester.is_gone(listens(reply), now);
        self.open.extract_if(|reply, (_, open)| gone(reply, open)).map(|(_, (key, _))| key).collect()
    }

    /// Until when the agent is waited for, if it owes an answer to anybody. Each is waited for no longer than `cap`.
    pub fn owes_until(&self, key: &AgentKey, cap: Duration) -> Option<Moment> {
        self.of(key).map(|open| open.arrived + cap).max()
    }

    fn of(&self, key: &AgentKey) -> impl Iterator<Item = &Open> {
        self.open.values().filter(move |(owner, _)| owner == key).map(|(_, open)| open)
    }

    /// The life that got what came before this is over.
    pub fn end_life(&mut self, key: &AgentKey, before: Moment) {
        for (owner, open) in self.open.values_mut() {
            open.orphaned |= owner == key && open.arrived < before;
        }
    }

    /// What the lives before have not answered, in the order of arrival.
    pub fn take_orphans(&mut self, key: &AgentKey) -> Vec<Open> {
        let orphan = |owner: &AgentKey, open: &Open| owner == key && open.orphaned;
        let mut taken: Vec<_> =
            self.open.extract_if(|_, (owner, open)| orphan(owner, open)).map(|(_, (_, open))| open).collect();
        taken.sort_by_key(|open| open.arrived);
        taken
    }

    /// All that the agent has not answered, in the order of arrival.
    pub fn take(&mut self, key: &AgentKey) -> Vec<Open> {
        let mut taken: Vec<_> =
            self.open.extract_if(|_, (owner, _)| owner == key).map(|(_, (_, open))| open).collect();
        taken.sort_by_key(|open| open.arrived);
        taken
    }

    /// Forgets what is not waited for any longer. Inboxes that need not be watched any more.
    pub fn expire(&mut self, now: Moment, cap_of: impl Fn(&AgentKey) -> Duration) -> Vec<Box<str>> {
        self.open.retain(|_, (key, open)| open.arrived + cap_of(key) > now);
        let used: HashSet<_> = self.open.keys().filter_map(inbox_of).collect();
        let over = |inbox: &str, watch: &Watch| watch.used + WATCH_FOR <= now && !used.contains(inbox);
        self.watches.extract_if(|inbox, watch| over(inbox, watch)).map(|(inbox, _)| inbox).collect()
    }
}

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
mod tests {
    use super::*;

    const CAP: Duration = Duration::from_secs(100);

    fn at(seconds: u64) -> Moment {
        Moment::START + Duration::from_secs(seconds)
    }

    fn agent(name: &str) -> AgentKey {
        AgentKey::new("default", name)
    }

    fn request(reply: &'static str) -> Message {
        Message {
            subject: "s".into(),
            reply: Some(reply.into()),
            queues: Vec::new(),
            headers: None,
            payload: Bytes::new(),
        }
    }

    #[test]
    fn a_request_is_owed_an_answer_until_it_comes_or_its_cap_is_over() {
        let (mut requests, echo) = (Requests::default(), agent("echo"));
        assert_eq!(requests.took(&echo, &request("_INBOX.c.1"), true, at(0)).as_deref(), Some("_INBOX.c.*"));
        assert_eq!(requests.owes_until(&echo, CAP), Some(at(100)));
        assert_eq!(requests.replied(&"_INBOX.c.1".into(), false), Some(echo.clone()), "a part of it");
        assert!(requests.owes_until(&echo, CAP).is_some());
        assert_eq!(requests.replied(&"_INBOX.c.1".into(), true), Some(echo.clone()));
        assert_eq!(requests.owes_until(&echo, CAP), None);
        assert_eq!(requests.took(&echo, &request("_INBOX.c.2"), false, at(1)), None, "it is watched already");
        requests.expire(at(101), |_| CAP);
        assert_eq!(requests.owes_until(&echo, CAP), None);
    }

    #[test]
    fn a_reply_may_overtake_the_news_of_its_request() {
        let (mut requests, echo) = (Requests::default(), agent("echo"));
        requests.took(&echo, &request("_INBOX.c.1"), false, at(0));
        requests.replied(&"_INBOX.c.2".into(), false);
        requests.took(&echo, &request("_INBOX.c.2"), false, at(0));
        requests.replied(&"_INBOX.c.3".into(), false);
        requests.took(&echo, &request("_INBOX.c.3"), true, at(0));
        requests.replied(&"_INBOX.c.4".into(), true);
        requests.took(&echo, &request("_INBOX.c.4"), true, at(0));
        assert_eq!(requests.take(&echo).len(), 2, "the second and the fourth were answered");
    }

    #[test]
    fn what_a_life_left_unanswered_is_for_the_next_unless_it_answers_after_all() {
        let (mut requests, echo) = (Requests::default(), agent("echo"));
        requests.took(&echo, &request("_INBOX.c.1"), false, at(0));
        requests.took(&echo, &request("_INBOX.c.2"), false, at(1));
        requests.took(&echo, &request("_INBOX.c.3"), false, at(2));
        requests.end_life(&echo, at(2));
        requests.replied(&"_INBOX.c.1".into(), false);
        let orphans = requests.take_orphans(&echo);
        assert_eq!(orphans.iter().map(|open| open.arrived).collect::<Vec<_>>(), [at(1)]);
        assert_eq!(requests.take(&echo).len(), 1, "the third is the next life's");
    }

    #[test]
    fn what_an_agent_sent_answers_only_requests_whose_answer_could_be_missed() {
        let (mut requests, echo) = (Requests::default(), agent("echo"));
        requests.took(&echo, &request("_INBOX.c.1"), false, at(0));
        requests.took(&echo, &request("_INBOX.c.2"), false, at(0));
        requests.replied(&"_INBOX.c.2".into(), true);
        requests.took(&echo, &request("_INBOX.c.3"), false, at(1));
        requests.presume_answered(&echo, 5, at(2));
        assert_eq!(requests.owes_until(&echo, CAP), Some(at(101)), "the third was watched");
        requests.took(&agent("other"), &request("one.shot"), false, at(3));
        requests.presume_answered(&agent("other"), 1, at(2));
        assert!(requests.owes_until(&agent("other"), CAP).is_some(), "it came later");
        requests.presume_answered(&agent("other"), 1, at(3));
        assert!(requests.owes_until(&agent("other"), CAP).is_none());
    }

    #[test]
    fn what_is_watched_for_good_stays() {
        let (mut requests, echo) = (Requests::default(), agent("echo"));
        assert!(requests.watch_always(SYNADIA_INBOXES) && !requests.watch_always(SYNADIA_INBOXES));
        assert_eq!(requests.took(&echo, &request("_INBOX.agents.x"), false, at(0)), None);
        requests.replied(&"_INBOX.agents.x".into(), true);
        assert!(requests.expire(at(100_000), |_| CAP).is_empty());
    }

    #[test]
    fn a_requester_that_was_there_and_is_not_any_more_is_owed_nothing() {
        let (mut requests, echo) = (Requests::default(), agent("echo"));
        requests.took(&echo, &request("_INBOX.c.1"), false, at(0));
        assert!(requests.look_for_requesters(|_| true, at(1)).is_empty());
        assert!(requests.look_for_requesters(|_| false, at(2)).is_empty());
        assert_eq!(requests.look_for_requesters(|_| false, at(50)), std::slice::from_ref(&echo));
        assert_eq!(requests.owes_until(&echo, CAP), None);
    }

    #[test]
    fn after_a_broken_connection_no_answer_counts_as_unmissable() {
        let (mut requests, echo) = (Requests::default(), agent("echo"));
        requests.took(&echo, &request("_INBOX.c.1"), false, at(0));
        requests.replied(&"_INBOX.c.1".into(), true);
        requests.took(&echo, &request("_INBOX.c.2"), false, at(1));
        requests.presume_answered(&echo, 1, at(2));
        assert!(requests.owes_until(&echo, CAP).is_some(), "its answer cannot be missed");
        requests.lose_sight();
        requests.presume_answered(&echo, 1, at(2));
        assert_eq!(requests.owes_until(&echo, CAP), None);
    }

    #[test]
    fn inboxes_that_nobody_uses_are_let_go() {
        let (mut requests, echo) = (Requests::default(), agent("echo"));
        requests.took(&echo, &request("_INBOX.c.1"), false, at(0));
        assert!(requests.expire(at(400), |_| CAP * 100).is_empty(), "an answer is still owed");
        requests.replied(&"_INBOX.c.1".into(), true);
        assert_eq!(requests.expire(at(400), |_| CAP), ["_INBOX.c.*".into()]);
        assert!(requests.expire(at(800), |_| CAP).is_empty());
    }
}
