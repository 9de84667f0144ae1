//! The objects that a cluster has from the beginning, and those that are made on demand.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::kubectl::Kubectl;
use crate::parts;
use crate::state::State;

/// The definitions that must be served before the Agent Sandbox controller starts.
const DEFINITIONS: [&str; 4] = [
    "crd/sandboxes.agents.x-k8s.io",
    "crd/sandboxclaims.extensions.agents.x-k8s.io",
    "crd/sandboxtemplates.extensions.agents.x-k8s.io",
    "crd/sandboxwarmpools.extensions.agents.x-k8s.io",
];
/// The storage class of the volumes that `create_volumes` makes.
const STORAGE: &str = "local";

/// Makes what a cluster has from the beginning. Returns when Sandboxes can be created.
pub(crate) fn create(state: &State, kubectl: &Kubectl) -> Result<()> {
    kubectl.apply(&list(&initial()))?;
    let manifests = parts::manifests_of_agent_sandbox(&state.programs);
    kubectl.apply_folder(&manifests.context("the Agent Sandbox controller is missing")?)?;
    let wait = ["wait", "--for=condition=Established", "--timeout=60s"];
    kubectl.run(&[&wait[..], &DEFINITIONS].concat()).map(drop)
}

fn initial() -> Vec<Value> {
    let controller = "agent-sandbox-controller";
    let sandbox_user = "system:serviceaccount:agent-sandbox-system:agent-sandbox-controller";
    let mut objects = vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "agent-sandbox-system"}}),
        binding(controller, controller, sandbox_user),
        binding("agent-sandbox-controller-extensions", "agent-sandbox-controller-extensions", sandbox_user),
        binding("kubelet-client", "system:kubelet-api-admin", "kube-apiserver-kubelet-client"),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "system:coredns"},
            "rules": [
                {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
                {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
            ],
        }),
        binding("system:coredns", "system:coredns", "system:coredns"),
        json!({
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": STORAGE,
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "Immediate",
        }),
    ];
    objects.extend(["runc-too", "one-address"].map(|name| {
        json!({
            "apiVersion": "node.k8s.io/v1",
            "kind": "RuntimeClass",
            "metadata": {"name": name},
            "handler": name,
        })
    }));
    objects
}

fn binding(name: &str, role: &str, user: &str) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    })
}

/// Makes this many volumes of the storage class `local`, each a folder of the cluster. One that is there stays.
pub(crate) fn create_volumes(state: &State, kubectl: &Kubectl, count: u32) -> Result<()> {
    let mut volumes = Vec::new();
    for nth in 1..=count {
        let name = format!("local-{nth}");
        let folder = state.file("volumes").join(&name);
        fs::create_dir_all(&folder)
            // The node changes no owner of such a volume, and a pod's user is any.
            .and_then(|()| fs::set_permissions(&folder, Permissions::from_mode(0o777)))
            .with_context(|| format!("failed to make {}", folder.display()))?;
        volumes.push(json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "storageClassName": STORAGE,
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "hostPath": {"path": folder, "type": "Directory"},
            },
        }));
    }
    kubectl.apply(&list(&volumes))
}

/// Makes this many nodes that kwok acts for. Their taint keeps pods away that do not tolerate
/// `kwok.x-k8s.io/node`.
pub(crate) fn create_fake_nodes(kubectl: &Kubectl, count: u32) -> Result<()> {
    let node = |nth| {
        let room = json!({"cpu": "1k", "memory": "1Ti", "pods": "100k"});
        json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": format!("kwok-{nth}"),
                "labels": {"type": "kwok", "kubernetes.io/hostname": format!("kwok-{nth}")},
                "annotations": {"kwok.x-k8s.io/node": "fake"},
            },
            "spec": {"taints": [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}]},
            "status": {"allocatable": room, "capacity": room},
        })
    };
    kubectl.apply(&list(&(1..=count).map(node).collect::<Vec<_>>()))
}

fn list(items: &[Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}
