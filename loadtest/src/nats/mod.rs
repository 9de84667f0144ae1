//! What the scenarios with messages share: a real nats-server on loopback addresses, and demo agents that talk over it.

pub(crate) mod agents;
pub(crate) mod monitor;
pub(crate) mod server;

pub(crate) use agents::Talker;
pub(crate) use server::Server;
