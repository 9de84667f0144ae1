//! Pure: busy leases. An agent, or whoever works with it, says that it is busy and for how long, and renews that.
//!
//! One core for every way to take one: HTTP and NATS.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::time::Moment;

/// Leases of one agent at once at most.
pub const MAX_LEASES: usize = 64;
/// Characters of a reason at most; what is longer is cut.
pub const MAX_REASON: usize = 200;
/// How long a lease lasts if nobody says.
pub const DEFAULT_TTL: Duration = Duration::from_mins(1);

/// What a lease is known by. The holder chooses it, or gets one.
pub type LeaseId = Box<str>;

/// A lease.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    /// Why the agent is busy, for people.
    pub reason: Box<str>,
    /// Since when.
    pub taken: Moment,
    /// When it ends unless it is renewed.
    pub until: Moment,
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
            return lease.renew(ttl, cap, now).map(|()| {
                if !reason.is_empty() {
                    lease.reason = reason;
                }
                lease.clone()
            });
        }
        if self.0.len() >= MAX_LEASES {
            return Err(LeaseError::TooMany);
        }
        let lease = Lease { reason, taken: now, until: now + ttl.min(cap) };
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
        let lease = self.0.get_mut(id).ok_or(LeaseError::Unknown)?;
        lease.renew(ttl, cap, now)?;
        Ok(lease.clone())
    }

    /// Ends a lease; whether there was one.
    pub fn end(&mut self, id: &str, now: Moment) -> bool {
        self.0.remove(id).is_some_and(|lease| lease.until > now)
    }

    /// Whether nothing of any of them is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that last.
    pub fn active(&self, now: Moment) -> impl Iterator<Item = (&str, &Lease)> {
        self.0.iter().filter(move |(_, lease)| lease.until > now).map(|(id, lease)| (&**id, lease))
    }

    /// Until when the longest of them lasts, and why.
    pub fn busy_until(&self, now: Moment) -> Option<(Moment, &str)> {
        self.active(now).max_by_key(|(_, lease)| lease.until).map(|(_, lease)| (lease.until, &*lease.reason))
    }

    /// An ended lease is kept until its cap is over: whoever renews it learns that it was capped.
    fn forget_ended(&mut self, now: Moment, cap: Duration) {
        self.0.retain(|_, lease| {
            lease.until > now || lease.until >= lease.taken + cap && now < lease.until + cap
        });
    }
}

impl Lease {
    fn renew(&mut self, ttl: Duration, cap: Duration, now: Moment) -> Result<(), LeaseError> {
        let end = self.taken + cap;
        if end <= now {
            return Err(LeaseError::Capped);
        }
        self.until = (now + ttl).min(end);
        Ok(())
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
