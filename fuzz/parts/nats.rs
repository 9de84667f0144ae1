//! What servers and senders say, and what a configuration says about them.

#[path = "../../src/nats/address.rs"]
pub mod address;
#[path = "../../src/nats/credentials.rs"]
pub mod credentials;
#[path = "../../src/nats/settings.rs"]
pub mod settings;
