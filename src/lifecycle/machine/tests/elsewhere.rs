//! What other replicas say of an agent: it counts for who decides, and not for who is asked.

use std::time::Duration;

use crate::lifecycle::Activity;
use crate::policy::idle::Source;
use crate::time::Moment;

use super::bench::{Bench, IDLE};
use super::station::Station;

/// An agent that has been idle for long, with several replicas.
fn idle() -> Bench {
    let mut bench = Bench::at(Station::Running);
    bench.alone = false;
    bench.may_suspend = false;
    bench.after(IDLE * 2).is("Running p1", "");
    bench
}

/// Something that is said of it, and until when that keeps it up.
type Word = (&'static str, fn(&Activity, Moment));

const WORDS: [Word; 3] = [
    ("active there now", |activity, now| activity.note_elsewhere(now)),
    ("in use there", |activity, now| activity.set_used_elsewhere_until(now)),
    ("leased there", |activity, now| activity.set_leased_elsewhere_until(now)),
];

#[test]
fn the_leader_does_not_even_ask_while_it_is_in_use_elsewhere_and_for_the_idle_timeout_after() {
    for (name, say) in WORDS {
        let mut bench = idle();
        let end = bench.now + Duration::from_secs(10);
        say(bench.machine.activity(), end);
        bench.may_suspend = true;
        while bench.now < end + IDLE {
            assert!(bench.gate.is_open(), "{name}");
            bench.at_deadline();
        }
        assert_eq!((bench.now.since(end), bench.gate.is_open()), (IDLE, false), "{name}");
    }
}

#[test]
fn who_is_asked_answers_for_what_it_has_itself() {
    for (name, say) in WORDS.iter().take(2) {
        let mut bench = idle();
        let later = bench.now + Duration::from_secs(10);
        say(bench.machine.activity(), later);
        assert!(bench.gate.is_open(), "{name}");
        bench.asked().is("Draining Fenced", "acknowledge");
    }
}

#[test]
fn who_is_asked_answers_for_every_lease_that_lasts_and_for_its_own_also_after_that() {
    let ends_in = Duration::from_secs(10);
    for (own, after) in [(false, ("Draining Fenced", "acknowledge")), (true, ("Running p1", "veto"))] {
        let mut bench = idle();
        let until = bench.now + ends_in;
        let activity = bench.machine.activity();
        if own {
            activity.set_leased_until(until);
        } else {
            activity.set_leased_elsewhere_until(until);
        }
        bench.asked().is("Running p1", "veto");
        bench.now = bench.now + ends_in;
        bench.asked().is(after.0, after.1);
    }
}

#[test]
fn activity_elsewhere_is_the_last_activity_and_has_one_line() {
    let mut bench = idle();
    let (noted, until) = (bench.now, bench.now + Duration::from_secs(10));
    bench.machine.activity().note_elsewhere(noted);
    bench.machine.activity().set_used_elsewhere_until(until);
    assert_eq!(bench.machine.last_activity(), noted);
    let signals = bench.machine.signals(&bench.policy, bench.now, bench.calendar());
    assert_eq!(signals.iter().filter(|signal| signal.source == Source::Elsewhere).count(), 1);
}
