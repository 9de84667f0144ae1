//! An agent that is deleted, and perhaps made anew under the same name: nothing of the one is taken for the other.

use crate::lifecycle::{Event, FailureClass, Mode, WriteError};

use super::bench::Bench;
use super::oracle::Ended;
use super::show::show;
use super::station::Station;

#[test]
fn an_agent_that_was_deleted_refuses_those_who_wait_and_gives_back_its_turn() {
    for station in Station::ALL {
        if station == Station::Unknown {
            continue;
        }
        let mut bench = Bench::at(station);
        bench.gate.touch(bench.now);
        bench.call(1);
        bench.gone();
        assert_eq!(show(bench.machine.phase()), "Unknown", "{station:?}");
        assert!(bench.machine.is_gone());
        bench.call(2).is("Unknown", "refuse 2 gone");
        bench.expect_nothing_owed();
        assert_eq!(bench.machine.next_deadline(), None, "{station:?}");
    }
}

#[test]
fn a_call_that_finds_the_agent_gone_says_so_to_those_who_wait() {
    for station in [Station::Writing, Station::WritingResume, Station::Clearing, Station::Settling] {
        let mut bench = Bench::at(station);
        bench.call(1);
        bench.fails(WriteError::Gone);
        assert_eq!(bench.oracle.ended.get(&1), Some(&Ended::Refused("gone")), "{station:?}");
    }
}

#[test]
fn what_is_left_of_a_deleted_agent_does_not_bring_it_back() {
    // Its pod ends after it.
    let mut bench = Bench::at(Station::Running);
    bench.gone().is("Unknown", "retire");
    bench.pod_up("p1").is("Unknown", "");
    bench.pod_terminates("p1").is("Unknown", "");
    bench.pod_gone("p1").is("Unknown", "");
    bench.call(1).is("Unknown", "refuse 1 gone");
    // An answer overtook the news of the deletion.
    let mut bench = Bench::at(Station::WritingResume);
    let pending = bench.calls.pop().unwrap();
    let result = bench.apply(&pending);
    bench.gone().is("Unknown", "end turn");
    bench.feed(Event::Done { id: pending.id, result }).is("Unknown", "");
    bench.call(1).is("Unknown", "refuse 1 gone");
}

#[test]
fn an_agent_made_anew_under_the_same_name_is_another() {
    let mut bench = Bench::at(Station::Running);
    let old = bench.object.uid.clone();
    bench.gone().is("Unknown", "retire");
    bench.set_recreated(Mode::Suspended);
    bench.seen().is("Suspended", "");
    bench.feed(Event::AgentGone(old)).is("Suspended", "");
    bench.call(1);
    bench.calm();
    assert_eq!(bench.oracle.ended.get(&1), Some(&Ended::Released));
}

#[test]
fn a_predecessors_pod_is_never_served() {
    let mut bench = Bench::at(Station::Running);
    bench.set_recreated(Mode::Running);
    bench.seen().is("Resuming AwaitingPod", "retire");
    bench.answers("p1").is("Resuming AwaitingPod", "");
    bench.pod_up("p2").is("Resuming Probing p2", "probe p2");
}

#[test]
fn a_predecessors_end_does_not_end_its_successor() {
    let mut bench = Bench::at(Station::WritingResume);
    bench.machine.demanded = false;
    bench.call(1);
    bench.set_recreated(Mode::Suspended);
    bench.seen();
    // The write was about the predecessor.
    bench.fails(WriteError::Gone);
    assert!(!bench.machine.is_gone());
    bench.calm();
    assert_eq!(bench.oracle.ended.get(&1), Some(&Ended::Released));
}

#[test]
fn a_successor_begins_without_the_failures_of_its_predecessor() {
    let mut bench = Bench::at(Station::FailedForNow);
    bench.gone();
    bench.set_recreated(Mode::Running);
    bench.pod = None;
    bench.seen().is("Resuming AwaitingPod", "");
    bench.pod_fails("p2", FailureClass::Crash);
    assert_eq!(bench.machine.last_failure().map(|(_, failures)| failures), Some(1));
}
