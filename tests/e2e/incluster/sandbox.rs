//! Agents: Sandboxes with the demo agent, each test in a namespace of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::kubectl::{apply, eventually, get, is, kubectl, list, try_kubectl, uid};
use crate::support::Agent;

/// A namespace. Gone with all in it when dropped.
pub(super) struct Namespace {
    pub(super) name: String,
}

impl Namespace {
    pub(super) fn new(test: &str) -> Self {
        let name = format!("e2e-incluster-{test}");
        kubectl(&["delete", "namespace", &name, "--ignore-not-found"]);
        apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
        Self { name }
    }

    /// Makes a demo agent. Waits until it is ready.
    pub(super) fn agent(&self, name: &str) -> Sandbox {
        self.create(&Agent::new(name))
    }

    /// The same with a volume, on which it keeps its state, and a name in DNS.
    pub(super) fn agent_with_volume(&self, agent: &Agent) -> Sandbox {
        self.volume(&format!("data-{}", agent.name));
        self.create(&agent.clone().with_volume().set("/spec/service", json!(true)))
    }

    /// Makes an agent. Waits until it is ready.
    pub(super) fn create(&self, agent: &Agent) -> Sandbox {
        let mut object = agent.clone().with(&["--namespace", &self.name, "--name", &agent.name]).json();
        object["metadata"]["namespace"] = json!(self.name);
        // So that the Service names it as soon as it answers, and not before.
        object["spec"]["podTemplate"]["spec"]["containers"][0]["readinessProbe"] =
            json!({"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 1});
        apply(&object);
        let sandbox = Sandbox { namespace: self.name.clone(), name: agent.name.clone() };
        eventually(&format!("{} is made", sandbox.key()), || sandbox.pod().filter(|pod| is(pod, "Ready")));
        sandbox
    }

    /// A volume for this claim, as `drowse-cluster volumes` makes them.
    fn volume(&self, claim: &str) {
        let cluster = std::env::var_os("DROWSE_CLUSTER_DIR").expect("DROWSE_CLUSTER_DIR, of drowse-cluster");
        let name = format!("{}-{claim}", self.name);
        let folder = PathBuf::from(cluster).join("volumes").join(&name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        kubectl(&["delete", "persistentvolume", &name, "--ignore-not-found"]);
        apply(&json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name, "labels": {"test": self.name}},
            "spec": {
                "storageClassName": "local",
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"namespace": self.name, "name": claim},
                "hostPath": {"path": folder, "type": "Directory"},
            },
        }));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = try_kubectl(&["delete", "namespace", &self.name, "--wait=false"]);
        let volumes = format!("test={}", self.name);
        let _ = try_kubectl(&["delete", "persistentvolume", "-l", &volumes, "--wait=false"]);
    }
}

/// An agent. Goes with its namespace.
pub(super) struct Sandbox {
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Sandbox {
    /// As Drowse calls it.
    pub(super) fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The object.
    #[track_caller]
    pub(super) fn object(&self) -> Value {
        get(&self.namespace, &format!("sandbox/{}", self.name)).expect("the Sandbox")
    }

    /// Its pod.
    #[track_caller]
    pub(super) fn pod(&self) -> Option<Value> {
        get(&self.namespace, &format!("pod/{}", self.name))
    }

    /// Its claim for a volume.
    #[track_caller]
    pub(super) fn claim(&self) -> Value {
        get(&self.namespace, &format!("persistentvolumeclaim/data-{}", self.name)).expect("the claim")
    }

    /// Waits until it is suspended and its pod is gone.
    #[track_caller]
    pub(super) fn wait_until_asleep(&self) {
        eventually(&format!("{} sleeps", self.key()), || {
            let sandbox = self.object();
            let asleep = sandbox["spec"]["operatingMode"] == "Suspended" && is(&sandbox, "Suspended");
            (asleep && self.pod().is_none()).then_some(())
        });
    }

    /// The reasons of its events, the newest last.
    pub(super) fn events(&self) -> Vec<String> {
        let about = format!("--field-selector=involvedObject.uid={}", uid(&self.object()));
        let events = list(&self.namespace, "events", &[&about, "--sort-by=.metadata.creationTimestamp"]);
        let ours = events.iter().filter(|event| event["reportingComponent"] == "drowse");
        ours.map(|event| event["reason"].as_str().unwrap_or_default().to_owned()).collect()
    }
}
