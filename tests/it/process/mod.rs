//! The process backend and its guards, with real processes.

mod configuration;
mod failures;
mod frozen;
mod guard;
mod identity;
mod lives;
mod world;
