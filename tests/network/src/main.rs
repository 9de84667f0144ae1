//! The front door, the engine and the way to agents over a simulated network: the real code, with real HTTP, in virtual time.
//!
//! What runs is compiled from the same files as in Drowse; only `net`, which names the sockets, is another.
//! `drowse-network-history SEED [SABOTAGE]` runs one history, prints all that happens if there is a `TRACE`, and ends with what came
//! of it. Chance and clocks are replaced for the whole process, so each history has one of its own.

// As a test of its own it would hold the tests of the files of `src`, which belong there.
#![cfg(not(test))]
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    reason = "of each part of Drowse only what serves is used"
)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::similar_names,
    clippy::unwrap_used,
    reason = "a test program"
)]
#![allow(
    clippy::unnecessary_wraps,
    clippy::unused_self,
    reason = "what is the interface of Drowse is none here"
)]

#[path = "../../../src/agent.rs"]
mod agent;
mod backend;
#[path = "../../../src/engine/mod.rs"]
mod engine;
#[path = "../../../src/lifecycle/mod.rs"]
mod lifecycle;
#[path = "../../../src/metrics/mod.rs"]
mod metrics;
mod net;
#[path = "../../../src/pem.rs"]
mod pem;
#[path = "../../../src/policy/mod.rs"]
mod policy;
#[path = "../../../src/proxy/mod.rs"]
mod proxy;
#[path = "../../../src/time.rs"]
mod time;
#[path = "../../../src/units/mod.rs"]
mod units;
#[path = "../../../src/upstream/mod.rs"]
mod upstream;
/// Where the gate finds its atomics.
mod sync {
    pub(crate) use std::sync::atomic;
}

/// What joins the watches is the product's, too.
#[path = "../../../src/backend/kubernetes"]
mod kubernetes {
    mod index;
    #[path = "../../../tests/network/src/sandboxes.rs"]
    pub(crate) mod sandboxes;
}
mod api;
mod callers;
mod cluster;
mod history;
mod nodes;
mod oracle;
mod plan;
mod replica;
mod wire;
mod world;

use std::sync::OnceLock;

use rand::SeedableRng;

use history::run;
use plan::Sabotage;

static PANIC: OnceLock<String> = OnceLock::new();

fn main() {
    let mut arguments = std::env::args().skip(1);
    let seed: u64 = arguments.next().and_then(|text| text.parse().ok()).expect("SEED");
    let sabotage = arguments.next().map(|name| Sabotage::named(&name).expect("SABOTAGE"));
    let trace = std::env::var_os("TRACE").is_some();
    // What hash maps and tokio draw comes from here, too.
    mad_turmoil::rand::set_rng(rand::rngs::StdRng::seed_from_u64(seed));
    let _clocks = mad_turmoil::time::SimClocksGuard::init();
    if trace {
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .without_time()
            .with_writer(std::io::stderr)
            .init();
    }
    // One in a task would go unheard.
    std::panic::set_hook(Box::new(|panic| {
        let _first_counts = PANIC.set(panic.to_string());
    }));
    let summary = run(seed, sabotage, trace);
    for line in &summary.lines {
        println!("{line}");
    }
    let panic = PANIC.get().map(|panic| format!("panicked: {panic}"));
    let verdict = panic.or(summary.violation).unwrap_or_else(|| "good".to_owned());
    println!(
        "seed={seed} served={} of={} excused={} happenings={} hash={:016x} {}",
        summary.served,
        summary.requests,
        summary.excused,
        summary.happenings,
        summary.hash,
        verdict.replace('\n', " ")
    );
}
