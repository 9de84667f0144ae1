//! Pure: who leads, as far as this replica can tell.
//!
//! As in client-go (`tools/leaderelection`), whether another's term is over is judged by when this replica saw it renewed,
//! never by the times that it wrote: clocks may differ by an hour. Nothing that must not happen depends on there being one
//! leader only: every suspension needs the word of all replicas, whoever writes it.

use std::time::Duration;

use crate::time::Moment;

use super::record::{Record, ReplicaId, Term};

/// How long a term is that nobody renews.
pub(super) const TERM: Duration = Duration::from_secs(15);
/// A leader that could not renew for so long stops to lead, before the others may begin.
pub(super) const RENEW_WITHIN: Duration = Duration::from_secs(10);
/// How often everybody looks, and the leader renews.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What this replica does about the Lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Another leads.
    Follow,
    /// Nobody leads, or did not renew for a whole term.
    Take,
    /// This one leads, and goes on.
    Renew,
}

/// The view of one replica.
#[derive(Debug)]
pub(super) struct Election {
    me: ReplicaId,
    /// The term of another that was seen last, and when it was first seen like this.
    seen: Option<(Term, Moment)>,
}

impl Election {
    pub(super) const fn new(me: ReplicaId) -> Self {
        Self { me, seen: None }
    }

    /// What to do about what is written now.
    pub(super) fn look(&mut self, record: &Record, now: Moment) -> Step {
        let term = &record.term;
        if self.seen.as_ref().is_none_or(|(seen, _)| seen != term) {
            self.seen = Some((term.clone(), now));
        }
        let since = self.seen.as_ref().map_or(now, |(_, since)| *since);
        match &term.holder {
            None => Step::Take,
            Some(holder) if *holder == self.me => Step::Renew,
            Some(_) if now >= since + term.duration => Step::Take,
            Some(_) => Step::Follow,
        }
    }
}

/// Until when this replica leads after a renewal that it began to send at this moment.
pub(super) fn leads_until(sent: Moment) -> Moment {
    sent + RENEW_WITHIN
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn id(name: &str) -> ReplicaId {
        ReplicaId(name.into())
    }

    fn held(holder: Option<&str>, renewal: &str) -> Record {
        let term = Term { holder: holder.map(id), duration: TERM, renewal: renewal.into() };
        Record { version: String::new(), term, transitions: 0, members: BTreeMap::new() }
    }

    fn at(secs: u64) -> Moment {
        Moment::START + Duration::from_secs(secs)
    }

    #[test]
    fn a_term_that_nobody_holds_is_taken_and_ones_own_is_renewed() {
        let mut election = Election::new(id("me"));
        assert_eq!(election.look(&held(None, ""), at(0)), Step::Take);
        assert_eq!(election.look(&held(Some("me"), "a"), at(1)), Step::Renew);
        // Of the process that ran in this pod before.
        assert_eq!(Election::new(id("me")).look(&held(Some("me"), "a"), at(99)), Step::Renew);
    }

    #[test]
    fn anothers_term_is_over_when_its_renewal_was_not_seen_for_so_long() {
        let mut election = Election::new(id("me"));
        // Whatever time it says: it was first seen now.
        assert_eq!(election.look(&held(Some("other"), "1970"), at(100)), Step::Follow);
        assert_eq!(election.look(&held(Some("other"), "1970"), at(114)), Step::Follow);
        assert_eq!(election.look(&held(Some("other"), "1971"), at(114)), Step::Follow, "renewed");
        assert_eq!(election.look(&held(Some("other"), "1971"), at(128)), Step::Follow);
        assert_eq!(election.look(&held(Some("other"), "1971"), at(129)), Step::Take);
    }

    #[test]
    fn a_leader_stops_before_another_may_begin() {
        assert!(leads_until(at(0)) + LOOK_EVERY < at(0) + TERM);
    }
}
