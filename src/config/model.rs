//! The configuration as the rest of the program uses it: checked, typed, with every default filled in.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use super::raw::{FindBy, HoldStore, LogFormat, Suspend};
use crate::agent::AgentKey;
use crate::backend::Profile;
use crate::backend::kubernetes::Options;
use crate::policy::rules::RuleSet;
use crate::units::HumanDuration;
use crate::{engine, nats};

/// A whole configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The file that it comes from, absolute.
    pub path: PathBuf,
    /// What runs the agents.
    pub backend: Backend,
    /// Where requests for agents come in.
    pub front_door: FrontDoor,
    /// The message door, if there is one.
    pub nats: Option<nats::settings::Settings>,
    /// Health checks and metrics.
    pub health: Health,
    /// Status page and API.
    pub admin: Admin,
    /// Bounds over all agents.
    pub limits: engine::Limits,
    /// Bytes of one held request's body that are read ahead at most (`limits.held_body`).
    pub held_body_bytes: usize,
    /// The global switch. Also in every policy that [`Config::rules`] gives.
    pub suspend: bool,
    /// What holds for which agent.
    pub rules: RuleSet,
    /// The log.
    pub log: Log,
}

impl Config {
    /// What is allowed and probably not meant: a sentence each, with what to write instead.
    pub fn warnings(&self) -> Vec<String> {
        let drain = self.front_door.drain_timeout;
        let (hold, from) = self.rules.longest_hold_timeout();
        let is_short = (drain < hold).then(|| {
            let (drain, hold) = (HumanDuration::from(drain), HumanDuration::from(hold));
            format!(
                "front_door.drain_timeout: {drain} is less than hold_timeout, {hold} ({from}), so that callers who wait for an \
                 agent when Drowse ends may be refused; write {hold} or more"
            )
        });
        is_short.into_iter().collect()
    }
}

/// What runs the agents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Backend {
    /// Processes on this machine.
    Process(ProcessBackend),
    /// Sandboxes of a cluster.
    Kubernetes(Options),
}

/// Agents as processes on this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProcessBackend {
    /// For working directories and logs; absolute.
    pub state_dir: PathBuf,
    /// Between SIGTERM and SIGKILL.
    pub stop_grace: Duration,
    /// The agents, in the order of the file. Names and ports are unique.
    pub agents: Vec<ProcessAgent>,
}

/// One agent as a process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProcessAgent {
    /// Its name.
    pub key: AgentKey,
    /// What to start.
    pub program: Program,
    /// Its arguments, `{port}` replaced.
    pub args: Vec<String>,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    /// Environment variables besides ours, `{port}` replaced.
    pub env: BTreeMap<String, String>,
    /// Where it starts; absolute. To be made if it does not exist.
    pub working_dir: PathBuf,
    /// How it is suspended.
    pub suspend: Suspend,
    /// The path that is asked whether it is ready; begins with a slash.
    pub probe: Option<String>,
    /// Labels, for rules.
    pub labels: BTreeMap<String, String>,
    /// Annotations, with `drowse.dev/` cut off.
    pub annotations: BTreeMap<String, String>,
}

impl ProcessAgent {
    /// What rules match on.
    pub fn profile(&self) -> Profile {
        Profile {
            labels: (&self.labels).into(),
            annotations: (&self.annotations).into(),
            port: Some(self.port),
            only_port: true,
            hands_off: None,
        }
    }
}

/// The program of an agent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Program {
    /// This very program (`drowse`).
    ThisProgram,
    /// A path (absolute; the file's relative ones are resolved against its folder), or a name to look up in `PATH`.
    Named(String),
}

/// The front door.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FrontDoor {
    /// Where it listens.
    pub listen: SocketAddr,
    /// For callers that speak TLS.
    pub tls: Option<FrontDoorTls>,
    /// The domain below which agents are found; lower case.
    pub domain: String,
    /// Whom it lets in.
    pub auth: Auth,
    /// How tokens are checked. Of use only with [`Backend::Kubernetes`].
    pub token_review: TokenReview,
    /// The ways to name an agent; at least one, none twice.
    pub find_by: Vec<FindBy>,
    /// Begins with a slash and does not end with one. There exactly if `find_by` has [`FindBy::Path`].
    pub path_prefix: Option<String>,
    /// The domain of the cluster; lower case.
    pub cluster_domain: String,
    /// For the head of a request. Not zero.
    pub head_timeout: Duration,
    /// For a connection without a request, and for a caller to take any of its answer. Not zero.
    pub idle_connection_timeout: Duration,
    /// Bytes of a request's head at most. From 8 KiB to 1 MiB.
    pub max_head_bytes: usize,
    /// Connections at once at most. Not zero.
    pub max_connections: usize,
    /// Requests at once on one connection of HTTP/2 at most. Not zero.
    pub max_streams: u32,
    /// For whoever sends callers here to notice that Drowse ends. May be zero.
    pub shutdown_delay: Duration,
    /// For requests in flight at the end. May be zero.
    pub drain_timeout: Duration,
}

/// TLS with callers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FrontDoorTls {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The certificate and its chain; absolute.
    pub cert_file: PathBuf,
    /// The private key; absolute.
    pub key_file: PathBuf,
}

/// Whom the front door lets in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Auth {
    /// Everybody.
    None,
    /// Whose token the API server accepts. Only with [`Backend::Kubernetes`].
    TokenReview,
}

/// How tokens are checked, those of callers and those of agents that take busy leases.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenReview {
    /// Audiences, none of them empty; an empty list stands for the API server's own.
    pub audiences: Vec<String>,
    /// How long an accepted token is accepted without asking again. Not zero.
    pub cache_for: Duration,
}

/// Health checks and metrics.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Health {
    /// Where they are served.
    pub listen: SocketAddr,
}

/// Status page and API.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Admin {
    /// Where they are served.
    pub listen: SocketAddr,
    /// The file with the token; absolute. Always there when `listen` is not a loopback address.
    pub token_file: Option<PathBuf>,
}

/// The log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Log {
    /// A good directive for `tracing_subscriber::EnvFilter`.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
}
