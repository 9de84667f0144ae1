//! The message door: agents that talk over NATS sleep and wake without losing a message.
//!
//! Drowse is the subscriber of last resort for every agent that a rule names: see [`leaf`]. What comes there is held,
//! the agent is woken, and the messages are sent on when it subscribes.

pub mod address;
mod advice;
mod client;
pub mod counters;
pub mod credentials;
pub mod directory;
pub mod door;
pub mod groups;
pub mod headers;
pub mod leaf;
pub mod mailbox;
pub mod requester;
pub mod requests;
pub mod services;
pub mod settings;
pub mod stored;
mod thread;
mod tls;
pub mod wakes;
