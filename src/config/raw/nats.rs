//! The section `nats` as it is written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{ByteSize, Count, HumanDuration, Timeout};

/// The message door: agents that talk over NATS. If the section is left out, there is none.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nats {
    /// The servers of one NATS cluster, as clients reach them: `nats://host:port`, or `tls://host:port`. A change
    /// anywhere in this section needs a restart.
    pub(crate) servers: Vec<String>,
    /// The same servers as leaf nodes reach them. If left out: the hosts of `servers` with port 7422.
    #[serde(default)]
    pub(crate) leaf_servers: Vec<String>,
    /// How Drowse signs in as a client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<SignIn>,
    /// How Drowse signs in as a leaf node. If left out: as a client does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) leaf: Option<SignIn>,
    /// TLS. If left out, the certificates that the system trusts are trusted; whether TLS is spoken says the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<Tls>,
    /// Where messages wait for their agent.
    #[serde(default)]
    pub(crate) hold: Hold,
    /// How often the servers are asked what their clients have received and sent.
    #[serde(default = "poll")]
    pub(crate) poll_every: Timeout,
    /// An agent that gets fewer messages a second than this is watched message by message, so that a request that it has
    /// not answered yet keeps it up.
    #[serde(default = "watch_below")]
    pub(crate) watch_below: Count,
    /// Starts of agents because of messages in one minute at most, from one sender. A sender is told by its inbox.
    #[serde(default = "wakes")]
    pub(crate) wakes_per_minute: Count,
}

fn poll() -> Timeout {
    Timeout::from_secs(5)
}

fn watch_below() -> Count {
    Count::at_least_one(10)
}

fn wakes() -> Count {
    Count::at_least_one(600)
}

/// Credentials. One kind at most.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SignIn {
    /// A user, with `password_file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    /// A file with the user's password. Relative to the folder of this file, as all others here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) password_file: Option<String>,
    /// A file with a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_file: Option<String>,
    /// A `.creds` file, as `nsc` writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) creds_file: Option<String>,
    /// A file with the seed of an nkey.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nkey_file: Option<String>,
}

/// TLS with NATS servers.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[allow(clippy::struct_field_names, reason = "keys that name files say so, here as everywhere")]
pub(crate) struct Tls {
    /// A PEM file with the authorities to trust, instead of the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<String>,
    /// A PEM file with our certificate, for servers that verify clients. With `key_file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cert_file: Option<String>,
    /// A PEM file with its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_file: Option<String>,
    /// On both ports the servers begin with TLS at once (`handshake_first: true` of nats-server).
    pub(crate) handshake_first: bool,
}

/// Where messages wait.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Hold {
    /// `auto`: in a stream of JetStream where there is one, so that they survive a crash of Drowse, else in memory;
    /// `memory`: never in a stream; `stream`: as `auto`, but the door of messages stays closed until there is a stream, which the
    /// log says, and `/readyz` does not. One that is deleted later is made anew; until that is done, messages wait in memory.
    pub(crate) store: HoldStore,
    /// The name of the stream; its subjects begin with the same name in lower case, with dots: `drowse.hold.>`.
    pub(crate) stream: String,
    /// Copies of the stream in the cluster, from 1 to 5.
    pub(crate) replicas: Count,
    /// How long a message waits for its agent, at most.
    pub(crate) timeout: HumanDuration,
    /// The memory that all waiting messages take at most.
    pub(crate) max_bytes: ByteSize,
}

/// Where messages wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HoldStore {
    /// In a stream if there can be one.
    Auto,
    /// In memory.
    Memory,
    /// In a stream.
    Stream,
}

impl Default for Hold {
    fn default() -> Self {
        Self {
            store: HoldStore::Auto,
            stream: "DROWSE_HOLD".to_owned(),
            replicas: Count::at_least_one(1),
            timeout: HumanDuration::from_secs(300),
            max_bytes: ByteSize::from_mib(256),
        }
    }
}
