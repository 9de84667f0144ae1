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
    /// The last activity that was seen, by this replica or another; absent if none was since Drowse started.
    pub last_activity: Option<Timestamp>,
    /// Requests in flight, at all replicas.
    pub in_flight: u32,
    /// Callers that wait for it, at all replicas.
    pub held: u32,
    /// Messages that wait for it.
    #[serde(default)]
    pub messages_waiting: u32,
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
    /// Connections to it that are open and carry no HTTP any more.
    #[serde(default)]
    pub open_connections: u32,
    /// When data last moved on one; absent if none did since Drowse started.
    #[serde(default)]
    pub last_data: Option<Timestamp>,
    /// How it is used by way of other replicas; the numbers above have that in them.
    #[serde(default)]
    pub elsewhere: Vec<ElsewhereView>,
    /// Other replicas that were not heard of for too long: what they do is not in these numbers.
    #[serde(default)]
    pub silent: Vec<SilentView>,
    /// The failure of the last start, if it failed.
    pub failure: Option<FailureView>,
    /// The address of the pod in use.
    pub address: Option<String>,
    /// The last lines that the agent logged, oldest first; only while something is wrong with it.
    pub log: Vec<String>,
    /// The policy in force, a line a key.
    pub policy: Vec<PolicyKeyView>,
    /// The key of it that answers "why is it treated like this", if there is one.
    #[serde(default)]
    pub decided_by: Option<PolicyKeyView>,
    /// What happened to it lately, newest first, as far as that is remembered.
    #[serde(default)]
    pub recent: Vec<HappeningView>,
    /// Why callers were sent away lately, newest first.
    #[serde(default)]
    pub refusals: Vec<RefusalView>,
}

/// The fleet at a glance and a page of its agents, as `/api/v1/overview` gives them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// What Drowse's clock says.
    pub now: Timestamp,
    /// Since when it runs.
    pub started: Timestamp,
    /// Which version it is.
    pub version: String,
    /// What an operator should know before anything else.
    pub notices: Vec<String>,
    /// How many agents there are.
    pub total: usize,
    /// Those that are searched for, by phase.
    pub phases: Vec<PhaseCount>,
    /// Callers that wait, for all agents.
    pub held: u64,
    /// Messages that wait, for all agents.
    pub messages_waiting: u64,
    /// Requests in flight, to all agents.
    pub in_flight: u64,
    /// The namespaces that have agents, as far as they can be listed.
    pub namespaces: Vec<String>,
    /// How long agents took to wake.
    pub wakes: WakesView,
    /// How many agents are wanted, of which `agents` is a part.
    pub matched: usize,
    /// How many of them come before that part.
    pub offset: usize,
    /// That part.
    pub agents: Vec<AgentRow>,
}

/// How many agents are in one phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseCount {
    /// The phase.
    pub phase: PhaseName,
    /// How many.
    pub agents: usize,
}

/// One agent in an overview.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentRow {
    /// As everywhere.
    #[serde(flatten)]
    pub agent: AgentView,
    /// How long it took to come up the last time, as far as that is remembered.
    pub last_wake_ms: Option<f64>,
}

/// The starts that ended lately.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WakesView {
    /// How many ended well.
    pub count: usize,
    /// How many failed.
    pub failed: usize,
    /// Half of those that ended well took no longer.
    pub p50_ms: Option<f64>,
    /// Nine of ten took no longer.
    pub p90_ms: Option<f64>,
    /// All but one in a hundred took no longer.
    pub p99_ms: Option<f64>,
    /// The last ones, newest first.
    pub last: Vec<WakeView>,
}

/// A start that ended well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WakeView {
    /// When it ended.
    pub at: Timestamp,
    /// Whose.
    pub namespace: String,
    /// Whose.
    pub name: String,
    /// From its begin to the agent's first answer.
    pub took_ms: f64,
}

/// Something that happened to an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HappeningView {
    /// When.
    pub at: Timestamp,
    /// What, in a few words.
    pub what: String,
    /// How long that took; absent if it is not a start.
    pub took_ms: Option<f64>,
}

/// Callers who were sent away for one reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefusalView {
    /// The last of them.
    pub last: Timestamp,
    /// How many there were.
    pub times: u64,
    /// Why.
    pub why: String,
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

/// How an agent is used by way of another replica.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ElsewhereView {
    /// Its pod.
    pub replica: String,
    /// Requests in flight there.
    pub in_flight: u32,
    /// Callers that wait there.
    pub held: u32,
    /// Messages that wait there.
    pub messages_waiting: u32,
    /// Open connections there.
    pub open_connections: u32,
    /// The last activity there; absent if none is known.
    pub last_activity: Option<Timestamp>,
    /// What that was.
    pub source: Option<String>,
    /// When it last said so.
    pub heard: Timestamp,
}

/// A replica that takes part and is not heard of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SilentView {
    /// Its pod.
    pub replica: String,
    /// Since when nothing is known of what it does.
    pub since: Timestamp,
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

impl AgentView {
    /// Which key of its policy answers "why is it treated like this".
    pub(super) fn decided_by<'a>(&self, policy: &'a [PolicyKeyView]) -> Option<&'a PolicyKeyView> {
        let key = |name| policy.iter().find(|key| key.key == name);
        let is_on = |name| key(name).filter(|key| key.value == "true");
        if !self.managed {
            return key("manage");
        }
        match self.phase {
            PhaseName::Running | PhaseName::Draining => is_on("dry_run").or_else(|| key("idle_timeout")),
            PhaseName::Suspending | PhaseName::Suspended => {
                is_on("resume_user_suspended").or_else(|| key("idle_timeout"))
            }
            PhaseName::Unknown | PhaseName::Resuming | PhaseName::Failed => None,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decides_is_the_key_to_edit() {
        let key = |key: &str, value: &str| PolicyKeyView {
            key: key.to_owned(),
            value: value.to_owned(),
            from: "built in".to_owned(),
        };
        let mut policy = vec![key("manage", "true"), key("idle_timeout", "1m"), key("dry_run", "false")];
        let decided = |phase, managed, policy: &[PolicyKeyView]| {
            let agent = AgentView {
                namespace: "default".to_owned(),
                name: "echo".to_owned(),
                phase,
                since: Timestamp::UNIX_EPOCH,
                last_activity: None,
                in_flight: 0,
                held: 0,
                messages_waiting: 0,
                idle_deadline: None,
                reason: String::new(),
                managed,
            };
            agent.decided_by(policy).map(|key| key.key.clone())
        };
        assert_eq!(decided(PhaseName::Suspended, false, &policy).as_deref(), Some("manage"));
        assert_eq!(decided(PhaseName::Suspended, true, &policy).as_deref(), Some("idle_timeout"));
        assert_eq!(decided(PhaseName::Failed, true, &policy), None, "the failure says it");
        policy[2].value = "true".to_owned();
        assert_eq!(decided(PhaseName::Running, true, &policy).as_deref(), Some("dry_run"));
    }
}
