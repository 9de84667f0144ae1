//! Which start goes next: the control plane, not Drowse, is the bottleneck of a storm.
//!
//! Starts are bounded in number, in number per namespace, and in rate. Interactive ones go first; within a class
//! namespaces take turns, so that one tenant's storm does not starve the others.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::agent::AgentKey;
use crate::time::Moment;

use super::event::Class;

/// Bounds on starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PacingLimits {
    /// Under way at once, in all.
    pub in_flight: u32,
    /// Under way at once, in one namespace.
    pub per_namespace: u32,
    /// Begun in a second, in all; as many may begin at once.
    pub per_second: u32,
}

/// Gives out turns. An agent asks once and has its turn until it says that it is done.
#[derive(Debug)]
pub struct Pacer {
    limits: PacingLimits,
    in_flight: u32,
    by_namespace: HashMap<Arc<str>, u32>,
    queues: [Queue; 2],
    /// When the next start would be due at exactly the permitted rate (generic cell rate algorithm).
    due: Moment,
}

#[derive(Debug, Default)]
struct Queue {
    /// Namespaces with agents in the queue, each once, in the order of their turns.
    turns: VecDeque<Arc<str>>,
    waiting: HashMap<Arc<str>, VecDeque<AgentKey>>,
}

impl Pacer {
    /// Nothing under way.
    pub fn new(limits: PacingLimits) -> Self {
        Self {
            limits,
            in_flight: 0,
            by_namespace: HashMap::new(),
            queues: [Queue::default(), Queue::default()],
            due: Moment::START,
        }
    }

    /// Changes the bounds.
    pub fn set_limits(&mut self, limits: PacingLimits) {
        self.limits = limits;
    }

    /// Asks for a turn. An agent asks at most once at a time.
    pub fn request(&mut self, key: &AgentKey, class: Class) {
        let queue = &mut self.queues[class as usize];
        let namespace: Arc<str> = key.namespace().into();
        let waiting = queue.waiting.entry(Arc::clone(&namespace)).or_default();
        if waiting.is_empty() {
            queue.turns.push_back(namespace);
        }
        waiting.push_back(key.clone());
    }

    /// Takes the request back.
    pub fn cancel(&mut self, key: &AgentKey) {
        for queue in &mut self.queues {
            let Some(waiting) = queue.waiting.get_mut(key.namespace()) else { continue };
            waiting.retain(|other| other != key);
            if waiting.is_empty() {
                // Or its next request would give it a second turn.
                queue.waiting.remove(key.namespace());
                queue.turns.retain(|namespace| **namespace != *key.namespace());
            }
        }
    }

    /// A turn has ended.
    pub fn done(&mut self, key: &AgentKey) {
        debug_assert!(self.in_flight > 0, "a turn ends once");
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(count) = self.by_namespace.get_mut(key.namespace()) {
            *count -= 1;
            if *count == 0 {
                self.by_namespace.remove(key.namespace());
            }
        }
    }

    /// Who may start now. Call it after every change, and at the moment that it returns in `Err`.
    pub fn next(&mut self, now: Moment) -> Result<AgentKey, Option<Moment>> {
        if self.in_flight >= self.limits.in_flight || self.is_empty() {
            return Err(None);
        }
        let interval = Duration::from_secs(1) / self.limits.per_second.max(1);
        let earliest = self.due - Duration::from_secs(1).saturating_sub(interval);
        if earliest > now {
            return Err(Some(earliest));
        }
        let key = self.pop_eligible().ok_or(None)?;
        self.due = self.due.max(now) + interval;
        self.in_flight += 1;
        *self.by_namespace.entry(key.namespace().into()).or_default() += 1;
        Ok(key)
    }

    /// How many wait for their turn.
    pub fn waiting(&self) -> usize {
        self.queues.iter().flat_map(|queue| queue.waiting.values()).map(VecDeque::len).sum()
    }

    /// How many are under way.
    pub const fn in_flight(&self) -> u32 {
        self.in_flight
    }

    fn is_empty(&self) -> bool {
        self.queues.iter().all(|queue| queue.turns.is_empty())
    }

    fn pop_eligible(&mut self) -> Option<AgentKey> {
        for queue in &mut self.queues {
            for _ in 0..queue.turns.len() {
                let namespace = queue.turns.pop_front()?;
                let waiting = queue.waiting.entry(Arc::clone(&namespace)).or_default();
                let full = self.by_namespace.get(&namespace).is_some_and(|n| *n >= self.limits.per_namespace);
                let key = if full { None } else { waiting.pop_front() };
                if waiting.is_empty() {
                    queue.waiting.remove(&namespace);
                } else {
                    queue.turns.push_back(namespace);
                }
                if key.is_some() {
                    return key;
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pacer(in_flight: u32, per_namespace: u32, per_second: u32) -> Pacer {
        Pacer::new(PacingLimits { in_flight, per_namespace, per_second })
    }

    fn key(text: &str) -> AgentKey {
        text.parse().unwrap()
    }

    fn granted(pacer: &mut Pacer, now: Moment) -> Vec<String> {
        std::iter::from_fn(|| pacer.next(now).ok()).map(|key| key.to_string()).collect()
    }

    #[test]
    fn no_more_run_at_once_than_may_and_each_that_ends_lets_one_begin() {
        let mut pacer = pacer(2, 9, 100);
        for name in ["a/1", "a/2", "a/3"] {
            pacer.request(&key(name), Class::Interactive);
        }
        assert_eq!(granted(&mut pacer, Moment::START), ["a/1", "a/2"]);
        pacer.done(&key("a/1"));
        assert_eq!(granted(&mut pacer, Moment::START), ["a/3"]);
    }

    #[test]
    fn a_full_namespace_does_not_hold_up_the_others() {
        let mut pacer = pacer(9, 1, 100);
        for name in ["a/1", "a/2", "b/1"] {
            pacer.request(&key(name), Class::Interactive);
        }
        assert_eq!(granted(&mut pacer, Moment::START), ["a/1", "b/1"]);
        pacer.done(&key("a/1"));
        assert_eq!(granted(&mut pacer, Moment::START), ["a/2"]);
    }

    #[test]
    fn interactive_starts_go_first_and_namespaces_take_turns() {
        let mut pacer = pacer(9, 9, 100);
        pacer.request(&key("z/1"), Class::Background);
        for name in ["a/1", "a/2", "b/1"] {
            pacer.request(&key(name), Class::Interactive);
        }
        assert_eq!(granted(&mut pacer, Moment::START), ["a/1", "b/1", "a/2", "z/1"]);
    }

    #[test]
    fn the_rate_holds_after_a_burst_of_one_second() {
        let mut pacer = pacer(100, 100, 4);
        for n in 0..10 {
            pacer.request(&key(&format!("a/{n}")), Class::Interactive);
        }
        let start = Moment::START + Duration::from_mins(1);
        assert_eq!(granted(&mut pacer, start).len(), 4);
        let next = pacer.next(start).unwrap_err().unwrap();
        assert_eq!(next.since(start), Duration::from_millis(250));
        assert_eq!(granted(&mut pacer, next).len(), 1);
        assert_eq!(granted(&mut pacer, start + Duration::from_secs(1)).len(), 3);
    }

    #[test]
    fn who_no_longer_wants_a_turn_does_not_get_one() {
        let mut pacer = pacer(9, 9, 100);
        pacer.request(&key("a/1"), Class::Interactive);
        pacer.request(&key("a/2"), Class::Interactive);
        pacer.cancel(&key("a/1"));
        assert_eq!(granted(&mut pacer, Moment::START), ["a/2"]);
        assert_eq!((pacer.waiting(), pacer.in_flight()), (0, 1));
    }

    #[test]
    fn a_namespace_that_cancelled_everything_can_ask_again() {
        let mut pacer = pacer(9, 9, 100);
        pacer.request(&key("a/1"), Class::Interactive);
        pacer.cancel(&key("a/1"));
        pacer.request(&key("a/1"), Class::Interactive);
        assert_eq!(granted(&mut pacer, Moment::START), ["a/1"]);
        assert_eq!(granted(&mut pacer, Moment::START), Vec::<String>::new());
    }

    #[test]
    fn whoever_asks_and_cancels_again_and_again_gets_no_more_turns_than_others() {
        let mut pacer = pacer(9, 9, 100);
        for _ in 0..1000 {
            pacer.request(&key("a/1"), Class::Interactive);
            pacer.cancel(&key("a/1"));
        }
        for name in ["b/1", "a/1", "a/2", "b/2"] {
            pacer.request(&key(name), Class::Interactive);
        }
        let queue = &pacer.queues[Class::Interactive as usize];
        assert_eq!((queue.turns.len(), queue.waiting.len()), (2, 2));
        assert_eq!(granted(&mut pacer, Moment::START), ["b/1", "a/1", "b/2", "a/2"]);
    }
}
