//! The callers that wait for one agent, in order of arrival, each with its own deadline.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::Moment;

use super::effect::Start;

/// A place in the queue; a larger one arrived later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WaiterId(pub u64);

/// The queue. Its length is bounded by whoever adds to it (`max_held`).
///
/// Nearly always nobody waits, and then it takes no memory: there may be a hundred thousand of them.
#[derive(Debug)]
pub struct Waitlist<W>(Option<Box<Queue<W>>>);

#[derive(Debug)]
struct Queue<W> {
    by_arrival: BTreeMap<WaiterId, Waiting<W>>,
    by_deadline: BTreeSet<(Moment, WaiterId)>,
    waking: usize,
    /// The last start, and who was the last to wait for it.
    start: Option<(Start, WaiterId)>,
}

#[derive(Debug)]
struct Waiting<W> {
    waiter: W,
    deadline: Moment,
    wakes: bool,
}

impl<W> Default for Waitlist<W> {
    fn default() -> Self {
        Self(None)
    }
}

impl<W> Default for Queue<W> {
    fn default() -> Self {
        Self { by_arrival: BTreeMap::new(), by_deadline: BTreeSet::new(), waking: 0, start: None }
    }
}

impl<W> Waitlist<W> {
    /// Adds a caller at the end. `wakes` says whether it is a reason to resume the agent.
    pub fn push(&mut self, id: WaiterId, waiter: W, deadline: Moment, wakes: bool) {
        let queue = self.0.get_or_insert_default();
        debug_assert!(queue.by_arrival.last_key_value().is_none_or(|(last, _)| *last < id), "ids grow");
        queue.by_deadline.insert((deadline, id));
        queue.waking += usize::from(wakes);
        queue.by_arrival.insert(id, Waiting { waiter, deadline, wakes });
    }

    /// All who wait now have waited through this start, even if it takes longer until each has its turn.
    pub fn note_start(&mut self, start: Start) {
        if let Some(queue) = &mut self.0 {
            queue.start = queue.by_arrival.last_key_value().map(|(last, _)| (start, *last));
        }
    }

    /// Takes the caller that has waited longest, with the start that it has waited through.
    pub fn release_first(&mut self) -> Option<(W, Start)> {
        let queue = self.0.as_ref()?;
        let id = *queue.by_arrival.first_key_value()?.0;
        let start = queue.start.filter(|(_, last)| id <= *last).map(|(start, _)| start);
        self.remove(id).map(|waiter| (waiter, start.unwrap_or_default()))
    }

    /// Takes the caller that has waited longest.
    pub fn pop_first(&mut self) -> Option<W> {
        let id = *self.0.as_ref()?.by_arrival.first_key_value()?.0;
        self.remove(id)
    }

    /// Takes one caller out, wherever it stands; `None` if it is not (any more) in the queue.
    pub fn remove(&mut self, id: WaiterId) -> Option<W> {
        let queue = self.0.as_mut()?;
        let gone = queue.by_arrival.remove(&id)?;
        queue.by_deadline.remove(&(gone.deadline, id));
        queue.waking -= usize::from(gone.wakes);
        if queue.by_arrival.is_empty() {
            self.0 = None;
        }
        Some(gone.waiter)
    }

    /// Takes a caller whose deadline has come.
    pub fn pop_expired(&mut self, now: Moment) -> Option<W> {
        let (deadline, id) = *self.0.as_ref()?.by_deadline.first()?;
        if deadline <= now { self.remove(id) } else { None }
    }

    /// The earliest deadline of all.
    pub fn next_deadline(&self) -> Option<Moment> {
        self.0.as_ref()?.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.by_arrival.len())
    }

    /// Whether nobody waits.
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether anybody waits who is a reason to resume the agent.
    pub fn wants_wake(&self) -> bool {
        self.0.as_ref().is_some_and(|queue| queue.waking > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Moment {
        Moment::START + Duration::from_secs(seconds)
    }

    fn list(deadlines: &[u64]) -> Waitlist<usize> {
        let mut list = Waitlist::default();
        for (n, deadline) in deadlines.iter().enumerate() {
            list.push(WaiterId(n as u64), n, at(*deadline), n % 2 == 0);
        }
        list
    }

    #[test]
    fn release_is_in_order_of_arrival_whatever_the_deadlines() {
        let mut list = list(&[9, 3, 6]);
        assert_eq!(
            (list.pop_first(), list.pop_first(), list.pop_first(), list.pop_first()),
            (Some(0), Some(1), Some(2), None)
        );
        assert_eq!(list.next_deadline(), None);
    }

    #[test]
    fn expiry_is_in_order_of_deadline_and_only_when_it_has_come() {
        let mut list = list(&[9, 3, 6]);
        assert_eq!(list.pop_expired(at(2)), None);
        assert_eq!(
            (list.pop_expired(at(6)), list.pop_expired(at(6)), list.pop_expired(at(6))),
            (Some(1), Some(2), None)
        );
        assert_eq!(list.next_deadline(), Some(at(9)));
    }

    #[test]
    fn who_leaves_frees_the_place_at_once_and_only_once() {
        let mut list = list(&[9, 3]);
        assert_eq!((list.remove(WaiterId(0)), list.remove(WaiterId(0)), list.len()), (Some(0), None, 1));
        assert!(!list.wants_wake(), "the second does not wake");
    }

    #[test]
    fn who_has_waited_through_a_start_is_released_with_it_whenever_that_is() {
        let start = Start { cold: true, resume: Duration::from_secs(7), ..Start::default() };
        let mut list = list(&[9, 3]);
        list.note_start(start);
        list.push(WaiterId(9), 9, at(1), true);
        let released = std::iter::from_fn(|| list.release_first()).collect::<Vec<_>>();
        assert_eq!(released, [(0, start), (1, start), (9, Start::default())]);
        list.note_start(start);
        list.push(WaiterId(10), 10, at(1), true);
        assert_eq!(list.release_first(), Some((10, Start::default())), "nobody waited then");
    }

    #[test]
    fn when_the_last_one_has_left_there_is_nobody_and_the_queue_takes_no_memory() {
        let mut list = list(&[9, 3]);
        assert!(list.pop_expired(at(3)).is_some() && !list.is_empty());
        assert!(list.pop_first().is_some() && list.is_empty() && list.0.is_none());
        list.push(WaiterId(9), 9, at(1), true);
        assert_eq!((list.len(), list.wants_wake(), list.next_deadline()), (1, true, Some(at(1))));
    }
}
