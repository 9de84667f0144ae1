//! A leaf-node link to a NATS server: how Drowse becomes the subscriber of last resort.
//!
//! A server gives a message for a queue group to a member behind a leaf-node link only if no client of its own is a
//! member (nats-server's `server/client.go`, `processMsgResults`). The protocol is not one that servers offer to clients,
//! but it has been stable since 2.2; [`crate::nats`] checks at every start that it does what is needed.

pub mod codec;
pub mod link;
pub mod login;
pub mod session;
pub mod wanted;
