//! The file as it is written. The schema, the reference and the defaults come from here: the comments of the
//! fields are what users read.

mod kubernetes;
mod nats;
mod process;
mod rules;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use kubernetes::Kubernetes;
pub use nats::HoldStore;
pub(crate) use nats::{Nats, SignIn, Tls as NatsTls};
pub use process::Suspend;
pub(crate) use process::{Agent, Backend, Process};
pub(crate) use rules::{Defaults, Match, Rule};

use super::words::{Domain, Listen, LogFilter, PathPrefix, Switch};
use crate::units::{ByteSize, Count, HumanDuration, Timeout};

/// The configuration of Drowse: one YAML file. Whatever is left out has its default; an unknown key is refused.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Drowse configuration")]
pub(crate) struct File {
    /// What runs the agents. Exactly one kind must be named. A change of the kind needs a restart.
    pub(crate) backend: Backend,
    /// Where requests for agents come in.
    #[serde(default)]
    pub(crate) front_door: FrontDoor,
    /// The message door: agents that talk over NATS. If left out, there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) nats: Option<Nats>,
    /// Where the kubelet and Prometheus ask: `/healthz`, `/readyz`, `/metrics`.
    #[serde(default)]
    pub(crate) health: Health,
    /// The status page, the API and the command line's way in.
    #[serde(default)]
    pub(crate) admin: Admin,
    /// Bounds over all agents together.
    #[serde(default)]
    pub(crate) limits: Limits,
    /// The one switch: `off` stops all suspensions at once. Sleeping agents are still woken.
    #[serde(default = "on")]
    pub(crate) suspend: Switch,
    /// What holds for every agent, unless a rule says otherwise.
    #[serde(default)]
    pub(crate) defaults: Defaults,
    /// What holds for some agents. For each key, the first rule that matches the agent and names the key wins.
    #[serde(default)]
    pub(crate) rules: Vec<Rule>,
    /// What Drowse says about itself.
    #[serde(default)]
    pub(crate) telemetry: Telemetry,
}

fn on() -> Switch {
    Switch(true)
}

/// The front door.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FrontDoor {
    /// The address for requests to agents. A change needs a restart.
    pub(crate) listen: Listen,
    /// A second address, for callers that speak TLS. If left out, there is none. A change needs a restart; files whose
    /// content changes are read again by themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<FrontDoorTls>,
    /// Agents are found at `<agent>.<namespace>.<domain>`, and take busy leases at `drowse.<domain>`.
    pub(crate) domain: Domain,
    /// Whom the front door lets in. Must be written out with `backend.kubernetes`; with `backend.process` it is `none`.
    /// A change needs a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) auth: Option<Auth>,
    /// With `backend.kubernetes`: how tokens are checked, those of callers with `auth: token_review`, and those of agents
    /// that take busy leases. A change needs a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_review: Option<TokenReview>,
    /// The ways to name an agent in a request. One that names two different agents is refused.
    pub(crate) find_by: Vec<FindBy>,
    /// With `path` in `find_by`: agents are found at `<path_prefix>/<namespace>/<agent>/<port>/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path_prefix: Option<PathPrefix>,
    /// With `service` in `find_by`: agents are found at `<agent>.<namespace>.svc.<cluster_domain>`.
    pub(crate) cluster_domain: Domain,
    /// How long a caller may take to send the head of a request; and the body of one for a busy lease.
    pub(crate) head_timeout: Timeout,
    /// How long a connection of a caller may stay open without a request, and an answer may wait for its caller to take any of it.
    pub(crate) idle_connection_timeout: Timeout,
    /// The size of a request's head (its first line and its header fields) at most. From 8KiB to 1MiB.
    pub(crate) max_head: ByteSize,
    /// Connections of callers at once at most.
    pub(crate) max_connections: Count,
    /// Requests at once on one connection of HTTP/2 at most. Applies to new connections.
    pub(crate) max_streams: Count,
    /// How long callers are still taken when Drowse is told to stop. `/readyz` fails from the first moment, and this is the
    /// time for those who send callers here to notice. If left out, 5s with `backend.kubernetes`, and 0s with `backend.process`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shutdown_delay: Option<HumanDuration>,
    /// How long requests in flight and held ones may take to end after that, and open connections. Not less than `hold_timeout`,
    /// or callers who wait for an agent are refused.
    pub(crate) drain_timeout: HumanDuration,
}

impl Default for FrontDoor {
    fn default() -> Self {
        Self {
            listen: local(8080),
            tls: None,
            domain: Domain("agents.localhost".into()),
            auth: None,
            token_review: None,
            find_by: vec![FindBy::Header, FindBy::Host],
            path_prefix: None,
            cluster_domain: Domain("cluster.local".into()),
            head_timeout: Timeout::from_secs(10),
            idle_connection_timeout: Timeout::from_secs(120),
            max_head: ByteSize::from_kib(64),
            max_connections: Count::at_least_one(10_000),
            max_streams: Count::at_least_one(200),
            shutdown_delay: None,
            drain_timeout: HumanDuration::from_secs(60),
        }
    }
}

/// Callers that speak TLS: HTTP/2 and HTTP/1.1, as agreed on by ALPN.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FrontDoorTls {
    /// The address for them.
    #[serde(default = "tls_listen")]
    pub(crate) listen: Listen,
    /// A PEM file with the certificate, and those of the authorities between it and a known one behind it. Relative to the
    /// folder of this file.
    pub(crate) cert_file: String,
    /// A PEM file with its private key.
    pub(crate) key_file: String,
}

fn tls_listen() -> Listen {
    local(8443)
}

/// Whom the front door lets in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Auth {
    /// Whoever can reach it.
    None,
    /// Whoever sends `Authorization: Bearer <token>` with a token that the API server accepts (`TokenReview`). Agents do
    /// not get to see it.
    TokenReview,
}

/// How tokens are checked.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TokenReview {
    /// A token must be for one of these audiences; if empty, for the API server itself.
    pub(crate) audiences: Vec<String>,
    /// How long a token that was accepted is accepted without asking again, and so at most goes on after it was
    /// revoked. One that was refused is refused for this long too, but not longer than 5 seconds.
    pub(crate) cache_for: Timeout,
}

impl Default for TokenReview {
    fn default() -> Self {
        Self { audiences: Vec::new(), cache_for: Timeout::from_secs(30) }
    }
}

fn local(port: u16) -> Listen {
    Listen(std::net::SocketAddr::from(([127, 0, 0, 1], port)))
}

/// A way to name an agent in a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FindBy {
    /// The header `X-Sandbox-ID`, with `X-Sandbox-Namespace` and `X-Sandbox-Port`.
    Header,
    /// The host `<agent>.<namespace>.<domain>`, or `<port>--<agent>.<namespace>.<domain>`.
    Host,
    /// The path `<path_prefix>/<namespace>/<agent>/<port>/<rest>`.
    Path,
    /// The host `<agent>.<namespace>.svc` or `<agent>.<namespace>.svc.<cluster_domain>`.
    Service,
}

/// Health and metrics.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Health {
    /// The address for health checks and metrics. A change needs a restart.
    pub(crate) listen: Listen,
}

impl Default for Health {
    fn default() -> Self {
        Self { listen: local(8081) }
    }
}

/// The admin side.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Admin {
    /// The address of the status page and the API. A change needs a restart.
    pub(crate) listen: Listen,
    /// A file with the token that callers must send as `Authorization: Bearer <token>`. Relative to the folder of
    /// this file. Required when `listen` is not a loopback address. A change needs a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_file: Option<String>,
}

impl Default for Admin {
    fn default() -> Self {
        Self { listen: local(9090), token_file: None }
    }
}

/// Bounds over all agents.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// Callers that wait for an agent at most.
    pub(crate) held: Count,
    /// How much of the body of a waiting request is read ahead; the rest stays with the caller.
    pub(crate) held_body: ByteSize,
    /// How much of the bodies of all waiting requests is read ahead at most.
    pub(crate) held_body_total: ByteSize,
    /// Agents that start at once at most.
    pub(crate) starts_in_flight: Count,
    /// Agents of one namespace that start at once at most.
    pub(crate) starts_per_namespace: Count,
    /// Starts begun in one second at most.
    pub(crate) starts_per_second: Count,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            held: Count::at_least_one(10_000),
            held_body: ByteSize::from_kib(64),
            held_body_total: ByteSize::from_mib(256),
            starts_in_flight: Count::at_least_one(64),
            starts_per_namespace: Count::at_least_one(32),
            starts_per_second: Count::at_least_one(100),
        }
    }
}

/// What Drowse says about itself.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Telemetry {
    /// The log, on standard error.
    pub(crate) log: Log,
}

/// The log.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// What is logged: `error`, `warn`, `info`, `debug` or `trace`, or for parts of the program such as
    /// `warn,drowse=debug`.
    pub(crate) level: LogFilter,
    /// How a line looks. A change needs a restart.
    pub(crate) format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: LogFilter("info".into()), format: LogFormat::Text }
    }
}

/// How a line of the log looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}
