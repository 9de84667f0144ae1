//! The cluster that the tests are given, and the kinds of objects that they use.

use kube::api::ApiResource;
use kube::core::GroupVersionKind;
use kube::{Client, Config};

/// A client with all rights.
///
/// Panics without a cluster: a test that needs one and does not find it has failed.
pub(crate) async fn client() -> Client {
    const ADVICE: &str = "there is no cluster; run `make test`, or `make cluster` and \
                          `eval \"$(target/debug/drowse-cluster env)\"`";
    assert!(std::env::var_os("KUBECONFIG").is_some(), "{ADVICE}");
    let config = Config::infer().await.expect(ADVICE);
    Client::try_from(config).expect(ADVICE)
}

/// A client with the rights of whoever a kubeconfig is for.
pub(crate) async fn client_of(kubeconfig: serde_json::Value) -> Client {
    let kubeconfig: kube::config::Kubeconfig = serde_json::from_value(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default())
        .await
        .unwrap();
    Client::try_from(config).unwrap()
}

/// Where its API server is.
pub(crate) async fn api_server() -> (String, Vec<u8>) {
    let config = Config::infer().await.expect("a cluster");
    let authority = config.cluster_url.authority().expect("an address").to_string();
    let root = config.root_cert.expect("a certificate").remove(0);
    (authority, root)
}

fn kind(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// `agents.x-k8s.io/v1beta1`.
pub(crate) fn sandboxes() -> ApiResource {
    kind("agents.x-k8s.io", "v1beta1", "Sandbox", "sandboxes")
}

/// `extensions.agents.x-k8s.io/v1beta1`.
pub(crate) fn extension(name: &str, plural: &str) -> ApiResource {
    kind("extensions.agents.x-k8s.io", "v1beta1", name, plural)
}

/// `flowcontrol.apiserver.k8s.io/v1`.
pub(crate) fn flow_control(name: &str) -> ApiResource {
    kind("flowcontrol.apiserver.k8s.io", "v1", name, &format!("{}s", name.to_lowercase()))
}

/// Stops agent-sandbox's controller in its tracks until this is dropped. Other tests wait that long, too.
pub(crate) fn freeze_controller() -> Frozen {
    let dir = std::env::var_os("DROWSE_CLUSTER_DIR").expect("a cluster of ours, see tests/cluster");
    let cluster = drowse_cluster::Cluster::attach(dir.as_ref()).expect("the cluster");
    let controller = cluster.component(CONTROLLER).expect("its controller");
    controller.pause().expect("the controller runs");
    Frozen { cluster }
}

const CONTROLLER: &str = "agent-sandbox-controller";

/// Goes on when dropped.
pub(crate) struct Frozen {
    cluster: drowse_cluster::Cluster,
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let controller = self.cluster.component(CONTROLLER).expect("its controller");
        controller.resume().expect("the controller goes on");
    }
}
