//! The way down, and every way back up from Draining.

use crate::agent::Revision;
use crate::lifecycle::{Abandoned, DrainQuestion, Event, SuspendedBy, Transition, WriteError};
use crate::time::Moment;

use super::bench::{IDLE, LONG, refused};
use super::{Bench, Call, Station};

fn abandoned(bench: &Bench) -> Vec<Abandoned> {
    let why = |record: &Transition| match record {
        Transition::SuspendAbandoned(why) => Some(*why),
        _ => None,
    };
    bench.records.iter().filter_map(why).collect()
}

#[test]
fn an_idle_agent_is_drained_suspended_and_sleeps_once_its_pod_is_gone() {
    let mut bench = Bench::at(Station::Running);
    bench.after(IDLE).is("Draining Writing", "suspend");
    bench.done().is("Suspending", "retire");
    bench.pod_terminates("p1").is("Suspending", "");
    bench.pod_gone("p1").is("Suspended", "");
    assert!(bench.records.contains(&Transition::Suspended(SuspendedBy::Idle)));
    assert_eq!(bench.machine.next_deadline(), None, "a sleeping agent needs no timer");
}

#[test]
fn with_peers_nothing_is_written_before_all_have_acknowledged_this_revision() {
    let mut bench = Bench::at(Station::AskingPeers);
    bench
        .feed(crate::lifecycle::Event::PeersAcknowledged(crate::agent::Revision(1)))
        .is("Draining AskingPeers", "");
    bench.acked().is("Draining Writing", "suspend");
    bench.acked().is("Draining Writing", "");
    bench.done().is("Suspending", "retire");
}

#[test]
fn a_write_whose_answer_is_lost_is_settled_by_what_the_watch_shows() {
    let mut bench = Bench::at(Station::Writing);
    bench.sleeps().is("Suspending", "retire");
    bench.lost().is("Suspending", "");
}

/// How a drain ends up: where it stands, what happens to it, and what follows.
#[test]
fn a_drain_that_comes_to_nothing_opens_the_gate_again_and_says_why() {
    type Way = fn(&mut Bench);
    let table: [(Station, Way, &str, Abandoned); 8] = [
        (Station::AskingPeers, |b| b.vetoed().is("Running p1", "mark wanted"), "a veto", Abandoned::Veto),
        (
            Station::AskingPeers,
            |b| b.at_deadline().is("Running p1", "mark wanted"),
            "silence",
            Abandoned::Veto,
        ),
        (
            Station::AskingPeers,
            |b| {
                b.may_suspend = false;
                b.acked().is("Running p1", "mark wanted");
            },
            "lost leadership",
            Abandoned::Veto,
        ),
        (
            Station::AskingPeers,
            |b| b.call(1).is("Running p1", "release 1, mark wanted"),
            "a caller",
            Abandoned::Demand,
        ),
        (Station::AskingPeers, |b| b.noise().is("Running p1", ""), "a newer revision", Abandoned::Conflict),
        (
            Station::Writing,
            |b| {
                b.set(crate::lifecycle::Mode::Running, SuspendedBy::Idle);
                b.done().is("Draining Settling", "read");
                b.done().is("Running p1", "");
            },
            "a conflict, then a read",
            Abandoned::Conflict,
        ),
        (Station::Writing, |b| b.fails(refused()).is("Running p1", ""), "refused", Abandoned::Refused),
        (
            Station::Writing,
            |b| {
                b.lost().is("Draining Settling", "mark wanted");
                b.done().is("Running p1", "");
            },
            "no answer, then a write that settles it",
            Abandoned::NoAnswer,
        ),
    ];
    for (station, way, name, why) in table {
        let mut bench = Bench::at(station);
        way(&mut bench);
        assert_eq!(abandoned(&bench), [why], "{name}");
        bench.calm();
        bench.expect_nothing_owed();
    }
}

#[test]
fn a_suspension_that_was_written_though_no_answer_came_is_found_out() {
    let mut bench = Bench::at(Station::Writing);
    bench.done_unseen().is("Draining Settling", "mark wanted");
    // The mark is not written, for the mode is Suspended by now.
    bench.done().is("Draining Settling", "read");
    bench.done().is("Suspending", "retire");
}

#[test]
fn silence_after_the_write_is_settled_by_a_write_and_that_is_repeated_until_it_tells() {
    let mut bench = Bench::at(Station::Writing);
    bench.at_deadline().is("Draining Settling", "mark wanted");
    bench.lost().is("Draining Settling", "");
    bench.at_deadline().is("Draining Settling", "mark wanted");
    bench.lost().is("Draining Settling", "");
    bench.at_deadline().is("Draining Settling", "mark wanted");
    bench.done().is("Running p1", "");
}

#[test]
fn a_read_that_shows_nothing_new_settles_nothing() {
    let mut bench = Bench::at(Station::Writing);
    bench.fails(WriteError::Conflict).is("Draining Settling", "read");
    bench.done().is("Draining Settling", "mark wanted");
    bench.done().is("Running p1", "");
}

#[test]
fn a_replica_that_acknowledged_reopens_only_when_a_newer_revision_says_running() {
    let mut bench = Bench::at(Station::Fenced);
    bench.seen().is("Draining Fenced", "");
    bench.vetoed().is("Draining Fenced", "");
    bench.tick().is("Draining Fenced", "");
    bench.call(1).is("Draining Settling", "mark wanted");
    bench.done().is("Running p1", "release 1");

    let mut bench = Bench::at(Station::Fenced);
    bench.noise().is("Running p1", "");

    let mut bench = Bench::at(Station::Fenced);
    bench.sleeps().is("Suspending", "retire");
}

#[test]
fn a_replica_that_acknowledged_and_hears_nothing_makes_the_object_tell() {
    let mut bench = Bench::at(Station::Fenced);
    bench.at_deadline().is("Draining Settling", "mark wanted");
    bench.done().is("Running p1", "");
}

#[test]
fn who_acknowledged_says_so_again_and_vetoes_another_revision_or_object() {
    use crate::agent::{AgentUid, Revision};
    let mut bench = Bench::at(Station::Fenced);
    bench.asked().is("Draining Fenced", "acknowledge");
    let ask = |uid: &str, revision| {
        let (uid, revision) = (AgentUid(uid.into()), Revision(revision));
        crate::lifecycle::Event::DrainAsked(DrainQuestion { uid, revision, ordered: false })
    };
    bench.feed(ask("agent", 999)).is("Draining Fenced", "veto");
    let known = bench.object.revision.0;
    bench.feed(ask("other", known)).is("Draining Fenced", "veto");
}

#[test]
fn an_order_that_another_has_counts_whatever_the_agent_did_lately_but_not_what_is_in_flight() {
    let lately = || {
        let mut bench = Bench::at(Station::Running);
        bench.alone = false;
        bench.machine.activity().note_message(bench.now);
        bench
    };
    lately().question(false).is("Running p1", "veto");
    lately().question(true).is("Draining Fenced", "acknowledge");
    let mut used = lately();
    assert_eq!(used.enter(), crate::lifecycle::Entry::Admitted);
    used.question(true).is("Running p1", "veto");
    assert!(used.gate.is_open());
}

#[test]
fn a_replica_vetoes_whatever_it_does_not_know_to_be_idle() {
    use Station::{AskingPeers, Paced, Probing, Running, Settling, Suspended, Suspending, Unknown, Writing};
    for station in [Unknown, Running, AskingPeers, Writing, Settling, Suspending, Suspended, Paced, Probing] {
        let mut bench = Bench::at(station);
        if station == Running {
            bench.now = bench.now + IDLE;
            assert_eq!(bench.enter(), crate::lifecycle::Entry::Admitted);
        }
        let phase = super::show::show(bench.machine.phase());
        // One that an operator wants.
        bench.asked().is(&phase, "veto");
    }
}

#[test]
fn a_replica_that_does_not_serve_the_agent_and_has_nobody_waiting_acknowledges() {
    let mut bench = Bench::at(Station::FailedForNow);
    bench.asked().is("Draining Fenced", "acknowledge");
    bench.sleeps().is("Suspending", "retire");

    let mut bench = Bench::new();
    bench.runs().is("Resuming AwaitingPod", "");
    bench.asked().is("Draining Fenced", "acknowledge");
    bench.noise().is("Resuming AwaitingPod", "retire");
}

#[test]
fn after_a_drain_the_pod_is_believed_only_if_the_spec_stayed_the_same() {
    let mut bench = Bench::at(Station::Writing);
    // Somebody suspended and resumed it, and we saw only the end.
    bench.object.generation.0 += 2;
    bench.noise().is("Resuming AwaitingPod", "retire");
    bench.object.observed = bench.object.generation;
    bench.noise().is("Resuming Probing p1", "probe p1");
    bench.answers("p1").is("Running p1", "");
}

#[test]
fn a_pod_that_dies_during_a_drain_is_not_reopened_to() {
    for station in [Station::Writing, Station::Fenced, Station::Settling] {
        let mut bench = Bench::at(station);
        bench.pod_gone("p1");
        bench.noise().is("Resuming AwaitingPod", "retire");
    }
}

#[test]
fn a_refused_suspension_is_not_tried_again_at_once() {
    let mut bench = Bench::at(Station::Writing);
    bench.fails(refused()).is("Running p1", "");
    for _ in 0..10 {
        bench.after(std::time::Duration::from_secs(20)).is("Running p1", "");
    }
    bench.after(LONG).is("Draining Writing", "suspend");
}

#[test]
fn an_abandoned_suspension_is_tried_again_soon() {
    let mut bench = Bench::at(Station::AskingPeers);
    bench.vetoed().is("Running p1", "mark wanted");
    bench.done();
    bench.at_deadline().is("Draining AskingPeers", "ask peers");
}

#[test]
fn an_operator_suspends_what_is_not_in_use_whatever_the_idle_timeout() {
    let mut bench = Bench::at(Station::Running);
    bench.suspend_now().is("Draining Writing", "suspend");
    bench.done().is("Suspending", "retire");

    let mut bench = Bench::at(Station::Running);
    bench.suspend_and_stay().is("Draining Writing", "suspend and stay");
    bench.done().is("Suspending", "retire");
    bench.call(1).is("Suspending", "refuse 1 suspended_by_person");
}

#[test]
fn an_operator_cannot_suspend_what_is_in_use() {
    let mut bench = Bench::at(Station::Running);
    assert_eq!(bench.enter(), crate::lifecycle::Entry::Admitted);
    bench.suspend_now().is("Running p1", "");
    assert!(!bench.leave_gate());
    bench.suspend_now().is("Draining Writing", "suspend");
}

#[test]
fn an_operator_marks_a_sleeping_agent_so_that_it_stays() {
    let mut bench = Bench::at(Station::Suspended);
    bench.suspend_now().is("Suspended", "");
    bench.suspend_and_stay().is("Draining Writing", "suspend and stay");
    bench.done().is("Suspended", "retire");
    bench.call(1).is("Suspended", "refuse 1 suspended_by_person");
}

#[test]
fn the_mark_on_a_sleeping_agent_needs_no_word_of_other_replicas() {
    let mut bench = Bench::at(Station::Suspended);
    bench.alone = false;
    // All of them see it asleep, and would object: there is nothing to be closed.
    bench.suspend_and_stay().is("Draining Writing", "suspend and stay");
    bench.done().is("Suspended", "retire");
    bench.call(1).is("Suspended", "refuse 1 suspended_by_person");
}

#[test]
fn whoever_waits_behind_a_mark_that_is_refused_hears_why() {
    let mut bench = Bench::at(Station::Settling);
    bench.call(1);
    bench.fails(refused()).is("Draining Settling", "");
    let told = bench.machine.waiting_for();
    assert!(told.contains("admission: not allowed"), "{told}");
    bench.at_deadline().is("Draining Settling", "mark wanted");
}

#[test]
fn a_mark_that_is_lost_does_not_become_a_storm_of_calls() {
    let mut bench = Bench::at(Station::Suspended);
    bench.suspend_and_stay().is("Draining Writing", "suspend and stay");
    bench.lost();
    // The object is as it was: a bounded number of calls finds that out.
    for _ in 0..4 {
        if !bench.calls.is_empty() {
            bench.done();
        }
    }
    assert_eq!(bench.calls, []);
    bench.tick().is("Suspended", "");
}

#[test]
fn an_operator_suspends_a_failed_agent_but_not_under_a_request() {
    let mut bench = Bench::at(Station::FailedForGood);
    bench.suspend_now().is("Draining Writing", "suspend");

    let mut bench = Bench::at(Station::Running);
    assert_eq!(bench.enter(), crate::lifecycle::Entry::Admitted);
    bench.pod_fails("p1", crate::lifecycle::FailureClass::Image).is("Failed image", "retire");
    bench.suspend_now().is("Failed image", "");
    assert!(!bench.leave_gate());
    bench.suspend_now().is("Draining Writing", "suspend");
}

#[test]
fn only_the_leader_suspends() {
    let mut bench = Bench::at(Station::Running);
    bench.may_suspend = false;
    bench.after(IDLE).is("Running p1", "");
    bench.suspend_now().is("Running p1", "");
    bench.may_suspend = true;
    bench.at_deadline().is("Draining Writing", "suspend");
}

#[test]
fn what_an_operator_orders_needs_no_leader() {
    let mut bench = Bench::at(Station::Running);
    (bench.may_suspend, bench.may_order, bench.alone) = (false, Some(true), false);
    bench.noise();
    bench.after(IDLE).is("Running p1", "");
    bench.suspend_now().is("Draining AskingPeers", "ask peers to obey");
    bench.acked().is("Draining Writing", "suspend");
}

#[test]
fn a_drain_whose_permission_ends_before_the_write_writes_nothing() {
    type Change = fn(&mut crate::policy::Policy);
    let changes: [(&str, Change); 3] = [
        ("suspend: off", |policy| policy.suspend = false),
        ("manage: false", |policy| policy.manage = false),
        ("dry_run: true", |policy| policy.dry_run = true),
    ];
    for (name, change) in changes {
        let mut bench = Bench::at(Station::AskingPeers);
        change(&mut bench.policy);
        bench.acked();
        let suspends = bench.calls.iter().any(|pending| matches!(pending.call, Call::Suspend(..)));
        assert!(!suspends, "suspended after {name}");
    }
}

fn listening() -> Bench {
    let mut bench = Bench::at(Station::Running);
    bench.listens = true;
    bench.after(IDLE).is("Draining Listening", "listen");
    bench
}

#[test]
fn where_messages_pass_by_the_gate_nothing_is_written_before_somebody_has_listened() {
    let mut bench = listening();
    bench.feed(Event::Quiet(Revision(1))).is("Draining Listening", "");
    bench.quiet().is("Draining Writing", "suspend");
    bench.quiet().is("Draining Writing", "");
}

#[test]
fn a_message_a_caller_or_silence_of_the_listener_ends_it_and_nobody_else_is_bothered() {
    let mut bench = listening();
    bench.not_quiet().is("Running p1", "");
    assert_eq!(abandoned(&bench), [Abandoned::NotQuiet]);
    bench.not_quiet().is("Running p1", "");

    let mut bench = listening();
    bench.call(1).is("Running p1", "release 1");
    bench.quiet().is("Running p1", "");

    let mut bench = listening();
    bench.at_deadline().is("Running p1", "");
    assert_eq!(abandoned(&bench), [Abandoned::NotQuiet]);
}

#[test]
fn a_message_that_was_noted_just_before_the_word_quiet_counts() {
    let mut bench = listening();
    let now = bench.now;
    bench.machine.activity().note_message(now);
    bench.quiet().is("Running p1", "");
}

#[test]
fn messages_leases_and_what_is_not_answered_keep_an_agent_up() {
    let mut bench = Bench::at(Station::Running);
    let (now, activity) = (bench.now, bench.machine.activity().clone());
    activity.set_unanswered_until(now + LONG);
    bench.after(IDLE).is("Running p1", "");
    activity.set_unanswered_until(Moment::START);
    activity.set_leased_until(bench.now + IDLE);
    bench.feed(Event::Tick).is("Running p1", "");
    bench.after(IDLE).is("Running p1", "");
    activity.note_message(bench.now);
    bench.after(IDLE).is("Draining Writing", "suspend");
}

#[test]
fn what_an_operator_orders_waits_for_no_silence() {
    let mut bench = Bench::at(Station::Running);
    bench.listens = true;
    bench.suspend_now().is("Draining Writing", "suspend");
}
