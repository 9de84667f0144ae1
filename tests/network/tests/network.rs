//! Runs histories of the whole program over a simulated network, and checks what its callers and its agents see.
//!
//! `SEEDS=n` runs that many; `SEED=n` runs one and prints all that happened. Each has a process of its own.

#![allow(missing_docs, clippy::expect_used, reason = "a test program")]

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Seconds after which a history hangs: it takes less than one.
const HANGS_AFTER: &str = "120";

/// Runs one, and gives what it says: with its trace, or just what came of it.
fn run(seed: u64, sabotage: Option<&str>, trace: bool) -> String {
    let mut command = Command::new("timeout");
    command.arg(HANGS_AFTER).arg(env!("CARGO_BIN_EXE_drowse-network-history")).arg(seed.to_string());
    command.args(sabotage).env_remove("TRACE");
    if trace {
        command.env("TRACE", "1");
    }
    let output = command.output().expect("the history can be started");
    let said = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    if output.status.success() { said } else { format!("{said} ended badly: {}", output.status) }
}

fn is_good(told: &str) -> bool {
    told.ends_with(" good")
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// Runs all of these, as many at once as there are processors, until one is not good.
fn first_violation(seeds: u64) -> Option<String> {
    let (next, found) = (AtomicU64::new(0), AtomicBool::new(false));
    let work = || {
        while !found.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return None;
            }
            let told = run(seed, None, false);
            if !is_good(&told) {
                found.store(true, Ordering::Relaxed);
                return Some(told);
            }
        }
        None
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let found: Vec<_> =
            workers.into_iter().filter_map(|worker| worker.join().expect("no panic here")).collect();
        found.into_iter().next()
    })
}

#[test]
fn no_history_breaks_an_invariant() {
    if let Some(seed) = number("SEED") {
        panic!("{}", run(seed, std::env::var("SABOTAGE").ok().as_deref(), true));
    }
    if let Some(told) = first_violation(number("SEEDS").unwrap_or(160)) {
        panic!("{told}");
    }
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let mut all = Vec::new();
    for seed in 1_000_000..1_000_012 {
        let (once, again) = (run(seed, None, false), run(seed, None, false));
        assert_eq!(once, again);
        assert!(!all.contains(&once));
        all.push(once);
    }
}

/// Each must be noticed, or the oracle is blind to it.
fn expect_noticed(sabotage: &str, as_what: &str) {
    let noticed = |seed| run(seed, Some(sabotage), false).contains(as_what);
    assert!((0..150).any(noticed), "{sabotage} is not noticed as {as_what:?}");
}

#[test]
fn a_leader_that_does_not_wait_for_its_peers_is_noticed() {
    expect_noticed("NoAck", "in flight when its agent was suspended");
}

#[test]
fn a_peer_that_agrees_and_goes_on_routing_is_noticed() {
    expect_noticed("NoFence", "in flight when its agent was suspended");
}

#[test]
fn a_status_that_is_believed_too_early_is_noticed() {
    expect_noticed("NoObs", "in flight when its agent was suspended");
}

#[test]
fn an_address_that_is_believed_without_a_look_is_noticed() {
    expect_noticed("NoIdent", "reached agent");
}

#[test]
fn a_suspension_that_is_written_whatever_happened_is_noticed() {
    expect_noticed("NoPrecondition", "in flight when its agent was suspended");
}

#[test]
fn a_request_that_is_sent_twice_is_noticed() {
    expect_noticed("Echo", "executed twice");
}

#[test]
fn a_resume_that_is_lost_is_noticed() {
    expect_noticed("LostResume", "nothing explains it");
}

#[test]
fn an_agent_that_never_answers_is_noticed() {
    expect_noticed("Mute", "does not end");
}

#[test]
fn an_agent_that_is_never_suspended_is_noticed() {
    expect_noticed("NoLeader", "still up");
}
