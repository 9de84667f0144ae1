//! The process backend, its guards and the demo agent, with real processes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail where it stands")]

mod configuration;
mod demo;
mod failures;
mod guard;
mod identity;
mod lives;
mod world;
