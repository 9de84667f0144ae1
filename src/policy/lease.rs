//! Pure: busy leases. An agent, or whoever works with it, says that it is busy and for how long, and renews that.
//!
//! One core for every way to take one: HTTP and NATS. And for every replica: each carries out the orders that it gets on what it
//! knows of all leases, and tells the others the outcome. Of two that say different things of one lease, the later stamp counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::time::Moment;

/// Leases of one agent at once at most.
pub const MAX_LEASES: usize = 64;
/// Characters of a reason at most; what is longer is cut.
pub const MAX_REASON: usize = 200;
/// How long a lease lasts if nobody says.
pub const DEFAULT_TTL: Duration = Duration::from_mins(1);

/// Leases of one agent that were ended, and are remembered so that no older word brings them back, at most.
const MAX_ENDED: usize = 64;
/// For how much longer than they would have lasted.
const ENDED_FOR: Duration = Duration::from_mins(1);

/// What a lease is known by. The holder chooses it, or gets one.
pub type LeaseId = Box<str>;

/// Which of two orders for one lease came later: the greater one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Stamp {
    /// One more than that of the order before, as far as that is known, and no less than the microseconds of the calendar: a
    /// replica that has forgotten its leases does not fall behind what it told before. No length of time is made of it.
    pub number: u64,
    /// The replica that carried it out.
    pub by: Arc<str>,
}

/// A lease.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    /// Why the agent is busy, for people.
    pub reason: Box<str>,
    /// Since when.
    pub taken: Moment,
    /// How long before that, if it was taken before this replica started.
    pub before: Duration,
    /// When it ends unless it is renewed.
    pub until: Moment,
    /// It was ended before that.
    pub ended: bool,
    /// Its last order.
    pub stamp: Stamp,
}

/// Why a lease was not given.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LeaseError {
    /// It would be one too many.
    #[error("the agent has {MAX_LEASES} leases already; end some, or renew one of them")]
    TooMany,
    /// It was renewed again and again, until its cap.
    #[error("the lease has reached its cap (busy_cap); take a new one when there is new work")]
    Capped,
    /// There is no such lease.
    #[error("there is no such lease; it has ended, or was never taken")]
    Unknown,
}

/// The leases of one agent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Leases(BTreeMap<LeaseId, Lease>);

impl Leases {
    /// Takes a lease, or renews the one that has this id. It lasts for `ttl`, and with all renewals for `cap` at most.
    pub fn take(
        &mut self,
        id: &str,
        reason: &str,
        ttl: Duration,
        cap: Duration,
        now: Moment,
    ) -> Result<Lease, LeaseError> {
        self.forget_ended(now, cap);
        let reason: Box<str> = reason.chars().take(MAX_REASON).collect::<String>().into();
        if let Some(lease) = self.0.get_mut(id) {
            if lease.ended {
                (lease.taken, lease.before, lease.ended) = (now, Duration::ZERO, false);
                lease.reason = "".into();
            }
            return lease.renew(ttl, cap, now).map(|()| {
                if !reason.is_empty() {
                    lease.reason = reason;
                }
                lease.clone()
            });
        }
        if self.0.values().filter(|lease| !lease.ended).count() >= MAX_LEASES {
            return Err(LeaseError::TooMany);
        }
        let lease = Lease {
            reason,
            taken: now,
            before: Duration::ZERO,
            until: now + ttl.min(cap),
            ended: false,
            stamp: Stamp::default(),
        };
        self.0.insert(id.into(), lease.clone());
        Ok(lease)
    }

    /// Renews a lease.
    pub fn renew(
        &mut self,
        id: &str,
        ttl: Duration,
        cap: Duration,
        now: Moment,
    ) -> Result<Lease, LeaseError> {
        self.forget_ended(now, cap);
        let lease = self.0.get_mut(id).filter(|lease| !lease.ended).ok_or(LeaseError::Unknown)?;
        lease.renew(ttl, cap, now)?;
        Ok(lease.clone())
    }

    /// Ends a lease; whether there was one. It is remembered until [`Leases::forget`], or until nobody can think that it lasts.
    pub fn end(&mut self, id: &str, now: Moment) -> bool {
        let Some(lease) = self.0.get_mut(id).filter(|lease| !lease.ended) else { return false };
        lease.ended = true;
        lease.until > now
    }

    /// Nobody else needs to be told of this one.
    pub fn forget(&mut self, id: &str) {
        self.0.remove(id);
    }

    /// The last order for a lease was carried out by this replica, now.
    pub fn stamp(&mut self, id: &str, by: &Arc<str>, calendar_micros: u64) {
        if let Some(lease) = self.0.get_mut(id) {
            let number = lease.stamp.number.saturating_add(1).max(calendar_micros);
            lease.stamp = Stamp { number, by: Arc::clone(by) };
        }
    }

    /// Another replica tells of a lease. False if that is old news, or there are too many of them.
    pub fn note(&mut self, id: &str, told: Lease, now: Moment, cap: Duration) -> bool {
        self.forget_ended(now, cap);
        let is_news = match self.0.get(id) {
            Some(known) => known.stamp < told.stamp,
            None => self.0.len() < 2 * MAX_LEASES,
        };
        if is_news {
            self.0.insert(id.into(), told);
        }
        is_news
    }

    /// One of them, also one that has ended, while it is remembered.
    pub fn get(&self, id: &str) -> Option<&Lease> {
        self.0.get(id)
    }

    /// All of which anything is remembered.
    pub fn ids(&self) -> impl Iterator<Item = &LeaseId> {
        self.0.keys()
    }

    /// Until when the leases last whose last order this replica carried out, and until when the others.
    pub fn last_until(&self, own: &str, now: Moment) -> (Option<Moment>, Option<Moment>) {
        let until = |is_own: bool| {
            let active = self.active(now).filter(|(_, lease)| (*lease.stamp.by == *own) == is_own);
            active.map(|(_, lease)| lease.until).max()
        };
        (until(true), until(false))
    }

    /// Whether nothing of any of them is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that last.
    pub fn active(&self, now: Moment) -> impl Iterator<Item = (&str, &Lease)> {
        let active = self.0.iter().filter(move |(_, lease)| !lease.ended && lease.until > now);
        active.map(|(id, lease)| (&**id, lease))
    }

    /// Until when the longest of them lasts, and why.
    pub fn busy_until(&self, now: Moment) -> Option<(Moment, &str)> {
        self.active(now).max_by_key(|(_, lease)| lease.until).map(|(_, lease)| (lease.until, &*lease.reason))
    }

    /// An ended lease is kept until its cap is over: whoever renews it learns that it was capped.
    pub fn forget_ended(&mut self, now: Moment, cap: Duration) {
        self.0.retain(|_, lease| {
            let capped = lease.until >= lease.end(cap) && now < lease.until + cap;
            if lease.ended { now < lease.until + ENDED_FOR } else { lease.until > now || capped }
        });
        let ended = self.0.iter().filter(|(_, lease)| lease.ended);
        let mut ended: Vec<_> = ended.map(|(id, lease)| (lease.until, id.clone())).collect();
        if ended.len() > MAX_ENDED {
            // Those that would have lasted longest are worth most.
            ended.sort_unstable();
            let first = ended.len() - MAX_ENDED;
            ended.iter().take(first).for_each(|(_, id)| drop(self.0.remove(id)));
        }
    }
}

impl Lease {
    fn renew(&mut self, ttl: Duration, cap: Duration, now: Moment) -> Result<(), LeaseError> {
        let end = self.end(cap);
        if end <= now {
            return Err(LeaseError::Capped);
        }
        self.until = (now + ttl).min(end);
        Ok(())
    }

    /// When its cap is over.
    fn end(&self, cap: Duration) -> Moment {
        self.taken + cap.saturating_sub(self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAP: Duration = Duration::from_secs(100);
    const TTL: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Moment {
        Moment::START + Duration::from_secs(seconds)
    }

    #[test]
    fn a_lease_lasts_for_its_time_and_is_renewed_up_to_its_cap() {
        let mut leases = Leases::default();
        assert_eq!(leases.take("a", "thinks", TTL, CAP, at(0)).unwrap().until, at(10));
        assert_eq!(leases.busy_until(at(9)), Some((at(10), "thinks")));
        assert_eq!(leases.busy_until(at(10)), None);
        assert_eq!(leases.renew("a", TTL, CAP, at(10)), Err(LeaseError::Unknown), "it has ended");
        leases.take("a", "thinks", TTL, CAP, at(20)).unwrap();
        for second in (25..120).step_by(5) {
            leases.renew("a", TTL, CAP, at(second)).unwrap();
        }
        assert_eq!(leases.busy_until(at(119)).unwrap().0, at(120), "no longer than its cap");
        assert_eq!(leases.renew("a", TTL, CAP, at(121)), Err(LeaseError::Capped));
        assert_eq!(leases.take("a", "again", TTL, CAP, at(122)), Err(LeaseError::Capped));
        assert!(leases.take("b", "new work", TTL, CAP, at(122)).is_ok());
    }

    #[test]
    fn the_lease_that_lasts_longest_is_named() {
        let mut leases = Leases::default();
        leases.take("a", "short", TTL, CAP, at(0)).unwrap();
        leases.take("b", "long", TTL * 2, CAP, at(0)).unwrap();
        assert_eq!(leases.busy_until(at(1)), Some((at(20), "long")));
        assert!(leases.end("b", at(1)) && !leases.end("b", at(1)));
        assert_eq!(leases.busy_until(at(1)), Some((at(10), "short")));
    }

    /// What a replica tells the others of a lease, as they read it.
    fn told(leases: &Leases, id: &str) -> Lease {
        leases.get(id).unwrap().clone()
    }

    fn ordered(leases: &mut Leases, id: &str, by: &str, now: Moment) -> Lease {
        leases.take(id, "", TTL, CAP, now).unwrap();
        leases.stamp(id, &by.into(), 0);
        told(leases, id)
    }

    #[test]
    fn replicas_that_have_told_each_other_everything_know_the_same_whatever_came_first() {
        let (mut a, mut b) = (Leases::default(), Leases::default());
        let taken = ordered(&mut a, "x", "a", at(0));
        assert!(
            b.note("x", taken.clone(), at(0), CAP) && !b.note("x", taken, at(0), CAP),
            "told once is enough"
        );
        // Both renew it at the same time, and tell each other.
        let (of_a, of_b) = (ordered(&mut a, "x", "a", at(1)), ordered(&mut b, "x", "b", at(2)));
        assert!(a.note("x", of_b, at(3), CAP) && !b.note("x", of_a, at(3), CAP));
        assert_eq!(a, b);
        assert_eq!(
            a.last_until("a", at(3)),
            (None, Some(at(12))),
            "of the one that carried out the last order"
        );
        assert_eq!(b.last_until("b", at(3)), (Some(at(12)), None));
        // One ends what the other renews: the one that knows of the other's order counts, and else it is the same everywhere.
        assert!(b.end("x", at(4)));
        b.stamp("x", &"b".into(), 0);
        let renewed = ordered(&mut a, "x", "a", at(4));
        let ended = told(&b, "x");
        assert!(a.note("x", ended, at(5), CAP) && !b.note("x", renewed, at(5), CAP));
        assert_eq!(a, b);
        assert_eq!(a.active(at(5)).count(), 0);
    }

    #[test]
    fn what_was_ended_is_not_brought_back_by_older_word_and_may_be_taken_anew() {
        let (mut a, mut b) = (Leases::default(), Leases::default());
        let taken = ordered(&mut a, "x", "a", at(0));
        assert!(b.note("x", taken.clone(), at(0), CAP) && b.end("x", at(1)));
        b.stamp("x", &"b".into(), 0);
        assert!(!b.note("x", taken.clone(), at(2), CAP));
        assert_eq!(b.renew("x", TTL, CAP, at(2)), Err(LeaseError::Unknown));
        assert!(!b.end("x", at(2)), "once");
        let anew = ordered(&mut b, "x", "b", at(3));
        assert_eq!((anew.taken, anew.until), (at(3), at(13)), "with a cap of its own");
        assert!(a.note("x", anew, at(4), CAP));
        assert_eq!(a, b);
        // A replica that has forgotten everything does not fall behind.
        let mut fresh = Leases::default();
        fresh.take("x", "", TTL, CAP, at(5)).unwrap();
        fresh.stamp("x", &"a".into(), 1_000_000);
        assert!(a.note("x", told(&fresh, "x"), at(5), CAP));
    }

    #[test]
    fn a_lease_from_before_the_start_of_a_replica_has_no_longer_cap_there() {
        let mut leases = Leases::default();
        let taken = Lease {
            reason: "".into(),
            taken: Moment::START,
            before: Duration::from_secs(70),
            until: at(5),
            ended: false,
            stamp: Stamp { number: 1, by: "a".into() },
        };
        assert!(leases.note("x", taken, at(1), CAP));
        assert_eq!(leases.renew("x", CAP, CAP, at(2)).unwrap().until, at(30));
        assert_eq!(leases.renew("x", TTL, CAP, at(31)), Err(LeaseError::Capped));
    }

    #[test]
    fn what_others_tell_and_what_was_ended_are_bounded() {
        let mut leases = Leases::default();
        let lease = ordered(&mut Leases::default(), "x", "a", at(0));
        for n in 0..1000 {
            leases.note(&n.to_string(), lease.clone(), at(1), CAP);
        }
        assert_eq!(leases.ids().count(), 2 * MAX_LEASES);
        let mut leases = Leases::default();
        for n in 0..1000 {
            ordered(&mut leases, &n.to_string(), "a", at(1));
            assert!(leases.end(&n.to_string(), at(1)));
        }
        assert!(leases.ids().count() <= MAX_ENDED + 1);
        ordered(&mut leases, "last", "a", at(1) + TTL + ENDED_FOR);
        assert_eq!(leases.ids().count(), 1, "nobody can think any more that they last");
    }

    #[test]
    fn there_are_not_more_than_may_be_and_reasons_are_cut() {
        let mut leases = Leases::default();
        for n in 0..MAX_LEASES {
            leases.take(&n.to_string(), &"x".repeat(1000), TTL, CAP, at(0)).unwrap();
        }
        assert_eq!(leases.take("more", "", TTL, CAP, at(1)), Err(LeaseError::TooMany));
        assert_eq!(leases.busy_until(at(1)).unwrap().1.len(), MAX_REASON);
        assert!(leases.take("3", "", TTL, CAP, at(1)).is_ok(), "a renewal");
        assert!(leases.take("more", "", TTL, CAP, at(11)).is_ok(), "the others have ended");
    }
}
