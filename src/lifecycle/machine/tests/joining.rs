//! A replica that has just started (guard JOIN): what it first sees running gets nothing from it until that has changed.

use crate::agent::Revision;
use crate::lifecycle::{Entry, Event, SuspendedBy, WriteError};

use super::bench::{Bench, HOLD, IDLE};
use super::station::Station;

#[test]
fn what_is_first_seen_running_is_routed_to_when_it_has_changed_since() {
    let mut bench = Bench::at(Station::Joining);
    assert_eq!(bench.enter(), Entry::Closed);
    assert_eq!(bench.machine.phase().name().as_str(), "Running", "for people it is up");
    // Whoever changed it: a suspension that was agreed on before is written no more.
    bench.noise().is("Running p1", "");
    assert_eq!(bench.enter(), Entry::Admitted);
}

#[test]
fn the_first_caller_makes_it_change_and_is_let_through() {
    let mut bench = Bench::at(Station::Joining);
    bench.call(1).is("Draining Settling", "mark wanted");
    bench.call(2).is("Draining Settling", "");
    bench.done().is("Running p1", "release 1, release 2");
}

#[test]
fn what_keeps_it_up_may_end_before_its_time() {
    let mut bench = Bench::at(Station::Joining);
    let ends = bench.now + IDLE * 100;
    bench.machine.activity().set_leased_until(ends);
    bench.at_deadline().is("Draining Joining", "");
    bench.machine.activity().set_leased_until(bench.now);
    bench.feed(Event::Tick).is("Draining Joining", "");
    bench.at_deadline().is("Draining Settling", "mark wanted");
    assert!(bench.now < ends);
}

#[test]
fn a_caller_that_must_not_wake_it_is_let_through_as_well() {
    let mut bench = Bench::at(Station::Joining);
    bench.peek(1).is("Draining Settling", "mark wanted");
    bench.done().is("Running p1", "release 1");
}

#[test]
fn what_was_being_written_when_it_took_part_again_may_have_been_agreed_on_without_it() {
    let mut bench = Bench::at(Station::Joining);
    bench.call(1).is("Draining Settling", "mark wanted");
    bench.feed(Event::Rejoin(Revision(u64::MAX))).is("Draining Settling", "");
    bench.done().is("Draining Settling", "mark wanted");
    bench.done().is("Running p1", "release 1");
}

#[test]
fn whoever_waited_for_its_answer_is_let_through_only_then_also_where_only_an_earlier_run_may_still_write() {
    for alone in [false, true] {
        let mut bench = Bench::new();
        (bench.alone, bench.inherits) = (alone, true);
        bench.runs();
        bench.call(1);
        bench.pod_up("p1");
        bench.answers("p1").is("Draining Settling", "mark wanted");
        bench.done().is("Running p1", "release 1");
    }
}

#[test]
fn a_suspension_that_was_under_way_is_found_out_and_the_caller_wakes_it() {
    let mut bench = Bench::at(Station::Joining);
    bench.set(crate::lifecycle::Mode::Suspended, SuspendedBy::Idle);
    bench.call(1).is("Draining Settling", "mark wanted");
    bench.done().is("Draining Settling", "read");
    bench.done().is("Resuming Paced", "retire, ask for a turn");
}

#[test]
fn without_an_answer_of_the_api_it_is_tried_again_for_as_long_as_somebody_waits() {
    let mut bench = Bench::at(Station::Joining);
    bench.call(1).is("Draining Settling", "mark wanted");
    bench.fails(WriteError::NotSent("away".into())).is("Draining Settling", "");
    bench.at_deadline().is("Draining Settling", "mark wanted");
    bench.lost().is("Draining Settling", "");
    bench.after(HOLD).is("Draining Settling", "refuse 1 hold_timed_out, mark wanted");
}

#[test]
fn it_agrees_to_a_suspension_and_goes_on_to_wait() {
    let mut bench = Bench::at(Station::Joining);
    bench.may_suspend = false;
    bench.now = bench.now + IDLE;
    bench.asked().is("Draining Fenced", "acknowledge");
    bench.call(1).is("Draining Settling", "mark wanted");
    bench.done().is("Running p1", "release 1");
}

#[test]
fn a_leader_makes_it_change_before_it_suspends_it_and_nobody_else_does() {
    let mut bench = Bench::at(Station::Joining);
    bench.may_suspend = false;
    bench.at_deadline().is("Draining Joining", "");
    bench.may_suspend = true;
    bench.at_deadline().is("Draining Settling", "mark wanted");
    bench.done().is("Running p1", "");
    bench.at_deadline().is("Draining AskingPeers", "ask peers");
}

#[test]
fn too_many_at_once_wait_for_their_turn() {
    let mut bench = Bench::at(Station::Joining);
    bench.crowded = true;
    bench.after(IDLE).is("Draining Joining", "");
    bench.crowded = false;
    bench.at_deadline().is("Draining Settling", "mark wanted");
}

#[test]
fn an_operator_who_suspends_it_has_it_found_out_first() {
    let mut bench = Bench::at(Station::Joining);
    bench.suspend_now().is("Draining Settling", "mark wanted");
    bench.done().is("Running p1", "");
    bench.suspend_now().is("Draining AskingPeers", "ask peers to obey");
}

#[test]
fn its_pod_may_go_while_nobody_calls() {
    let mut bench = Bench::at(Station::Joining);
    bench.pod_gone("p1").is("Resuming AwaitingPod", "retire");
    bench.pod_up("p2").is("Resuming Probing p2", "probe p2");
    bench.answers("p2").is("Draining Joining", "");
}

#[test]
fn what_drowse_does_not_manage_is_never_written_to() {
    let mut bench = Bench::new();
    (bench.alone, bench.policy.manage) = (false, false);
    bench.runs();
    bench.pod_up("p1");
    bench.answers("p1").is("Running p1", "");

    let mut bench = Bench::at(Station::Joining);
    bench.policy.manage = false;
    bench.tick().is("Running p1", "");
}

#[test]
fn what_was_first_seen_asleep_needs_no_change() {
    let mut bench = Bench::new();
    bench.alone = false;
    bench.sleeps();
    bench.runs();
    bench.pod_up("p1");
    bench.answers("p1").is("Running p1", "");
}

#[test]
fn one_that_did_not_take_part_for_a_while_begins_anew() {
    let mut bench = Bench::at(Station::Running);
    bench.alone = false;
    bench.noise();
    assert_eq!(bench.enter(), Entry::Admitted);
    bench.feed(Event::Rejoin(Revision::default())).is("Draining Joining", "");
    assert_eq!(bench.enter(), Entry::Closed);
    // What was in flight goes on, and is a reason to object.
    bench.now = bench.now + IDLE;
    bench.asked().is("Draining Joining", "veto");
    assert!(!bench.leave_gate());
    bench.call(1).is("Draining Settling", "mark wanted");
    bench.done().is("Running p1", "release 1");
}

#[test]
fn a_leader_whose_own_suspension_comes_to_nothing_waits_for_the_change_that_it_makes() {
    let mut bench = Bench::at(Station::AskingPeers);
    bench.feed(Event::Rejoin(Revision::default())).is("Draining AskingPeers", "");
    bench.vetoed().is("Draining Joining", "mark wanted");
    bench.done().is("Running p1", "");
}

#[test]
fn who_was_attested_before_a_suspension_that_nobody_saw_is_asked_again() {
    let mut bench = Bench::new();
    bench.alone = false;
    bench.runs();
    bench.pod_up("p1").is("Resuming Probing p1", "probe p1");
    let attested = bench.object.generation;
    // The suspension was agreed on before this replica took part, and another has ended it.
    bench.set(crate::lifecycle::Mode::Suspended, SuspendedBy::Idle);
    bench.runs().is("Resuming Probing p1", "probe p1");
    let life = bench.life("p1");
    assert!(!bench.machine.awaits(&life, super::bench::ADDRESS, attested), "that is an old word");
    assert!(bench.awaits(&life));
}

#[test]
fn what_is_shown_of_the_time_before_it_takes_part_again_is_as_found() {
    let mut bench = Bench::at(Station::Running);
    bench.alone = false;
    bench.noise();
    bench.set(crate::lifecycle::Mode::Running, SuspendedBy::Idle);
    bench.feed(Event::Rejoin(bench.object.revision)).is("Draining Joining", "");
    // It was away once more, and the others have not counted it out.
    bench.feed(Event::Rejoin(Revision::default())).is("Draining Joining", "");
    bench.seen().is("Draining Joining", "");
    bench.noise().is("Running p1", "");

    // And what slept, as far as it knew.
    let mut bench = Bench::at(Station::Suspended);
    bench.alone = false;
    bench.set(crate::lifecycle::Mode::Running, SuspendedBy::Idle);
    bench.feed(Event::Rejoin(bench.object.revision)).is("Suspended", "");
    bench.seen().is("Resuming AwaitingPod", "");
    bench.pod_up("p1").is("Resuming Probing p1", "probe p1");
    bench.answers("p1").is("Draining Joining", "");
    bench.noise().is("Running p1", "");
}

#[test]
fn what_it_writes_itself_is_new_whatever_the_revisions_say_and_what_it_reads_is_not() {
    let mut bench = Bench::at(Station::Joining);
    // As where the Lease and the agents are kept in two stores.
    bench.feed(Event::Rejoin(Revision(u64::MAX))).is("Draining Joining", "");
    bench.call(1).is("Draining Settling", "mark wanted");
    bench.fails(WriteError::Conflict).is("Draining Settling", "read");
    bench.set(crate::lifecycle::Mode::Running, SuspendedBy::Idle);
    bench.done().is("Draining Settling", "mark wanted");
    bench.done().is("Running p1", "release 1");
}
