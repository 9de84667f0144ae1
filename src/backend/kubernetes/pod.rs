//! A pod of a Sandbox as far as Drowse wants to know it: whose it is, where it is, and what became of it.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::{Deserialize, Serialize};

use super::sandbox::{Malformed, revision, uid};
use crate::agent::{AgentKey, AgentUid, PodUid, Revision};
use crate::lifecycle::{Failure, FailureClass, PodSeen, PodState, Readiness};

/// Every pod that agent-sandbox's controller makes has it (`controllers/sandbox_controller.go`).
pub(super) const SELECTOR: &str = "agents.x-k8s.io/sandbox-name-hash";

/// A pod, trimmed: most of its spec and status is never looked at.
#[derive(Clone, Debug, Default, Serialize, Deserialize, kube::Resource)]
#[resource(inherit = core::Pod)]
#[serde(default)]
pub(super) struct Pod {
    /// Identity, owner, deletion.
    pub(super) metadata: ObjectMeta,
    /// Its containers.
    pub(super) spec: PodSpec,
    /// Its state.
    pub(super) status: PodStatus,
}

/// Of a pod's spec, how to reach it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct PodSpec {
    /// Its containers.
    pub(super) containers: Vec<Container>,
}

/// Of a container's spec, where it listens and how it is asked.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Container {
    /// The ports that it declares.
    pub(super) ports: Vec<Port>,
    /// How the kubelet would ask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) readiness_probe: Option<core::Probe>,
}

/// A declared port.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Port {
    /// Its name, for probes.
    pub(super) name: Option<String>,
    /// Its number.
    #[serde(rename = "containerPort")]
    number: i64,
    /// TCP if left out.
    pub(super) protocol: Option<String>,
}

/// Of a pod's status, how far it got.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed`.
    pub(super) phase: String,
    /// Why, if it was evicted or the like.
    pub(super) reason: Option<String>,
    /// The same for people.
    pub(super) message: Option<String>,
    /// Its address, once its sandbox has one.
    #[serde(rename = "podIP")]
    pub(super) pod_ip: Option<String>,
    /// `PodScheduled` says why no node takes it.
    pub(super) conditions: Vec<core::PodCondition>,
    /// Why containers do not run.
    pub(super) container_statuses: Vec<core::ContainerStatus>,
    /// The same, for those that run first.
    pub(super) init_container_statuses: Vec<core::ContainerStatus>,
}

/// The agent that it belongs to, by its controller: a label can be given to any pod, an owner with a uid cannot.
pub(super) fn owner(pod: &Pod) -> Option<(AgentKey, AgentUid)> {
    let owners = pod.metadata.owner_references.iter().flatten();
    let mut controllers = owners.filter(|owner| owner.controller == Some(true));
    let owner = controllers.next()?;
    let ours = owner.kind == "Sandbox" && owner.api_version.starts_with("agents.x-k8s.io/");
    let namespace = pod.metadata.namespace.as_deref()?;
    ours.then(|| (AgentKey::new(namespace, owner.name.as_str()), AgentUid(owner.uid.as_str().into())))
}

/// Which pod it is, whosever it is, and when that was seen.
pub(super) fn identity(pod: &Pod) -> Result<(PodUid, Revision), Malformed> {
    Ok((PodUid(uid(&pod.metadata)?), revision(&pod.metadata)?))
}

/// Its state, for the core.
pub(super) fn seen(pod: &Pod, owner: AgentUid) -> Result<PodSeen, Malformed> {
    let (uid, revision) = identity(pod)?;
    Ok(PodSeen {
        uid,
        owner,
        revision,
        terminating: pod.metadata.deletion_timestamp.is_some(),
        state: state(&pod.status),
        ready: pod.status.conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True"),
        hindrance: hindrance(&pod.status),
        readiness: readiness(&pod.spec.containers).map(Arc::new),
    })
}

/// The address in its status.
pub(super) fn address(status: &PodStatus) -> Option<IpAddr> {
    status.pod_ip.as_deref()?.parse().ok()
}

/// The first TCP port that is declared.
pub(super) fn first_port(containers: &[Container]) -> Option<u16> {
    containers.iter().flat_map(|container| &container.ports).find_map(tcp_number)
}

/// The API server does not check the numbers in a Sandbox: those that are none are not there.
fn tcp_number(port: &Port) -> Option<u16> {
    let number = u16::try_from(port.number).ok().filter(|number| *number != 0)?;
    port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP").then_some(number)
}

fn state(status: &PodStatus) -> PodState {
    match status.phase.as_str() {
        "Failed" | "Succeeded" => PodState::Failed(ended(status)),
        phase => {
            // One that has come up once is not given up for a container that cannot be started anew.
            let hopeless = if phase == "Pending" { hopeless_image(status) } else { None };
            match (hopeless, address(status)) {
                (Some(failure), _) => PodState::Failed(failure),
                (None, Some(address)) => PodState::Up(address),
                (None, None) => PodState::Starting,
            }
        }
    }
}

/// Why a pod is over. Upstream never replaces one that has ended by itself.
fn ended(status: &PodStatus) -> Failure {
    let of_container = || {
        let state = status
            .container_statuses
            .iter()
            .find_map(|container| container.state.as_ref()?.terminated.as_ref());
        state.map(describe)
    };
    let of_pod =
        [status.reason.as_deref(), status.message.as_deref()].into_iter().flatten().collect::<Vec<_>>();
    let detail = if of_pod.is_empty() { of_container() } else { Some(of_pod.join(": ")) };
    let phase = status.phase.to_lowercase();
    let detail = detail
        .map_or_else(|| format!("its pod has {phase}"), |detail| format!("its pod has {phase}: {detail}"));
    Failure::new(FailureClass::Crash, detail)
}

fn describe(ended: &core::ContainerStateTerminated) -> String {
    let reason = ended.reason.as_deref().unwrap_or("ended");
    let message = ended.message.as_deref().map(|message| format!(": {}", message.trim())).unwrap_or_default();
    format!("{reason}, exit code {}{message}", ended.exit_code)
}

/// Reasons for which the kubelet has given up on an image, or would try in vain for ever.
fn hopeless_image(status: &PodStatus) -> Option<Failure> {
    let hopeless = ["ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"];
    waiting(status)
        .find(|(_, reason, _)| hopeless.contains(&reason.as_str()))
        .map(|(name, reason, message)| Failure::new(FailureClass::Image, told(&name, &reason, &message)))
}

/// What keeps it from getting further, though it may pass.
fn hindrance(status: &PodStatus) -> Option<Failure> {
    let unscheduled = status.conditions.iter().find(|c| c.type_ == "PodScheduled" && c.status == "False");
    if let Some(condition) = unscheduled {
        let reason = condition.reason.as_deref().unwrap_or("not scheduled");
        let message = condition.message.as_deref().unwrap_or_default();
        let class = if message.contains("persistentvolumeclaim") || message.contains("volume node affinity") {
            FailureClass::Volume
        } else {
            FailureClass::Scheduling
        };
        return Some(Failure::new(class, format!("{reason}: {message}")));
    }
    let crashed = |name: &str, status: &core::ContainerStatus| {
        let last = status.last_state.as_ref()?.terminated.as_ref()?;
        Some(Failure::new(FailureClass::Crash, format!("container {name} crashes: {}", describe(last))))
    };
    let all = status.init_container_statuses.iter().chain(&status.container_statuses);
    let crash = all.filter(|c| !c.ready).find_map(|container| crashed(&container.name, container));
    crash.or_else(|| {
        waiting(status).find_map(|(name, reason, message)| {
            let class = match reason.as_str() {
                "ErrImagePull" => FailureClass::Image,
                "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
                    FailureClass::Admission
                }
                _ => return None,
            };
            Some(Failure::new(class, told(&name, &reason, &message)))
        })
    })
}

fn told(name: &str, reason: &str, message: &str) -> String {
    format!("container {name}: {reason}: {message}")
}

/// Containers that wait: name, reason, message.
fn waiting(status: &PodStatus) -> impl Iterator<Item = (String, String, String)> {
    status.init_container_statuses.iter().chain(&status.container_statuses).filter_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.clone()?;
        Some((container.name.clone(), reason, waiting.message.clone().unwrap_or_default()))
    })
}

/// The readiness probe of the container that declares the first port, else of the first container that has one. Only
/// what can be asked over the network: an `exec` probe cannot, and neither can one that wants TLS without a name.
fn readiness(containers: &[Container]) -> Option<Readiness> {
    let main =
        containers.iter().find(|container| container.ports.iter().any(|port| tcp_number(port).is_some()));
    let container = main.filter(|c| c.readiness_probe.is_some());
    let container = container.or_else(|| containers.iter().find(|c| c.readiness_probe.is_some()))?;
    let probe = container.readiness_probe.as_ref()?;
    if let Some(get) = &probe.http_get {
        let port = number(&get.port, container)?;
        if get.scheme.as_deref().is_some_and(|scheme| scheme != "HTTP") || get.host.is_some() {
            return Some(Readiness::Tcp { port });
        }
        let path = get.path.as_deref().unwrap_or("/");
        let path = if path.starts_with('/') { path.into() } else { format!("/{path}").into() };
        let headers = get.http_headers.iter().flatten();
        let headers =
            headers.map(|field| (field.name.as_str().into(), field.value.as_str().into())).collect();
        return Some(Readiness::Http { port, path, headers });
    }
    if let Some(socket) = &probe.tcp_socket {
        return Some(Readiness::Tcp { port: number(&socket.port, container)? });
    }
    let grpc = probe.grpc.as_ref()?;
    let service = grpc.service.as_deref().unwrap_or_default().into();
    Some(Readiness::Grpc { port: u16::try_from(grpc.port).ok()?, service })
}

fn number(port: &IntOrString, container: &Container) -> Option<u16> {
    match port {
        IntOrString::Int(number) => u16::try_from(*number).ok(),
        IntOrString::String(name) => {
            let named = container.ports.iter().find(|port| port.name.as_deref() == Some(name));
            named.and_then(tcp_number).or_else(|| name.parse().ok())
        }
    }
}

#[cfg(test)]
mod tests;
