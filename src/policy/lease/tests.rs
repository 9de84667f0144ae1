//! Leases of one agent, alone and as several replicas know them.

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
    assert!(b.note("x", taken.clone(), at(0), CAP) && !b.note("x", taken, at(0), CAP), "told once is enough");
    // Both renew it at the same time, and tell each other.
    let (of_a, of_b) = (ordered(&mut a, "x", "a", at(1)), ordered(&mut b, "x", "b", at(2)));
    assert!(a.note("x", of_b, at(3), CAP) && !b.note("x", of_a, at(3), CAP));
    assert_eq!(a, b);
    assert_eq!(a.last_until("a", at(3)), (None, Some(at(12))), "of the one that carried out the last order");
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
    assert!(leases.ids().count() <= MAX_OVER + 1);
    ordered(&mut leases, "last", "a", at(1) + TTL + ENDED_FOR);
    assert_eq!(leases.ids().count(), 1, "nobody can think any more that they last");
}

#[test]
fn leases_that_have_reached_their_cap_are_remembered_and_take_no_place() {
    let mut leases = Leases::default();
    let capped = at(100);
    for n in 0..MAX_LEASES {
        leases.take(&format!("long {n}"), "", CAP, CAP, at(0)).unwrap();
    }
    assert_eq!(leases.take("more", "", TTL, CAP, at(99)), Err(LeaseError::TooMany));
    for n in 0..MAX_LEASES {
        leases.take(&format!("new {n}"), "", CAP, CAP, capped).unwrap();
    }
    assert_eq!(leases.renew("long 1", TTL, CAP, capped), Err(LeaseError::Capped), "it is remembered");
    assert_eq!(leases.active(capped).count(), MAX_LEASES);
}

#[test]
fn only_so_many_are_remembered_and_what_was_ended_rather_than_what_has_reached_its_cap() {
    let mut leases = Leases::default();
    ordered(&mut leases, "ended", "a", at(0));
    assert!(leases.end("ended", at(1)));
    for n in 0..MAX_LEASES {
        leases.take(&n.to_string(), "", TTL, TTL, at(1)).unwrap();
    }
    leases.forget_ended(at(11), TTL);
    assert_eq!(leases.ids().count(), MAX_OVER);
    assert!(leases.get("ended").is_some());
}

#[test]
fn taking_ended_leases_anew_makes_no_more_of_them_than_may_be() {
    let mut leases = Leases::default();
    for n in 0..MAX_LEASES {
        leases.take(&format!("ended {n}"), "", TTL, CAP, at(0)).unwrap();
        assert!(leases.end(&format!("ended {n}"), at(0)));
    }
    for n in 0..MAX_LEASES {
        leases.take(&format!("new {n}"), "", TTL, CAP, at(1)).unwrap();
    }
    assert_eq!(leases.take("ended 1", "", TTL, CAP, at(1)), Err(LeaseError::TooMany));
    assert_eq!(leases.active(at(1)).count(), MAX_LEASES);
    assert!(leases.end("new 1", at(1)));
    assert!(leases.take("ended 1", "", TTL, CAP, at(1)).is_ok());
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
