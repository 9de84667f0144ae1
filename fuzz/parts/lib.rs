//! The parts of Drowse that read, as a library of the same name: the same files, without all that they are part of, so that they
//! are built in a minute.

#![allow(dead_code, unused_imports, reason = "of each part only what reads is tried")]

#[path = "../../src/agent.rs"]
pub mod agent;
pub mod backend;
#[path = "../../src/config/mod.rs"]
pub mod config;
pub mod engine;
pub mod nats;
#[path = "../../src/policy/mod.rs"]
pub mod policy;
pub mod proxy;
#[path = "../../src/telemetry.rs"]
pub mod telemetry;
#[path = "../../src/time.rs"]
pub mod time;
#[path = "../../src/units/mod.rs"]
pub mod units;
