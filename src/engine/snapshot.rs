//! What the API, the command line and the status page show of an agent.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::lifecycle::PhaseName;

/// One agent as `/api/v1/agents` lists it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentView {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Where it is in its life.
    pub phase: PhaseName,
    /// Since when it is in this phase.
    pub since: Timestamp,
    /// The last activity that was seen; absent if none was since Drowse started.
    pub last_activity: Option<Timestamp>,
    /// Requests in flight.
    pub in_flight: u32,
    /// Callers that wait for it.
    pub held: u32,
    /// When it will be suspended if nothing happens; absent if it will not, or sleeps.
    pub idle_deadline: Option<Timestamp>,
    /// One sentence: what keeps it up, or why it sleeps.
    pub reason: String,
    /// Whether Drowse suspends and resumes it.
    pub managed: bool,
}

/// One agent explained, as `/api/v1/agents/{namespace}/{name}` and `drowse explain` give it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentDetail {
    /// The same as in the list.
    #[serde(flatten)]
    pub agent: AgentView,
    /// Every source of activity, and what it says.
    pub signals: Vec<SignalView>,
    /// The busy leases that last.
    #[serde(default)]
    pub leases: Vec<LeaseView>,
    /// The subjects whose messages wake it.
    #[serde(default)]
    pub subjects: Vec<String>,
    /// Somebody takes them in its name.
    #[serde(default)]
    pub subscribed: bool,
    /// How many of them wait for it.
    #[serde(default)]
    pub messages_waiting: u32,
    /// Connections to it that are open and carry no HTTP any more.
    #[serde(default)]
    pub open_connections: u32,
    /// When data last moved on one; absent if none did since Drowse started.
    #[serde(default)]
    pub last_data: Option<Timestamp>,
    /// The failure of the last start, if it failed.
    pub failure: Option<FailureView>,
    /// The address of the pod in use.
    pub address: Option<String>,
    /// The last lines that the agent logged, oldest first; only while something is wrong with it.
    pub log: Vec<String>,
    /// The policy in force, a line a key.
    pub policy: Vec<PolicyKeyView>,
}

/// What one source of activity says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignalView {
    /// Which source.
    pub source: String,
    /// What it says, in one sentence.
    pub says: String,
    /// Until when it keeps the agent up; absent if it does not, or if that is open.
    pub until: Option<Timestamp>,
    /// Whether it keeps the agent up now.
    pub active: bool,
}

/// A busy lease.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaseView {
    /// What it is known by.
    pub id: String,
    /// Why the agent is busy, as its holder says.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// When it ends unless it is renewed.
    pub until: Timestamp,
}

/// The answer to an order for a lease.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaseAnswer {
    /// The leases that it is about.
    pub leases: Vec<LeaseView>,
    /// Where the agent is in its life just after. A lease that comes too late to keep it up lasts all the same, and counts
    /// when it is up again.
    pub phase: PhaseName,
}

/// A failed start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureView {
    /// The kind of failure.
    pub class: String,
    /// What was seen.
    pub detail: String,
    /// How many starts in a row failed.
    pub attempts: u32,
    /// No new attempt before this.
    pub retry_at: Option<Timestamp>,
}

/// One key of the policy, and where its value comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyKeyView {
    /// The rule key.
    pub key: String,
    /// Its value, as it would be written in the file.
    pub value: String,
    /// Where it comes from: `built in`, `defaults`, `rules[2]`, `annotation drowse.dev/idle-timeout`.
    pub from: String,
}
