//! What replicas tell each other of agents, as it is written. Times are lengths of time: no clock but one's own is believed.

use serde::{Deserialize, Serialize};

/// One message of a replica. Unknown keys are ignored, so that replicas of two versions understand each other.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct News {
    /// The process that says so: another one after a restart.
    pub run: String,
    /// Counts the messages of this process, from 0.
    pub number: u64,
    /// The others are asked to say all they know.
    #[serde(default, skip_serializing_if = "is_default")]
    pub hello: bool,
    /// Of agents whose activity has changed, or goes on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<Report>,
    /// Busy leases that have changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leases: Vec<LeaseReport>,
}

/// How one agent is used by way of the replica that says so.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// `namespace/name`.
    pub agent: String,
    /// Requests in flight.
    #[serde(default, skip_serializing_if = "is_default")]
    pub in_flight: u32,
    /// Callers that wait.
    #[serde(default, skip_serializing_if = "is_default")]
    pub held: u32,
    /// Messages that wait.
    #[serde(default, skip_serializing_if = "is_default")]
    pub messages: u32,
    /// Open connections without a request.
    #[serde(default, skip_serializing_if = "is_default")]
    pub connections: u32,
    /// Something besides requests and callers keeps it up now.
    #[serde(default, skip_serializing_if = "is_default")]
    pub kept: bool,
    /// Milliseconds since its last activity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_ago: Option<u64>,
    /// What that was, as `explain` names it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
}

/// A busy lease after its last order. What is told once more changes nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LeaseReport {
    /// `namespace/name`.
    pub agent: String,
    /// Its id.
    pub id: String,
    /// Why the agent is busy.
    #[serde(default)]
    pub reason: String,
    /// Milliseconds since it was taken.
    pub age: u64,
    /// Milliseconds until it ends, or would have.
    pub left: u64,
    /// It was ended before that.
    #[serde(default, skip_serializing_if = "is_default")]
    pub ended: bool,
    /// Which of two words on a lease is the later one: the one with the greater number, then with the greater `by`.
    pub number: u64,
    /// The replica that carried out the order.
    pub by: String,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
