//! The section `backend` as it is written.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kubernetes::Kubernetes;
use crate::config::words::{Label, ProbePath};
use crate::units::{HumanDuration, Port};

/// What runs the agents: exactly one of these.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub(crate) struct Backend {
    /// Agents are processes on this machine, listed here. For trying Drowse and for development.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) process: Option<Process>,
    /// Agents are Agent Sandboxes of a Kubernetes cluster. Nothing is routed to and nothing managed unless a rule or
    /// `defaults` says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kubernetes: Option<Kubernetes>,
}

/// Agents as processes on this machine.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Process {
    /// The folder for the working directories and the logs of the agents. Relative to the folder of this file. A
    /// change needs a restart.
    pub(crate) state_dir: String,
    /// How long an agent may take to end after SIGTERM before it gets SIGKILL.
    pub(crate) stop_grace: HumanDuration,
    /// The agents. To be listed here is the opt-in: they are routed to and managed unless a rule says otherwise.
    pub(crate) agents: Vec<Agent>,
}

impl Default for Process {
    fn default() -> Self {
        Self { state_dir: ".drowse".into(), stop_grace: HumanDuration::from_secs(5), agents: Vec::new() }
    }
}

/// One agent.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Agent {
    /// Its name, once in its namespace: lower-case letters, digits and `-`.
    pub(crate) name: Label,
    /// Its namespace, of the same form.
    #[serde(default = "default_namespace")]
    pub(crate) namespace: Label,
    /// The program and its arguments. `{port}` is replaced by the port; a first word `drowse` means this very
    /// program. No shell is involved.
    #[schemars(length(min = 1))]
    pub(crate) command: Vec<String>,
    /// The TCP port on 127.0.0.1 that it listens on. No two agents share one.
    pub(crate) port: Port,
    /// Environment variables, besides those of Drowse. `{port}` is replaced here too.
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    /// The folder that it starts in; made if it does not exist. Relative to the folder of this file. If left out:
    /// `<state_dir>/<namespace>/<name>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) working_dir: Option<String>,
    /// How it is suspended: `stop` or `freeze`. Not `freeze` where `messages` are its own: a frozen process stays
    /// subscribed.
    #[serde(default)]
    pub(crate) suspend: Suspend,
    /// The path that is asked by `GET` whether the agent is ready, which it is with a status from 200 to 399. If left
    /// out, a port that takes connections will do after a start, and any answer to `GET /` after a freeze.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) probe: Option<ProbePath>,
    /// Labels, for rules to match.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    /// Rule keys for this agent alone, such as `drowse.dev/idle-timeout: 5m`; used where a rule or `defaults` says
    /// `allow_annotations: true`.
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
}

fn default_namespace() -> Label {
    Label("default".into())
}

/// How an agent is suspended.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Suspend {
    /// Its processes get SIGTERM, and SIGKILL after `stop_grace`. What it has on disk stays.
    #[default]
    Stop,
    /// Its processes stand still (SIGSTOP) and use no CPU. Their memory stays.
    Freeze,
}
