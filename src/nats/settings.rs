//! What the message door needs to know: the section `nats` of the configuration, checked.

use std::path::PathBuf;
use std::time::Duration;

use super::address::ServerAddress;
use super::credentials::CredentialsSource;
pub use crate::config::HoldStore;

/// The section `nats`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Servers as clients reach them; at least one.
    pub servers: Vec<ServerAddress>,
    /// Servers as leaf nodes reach them; at least one.
    pub leaf_servers: Vec<ServerAddress>,
    /// How to sign in as a client.
    pub client: CredentialsSource,
    /// How to sign in as a leaf node.
    pub leaf: CredentialsSource,
    /// TLS.
    pub tls: TlsFiles,
    /// Where messages wait.
    pub hold: HoldSettings,
    /// Between two looks at the servers' counters. Not zero.
    pub poll_every: Duration,
    /// Messages a second, below which an agent is watched message by message.
    pub watch_below: u32,
    /// Starts in a minute at most, for one sender.
    pub wakes_per_minute: u32,
}

/// Files for TLS.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TlsFiles {
    /// Authorities to trust; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// Our certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Where messages wait.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HoldSettings {
    /// Memory or stream.
    pub store: HoldStore,
    /// The name of the stream.
    pub stream: String,
    /// Copies of it.
    pub replicas: usize,
    /// How long a message waits at most.
    pub timeout: Duration,
    /// What all of them take at most, in bytes.
    pub max_bytes: u64,
}
