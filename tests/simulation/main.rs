//! Runs the lifecycle through histories in which everything goes wrong, and checks the invariants.
//!
//! `SEEDS=n` runs that many (a few thousand by default); `SEED=n` runs one and prints all that happened.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test program"
)]

mod connections;
mod faults;
mod history;
mod replica;
mod world;

use std::ops::Range;

use faults::Sabotage;

/// What a run over many seeds found.
fn first_violation(seeds: Range<u64>, sabotage: Option<Sabotage>) -> Option<(u64, String)> {
    seeds.into_iter().find_map(|seed| history::run(seed, sabotage, false).err().map(|what| (seed, what)))
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn no_history_breaks_an_invariant() {
    if let Some(seed) = number("SEED") {
        let result = history::run(seed, None, true);
        panic!(
            "SEED={seed} {}",
            result.map_or_else(|what| what, |served| format!("is good: {served} served"))
        );
    }
    let seeds = number("SEEDS").unwrap_or(4_000);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let found = std::thread::scope(|scope| {
        let share = seeds.div_ceil(threads);
        let parts: Vec<_> = (0..threads)
            .map(|n| scope.spawn(move || first_violation(n * share..seeds.min((n + 1) * share), None)))
            .collect();
        parts.into_iter().find_map(|part| part.join().expect("no panic in a history"))
    });
    if let Some((seed, what)) = found {
        panic!("SEED={seed} {what}");
    }
}

/// Each must be noticed, or the oracle is blind to it.
fn expect_noticed(sabotage: Sabotage, as_what: &str) {
    let noticed = |seed| history::run(seed, Some(sabotage), false).is_err_and(|what| what.contains(as_what));
    assert!((0..3_000).any(noticed), "{sabotage:?} is not noticed as {as_what:?}");
}

#[test]
fn a_gate_that_forgets_a_request_is_noticed() {
    expect_noticed(Sabotage::BrokenGate, "in flight");
}

#[test]
fn a_wake_up_that_is_dropped_is_noticed() {
    expect_noticed(Sabotage::DroppedWakeUp, "waits beyond its deadline");
}

#[test]
fn a_resume_that_is_sent_twice_is_noticed() {
    expect_noticed(Sabotage::DoubleResume, "two resumes under way");
}

#[test]
fn a_turn_to_start_that_is_never_given_back_is_noticed() {
    expect_noticed(Sabotage::LostTurn, "still has a turn");
}

#[test]
fn a_leader_that_does_not_wait_for_its_peers_is_noticed() {
    expect_noticed(Sabotage::NoAck, "suspended with");
}

#[test]
fn a_peer_that_acknowledges_and_goes_on_routing_is_noticed() {
    expect_noticed(Sabotage::NoFence, "suspended with");
}

#[test]
fn a_replica_that_routes_as_soon_as_it_has_started_is_noticed() {
    expect_noticed(Sabotage::NoJoin, "suspended with");
}

#[test]
fn a_status_that_is_believed_too_early_is_noticed() {
    expect_noticed(Sabotage::NoObs, "which Drowse has suspended");
}

#[test]
fn a_word_of_the_agent_that_is_not_heard_is_noticed() {
    expect_noticed(Sabotage::DeafToPing, "says it is at work");
}

#[test]
fn data_that_is_not_noted_is_noticed() {
    expect_noticed(Sabotage::UnnotedData, "within the idle timeout of data");
}

#[test]
fn data_that_is_passed_to_an_agent_that_falls_asleep_is_noticed() {
    expect_noticed(Sabotage::PassedData, "data went past a gate");
}
