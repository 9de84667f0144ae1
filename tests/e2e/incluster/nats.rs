//! NATS in the cluster: one server as a pod, with the configuration and the users of `deploy/nats`.
//!
//! A pod, and not a program beside the cluster: so agents and Drowse find it as they do elsewhere, by the name of its
//! Service, and nothing depends on the ports of this machine.

use std::sync::OnceLock;

use async_nats::{Client, ConnectOptions, HeaderMap, Message, Subject, Subscriber};
use drowse_cluster::{Cluster, Image};
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::{Value, json};

use super::kubectl::{apply, eventually, get, is};
use super::sandbox::Sandbox;
use crate::support::PATIENCE;

const SERVER: &str = include_str!("../../../deploy/nats/nats-server.conf");
const ACCOUNTS: &str = include_str!("../../../deploy/nats/accounts.conf");
const IMAGE: &str = "nats-server:e2e";

/// Where agents of these tests find it. Agents and callers are one user that may do everything: tests/it/nats is about what
/// each of them needs.
pub(super) const URL: &str = "nats://e2e:secretOfE2e@nats.nats.svc:4222";
const USER: (&str, &str) = ("e2e", "secretOfE2e");

/// A caller of the server, which is there until the cluster ends.
pub(super) struct Nats {
    client: Client,
}

impl Nats {
    /// Starts it, unless it runs.
    pub(super) async fn start() -> Self {
        static STARTED: OnceLock<()> = OnceLock::new();
        STARTED.get_or_init(|| {
            load_image();
            objects().iter().for_each(apply);
        });
        eventually("the server is ready", || get("nats", "pod/nats").filter(|pod| is(pod, "Ready")));
        let service = get("nats", "service/nats").unwrap();
        let address = format!("{}:4222", service["spec"]["clusterIP"].as_str().unwrap());
        let options = ConnectOptions::with_user_and_password(USER.0.to_owned(), USER.1.to_owned());
        let client = options.retry_on_initial_connect().connect(address).await.unwrap();
        client.flush().await.unwrap();
        Self { client }
    }

    /// Sends a message to an agent, with a header. It is on the server when this returns.
    pub(super) async fn ask(&self, agent: &Sandbox, verb: &str) -> Asked {
        let inbox = Subject::from(self.client.new_inbox());
        let replies = self.client.subscribe(inbox.clone()).await.unwrap();
        let subject = format!("agents.{}.{}.{verb}", agent.namespace, agent.name);
        let mut headers = HeaderMap::new();
        headers.append("Trace", "one");
        headers.append("Trace", "two");
        let (client, sent) = (&self.client, "hello".into());
        client.publish_with_reply_and_headers(subject, inbox, headers, sent).await.unwrap();
        client.flush().await.unwrap();
        Asked { replies }
    }
}

/// A message that was sent, and the inbox for its reply.
pub(super) struct Asked {
    replies: Subscriber,
}

impl Asked {
    /// What the agent answers. Fails if its headers are not those that were sent, or if the message may have come twice.
    pub(super) async fn reply(&mut self) -> Value {
        let reply = tokio::time::timeout(PATIENCE, self.replies.next()).await;
        let Message { headers, payload, .. } = reply.expect("a reply in time").expect("a reply");
        let headers = headers.unwrap_or_default();
        let traces: Vec<_> = headers.get_all("Trace").map(ToString::to_string).collect();
        assert_eq!(traces, ["one", "two"], "{payload:?}");
        assert!(headers.get("Drowse-Redelivered").is_none(), "{payload:?}");
        serde_json::from_slice(&payload).unwrap()
    }

    /// Fails if there was another reply.
    pub(super) fn assert_no_more(&mut self) {
        assert!(self.replies.next().now_or_never().is_none(), "one reply");
    }
}

fn load_image() {
    let cluster = std::env::var_os("DROWSE_CLUSTER_DIR").expect("DROWSE_CLUSTER_DIR, of drowse-cluster");
    let folder = tempfile::TempDir::new().unwrap();
    let archive = folder.path().join("nats-server.tar");
    let binary = drowse_cluster::program("nats-server-2.15").unwrap();
    let image = Image { binary, name: IMAGE.to_owned(), entrypoint: "/nats-server".to_owned(), user: 65532 };
    image.write(&archive).unwrap();
    Cluster::attach(cluster.as_ref()).unwrap().load_image(&archive).unwrap();
}

fn objects() -> [Value; 5] {
    let users = "users: [";
    assert!(ACCOUNTS.contains(users), "{ACCOUNTS}");
    let more = "{user: e2e, password: $E2E_PASSWORD}\n{user: team-a-talker, password: $TALKER_PASSWORD}";
    let accounts = ACCOUNTS.replacen(users, &format!("{users}\n{more}"), 1);
    let metadata = json!({"name": "nats", "namespace": "nats", "labels": {"app.kubernetes.io/name": "nats"}});
    let container = json!({
        "name": "nats", "image": IMAGE, "imagePullPolicy": "Never",
        "args": ["-c", "/etc/nats/nats-server.conf"],
        "envFrom": [{"secretRef": {"name": "nats"}}],
        "readinessProbe": {"tcpSocket": {"port": 4222}, "periodSeconds": 1},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/nats"}, {"name": "data", "mountPath": "/var/lib/nats"}],
    });
    let volumes =
        json!([{"name": "config", "configMap": {"name": "nats"}}, {"name": "data", "emptyDir": {}}]);
    [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "nats"}}),
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata,
            "data": {"nats-server.conf": SERVER, "accounts.conf": accounts},
        }),
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": metadata,
            "stringData": {
                "DROWSE_PASSWORD": "secretOfDrowse", "DROWSE_LEAF_PASSWORD": "secretOfDrowseLeaf", "E2E_PASSWORD": USER.1,
                "TALKER_PASSWORD": "secretOfTalker",
                "TEAM_A_ECHO_PASSWORD": "unused", "TEAM_A_WRITER_PASSWORD": "unused", "CALLER_PASSWORD": "unused",
            },
        }),
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [container], "volumes": volumes},
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {
                "selector": {"app.kubernetes.io/name": "nats"},
                "ports": [{"name": "client", "port": 4222}, {"name": "leafnodes", "port": 7422}],
            },
        }),
    ]
}
