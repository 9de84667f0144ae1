//! Pure: whose subjects are whose, and who listens to them at present.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use crate::agent::AgentKey;

use super::groups::Groups;
use super::leaf::codec::Interest;
use super::leaf::wanted::Registration;
use crate::units::{Pattern, SubjectMap};

/// The subjects of one agent, and the queue group in which it takes its messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inbox {
    /// At least one.
    pub subjects: Vec<Pattern>,
    /// Where it says that it is there, if it does.
    pub heartbeat: Option<Pattern>,
    /// The queue group.
    pub queue: Box<str>,
    /// No rule names the queue group, so what the agent itself uses is learned.
    pub learns_queue: bool,
}

/// All agents that messages wake.
#[derive(Debug, Default)]
pub struct Directory {
    agents: HashMap<AgentKey, Entry>,
    /// Who listens.
    groups: Groups,
    owners: SubjectMap<AgentKey>,
    heartbeats: SubjectMap<AgentKey>,
    /// Agents that would have a subject which another one has.
    unserved: HashSet<AgentKey>,
    /// Those of them that may get it now.
    freed: HashSet<AgentKey>,
}

#[derive(Debug)]
struct Entry {
    /// As it was asked for.
    wanted: Inbox,
    /// What of it the agent has.
    inbox: Inbox,
    /// Queue groups that are of others, as far as that was seen.
    others: Vec<Box<str>>,
}

/// Queue groups of others that are told apart from an agent's own at most.
const MAX_OTHERS: usize = 8;

/// What a change of the directory changes on the link.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Change {
    /// To be added.
    pub add: Vec<Registration>,
    /// To be taken back.
    pub remove: Vec<Registration>,
    /// Subjects that another agent has already: messages for them go to that one.
    pub taken: Vec<(Pattern, AgentKey)>,
    /// Agents that may get a subject now which they could not have before, if they are set again.
    pub freed: Vec<AgentKey>,
}

impl Directory {
    /// The agent whose subject this is.
    pub fn owner(&self, subject: &str) -> Option<&AgentKey> {
        self.owners.find(subject)
    }

    /// The agent that says by a message with this subject that it is there.
    pub fn beats(&self, subject: &str) -> Option<&AgentKey> {
        self.heartbeats.find(subject)
    }

    /// What this agent takes, if messages wake it.
    pub fn inbox(&self, key: &AgentKey) -> Option<&Inbox> {
        self.agents.get(key).map(|entry| &entry.inbox)
    }

    /// All agents.
    pub fn agents(&self) -> impl Iterator<Item = (&AgentKey, &Inbox)> {
        self.agents.iter().map(|(key, entry)| (key, &entry.inbox))
    }

    /// An agent takes these messages from now on; `None`: no messages wake it any more.
    pub fn set(&mut self, key: &AgentKey, inbox: Option<Inbox>) -> Change {
        let mut change = Change::default();
        let before = self.agents.remove(key);
        if let Some(entry) = &before {
            if Some(&entry.wanted) == inbox.as_ref() && !self.freed.remove(key) {
                self.agents.extend(before.map(|entry| (key.clone(), entry)));
                return change;
            }
            self.forget(key, entry, &mut change);
        }
        if let Some(wanted) = inbox {
            let inbox = self.claim_all(key, &wanted, &mut change);
            for pattern in &inbox.subjects {
                let registration = registration(pattern, &inbox.queue);
                // What was and is registered stays so without a gap.
                match change.remove.iter().position(|removed| *removed == registration) {
                    Some(at) => _ = change.remove.swap_remove(at),
                    None => change.add.push(registration),
                }
            }
            let others = before.map(|entry| entry.others).unwrap_or_default();
            self.agents.insert(key.clone(), Entry { wanted, inbox, others });
        }
        if !change.remove.is_empty() {
            change.freed = self.unserved.extract_if(|other| other != key).collect();
            self.freed.extend(change.freed.iter().cloned());
        }
        change
    }

    /// What of it the agent can have.
    fn claim_all(&mut self, key: &AgentKey, wanted: &Inbox, change: &mut Change) -> Inbox {
        let mut inbox = wanted.clone();
        inbox.subjects.retain(|pattern| match claim(&mut self.owners, key, pattern) {
            Ok(()) => true,
            Err(other) => {
                change.taken.push((pattern.clone(), other));
                false
            }
        });
        if !change.taken.is_empty() {
            self.unserved.insert(key.clone());
        }
        if let Some(heartbeat) = &inbox.heartbeat {
            // One that is another's subtracts nothing here.
            let _ = claim(&mut self.heartbeats, key, heartbeat);
        }
        inbox
    }

    fn forget(&mut self, key: &AgentKey, entry: &Entry, change: &mut Change) {
        self.unserved.remove(key);
        self.freed.remove(key);
        for pattern in &entry.inbox.subjects {
            self.owners.remove(pattern);
            change.remove.push(registration(pattern, &entry.inbox.queue));
        }
        let heartbeat = entry.inbox.heartbeat.as_ref();
        if let Some(heartbeat) = heartbeat.filter(|pattern| self.beats(pattern.as_str()) == Some(key)) {
            self.heartbeats.remove(heartbeat);
        }
    }

    /// Somebody subscribes, or nobody does any more. The agents whose messages this is about.
    pub fn note_interest(&mut self, interest: &Interest, present: bool) -> Vec<AgentKey> {
        let Ok(subject) = std::str::from_utf8(&interest.subject) else { return Vec::new() };
        let concerned = self.concerned(subject);
        self.groups.note(interest, present, !concerned.is_empty());
        if !present {
            self.forget_others(&concerned);
        }
        concerned
    }

    /// Whoever has gone may be the agent the next time.
    fn forget_others(&mut self, concerned: &[AgentKey]) {
        for key in concerned {
            let present = self.queues(key);
            if let Some(entry) = self.agents.get_mut(key) {
                entry.others.retain(|queue| present.contains(queue));
            }
        }
    }

    /// How many subscriptions were not taken note of since this was asked last.
    pub fn take_left_out(&mut self) -> u64 {
        self.groups.take_left_out()
    }

    /// The agents that take messages by such a subscription.
    pub fn takers(&self, subject: &str, queue_group: &str) -> Vec<AgentKey> {
        let mut concerned = self.concerned(subject);
        concerned.retain(|key| {
            self.agents.get(key).is_some_and(|entry| match queue_group {
                // Whoever listens to everybody is none of them.
                "" => entry.has(subject),
                queue => *entry.inbox.queue == *queue,
            })
        });
        concerned
    }

    /// Whether this subject, which may have wildcards, is the agent's and nobody else's.
    pub fn has(&self, key: &AgentKey, subject: &str) -> bool {
        self.agents.get(key).is_some_and(|entry| entry.has(subject))
    }

    /// The agents that have a subject in common with this one.
    fn concerned(&self, subject: &str) -> Vec<AgentKey> {
        let mut keys: Vec<_> = self.owners.overlapping(subject).into_iter().cloned().collect();
        keys.sort();
        keys.dedup();
        keys
    }

    /// The link is down: nothing is known of anybody's interest.
    pub fn forget_interest(&mut self) {
        self.groups.clear();
    }

    /// Whether anybody takes messages in the agent's name at present, on any of its subjects: in its queue group. Whoever
    /// subscribes without one may be anybody, and gets a copy of what comes here all the same.
    pub fn is_subscribed(&self, key: &AgentKey) -> bool {
        self.inbox(key).is_some_and(|inbox| {
            inbox.subjects.iter().any(|subject| self.groups.has(subject.as_str(), &inbox.queue))
        })
    }

    /// Whether a message with this subject, which is the agent's, would reach the agent at present.
    pub fn reaches(&self, key: &AgentKey, subject: &str) -> bool {
        self.inbox(key).is_some_and(|inbox| self.groups.has(subject, &inbox.queue))
    }

    /// Whether a message that came here in the name of these queue groups was given to the agent as well: it came by a registration
    /// that is being taken back.
    pub fn is_copy(&self, key: &AgentKey, subject: &str, queues: &[Bytes]) -> bool {
        let own = self.inbox(key).map_or("", |inbox| &inbox.queue);
        queues.iter().all(|queue| *queue != *own.as_bytes()) && self.reaches(key, subject)
    }

    /// The queue group in which the agent takes its messages, if it is another one than was thought. Whoever listens while the agent
    /// is not up, or beside its own queue group, is somebody else, and not taken for it later when its own is missing.
    pub fn learned_queue(&mut self, key: &AgentKey, is_up: bool) -> Option<Box<str>> {
        let queues = self.queues(key);
        let entry = self.agents.get_mut(key).filter(|entry| entry.inbox.learns_queue)?;
        if is_up && !queues.contains(&entry.inbox.queue) {
            return queues.into_iter().find(|queue| !entry.others.contains(queue));
        }
        for queue in queues {
            let is_new = queue != entry.inbox.queue && !entry.others.contains(&queue);
            if is_new && entry.others.len() < MAX_OTHERS {
                entry.others.push(queue);
            }
        }
        None
    }

    /// The queue groups that listen to subjects of this agent and of nobody else.
    fn queues(&self, key: &AgentKey) -> Vec<Box<str>> {
        let Some(entry) = self.agents.get(key) else { return Vec::new() };
        let told = entry.inbox.subjects.iter().flat_map(|subject| self.groups.overlapping(subject.as_str()));
        told.filter(|told| entry.has(told.subject.as_str())).flat_map(|told| told.queues.clone()).collect()
    }
}

impl Entry {
    fn has(&self, subject: &str) -> bool {
        self.inbox.subjects.iter().any(|pattern| pattern.as_str() == subject || pattern.matches(subject))
    }
}

/// The pattern is this agent's from now on, unless another one has it.
fn claim(owners: &mut SubjectMap<AgentKey>, key: &AgentKey, pattern: &Pattern) -> Result<(), AgentKey> {
    let owner = owners.entry(pattern).get_or_insert_with(|| key.clone());
    if owner == key { Ok(()) } else { Err(owner.clone()) }
}

/// How an agent's messages are asked for.
pub fn registration(pattern: &Pattern, queue: &str) -> Registration {
    Registration { subject: pattern.as_str().into(), queue: Some(queue.into()) }
}

#[cfg(test)]
mod tests;
