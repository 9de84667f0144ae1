//! Busy leases: whoever works with an agent says so, and the agent stays up. The same for every way to take one, and at every
//! replica: an order is carried out where it comes in, and the others are told at once.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use crate::agent::AgentKey;
use crate::lifecycle::{Activity, Event};
use crate::metrics::ReplicaWord;
use crate::policy::lease::{DEFAULT_TTL, Lease, LeaseError, LeaseId, Leases, MAX_REASON, Stamp};
use crate::time::{Clock, Moment};
use crate::units::Timeout;

use super::elsewhere::{LeaseReport, Past};
use super::lease_order::{LeaseAction, LeaseFault, LeaseOrder, is_lease_id};
use super::snapshot::{LeaseAnswer, LeaseView};
use super::{Engine, Slot};

/// All leases.
#[derive(Default)]
pub(super) struct LeaseDesk {
    all: Mutex<HashMap<AgentKey, Leases>>,
    /// This replica, among others that are to be told.
    own: OnceLock<Arc<str>>,
    /// Those of which the others have not heard yet.
    untold: Mutex<BTreeSet<(AgentKey, LeaseId)>>,
}

impl LeaseDesk {
    fn own(&self) -> &str {
        self.own.get().map_or("", |own| own)
    }

    /// Changes the leases of an agent, and notes until when those last whose last order was carried out here, and until when the
    /// others; whether any does. All under one lock, or of two orders at once the one that knew less would be noted last.
    fn change<T>(
        &self,
        key: &AgentKey,
        activity: &Activity,
        now: Moment,
        change: impl FnOnce(&mut Leases) -> T,
    ) -> (T, bool) {
        let mut all = self.all.lock();
        let leases = all.entry(key.clone()).or_default();
        let changed = change(leases);
        let (own, elsewhere) = leases.last_until(self.own(), now);
        // With the last one ended, the idle timeout runs from now.
        activity.set_leased_until(own.unwrap_or_else(|| activity.leased_until().min(now)));
        let until = elsewhere.unwrap_or_else(|| activity.leased_elsewhere_until().min(now));
        activity.set_leased_elsewhere_until(until);
        if leases.is_empty() {
            all.remove(key);
        }
        (changed, own.max(elsewhere).is_some())
    }

    /// Whoever hears of leases next is told of all of them.
    pub(super) fn forget_untold(&self) {
        self.untold.lock().clear();
    }
}

impl Engine {
    /// Carries out an order. Wakes nobody.
    pub fn lease(self: &Arc<Self>, key: &AgentKey, order: &LeaseOrder) -> Result<LeaseAnswer, LeaseFault> {
        if let Some(other) = order.agent.as_ref().filter(|agent| *agent != key) {
            return Err(LeaseFault::Bad(format!(
                "this is about {key}, and the order names {other}; name one"
            )));
        }
        let slot = self.slot(key).filter(|slot| slot.policy().manage).ok_or(LeaseFault::UnknownAgent)?;
        let (now, cap) = (self.clock.now(), slot.policy().busy_cap);
        let ttl = order.ttl.map_or(DEFAULT_TTL, Timeout::get);
        // Of several replicas, no two may give the same.
        let given = (order.action == LeaseAction::Take).then(|| format!("lease-{}", nuid::next()));
        let id = order.id.clone().or(given);
        // Before the leases' lock: this takes the machine's, under which leases are forgotten.
        let activity = slot.activity();
        let (told, lasts) = self.leases.change(key, &activity, now, |leases| {
            let told = match (order.action, &id) {
                (LeaseAction::List, _) | (_, None) => {
                    leases.active(now).map(|(id, lease)| self.lease_view(id, lease)).collect()
                }
                (LeaseAction::Take, Some(id)) => {
                    vec![self.lease_view(id, &leases.take(id, &order.reason, ttl, cap, now)?)]
                }
                (LeaseAction::Renew, Some(id)) => {
                    vec![self.lease_view(id, &leases.renew(id, ttl, cap, now)?)]
                }
                (LeaseAction::End, Some(id)) if leases.end(id, now) => Vec::new(),
                (LeaseAction::End, Some(_)) => return Err(LeaseError::Unknown),
            };
            if let Some(id) = id.as_ref().filter(|_| order.action != LeaseAction::List) {
                self.stamp(leases, key, id, order.action);
            }
            Ok(told)
        });
        let told = told?;
        if order.action != LeaseAction::List {
            self.lease_changed_for(&slot, lasts);
        }
        Ok(LeaseAnswer { leases: told, phase: slot.phase() })
    }

    /// An order was carried out here: the others are told, if there ever are any.
    fn stamp(&self, leases: &mut Leases, key: &AgentKey, id: &str, action: LeaseAction) {
        if let Some(own) = self.leases.own.get() {
            let calendar = u64::try_from(Clock::calendar().as_microsecond()).unwrap_or_default();
            leases.stamp(id, own, calendar);
            self.leases.untold.lock().insert((key.clone(), id.into()));
            self.elsewhere.lease_changed.notify_one();
        } else if action == LeaseAction::End {
            leases.forget(id);
        }
    }

    /// A lease was taken, renewed or ended; whether any lasts.
    fn lease_changed_for(self: &Arc<Self>, slot: &Arc<Slot>, lasts: bool) {
        self.activity_changed(slot);
        if lasts {
            // Should it be about to be suspended, it is not too late yet, mostly.
            self.handle(slot, Event::Leased);
        }
    }

    /// There may be other replicas from here on, which know this one by that name. At most once.
    pub fn tell_leases_as(&self, own: Arc<str>) {
        let installed = self.leases.own.set(own);
        debug_assert!(installed.is_ok(), "a replica has one name");
    }

    /// What the others should hear of leases, of so many at most; with `whole` they know nothing.
    pub fn lease_reports(&self, whole: bool, limit: usize) -> Vec<LeaseReport> {
        let all = self.leases.all.lock();
        let mut untold = self.leases.untold.lock();
        if whole {
            let every = all.iter().flat_map(|(key, leases)| leases.ids().map(|id| (key.clone(), id.clone())));
            untold.extend(every);
        }
        let now = self.clock.now();
        let mut reports = Vec::new();
        while reports.len() < limit
            && let Some((key, id)) = untold.pop_first()
        {
            let lease = all.get(&key).and_then(|leases| leases.get(&id));
            reports.extend(lease.map(|lease| report(&key, &id, lease, now)));
        }
        reports
    }

    /// Forgets leases that have ended where nobody has asked for any since.
    pub fn forget_ended_leases(&self) {
        let now = self.clock.now();
        self.leases.all.lock().retain(|key, leases| {
            let cap = self.slot(key).map_or(Duration::ZERO, |slot| slot.policy().busy_cap);
            leases.forget_ended(now, cap);
            !leases.is_empty()
        });
    }

    /// Another replica tells of a lease.
    pub(super) fn heard_of_lease(self: &Arc<Self>, told: &LeaseReport, now: Moment) -> ReplicaWord {
        let Ok(key) = told.agent.parse::<AgentKey>() else { return ReplicaWord::Malformed };
        if !is_lease_id(&told.id) || told.by.is_empty() {
            return ReplicaWord::Malformed;
        }
        let Some(slot) = self.slot(&key).filter(|slot| slot.policy().manage) else {
            return ReplicaWord::UnknownAgent;
        };
        let cap = slot.policy().busy_cap;
        let taken = Past::ago(Duration::from_millis(told.age), now);
        let lease = Lease {
            reason: told.reason.chars().take(MAX_REASON).collect::<String>().into(),
            taken: taken.at,
            before: taken.before,
            // No longer than it might last here.
            until: now + Duration::from_millis(told.left).min(cap),
            ended: told.ended,
            stamp: Stamp { number: told.number, by: told.by.as_str().into() },
        };
        let activity = slot.activity();
        let (is_news, lasts) =
            self.leases.change(&key, &activity, now, |leases| leases.note(&told.id, lease, now, cap));
        if is_news {
            self.lease_changed_for(&slot, lasts);
        }
        ReplicaWord::Heard
    }

    pub(super) fn leases_of(&self, key: &AgentKey) -> Vec<LeaseView> {
        let now = self.clock.now();
        let all = self.leases.all.lock();
        let active = all.get(key).map(|leases| leases.active(now));
        active.into_iter().flatten().map(|(id, lease)| self.lease_view(id, lease)).collect()
    }

    pub(super) fn forget_leases(&self, key: &AgentKey) {
        self.leases.all.lock().remove(key);
    }

    fn lease_view(&self, id: &str, lease: &Lease) -> LeaseView {
        LeaseView {
            id: id.to_owned(),
            reason: lease.reason.to_string(),
            since: self.clock.wall_before(lease.taken, lease.before),
            until: self.clock.wall(lease.until),
        }
    }
}

fn report(key: &AgentKey, id: &str, lease: &Lease, now: Moment) -> LeaseReport {
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    LeaseReport {
        agent: key.to_string(),
        id: id.to_owned(),
        reason: lease.reason.to_string(),
        age: millis(now.since(lease.taken).saturating_add(lease.before)),
        left: millis(lease.until.since(now)),
        ended: lease.ended,
        number: lease.stamp.number,
        by: lease.stamp.by.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::thread::ScopedJoinHandle;

    use super::*;

    /// One that was taken while another was ended had no effect when the end was noted last.
    #[test]
    fn what_is_noted_is_what_the_leases_say_whoever_changes_them_at_the_same_time() {
        let (desk, activity) = (LeaseDesk::default(), Activity::default());
        let (key, now) = (AgentKey::new("default", "echo"), Moment::START + Duration::from_secs(1));
        let minute = Duration::from_mins(1);
        let orders = |id: &str| {
            for _ in 0..20_000 {
                let (taken, lasts) =
                    desk.change(&key, &activity, now, |leases| leases.take(id, "", minute, minute, now));
                assert!(taken.is_ok() && lasts);
                desk.change(&key, &activity, now, |leases| leases.forget(id));
            }
        };
        std::thread::scope(|scope| {
            let both = ["a", "b"].map(|id| scope.spawn(move || orders(id)));
            while !both.iter().all(ScopedJoinHandle::is_finished) {
                let all = desk.all.lock();
                let lasts = all.get(&key).is_some_and(|leases| leases.active(now).count() > 0);
                assert_eq!(activity.leased_until() > now, lasts);
            }
        });
    }
}
