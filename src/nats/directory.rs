//! Pure: whose subjects are whose, and who listens to them at present.

use std::collections::{HashMap, HashSet};

use crate::agent::AgentKey;

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
    interest: Vec<Interest>,
}

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
            let interest = before.map(|entry| entry.interest).unwrap_or_default();
            self.agents.insert(key.clone(), Entry { wanted, inbox, interest });
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
        for key in &concerned {
            let Some(entry) = self.agents.get_mut(key) else { continue };
            let at = entry.interest.iter().position(|known| known == interest);
            match (at, present) {
                (None, true) => entry.interest.push(interest.detached()),
                (Some(at), false) => _ = entry.interest.swap_remove(at),
                _ => {}
            }
        }
        concerned
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
        for entry in self.agents.values_mut() {
            entry.interest.clear();
        }
    }

    /// Whether anybody takes messages for the agent at present, on any of its subjects.
    pub fn is_subscribed(&self, key: &AgentKey) -> bool {
        self.agents
            .get(key)
            .is_some_and(|entry| entry.interest.iter().any(|interest| entry.is_its_own(interest)))
    }

    /// Whether a message with this subject would reach the agent at present.
    pub fn reaches(&self, key: &AgentKey, subject: &str) -> bool {
        self.agents.get(key).is_some_and(|entry| {
            entry.interest.iter().any(|interest| entry.is_its_own(interest) && covers(interest, subject))
        })
    }

    /// The queue group in which the agent takes its messages, if it is another one than was thought.
    pub fn learned_queue(&self, key: &AgentKey) -> Option<Box<str>> {
        let entry = self.agents.get(key).filter(|entry| entry.inbox.learns_queue)?;
        let mut queues = entry.interest.iter().filter(|interest| entry.is_within(interest)).filter_map(queue);
        let first = queues.next()?;
        let ours = *first == *entry.inbox.queue || queues.any(|queue| *queue == *entry.inbox.queue);
        (!ours).then(|| first.into())
    }
}

impl Entry {
    /// Whether this is the agent's own subscription: in its queue group. Without one, it may be anybody's, and gets a copy
    /// of what comes here all the same.
    fn is_its_own(&self, interest: &Interest) -> bool {
        queue(interest).is_some_and(|queue| *queue == *self.inbox.queue)
    }

    /// Whether it is for subjects of this agent and of nobody else.
    fn is_within(&self, interest: &Interest) -> bool {
        std::str::from_utf8(&interest.subject).is_ok_and(|subject| self.has(subject))
    }

    fn has(&self, subject: &str) -> bool {
        self.inbox.subjects.iter().any(|pattern| pattern.as_str() == subject || pattern.matches(subject))
    }
}

fn queue(interest: &Interest) -> Option<&str> {
    interest.queue.as_ref().and_then(|queue| std::str::from_utf8(queue).ok())
}

fn covers(interest: &Interest, subject: &str) -> bool {
    let pattern = std::str::from_utf8(&interest.subject).ok().and_then(|text| Pattern::new(text).ok());
    pattern.is_some_and(|pattern| pattern.matches(subject))
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
