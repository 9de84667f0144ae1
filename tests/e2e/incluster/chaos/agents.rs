//! The agents: many, each with a journal of the requests that it got, in a folder of this machine that outlives its pods.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::incluster::kubectl::{apply, eventually, is, list};
use crate::incluster::sandbox::Namespace;
use crate::support::Agent;

/// Where the folder is in a pod.
const PLACE: &str = "/journals";

pub(super) struct Agents {
    pub(super) names: Vec<String>,
    space: Namespace,
    folder: PathBuf,
}

impl Agents {
    /// Makes so many.
    pub(super) fn create(test: &str, count: usize) -> Self {
        let space = Namespace::new(test);
        let folder = cluster_folder().join("volumes").join(&space.name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        let names: Vec<_> = (0..count).map(|number| format!("agent-{number}")).collect();
        let items: Vec<_> = names.iter().map(|name| agent(&space.name, name, &folder)).collect();
        apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}));
        Self { names, space, folder }
    }

    /// The host by which a caller names one.
    pub(super) fn host(&self, agent: usize) -> String {
        format!("{}.{}.agents.test", self.names[agent], self.space.name)
    }

    /// As it calls itself.
    pub(super) fn key(&self, agent: usize) -> String {
        format!("{}/{}", self.space.name, self.names[agent])
    }

    /// Waits until all are suspended and no pod is left.
    pub(super) fn wait_until_asleep(&self) {
        eventually("all agents sleep", || {
            let sleeps =
                |sandbox: &Value| sandbox["spec"]["operatingMode"] == "Suspended" && is(sandbox, "Suspended");
            let asleep = self.objects().iter().all(sleeps);
            (asleep && list(&self.space.name, "pods", &[]).is_empty()).then_some(())
        });
    }

    /// Suspensions so far: the spec changes once for each, and once for each resume.
    pub(super) fn cycles(&self) -> u64 {
        self.generations().iter().map(|generation| generation / 2).sum()
    }

    /// How often the spec of each was written.
    pub(super) fn generations(&self) -> Vec<u64> {
        let objects = self.objects();
        let of =
            |name: &String| objects.iter().find(|sandbox| sandbox["metadata"]["name"] == **name).expect("it");
        self.names.iter().map(|name| of(name)["metadata"]["generation"].as_u64().unwrap()).collect()
    }

    /// When it was said last that one is wanted, if it is.
    pub(super) fn wanted_at(&self, agent: usize) -> Option<String> {
        let objects = self.objects();
        let is_it = |sandbox: &&Value| sandbox["metadata"]["name"] == *self.names[agent];
        let sandbox = objects.iter().find(is_it)?;
        let wanted = &sandbox["metadata"]["annotations"]["drowse.dev/wanted-at"];
        wanted.as_str().filter(|_| sandbox["spec"]["operatingMode"] == "Running").map(str::to_owned)
    }

    fn objects(&self) -> Vec<Value> {
        list(&self.space.name, "sandboxes", &[])
    }

    /// How often each request arrived at each agent.
    pub(super) fn arrivals(&self) -> HashMap<String, Vec<usize>> {
        let mut arrivals: HashMap<String, Vec<usize>> = HashMap::new();
        for (agent, name) in self.names.iter().enumerate() {
            let journal = fs::read_to_string(self.folder.join(name)).unwrap_or_default();
            for (_, id) in journal.lines().filter_map(|line| line.split_once("id=")) {
                arrivals.entry(id.to_owned()).or_default().push(agent);
            }
        }
        arrivals
    }
}

/// A demo agent that writes down what it gets. Its readiness is looked at by nobody: Drowse asks the agent itself.
fn agent(namespace: &str, name: &str, folder: &Path) -> Value {
    let journal = format!("{PLACE}/{name}");
    let agent = Agent::new(name).with(&["--namespace", namespace, "--name", name, "--journal", &journal]);
    let volume = json!({"name": "journals", "hostPath": {"path": folder, "type": "Directory"}});
    let mount = json!({"name": "journals", "mountPath": PLACE});
    let mut object = agent.pod("volumes", json!([volume])).container("volumeMounts", json!([mount])).json();
    object["metadata"]["namespace"] = json!(namespace);
    object
}

/// The folder of the cluster.
pub(super) fn cluster_folder() -> PathBuf {
    std::env::var_os("DROWSE_CLUSTER_DIR").expect("DROWSE_CLUSTER_DIR, of drowse-cluster").into()
}
