//! Integration tests: the real program, real processes, real sockets. One binary, so one link step.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]

mod cli;
mod collide;
mod demo;
mod deploy;
mod ending;
mod event_streams;
mod freeze;
mod front_door;
mod http2;
mod keep_awake;
mod leases;
mod nats;
mod open_files;
mod ping;
mod process;
mod reload;
mod sdk;
mod sleep_and_wake;
mod status_page;
mod storm;
mod style;
mod suites;
mod support;
mod tooling;
mod upgrades;
