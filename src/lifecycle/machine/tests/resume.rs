//! The way up: the turn, the write, the pod, the probe; and who leaves meanwhile.

use std::time::Duration;

use crate::agent::Revision;
use crate::lifecycle::{Event, FailureClass, Mode, PodState, Start, SuspendedBy, Transition, WriteError};

use super::bench::{Bench, HOLD, START_WITHIN, refused, up};
use super::show::show;
use super::station::Station;

#[test]
fn a_sleeping_agent_is_started_in_five_steps() {
    let mut bench = Bench::at(Station::Suspended);
    bench.call(1).is("Resuming Paced", "ask for a turn");
    bench.granted().is("Resuming Writing", "resume");
    bench.done().is("Resuming AwaitingPod", "");
    bench.pod_starts("p1").is("Resuming AwaitingPod", "");
    bench.pod_up("p1").is("Resuming Probing p1", "probe p1");
    bench.answers("p1").is("Running p1", "end turn, release 1");
    bench.expect_nothing_owed();
}

#[test]
fn the_time_that_a_start_took_is_told_in_its_parts() {
    let mut bench = Bench::at(Station::Suspended);
    bench.call(1);
    bench.now = bench.now + Duration::from_millis(300);
    bench.granted();
    bench.done();
    bench.pod_up("p1");
    bench.now = bench.now + Duration::from_millis(20);
    bench.answers("p1");
    let start = Start { cold: true, resume: Duration::from_millis(300), probe: Duration::from_millis(20) };
    assert!(bench.records.contains(&Transition::Resumed(start)), "{:?}", bench.records);
}

#[test]
fn a_running_agent_that_is_only_looked_at_anew_counts_as_warm() {
    let mut bench = Bench::new();
    bench.pod_up("p1");
    bench.runs();
    bench.answers("p1");
    assert!(bench.records.contains(&Transition::Resumed(Start::default())));
}

#[test]
fn an_operators_start_goes_behind_those_that_callers_wait_for() {
    let mut bench = Bench::at(Station::Suspended);
    bench.demand().is("Resuming Paced", "ask for a late turn");
}

#[test]
fn the_last_caller_that_leaves_before_the_write_takes_the_start_back() {
    let mut bench = Bench::at(Station::Suspended);
    bench.call(1);
    bench.call(2).is("Resuming Paced", "");
    bench.leaves(1).is("Resuming Paced", "");
    bench.leaves(2).is("Suspended", "cancel turn");
    bench.expect_nothing_owed();
}

#[test]
fn a_turn_that_comes_after_it_was_taken_back_is_given_back() {
    let mut bench = Bench::at(Station::Suspended);
    bench.call(1);
    bench.pop_turn();
    bench.leaves(1).is("Suspended", "cancel turn");
    bench.told_of_turn().is("Suspended", "end turn");
    bench.expect_nothing_owed();
}

#[test]
fn a_last_caller_that_only_peeks_does_not_keep_a_start_wanted() {
    let mut bench = Bench::at(Station::Suspended);
    bench.call(1);
    bench.peek(2).is("Resuming Paced", "");
    bench.leaves(1).is("Suspended", "cancel turn, refuse 2 asleep");
}

#[test]
fn a_start_for_which_the_last_caller_has_run_out_of_time_is_taken_back() {
    let mut bench = Bench::at(Station::Suspended);
    bench.call(1);
    bench.after(HOLD).is("Suspended", "refuse 1 hold_timed_out, cancel turn");
}

#[test]
fn the_last_caller_that_leaves_after_the_write_does_not_stop_the_start() {
    for station in [Station::WritingResume, Station::Retrying, Station::AwaitingPod, Station::Probing] {
        let mut bench = Bench::at(station);
        bench.machine.demanded = false;
        bench.call(1);
        let phase = show(bench.machine.phase());
        bench.leaves(1).is(&phase, "");
        bench.calm();
        assert!(bench.gate.is_open(), "{station:?}");
        bench.expect_nothing_owed();
    }
}

#[test]
fn a_resume_without_an_answer_is_repeated_less_and_less_often() {
    let mut bench = Bench::at(Station::WritingResume);
    let mut waits = Vec::new();
    for _ in 0..9 {
        bench.lost().is("Resuming Retrying", "");
        let from = bench.now;
        bench.at_deadline().is("Resuming Writing", "resume");
        waits.push(bench.now.since(from));
    }
    assert_eq!(waits[0], Duration::from_millis(50));
    assert!(waits.windows(2).all(|two| two[0] <= two[1]), "{waits:?}");
    assert_eq!(waits[8], Duration::from_secs(5));
}

#[test]
fn a_controller_that_makes_no_pod_is_reminded_less_and_less_often_while_somebody_waits() {
    let mut bench = Bench::at(Station::WritingResume);
    bench.arrive(1, Duration::from_mins(10), true);
    bench.done().is("Resuming AwaitingPod", "");
    let mut waits = Vec::new();
    for _ in 0..4 {
        let from = bench.now;
        bench.at_deadline().is("Resuming AwaitingPod", "mark wanted");
        bench.done().is("Resuming AwaitingPod", "");
        waits.push(bench.now.since(from).as_secs());
    }
    assert_eq!(waits, [20, 40, 60, 60]);
    bench.pod_starts("p1").is("Resuming AwaitingPod", "");
    bench.after(Duration::from_mins(1)).is("Resuming AwaitingPod", "");
}

#[test]
fn a_controller_is_not_reminded_of_what_nobody_waits_for() {
    let mut bench = Bench::at(Station::AwaitingPod);
    bench.machine.demanded = false;
    bench.after(Duration::from_secs(21)).is("Resuming AwaitingPod", "");
}

#[test]
fn a_reminder_that_is_not_confirmed_is_written_again_in_time_and_one_that_conflicts_is_decided_by_a_read() {
    let mut bench = Bench::at(Station::AwaitingPod);
    let mut waits = Vec::new();
    for _ in 0..3 {
        bench.at_deadline().is("Resuming AwaitingPod", "mark wanted");
        bench.lost().is("Resuming AwaitingPod", "");
        waits.push(bench.machine.next_deadline().unwrap().since(bench.now).as_secs());
    }
    assert_eq!(waits, [20; 3], "whom it has not reached has not been reminded");
    bench.at_deadline().is("Resuming AwaitingPod", "mark wanted");
    bench.fails(WriteError::Conflict).is("Resuming AwaitingPod", "read");
    bench.done().is("Resuming AwaitingPod", "");
}

#[test]
fn nothing_depends_on_a_reminder() {
    let answers: [fn() -> WriteError; 3] =
        [refused, || WriteError::NotSent("no".into()), || WriteError::Unknown("lost".into())];
    for error in answers {
        let mut bench = Bench::at(Station::AwaitingPod);
        bench.at_deadline().is("Resuming AwaitingPod", "mark wanted");
        bench.pod_up("p1").is("Resuming Probing p1", "probe p1");
        bench.fails(error()).is("Resuming Probing p1", "");
        bench.answers("p1").is("Running p1", "end turn");
    }
}

#[test]
fn a_controller_that_does_not_say_what_it_has_done_is_reminded_too() {
    let mut bench = Bench::at(Station::AwaitingPod);
    bench.object.generation.0 += 2;
    bench.noise();
    bench.pod_up("p1").is("Resuming AwaitingPod", "");
    bench.at_deadline().is("Resuming AwaitingPod", "mark wanted");
}

#[test]
fn what_keeps_a_resume_from_being_written_is_told() {
    let mut bench = Bench::at(Station::WritingResume);
    bench.fails(WriteError::NotSent("failed calling webhook x".into())).is("Resuming Retrying", "");
    let told = bench.machine.waiting_for();
    assert!(told.contains("accepted") && told.contains("webhook x"), "{told}");
    bench.after(START_WITHIN);
    let (failure, _) = bench.machine.last_failure().expect("a failure");
    assert_eq!(failure.class, FailureClass::Unreachable);
    assert!(failure.detail.contains("webhook x"), "{}", failure.detail);
}

#[test]
fn whoever_waits_for_an_agent_that_no_rule_names_any_more_is_told_so() {
    let mut bench = Bench::at(Station::Paced);
    bench.call(1);
    (bench.policy.route, bench.policy.manage) = (false, false);
    bench.granted().is("Unknown", "end turn, refuse 1 not_managed");
}

#[test]
fn a_resume_that_conflicts_is_decided_by_a_read() {
    // Somebody else was faster.
    let mut bench = Bench::at(Station::WritingResume);
    bench.set(Mode::Running, SuspendedBy::Idle);
    bench.done().is("Resuming Writing", "read");
    bench.done().is("Resuming AwaitingPod", "");
    // Nothing is new: again.
    let mut bench = Bench::at(Station::WritingResume);
    bench.fails(WriteError::Conflict).is("Resuming Writing", "read");
    bench.done().is("Resuming Retrying", "");
    bench.at_deadline().is("Resuming Writing", "resume");
}

#[test]
fn a_resume_that_somebody_else_writes_needs_no_turn() {
    let mut bench = Bench::at(Station::Paced);
    bench.runs().is("Resuming AwaitingPod", "cancel turn");
    bench.calm();
    assert!(bench.gate.is_open());
    bench.expect_nothing_owed();
}

#[test]
fn the_answer_of_an_older_call_does_not_decide_about_a_newer_one() {
    let mut bench = Bench::at(Station::Retrying);
    let older = crate::lifecycle::CallId(1);
    bench.at_deadline().is("Resuming Writing", "resume");
    bench.feed(Event::Done { id: older, result: Err(super::bench::refused()) }).is("Resuming Writing", "");
    // What it saw is true all the same.
    bench.set(Mode::Running, SuspendedBy::Idle);
    let result = Ok(bench.object.clone());
    bench.feed(Event::Done { id: older, result }).is("Resuming AwaitingPod", "");
}

#[test]
fn a_pod_is_probed_only_if_it_may_be_believed() {
    type Case = fn(&mut Bench);
    let mut bench = Bench::at(Station::AwaitingPod);
    let cases: [(&str, Case); 4] = [
        ("no address", |b| drop(b.pod_starts("p1"))),
        ("terminating", |b| drop(b.pod_terminates("p1"))),
        ("somebody else's", |b| {
            let mut pod = b.set_pod("p1", false, up());
            pod.owner = crate::agent::AgentUid("other".into());
            drop(b.feed(Event::Pod(pod)));
        }),
        ("from before the spec was acted on", |b| {
            b.object.generation.0 += 2;
            b.noise();
            drop(b.pod_up("p1"));
        }),
    ];
    for (name, case) in cases {
        case(&mut bench);
        assert_eq!(show(bench.machine.phase()), "Resuming AwaitingPod", "{name}");
    }
    bench.object.observed = bench.object.generation;
    bench.noise().is("Resuming Probing p1", "probe p1");
}

#[test]
fn a_pod_that_is_replaced_while_it_is_probed_is_forgotten_for_the_next() {
    let mut bench = Bench::at(Station::Probing);
    bench.pod_up("p2").is("Resuming Probing p2", "probe p2");
    bench.answers("p1").is("Resuming Probing p2", "");
    bench.pod_gone("p2").is("Resuming AwaitingPod", "stop probe");
    bench.answers("p2").is("Resuming AwaitingPod", "");
}

#[test]
fn only_the_life_that_is_awaited_opens_the_gate_whenever_the_answer_comes() {
    for station in Station::ALL {
        let mut bench = Bench::at(station);
        let phase = show(bench.machine.phase());
        assert!(!bench.awaits(&bench.life("p7")));
        bench.answers("p7").is(&phase, "");
    }
    let bench = Bench::at(Station::Probing);
    assert!(bench.awaits(&bench.life("p1")));
}

#[test]
fn a_second_look_at_the_same_pod_does_not_begin_the_probe_anew() {
    let mut bench = Bench::at(Station::Probing);
    let pod = bench.pod.clone().unwrap();
    bench.feed(Event::Pod(pod)).is("Resuming Probing p1", "");
    bench.pod_up("p1").is("Resuming Probing p1", "");
    bench.noise().is("Resuming Probing p1", "");
}

#[test]
fn a_turn_is_given_back_wherever_a_start_ends() {
    type End = fn(&mut Bench);
    let ends: [(&str, End); 5] = [
        ("deleted", |b| drop(b.gone())),
        ("suspended by a person", |b| {
            b.machine.demanded = false;
            drop(b.person_suspends());
            b.calm();
        }),
        ("too late", |b| drop(b.after(START_WITHIN))),
        ("up", Bench::calm),
        ("acknowledged to a leader", |b| {
            b.machine.demanded = false;
            drop(b.asked());
            b.calm();
        }),
    ];
    for station in Station::RESUMING {
        for (name, end) in ends {
            let mut bench = Bench::at(station);
            end(&mut bench);
            let paced = show(bench.machine.phase()) == "Resuming Paced";
            let turns = &bench.oracle.turns;
            assert_eq!(turns.under_way, 0, "{station:?}, {name}");
            assert_eq!(turns.queued, u32::from(paced), "{station:?}, {name}");
        }
    }
}

#[test]
fn a_start_waits_for_its_turn_without_counting_it_as_its_own_time() {
    let mut bench = Bench::at(Station::Suspended);
    bench.demand();
    assert_eq!(bench.machine.next_deadline(), None);
    bench.now = bench.now + START_WITHIN * 2;
    bench.granted().is("Resuming Writing", "resume");
    bench.calm();
    assert!(bench.gate.is_open());
}

#[test]
fn what_is_older_than_what_is_known_changes_nothing() {
    for station in Station::ALL {
        let mut bench = Bench::at(station);
        if station == Station::Unknown {
            continue;
        }
        let phase = show(bench.machine.phase());
        let mut old = bench.object.clone();
        old.revision = Revision(1);
        old.mode = if old.mode == Mode::Running { Mode::Suspended } else { Mode::Running };
        bench.feed(Event::Agent(old)).is(&phase, "");
        let mut old = bench.set_pod("p1", true, PodState::Starting);
        old.revision = Revision(1);
        if bench.machine.pod_floor > Revision(0) {
            bench.feed(Event::Pod(old)).is(&phase, "");
        }
    }
}
