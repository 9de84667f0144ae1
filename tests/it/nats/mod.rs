//! Agents that talk over NATS, with real servers and real clients.

mod activity;
mod api;
mod bad_input;
mod clients;
mod demo;
mod failures;
mod groups;
mod hand_over;
mod permissions;
mod replicas;
mod secure;
pub(crate) mod servers;
mod slow;
mod world;
