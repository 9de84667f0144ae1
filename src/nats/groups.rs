//! Pure: which queue groups subscribe to what, as the servers tell it over the link.
//!
//! It is remembered whether or not an agent has such a subject: the agent may become known later, and it is told only once.

use crate::units::{Pattern, SubjectMap};

use super::leaf::codec::Interest;

/// Subscriptions at most. An agent has a few, so this is several times as many as the largest fleet has at once.
const MAX_GROUPS: usize = 1_000_000;
/// Of subjects that no agent has, and may never have, no more are taken note of when there are so many.
const MAX_UNCLAIMED: usize = 200_000;

/// The queue groups of one subject.
#[derive(Debug)]
pub struct Told {
    /// May have wildcards.
    pub subject: Pattern,
    /// At least one.
    pub queues: Vec<Box<str>>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Groups {
    by_subject: SubjectMap<Told>,
    count: usize,
    left_out: u64,
}

impl Groups {
    /// A queue group subscribes, or none of this name does any more. What is in no queue group, or could be no agent's, is not
    /// taken note of.
    pub fn note(&mut self, interest: &Interest, present: bool, is_claimed: bool) {
        let Some((subject, queue)) = read(interest) else { return };
        let before = self.by_subject.remove(&subject);
        let mut told = before.unwrap_or_else(|| Told { subject: subject.clone(), queues: Vec::new() });
        let at = told.queues.iter().position(|known| **known == *queue);
        match (at, present) {
            (None, true) if self.count >= if is_claimed { MAX_GROUPS } else { MAX_UNCLAIMED } => {
                self.left_out += 1;
            }
            (None, true) => {
                told.queues.push(queue.into());
                self.count += 1;
            }
            (Some(at), false) => {
                told.queues.swap_remove(at);
                self.count -= 1;
            }
            _ => {}
        }
        if !told.queues.is_empty() {
            *self.by_subject.entry(&subject) = Some(told);
        }
    }

    /// Those that have a subject in common with this one.
    pub fn overlapping(&self, subject: &str) -> Vec<&Told> {
        self.by_subject.overlapping(subject)
    }

    /// Whether this queue group has a subject in common with this one.
    pub fn has(&self, subject: &str, queue: &str) -> bool {
        self.overlapping(subject).iter().any(|told| told.queues.iter().any(|known| **known == *queue))
    }

    /// How many were not taken note of since this was asked last.
    pub fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.left_out)
    }

    /// The link is down: nothing is known any more.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// The subject and the queue group, if an agent could take messages by it.
fn read(interest: &Interest) -> Option<(Pattern, &str)> {
    let subject = std::str::from_utf8(&interest.subject).ok()?;
    let queue = std::str::from_utf8(interest.queue.as_ref()?).ok()?;
    // Replies and what is the server's own: most of what there is, and no agent's.
    let is_strange = subject.starts_with("_INBOX.") || subject.starts_with('$');
    let pattern = Pattern::new(subject).ok().filter(|_| !is_strange)?;
    Some((pattern, queue))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interest(subject: &str, queue: Option<&str>) -> Interest {
        Interest { subject: subject.to_owned().into(), queue: queue.map(|queue| queue.to_owned().into()) }
    }

    #[test]
    fn only_what_an_agent_could_take_messages_by_is_remembered() {
        let mut groups = Groups::default();
        for (subject, queue) in
            [("_INBOX.a.*", Some("q")), ("$SRV.PING", Some("q")), ("a.in", None), ("a..in", Some("q"))]
        {
            groups.note(&interest(subject, queue), true, false);
            assert!(groups.overlapping(">").is_empty(), "{subject}");
        }
        for queue in ["q", "other", "q"] {
            groups.note(&interest("a.*", Some(queue)), true, false);
        }
        assert!(groups.has("a.in", "q") && groups.has("a.>", "other") && !groups.has("b.in", "q"));
        groups.note(&interest("a.*", Some("q")), false, false);
        assert!(!groups.has("a.in", "q") && groups.has("a.in", "other"));
        groups.note(&interest("a.*", Some("other")), false, false);
        assert_eq!((groups.count, groups.overlapping(">").len()), (0, 0));
    }

    #[test]
    fn so_many_are_remembered_and_those_of_agents_go_first() {
        let mut groups = Groups::default();
        for number in 0..=MAX_UNCLAIMED {
            groups.note(&interest(&format!("a.{number}"), Some("q")), true, false);
        }
        assert_eq!((groups.count, groups.take_left_out()), (MAX_UNCLAIMED, 1));
        groups.note(&interest("agents.echo", Some("q")), true, true);
        assert_eq!((groups.take_left_out(), groups.has("agents.echo", "q")), (0, true));
        // It makes room for another one.
        groups.note(&interest("a.0", Some("q")), false, false);
        groups.note(&interest("a.1", Some("q")), false, false);
        groups.note(&interest("b", Some("q")), true, false);
        assert_eq!((groups.take_left_out(), groups.has("b", "q")), (0, true));
    }
}
