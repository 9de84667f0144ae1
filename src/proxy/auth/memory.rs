//! Pure: verdicts on tokens, and for how long each holds. The time is passed in, and a token is known by its SHA-256
//! alone, so that what is kept is of no use to a thief.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use ring::digest::{SHA256, digest};

use super::Verdict;
use crate::time::Moment;

/// Verdicts of one kind at most. As many as agent-sandbox's router keeps; a token's is 100 bytes or so.
const MAX_VERDICTS: usize = 2048;

/// How long a token is refused without asking again: short, since it may be on its way to the API server.
const REFUSED_FOR: Duration = Duration::from_secs(5);

/// A token, as it is known here.
pub(super) type Key = [u8; 32];

pub(super) fn key_of(token: &str) -> Key {
    let mut key = Key::default();
    key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    key
}

/// What was decided lately.
#[derive(Debug)]
pub(super) struct Memory {
    // Apart, so that a flood of bad tokens pushes out nobody who is let in.
    allowed: Shelf,
    refused: Shelf,
}

/// Verdicts that hold equally long: those that came first end first.
#[derive(Debug)]
struct Shelf {
    holds_for: Duration,
    verdicts: HashMap<Key, (Verdict, Moment)>,
    in_order: VecDeque<Key>,
}

impl Memory {
    /// Who is let in is let in for this long.
    pub(super) fn new(allowed_for: Duration) -> Self {
        Self { allowed: Shelf::new(allowed_for), refused: Shelf::new(allowed_for.min(REFUSED_FOR)) }
    }

    /// The verdict on a token, while it holds.
    pub(super) fn recall(&self, key: &Key, now: Moment) -> Option<Verdict> {
        self.allowed.recall(key, now).or_else(|| self.refused.recall(key, now))
    }

    /// Keeps a verdict in the place of the oldest, if there is no other place.
    pub(super) fn keep(&mut self, key: Key, verdict: Verdict, now: Moment) {
        match verdict {
            Verdict::Allowed | Verdict::AllowedPod(_) => self.allowed.keep(key, verdict, now),
            Verdict::Unauthenticated | Verdict::Forbidden => self.refused.keep(key, verdict, now),
        }
    }
}

impl Shelf {
    fn new(holds_for: Duration) -> Self {
        Self { holds_for, verdicts: HashMap::new(), in_order: VecDeque::new() }
    }

    fn recall(&self, key: &Key, now: Moment) -> Option<Verdict> {
        self.verdicts.get(key).filter(|(_, until)| now < *until).map(|(verdict, _)| verdict.clone())
    }

    fn keep(&mut self, key: Key, verdict: Verdict, now: Moment) {
        while let Some(oldest) = self.in_order.front() {
            let holds = self.recall(oldest, now).is_some();
            if holds && self.verdicts.len() < MAX_VERDICTS {
                break;
            }
            self.verdicts.remove(oldest);
            self.in_order.pop_front();
        }
        if self.verdicts.insert(key, (verdict, now + self.holds_for)).is_none() {
            self.in_order.push_back(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED_FOR: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> Moment {
        Moment::START + Duration::from_secs(seconds)
    }

    fn numbered(number: usize) -> Key {
        key_of(&number.to_string())
    }

    #[test]
    fn a_token_is_known_by_its_sha_256() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(key_of("abc")[..8], [0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea]);
        let mut memory = Memory::new(ALLOWED_FOR);
        memory.keep(key_of("my-secret"), Verdict::Allowed, at(0));
        assert!(!format!("{memory:?}").contains("my-secret"));
    }

    #[test]
    fn who_is_let_in_is_let_in_longer_than_who_is_refused_is_refused() {
        let mut memory = Memory::new(ALLOWED_FOR);
        for (number, verdict) in
            [Verdict::Allowed, Verdict::Unauthenticated, Verdict::Forbidden].into_iter().enumerate()
        {
            memory.keep(numbered(number), verdict, at(100));
        }
        let recall = |number, seconds| memory.recall(&numbered(number), at(seconds));
        assert_eq!((recall(0, 129), recall(0, 130)), (Some(Verdict::Allowed), None));
        assert_eq!((recall(1, 104), recall(1, 105)), (Some(Verdict::Unauthenticated), None));
        assert_eq!((recall(2, 104), recall(2, 105)), (Some(Verdict::Forbidden), None));
        assert_eq!(recall(3, 100), None);
    }

    #[test]
    fn nobody_is_refused_for_longer_than_anybody_is_let_in() {
        let mut memory = Memory::new(Duration::from_secs(2));
        memory.keep(numbered(0), Verdict::Unauthenticated, at(0));
        assert_eq!(memory.recall(&numbered(0), at(2)), None);
    }

    #[test]
    fn a_later_verdict_is_the_one_that_holds() {
        let mut memory = Memory::new(ALLOWED_FOR);
        memory.keep(numbered(0), Verdict::Allowed, at(0));
        memory.keep(numbered(0), Verdict::Unauthenticated, at(40));
        assert_eq!(memory.recall(&numbered(0), at(41)), Some(Verdict::Unauthenticated));
        memory.keep(numbered(0), Verdict::Allowed, at(50));
        assert_eq!(memory.recall(&numbered(0), at(79)), Some(Verdict::Allowed));
        assert_eq!(memory.recall(&numbered(0), at(80)), None);
    }

    #[test]
    fn as_many_as_may_be_are_kept_and_the_oldest_goes_first() {
        let mut memory = Memory::new(ALLOWED_FOR);
        for number in 0..=MAX_VERDICTS {
            memory.keep(numbered(number), Verdict::Allowed, at(0));
        }
        assert_eq!(memory.allowed.verdicts.len(), MAX_VERDICTS);
        assert_eq!(memory.allowed.in_order.len(), MAX_VERDICTS);
        assert_eq!(memory.recall(&numbered(0), at(0)), None);
        assert!(memory.recall(&numbered(1), at(0)).is_some());
    }

    #[test]
    fn a_flood_of_bad_tokens_pushes_out_nobody_who_is_let_in() {
        let mut memory = Memory::new(ALLOWED_FOR);
        memory.keep(numbered(0), Verdict::Allowed, at(0));
        for number in 1..=3 * MAX_VERDICTS {
            memory.keep(numbered(number), Verdict::Unauthenticated, at(0));
        }
        assert_eq!(memory.recall(&numbered(0), at(0)), Some(Verdict::Allowed));
        assert_eq!(memory.refused.verdicts.len(), MAX_VERDICTS);
    }

    #[test]
    fn what_holds_no_more_makes_room() {
        let mut memory = Memory::new(ALLOWED_FOR);
        for number in 0..100 {
            memory.keep(numbered(number), Verdict::Allowed, at(0));
        }
        memory.keep(numbered(100), Verdict::Allowed, at(30));
        assert_eq!((memory.allowed.verdicts.len(), memory.allowed.in_order.len()), (1, 1));
    }
}
