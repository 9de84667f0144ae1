//! Sandboxes for tests: the demo agent, in the image that the cluster was given.

use serde_json::{Value, json};

/// A Sandbox that is to be made.
#[derive(Clone)]
pub(crate) struct Agent {
    pub(crate) name: String,
    arguments: Vec<String>,
    object: Value,
}

impl Agent {
    /// A demo agent on port 8080 that ends at once when it is told to.
    pub(crate) fn new(name: &str) -> Self {
        let variable =
            |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
        let container = json!({
            "name": "agent",
            "image": "drowse:dev",
            "imagePullPolicy": "Never",
            "ports": [{"name": "http", "containerPort": 8080}],
            "env": [variable("POD_UID", "metadata.uid"), variable("POD_NAME", "metadata.name")],
        });
        let object = json!({
            "apiVersion": "agents.x-k8s.io/v1beta1",
            "kind": "Sandbox",
            "metadata": {"name": name},
            "spec": {"podTemplate": {"spec": {"terminationGracePeriodSeconds": 20, "containers": [container]}}},
        });
        Self { name: name.to_owned(), arguments: Vec::new(), object }
    }

    /// With more arguments.
    pub(crate) fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(ToString::to_string));
        self
    }

    /// With this set, at a JSON pointer whose parent is there.
    pub(crate) fn set(mut self, pointer: &str, value: Value) -> Self {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = self.object.pointer_mut(parent).unwrap_or_else(|| panic!("nothing at {parent}"));
        parent.as_object_mut().unwrap().insert(key.to_owned(), value);
        self
    }

    /// With this set in the pod's spec.
    pub(crate) fn pod(self, key: &str, value: Value) -> Self {
        self.set(&format!("/spec/podTemplate/spec/{key}"), value)
    }

    /// With this set in the container.
    pub(crate) fn container(self, key: &str, value: Value) -> Self {
        self.set(&format!("/spec/podTemplate/spec/containers/0/{key}"), value)
    }

    /// With a volume of its own at `/data`, where it keeps its state.
    pub(crate) fn with_volume(self) -> Self {
        let claim = json!({
            "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
        });
        self.set("/spec/volumeClaimTemplates", json!([claim]))
            .container("volumeMounts", json!([{"name": "data", "mountPath": "/data"}]))
            .with(&["--state-file", "/data/state.json"])
    }

    /// Whether it wants a volume.
    pub(crate) fn has_volume(&self) -> bool {
        self.object["spec"]["volumeClaimTemplates"].is_array()
    }

    /// Its pod template, for a `SandboxTemplate`.
    pub(crate) fn template(&self) -> Value {
        self.json()["spec"]["podTemplate"].clone()
    }

    /// As it is sent to the API server.
    pub(crate) fn json(&self) -> Value {
        let mut command = vec!["/drowse", "demo-agent", "--relay", "--host", "0.0.0.0", "--port", "8080"];
        if !self.arguments.iter().any(|argument| argument == "--state-file") {
            command.extend(["--state-file", "/tmp/state.json"]);
        }
        command.extend(self.arguments.iter().map(String::as_str));
        let mut object = self.object.clone();
        object["spec"]["podTemplate"]["spec"]["containers"][0]["command"] = json!(command);
        object
    }
}
