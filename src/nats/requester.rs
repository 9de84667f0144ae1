//! Pure: whether somebody still waits for a reply, from what servers say of their clients' subscriptions.

use std::time::Duration;

use crate::time::Moment;

/// How long a requester must be away: its own server may be restarted, and it comes back.
const GONE_AFTER: Duration = Duration::from_secs(10);

/// What is known of who waits for one reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Requester {
    /// It was seen, or would have been if the connection had not broken before the first look. One that was never seen may
    /// be beyond the servers that tell.
    expected: bool,
    absent_since: Option<Moment>,
}

impl Requester {
    /// One look at all subscriptions. Whether it is gone.
    pub fn is_gone(&mut self, listens: bool, now: Moment) -> bool {
        if listens {
            *self = Self { expected: true, absent_since: None };
            return false;
        }
        let since = *self.absent_since.get_or_insert(now);
        self.expected && since + GONE_AFTER <= now
    }

    /// The connection broke: whoever was not looked for until then cannot be seen any more.
    pub const fn lose_sight(&mut self) {
        self.expected |= self.absent_since.is_none();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::START + Duration::from_secs(seconds)
    }

    #[test]
    fn who_was_there_and_is_away_for_long_is_gone() {
        let mut requester = Requester::default();
        assert!(!requester.is_gone(true, at(0)));
        assert!(!requester.is_gone(false, at(1)) && !requester.is_gone(false, at(10)));
        assert!(!requester.is_gone(true, at(10)), "it came back");
        assert!(!requester.is_gone(false, at(11)));
        assert!(requester.is_gone(false, at(21)));
    }

    #[test]
    fn who_was_never_seen_may_be_elsewhere() {
        let mut requester = Requester::default();
        assert!(!requester.is_gone(false, at(0)));
        requester.lose_sight();
        assert!(!requester.is_gone(false, at(1000)));
    }

    #[test]
    fn who_could_not_be_looked_for_before_the_connection_broke_is_gone_unless_it_comes_back() {
        let mut requester = Requester::default();
        requester.lose_sight();
        assert!(!requester.is_gone(false, at(0)) && requester.is_gone(false, at(10)));
    }
}
