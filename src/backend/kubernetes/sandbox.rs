//! A Sandbox as far as Drowse wants to know it. The pod template is looked at while it is parsed and not kept.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ManagedFieldsEntry, ObjectMeta};
use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::marks::{self, FIELD_MANAGER, PREFIX};
use super::pod::{Container, first_port};
use crate::agent::{AgentKey, AgentUid, Generation, Revision};
use crate::backend::Profile;
use crate::lifecycle::{AgentSeen, Failure, FailureClass, Mode, SuspendedBy};

/// The label of a Sandbox, and of its pod, that a warm pool owns (agent-sandbox `api/v1beta1/sandbox_types.go`).
/// It goes when the Sandbox is claimed.
const WARM_POOL_LABEL: &str = "agents.x-k8s.io/warm-pool-sandbox";

/// `spec` of a Sandbox, trimmed to what is used.
#[derive(CustomResource, Clone, Debug, Default, Serialize, Deserialize)]
#[kube(
    group = "agents.x-k8s.io",
    version = "v1beta1",
    kind = "Sandbox",
    plural = "sandboxes",
    namespaced,
    schema = "disabled",
    status = "SandboxStatus"
)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SandboxSpec {
    /// `Running` if left out.
    pub(super) operating_mode: OperatingMode,
    /// Of it only ports and network.
    pub(super) pod_template: PodTemplate,
}

/// What a Sandbox is asked to be (KEP-694).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) enum OperatingMode {
    /// A pod should run.
    #[default]
    Running,
    /// No pod should run.
    Suspended,
    /// A mode that a later version of agent-sandbox may know.
    #[serde(other)]
    Other,
}

/// The pod that a resume makes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct PodTemplate {
    /// Its spec.
    pub(super) spec: TemplateSpec,
}

/// Of a pod's spec, what tells how to reach it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct TemplateSpec {
    /// It shares the node's address with everything on the node.
    pub(super) host_network: bool,
    /// Its containers.
    pub(super) containers: Vec<Container>,
}

/// `status` of a Sandbox, trimmed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct SandboxStatus {
    /// All with the generation that they were observed at.
    pub(super) conditions: Vec<Condition>,
}

/// What is wrong with an object that the API server gave us.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Malformed {
    /// A field that every stored object has is not there.
    #[error("the API server sent an object without {0}")]
    Missing(&'static str),
    /// KEP-5504: since Kubernetes 1.35 resource versions are numbers that can be compared, and were before.
    #[error("resourceVersion {0:?} is not a number, so changes of objects cannot be put in order")]
    Revision(String),
}

/// The order of changes.
pub(super) fn revision(meta: &ObjectMeta) -> Result<Revision, Malformed> {
    let text = meta.resource_version.as_deref().ok_or(Malformed::Missing("resourceVersion"))?;
    text.parse().map(Revision).map_err(|_| Malformed::Revision(text.to_owned()))
}

/// The identity.
pub(super) fn uid(meta: &ObjectMeta) -> Result<Arc<str>, Malformed> {
    meta.uid.as_deref().map(Into::into).ok_or(Malformed::Missing("uid"))
}

/// `namespace/name`.
pub(super) fn key(meta: &ObjectMeta) -> Result<AgentKey, Malformed> {
    let namespace = meta.namespace.as_deref().ok_or(Malformed::Missing("namespace"))?;
    let name = meta.name.as_deref().ok_or(Malformed::Missing("name"))?;
    Ok(AgentKey::new(namespace, name))
}

/// Its state, for the core.
pub(super) fn seen(sandbox: &Sandbox) -> Result<AgentSeen, Malformed> {
    let meta = &sandbox.metadata;
    let generation = generation(meta.generation);
    let conditions = sandbox.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let observed = conditions.iter().map(|condition| self::generation(condition.observed_generation)).max();
    let (mode, suspended_by) = match sandbox.spec.operating_mode {
        OperatingMode::Running => (Mode::Running, SuspendedBy::Idle),
        OperatingMode::Suspended => (Mode::Suspended, suspended_by(meta)),
        // Whatever it is, somebody else has set it, and traffic must not undo it.
        OperatingMode::Other => (Mode::Suspended, SuspendedBy::Person),
    };
    Ok(AgentSeen {
        uid: AgentUid(uid(meta)?),
        revision: revision(meta)?,
        generation,
        observed: observed.unwrap_or_default(),
        mode,
        suspended_by,
        trouble: conditions.iter().find_map(|condition| trouble(condition, generation)).map(Box::new),
    })
}

/// What rules match on, and how to reach it.
pub(super) fn profile<'a>(sandbox: &'a Sandbox) -> Profile {
    let template = &sandbox.spec.pod_template.spec;
    let ours = |(name, value): (&'a String, &'a String)| {
        let key = name.strip_prefix(PREFIX).filter(|key| !marks::ALL.contains(key))?;
        Some((key, value.as_str()))
    };
    Profile {
        labels: sandbox.metadata.labels.as_ref().map(Into::into).unwrap_or_default(),
        annotations: sandbox.metadata.annotations.iter().flatten().filter_map(ours).collect(),
        port: first_port(&template.containers),
        only_port: template.host_network,
        hands_off: None,
    }
}

/// The claim that controls it.
pub(super) fn claim(meta: &ObjectMeta) -> Option<&str> {
    controller(meta, "SandboxClaim").map(|owner| owner.name.as_str())
}

/// Whether a warm pool owns it and nobody has claimed it.
pub(super) fn is_unclaimed(meta: &ObjectMeta) -> bool {
    let labelled = meta.labels.as_ref().is_some_and(|labels| labels.contains_key(WARM_POOL_LABEL));
    controller(meta, "SandboxWarmPool").is_some() || (labelled && claim(meta).is_none())
}

fn controller<'a>(
    meta: &'a ObjectMeta,
    kind: &str,
) -> Option<&'a k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true) && owner.kind == kind)
}

fn generation(number: Option<i64>) -> Generation {
    Generation(number.and_then(|number| u64::try_from(number).ok()).unwrap_or_default())
}

/// Our mark is believed only while nobody else has set the mode since: a person may have resumed it and suspended it
/// again, which leaves our mark where it is.
fn suspended_by(meta: &ObjectMeta) -> SuspendedBy {
    let marked = meta.annotations.as_ref().and_then(|all| all.get(marks::SUSPENDED_BY)).map(String::as_str);
    let mut owners = meta.managed_fields.iter().flatten().filter(|entry| owns_mode(entry)).peekable();
    let ours = owners.peek().is_some() && owners.all(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER));
    if ours && marked == Some(marks::IDLE) { SuspendedBy::Idle } else { SuspendedBy::Person }
}

fn owns_mode(entry: &ManagedFieldsEntry) -> bool {
    entry.fields_v1.as_ref().is_some_and(|fields| fields.0["f:spec"].get("f:operatingMode").is_some())
}

/// Why the controller cannot give it a pod, as of the newest spec.
fn trouble(condition: &Condition, generation: Generation) -> Option<Failure> {
    let current = self::generation(condition.observed_generation) >= generation;
    if condition.type_ != "Ready" || condition.status != "False" || !current {
        return None;
    }
    let message = condition.message.as_str();
    let class = match condition.reason.as_str() {
        "SandboxExpired" => FailureClass::Expired,
        "MultiplePods" => FailureClass::Admission,
        // The controller goes on trying, but until somebody does something it will get the same answer.
        "ReconcilerError" if message.contains("exceeded quota") => FailureClass::Quota,
        "ReconcilerError" if message.contains("forbidden") || message.contains("denied the request") => {
            FailureClass::Admission
        }
        // It tries again, and often that is enough.
        "ReconcilerError" => FailureClass::Scheduling,
        _ => return None,
    };
    Some(Failure::new(class, format!("{}: {message}", condition.reason)))
}

#[cfg(test)]
mod tests;
