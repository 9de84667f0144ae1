//! Pure: busy leases. An agent, or whoever works with it, says that it is busy and for how long, and renews that.
//!
//! One core for every way to take one: HTTP and NATS. And for every replica: each carries out the orders that it gets on what it
//! knows of all leases, and tells the others the outcome. Of two that say different things of one lease, the later stamp counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::time::Moment;

/// Leases of one agent that last at once, at most.
pub const MAX_LEASES: usize = 64;
/// Characters of a reason at most; what is longer is cut.
pub const MAX_REASON: usize = 200;
/// How long a lease lasts if nobody says.
pub const DEFAULT_TTL: Duration = Duration::from_mins(1);

/// Leases of one agent that are over and remembered, at most: those that were ended, so that no older word brings them back, and those
/// that have reached their cap.
const MAX_OVER: usize = 64;
/// For how much longer than they would have lasted those are that were ended.
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
        if let Some(lease) = self.0.get_mut(id).filter(|lease| !lease.ended) {
            lease.renew(ttl, cap, now)?;
            if !reason.is_empty() {
                lease.reason = reason;
            }
            return Ok(lease.clone());
        }
        if self.active(now).count() >= MAX_LEASES {
            return Err(LeaseError::TooMany);
        }
        let lease = Lease {
            reason,
            taken: now,
            before: Duration::ZERO,
            until: now + ttl.min(cap),
            ended: false,
            // One that was ended is taken anew, later than it was ended.
            stamp: self.get(id).map(|ended| ended.stamp.clone()).unwrap_or_default(),
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

    /// A lease that has reached its cap is kept for as long again: whoever renews it learns that it was capped.
    pub fn forget_ended(&mut self, now: Moment, cap: Duration) {
        self.0.retain(|_, lease| {
            let capped = lease.until >= lease.end(cap) && now < lease.until + cap;
            if lease.ended { now < lease.until + ENDED_FOR } else { lease.until > now || capped }
        });
        let over = self.0.iter().filter(|(_, lease)| lease.ended || lease.until <= now);
        let mut over: Vec<_> = over.map(|(id, lease)| (lease.ended, lease.until, id.clone())).collect();
        if over.len() > MAX_OVER {
            // Those that would have lasted longest are worth most, and of one that was capped nobody can think that it lasts.
            over.sort_unstable();
            let first = over.len() - MAX_OVER;
            over.iter().take(first).for_each(|(_, _, id)| drop(self.0.remove(id)));
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
mod tests;
