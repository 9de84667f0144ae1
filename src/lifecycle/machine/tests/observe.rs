//! The first look at an agent, and observations that come late, twice or out of order.

use crate::agent::Revision;
use crate::lifecycle::{Event, FailureClass, Mode};

use super::bench::Bench;
use super::show::show;
use super::station::Station;

#[test]
fn the_first_look_finds_the_agent_wherever_it_is() {
    type World = fn(&mut Bench);
    let table: [(&str, World, &str); 7] = [
        ("asleep", |b| drop(b.sleeps()), "Suspended"),
        (
            "on its way to sleep",
            |b| {
                b.pod_terminates("p1");
                drop(b.sleeps());
            },
            "Suspending",
        ),
        ("without a pod", |b| drop(b.runs()), "Resuming AwaitingPod"),
        (
            "starting",
            |b| {
                b.pod_starts("p1");
                drop(b.runs());
            },
            "Resuming AwaitingPod",
        ),
        (
            "up",
            |b| {
                b.pod_up("p1");
                drop(b.runs());
            },
            "Resuming Probing p1",
        ),
        (
            "up, and told in the other order",
            |b| {
                b.runs();
                drop(b.pod_up("p1"));
            },
            "Resuming Probing p1",
        ),
        (
            "failed",
            |b| {
                b.pod_fails("p1", FailureClass::Crash);
                drop(b.runs());
            },
            "Failed crash",
        ),
    ];
    for (name, world, phase) in table {
        let mut bench = Bench::new();
        world(&mut bench);
        assert_eq!(show(bench.machine.phase()), phase, "{name}");
        assert_eq!((bench.calls.len(), bench.oracle.turns.queued), (0, 0), "{name}: looking is not acting");
    }
}

#[test]
fn a_pod_alone_says_nothing() {
    let mut bench = Bench::new();
    bench.pod_up("p1").is("Unknown", "");
    bench.tick().is("Unknown", "");
}

#[test]
fn who_waits_before_the_first_look_is_served_after_it() {
    let mut bench = Bench::new();
    bench.call(1).is("Unknown", "");
    bench.peek(2).is("Unknown", "");
    bench.sleeps().is("Resuming Paced", "ask for a turn");
    bench.calm();
    bench.expect_nothing_owed();

    let mut bench = Bench::new();
    bench.peek(1).is("Unknown", "");
    bench.sleeps().is("Suspended", "refuse 1 asleep");
}

#[test]
fn the_same_news_twice_are_no_news() {
    for station in Station::ALL {
        let mut bench = Bench::at(station);
        bench.seen();
        let phase = show(bench.machine.phase());
        bench.seen().is(&phase, "");
        if let Some(pod) = bench.machine.pod().cloned() {
            bench.feed(Event::Pod(pod)).is(&phase, "");
        }
    }
}

#[test]
fn a_list_that_is_older_than_its_pod_does_not_end_it() {
    let mut bench = Bench::at(Station::Running);
    let pod = bench.machine.pod().cloned().unwrap();
    let older = Revision(pod.revision.0 - 1);
    bench.feed(Event::PodGone { pod: pod.uid.clone(), revision: older }).is("Running p1", "");
    bench.feed(Event::Pod(pod)).is("Running p1", "");
    bench.pod_gone("p1");
    assert_eq!(show(bench.machine.phase()), "Resuming AwaitingPod");
}

#[test]
fn a_change_that_concerns_us_not_disturbs_no_phase_but_a_drain() {
    for station in Station::ALL {
        let mut bench = Bench::at(station);
        let phase = show(bench.machine.phase());
        bench.noise();
        let after = show(bench.machine.phase());
        match station {
            Station::Unknown => assert_eq!(after, "Suspended"),
            Station::Joining
            | Station::AskingPeers
            | Station::Writing
            | Station::Fenced
            | Station::Settling => {
                assert_eq!(after, "Running p1", "{station:?}");
            }
            // The peers were asked about a revision that is history.
            Station::AskingToClear => assert_eq!(after, "Resuming Retrying"),
            _ => assert_eq!(after, phase, "{station:?}"),
        }
    }
}

#[test]
fn a_mode_that_went_there_and_back_before_it_was_told_is_not_seen_going() {
    let mut bench = Bench::at(Station::Running);
    bench.set(Mode::Suspended, crate::lifecycle::SuspendedBy::Idle);
    let suspended = bench.object.clone();
    bench.runs().is("Running p1", "");
    bench.feed(Event::Agent(suspended)).is("Running p1", "");
}
