//! A namespace, the Drowse that looks after it, and what tests do to both.

use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::Full;
use hyper::Request;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume, Pod, ServiceAccount};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use super::drowse::Drowse;
use super::http::{self, Answer};
use super::tunnel::Tunnel;
use super::{Agent, PATIENCE, cluster, eventually};

/// The permissions of one namespace, as `deploy/` gives them.
const ROLE: &str = include_str!("../../../deploy/kustomize/agent-namespace/role.yaml");

/// What `deploy/` gives to a Drowse that checks tokens.
const REVIEWS: &str = include_str!("../../../deploy/kustomize/components/token-review/clusterrole.yaml");

/// A namespace with a Drowse. Its objects are deleted when the cluster is.
pub(crate) struct World {
    pub(crate) client: Client,
    /// A client with the rights of Drowse, and its name.
    pub(crate) as_drowse: Client,
    pub(crate) namespace: String,
    pub(crate) drowse: Drowse,
    pub(crate) tunnel: Tunnel,
}

impl World {
    /// A namespace whose agents are all managed, with these rule keys, a line each.
    pub(crate) async fn new(test: &str, keys: &str) -> Self {
        let keys: Vec<_> = keys.lines().map(|line| format!("    {}\n", line.trim())).collect();
        let keys = keys.concat();
        Self::with(test, &format!("rules:\n  - route: true\n    manage: true\n{keys}")).await
    }

    /// A namespace with these sections of the configuration.
    pub(crate) async fn with(test: &str, config: &str) -> Self {
        let client = cluster::client().await;
        let namespace = format!("e2e-{test}-{:06x}", fastrand::u32(..1 << 24));
        let object = json!({"metadata": {"name": namespace}});
        Api::<Namespace>::all(client.clone()).create(&post(), &from(object)).await.unwrap();
        let (server, root) = cluster::api_server().await;
        let token = account(&client, &namespace).await;
        let as_drowse = cluster::client_of(kubeconfig(&server, &root, &token)).await;
        let tunnel = Tunnel::to(server).await;
        let way_in = kubeconfig(&tunnel.address.to_string(), &root, &token);
        let drowse = Drowse::start(&namespace, &way_in, config).await;
        Self { client, as_drowse, namespace, drowse, tunnel }
    }

    /// Objects of a kind in the namespace.
    pub(crate) fn api(&self, kind: &kube::api::ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, kind)
    }

    pub(crate) fn sandboxes(&self) -> Api<DynamicObject> {
        self.api(&cluster::sandboxes())
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Makes an agent.
    pub(crate) async fn make(&self, agent: &Agent) {
        if agent.has_volume() {
            self.make_volume(&agent.name).await;
        }
        self.sandboxes().create(&post(), &from(agent.json())).await.unwrap();
    }

    /// Makes an agent, and waits until Drowse lets requests in.
    pub(crate) async fn create(&self, agent: &Agent) {
        self.make(agent).await;
        self.wait_for_phase(&agent.name, "Running").await;
    }

    /// A folder of this machine as a volume, which an agent's claim `data` finds.
    async fn make_volume(&self, agent: &str) {
        let dir = std::env::var_os("DROWSE_CLUSTER_DIR").expect("a cluster of ours, see tests/cluster");
        let name = format!("{}-{agent}", self.namespace);
        let folder = std::path::Path::new(&dir).join("volumes").join(&name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
        let volume = json!({
            "metadata": {"name": name},
            "spec": {
                "storageClassName": "local", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"namespace": self.namespace, "name": format!("data-{agent}")},
                "hostPath": {"path": folder, "type": "Directory"},
            },
        });
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        volumes.create(&post(), &from(volume)).await.unwrap();
    }

    /// A change of a Sandbox by somebody else.
    pub(crate) async fn patch(&self, name: &str, change: Value) {
        let params =
            PatchParams { field_manager: Some("kubectl-patch".to_owned()), ..PatchParams::default() };
        self.sandboxes().patch(name, &params, &Patch::Merge(&change)).await.unwrap();
    }

    /// A person sets the mode.
    pub(crate) async fn person_sets(&self, name: &str, mode: &str) {
        self.patch(name, json!({"spec": {"operatingMode": mode}})).await;
    }

    pub(crate) async fn sandbox(&self, name: &str) -> Value {
        serde_json::to_value(self.sandboxes().get(name).await.unwrap()).unwrap()
    }

    pub(crate) async fn mode(&self, name: &str) -> String {
        self.sandbox(name).await["spec"]["operatingMode"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) async fn pod_uid(&self, name: &str) -> Option<String> {
        self.pods().get_opt(name).await.unwrap().and_then(|pod| pod.uid())
    }

    /// `GET` to an agent through the front door.
    pub(crate) async fn get(&self, agent: &str, path: &str) -> Answer {
        let host = format!("{agent}.{}.agents.localhost", self.namespace);
        let answer = http::get(self.drowse.front, &host, path);
        tokio::time::timeout(PATIENCE, answer).await.expect("an answer in time").expect("an answer")
    }

    /// `GET` to an agent, with a token.
    pub(crate) async fn get_as(&self, agent: &str, path: &str, token: &str) -> Answer {
        let request = Request::get(path)
            .header("host", format!("{agent}.{}.agents.localhost", self.namespace))
            .header("authorization", format!("Bearer {token}"))
            .body(Full::default())
            .unwrap();
        let answer = http::send(self.drowse.front, request);
        tokio::time::timeout(PATIENCE, answer).await.expect("an answer in time").expect("an answer")
    }

    /// A token of a service account of this namespace, which is made.
    pub(crate) async fn token_of(&self, name: &str) -> String {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.namespace);
        accounts.create(&post(), &from(json!({"metadata": {"name": name}}))).await.unwrap();
        token(&accounts, name).await
    }

    /// A token of a service account as the kubelet gets it for a pod of this name: worth something while that pod exists.
    pub(crate) async fn token_of_pod(&self, account: &str, pod: &str) -> String {
        let uid = self.pod_uid(pod).await.expect("the pod");
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.namespace);
        let bound = json!({"kind": "Pod", "apiVersion": "v1", "name": pod, "uid": uid});
        let request: TokenRequest = from(json!({"spec": {"audiences": [], "boundObjectRef": bound}}));
        let made = accounts.create_token_request(account, &post(), &request).await.unwrap();
        made.status.unwrap().token
    }

    /// Lets Drowse ask whose a token is, as `deploy/` does where that is wanted.
    pub(crate) async fn allow_token_reviews(&self) {
        let role: ClusterRole = serde_saphyr::from_str(REVIEWS.split("\n---\n").next().unwrap()).unwrap();
        let roles: Api<ClusterRole> = Api::all(self.client.clone());
        let apply = PatchParams::apply("e2e").force();
        let object = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": role.name_any()}, "rules": role.rules,
        });
        roles.patch(&role.name_any(), &apply, &Patch::Apply(&object)).await.unwrap();
        let binding = json!({
            "metadata": {"name": format!("{}-{}", role.name_any(), self.namespace)},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role.name_any()},
            "subjects": [{"kind": "ServiceAccount", "name": "drowse", "namespace": self.namespace}],
        });
        let bindings: Api<ClusterRoleBinding> = Api::all(self.client.clone());
        bindings.create(&post(), &from(binding)).await.unwrap();
    }

    /// Which pod answers, as the agent itself says.
    pub(crate) async fn who_answers(&self, agent: &str) -> String {
        let answer = self.get(agent, "/whoami").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["pod_uid"].as_str().expect("it knows its pod").to_owned()
    }

    pub(crate) async fn phase(&self, agent: &str) -> String {
        self.drowse.agent(&self.namespace, agent).await["phase"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) async fn wait_for_phase(&self, agent: &str, phase: &str) {
        eventually(&format!("{agent} is {phase}"), async || self.phase(agent).await == phase).await;
    }

    /// Why it is as it is, as `status` and `explain` say.
    pub(crate) async fn reason(&self, agent: &str) -> String {
        self.drowse.agent(&self.namespace, agent).await["reason"].as_str().unwrap_or_default().to_owned()
    }

    /// Puts an agent to sleep now, whatever its idle timeout.
    pub(crate) async fn suspend(&self, agent: &str) {
        let (text, code) = self.drowse.command(&["suspend", &format!("{}/{agent}", self.namespace)]).await;
        assert_eq!(code, 0, "{text}");
    }

    /// Waits until it sleeps and its pod is gone.
    pub(crate) async fn wait_until_asleep(&self, agent: &str) {
        self.wait_for_phase(agent, "Suspended").await;
        assert_eq!(self.mode(agent).await, "Suspended");
        assert_eq!(self.pod_uid(agent).await, None);
    }

    /// Waits for an Event on an agent, and gives its note.
    pub(crate) async fn event(&self, agent: &str, reason: &str) -> String {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut note = String::new();
        eventually(&format!("an event {reason} on {agent}"), async || {
            let all = events.list(&ListParams::default()).await.unwrap();
            let found = all.items.into_iter().find(|event| {
                event.reason.as_deref() == Some(reason)
                    && event.regarding.as_ref().and_then(|about| about.name.as_deref()) == Some(agent)
            });
            found.map(|event| note = event.note.unwrap_or_default()).is_some()
        })
        .await;
        note
    }

    pub(crate) async fn delete_pod(&self, name: &str, grace_seconds: u32) {
        let params = DeleteParams { grace_period_seconds: Some(grace_seconds), ..DeleteParams::default() };
        self.pods().delete(name, &params).await.unwrap();
    }
}

pub(crate) fn post() -> PostParams {
    PostParams::default()
}

/// An object from JSON.
pub(crate) fn from<K: serde::de::DeserializeOwned>(object: Value) -> K {
    serde_json::from_value(object).unwrap()
}

fn kubeconfig(server: &str, root: &[u8], token: &str) -> Value {
    json!({
        "clusters": [{"name": "c", "cluster": {
            "server": format!("https://{server}"),
            "certificate-authority-data": STANDARD.encode(pem(root)),
        }}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    })
}

/// The token of a service account that may do in this namespace what `deploy/` lets Drowse do.
async fn account(client: &Client, namespace: &str) -> String {
    let role = ROLE.split("\n---\n").next().unwrap();
    let role: Role = serde_saphyr::from_str(role).unwrap();
    let name = role.name_any();
    Api::<Role>::namespaced(client.clone(), namespace).create(&post(), &role).await.unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    accounts.create(&post(), &from(json!({"metadata": {"name": "drowse"}}))).await.unwrap();
    let binding = json!({
        "metadata": {"name": "drowse"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": "drowse", "namespace": namespace}],
    });
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), namespace);
    bindings.create(&post(), &from(binding)).await.unwrap();
    token(&accounts, "drowse").await
}

async fn token(accounts: &Api<ServiceAccount>, name: &str) -> String {
    let request = TokenRequest { spec: TokenRequestSpec::default(), ..TokenRequest::default() };
    let made = accounts.create_token_request(name, &post(), &request).await.unwrap();
    made.status.unwrap().token
}

fn pem(der: &[u8]) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der))
}
