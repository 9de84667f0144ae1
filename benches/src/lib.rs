//! What the benchmarks measure: the parts of Drowse's core, each as something that can be done a number of times. The README of
//! this folder says how to read the figures.

#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a benchmark ends when something is not as it must be"
)]

pub mod agent;
pub mod backend;
pub mod cycle;
pub mod fleet;
pub mod goal;
pub mod heads;
pub mod hold;
pub mod instructions;
pub mod memory;
pub mod million;
mod seen;
pub mod world;

/// One thread does all, so that what is measured is one after the other.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}
