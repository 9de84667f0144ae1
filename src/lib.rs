//! Drowse lets idle AI agents sleep and wakes them when somebody calls.
//!
//! ARCHITECTURE.md has the map; `lifecycle` is the place to start reading.

pub mod admin;
pub mod agent;
pub mod app;
pub mod backend;
pub mod cli;
pub mod config;
pub mod coordination;
pub mod demo;
pub mod engine;
pub mod lifecycle;
pub mod metrics;
pub mod nats;
pub mod net;
pub mod open_files;
pub(crate) mod pem;
pub mod policy;
pub mod proxy;
pub mod telemetry;
pub mod time;
pub mod units;
pub mod upstream;

/// Where the gate finds its atomics. The loom tests compile the gate in a crate whose `sync` is loom's.
pub(crate) mod sync {
    pub(crate) use std::sync::atomic;
}
