//! Drowse on a real cluster: a real API server, agent-sandbox's own controller, a real node. Run by `make test`, or with
//! a cluster that is up: `eval "$(target/debug/drowse-cluster env)"`, then `scripts/e2e`.
//! Those of `incluster::chaos` kill what all the others need, and so run by themselves.
//!
//! Every test has a namespace and a Drowse of its own, which signs in with the permissions of `deploy/` and no others.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]

mod auth;
mod incluster;
mod leases;
mod outage;
mod people;
mod pitfalls;
mod pools;
mod preconditions;
mod protocols;
mod reuse;
mod sdk;
mod sleep_and_wake;
mod support;
