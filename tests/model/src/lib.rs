//! The suspend protocol for many replicas, exhausted: every state that the product's own decisions can reach together with the
//! world around them, as far as a configuration bounds it. The README of this folder says what is modelled.
//!
//! What decides is `lifecycle::Machine::handle`, compiled from the same files as in Drowse; only `time` is another.

// As a test of its own it would hold the tests of the files of `src`, which belong there.
#![cfg(not(test))]
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    reason = "of each part of Drowse only what decides is used"
)]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test program")]

#[path = "../../../src/agent.rs"]
mod agent;
mod backend;
#[path = "../../../src/lifecycle/mod.rs"]
mod lifecycle;
#[path = "../../../src/policy/mod.rs"]
mod policy;
#[path = "../../../src/units/mod.rs"]
mod units;
/// Where the gate finds its atomics.
mod sync {
    pub(crate) use std::sync::atomic;
}

mod model;
mod product;
pub mod setup;
mod state;
mod step;
mod symmetry;
mod time;
mod words;
mod world;

pub use model::{NOT_ASTRAY, NOT_STUCK, Protocol, RESUMED_ONCE, UNHARMED, Violation};
pub use setup::{Feature, Guard, Setup};
