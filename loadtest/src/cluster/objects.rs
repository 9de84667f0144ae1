//! The objects that are made in the cluster.

use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

/// The kind.
pub(super) fn sandboxes() -> ApiResource {
    let kind = GroupVersionKind::gvk("agents.x-k8s.io", "v1beta1", "Sandbox");
    ApiResource::from_gvk_with_plural(&kind, "sandboxes")
}

/// A Sandbox that runs.
pub(super) fn sandbox(name: &str, pod: &Value) -> anyhow::Result<DynamicObject> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "agents.x-k8s.io/v1beta1",
        "kind": "Sandbox",
        "metadata": {"name": name},
        "spec": {"podTemplate": {"spec": pod}},
    }))?)
}

/// The same as Drowse leaves it when it has suspended it, with labels as a platform gives them.
pub(super) fn suspended_sandbox(name: &str, pod: &Value) -> anyhow::Result<DynamicObject> {
    let mut object = sandbox(name, pod)?;
    let labels = [("app.kubernetes.io/part-of", "agents"), ("tier", "batch"), ("owner", name)];
    let marks = [("suspended-by", "idle"), ("suspended-at", "2026-01-01T00:00:00Z")];
    let pairs = |all: &[(&str, &str)], prefix: &str| {
        all.iter().map(|(key, value)| (format!("{prefix}{key}"), (*value).to_owned())).collect()
    };
    object.metadata.labels = Some(pairs(&labels, ""));
    object.metadata.annotations = Some(pairs(&marks, "drowse.dev/"));
    object.data["spec"]["operatingMode"] = "Suspended".into();
    Ok(object)
}

/// A pod of the demo agent, which listens at once; with a readiness probe of one second, or without one.
pub(super) fn demo_pod(image: &str, delay_ms: u16, readiness: bool) -> Value {
    let delay = format!("{delay_ms}ms");
    let mut container = json!({
        "name": "agent",
        "image": image,
        "imagePullPolicy": "Never",
        "command": ["/drowse", "demo-agent", "--host", "0.0.0.0", "--port", PORT.to_string(),
                    "--state-file", "/tmp/state.json", "--start-delay", delay],
        "ports": [{"containerPort": PORT}],
    });
    if readiness {
        container["readinessProbe"] =
            json!({"httpGet": {"path": "/healthz", "port": PORT}, "periodSeconds": 1});
    }
    json!({"terminationGracePeriodSeconds": 5, "containers": [container]})
}

/// Where the demo agent listens.
pub(super) const PORT: u16 = 8080;

/// A pod for a node that kwok acts for. It has the node's address. No port is declared: there is room for one of a number
/// on each node.
pub(super) fn fake_pod() -> Value {
    json!({
        "hostNetwork": true,
        "nodeSelector": {"type": "kwok"},
        "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "agent", "image": "none", "env": [{"name": "MODEL", "value": "large"}]}],
    })
}
