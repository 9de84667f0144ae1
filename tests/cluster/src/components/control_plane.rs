//! The arguments of the control plane.

use std::net::Ipv4Addr;

use super::{flags, loopback, path};
use crate::parts;
use crate::state::State;

/// Large enough for a hundred thousand Sandboxes with their pods.
const ETCD_BYTES: u64 = 8 << 30;

pub(super) fn etcd(state: &State) -> Vec<String> {
    let (client, peer) = (loopback(state.ports.etcd), loopback(state.ports.etcd_peer));
    let mut args = flags([
        ("name", "etcd".to_owned()),
        ("data-dir", path(&state.file("etcd"))),
        ("listen-client-urls", client.clone()),
        ("advertise-client-urls", client),
        ("listen-peer-urls", peer.clone()),
        ("initial-advertise-peer-urls", peer.clone()),
        ("initial-cluster", format!("etcd={peer}")),
        ("quota-backend-bytes", ETCD_BYTES.to_string()),
        ("log-level", "warn".to_owned()),
    ]);
    // A machine that loses power loses a test cluster. A killed etcd loses nothing by this.
    args.push("--unsafe-no-fsync".to_owned());
    args
}

pub(super) fn apiserver(state: &State) -> Vec<String> {
    let pki = |file: &str| path(&state.dir().join("pki").join(file));
    // Loopback is no address that the Service `kubernetes` may point at.
    let reconciler = if state.options.with_node { "lease" } else { "none" };
    flags([
        ("etcd-servers", loopback(state.ports.etcd)),
        ("bind-address", state.node().to_string()),
        ("advertise-address", state.node().to_string()),
        ("secure-port", state.ports.apiserver.to_string()),
        ("endpoint-reconciler-type", reconciler.to_owned()),
        ("service-cluster-ip-range", state.block.services()),
        ("authorization-mode", "Node,RBAC".to_owned()),
        ("allow-privileged", "true".to_owned()),
        ("client-ca-file", pki("ca.crt")),
        ("tls-cert-file", pki("apiserver.crt")),
        ("tls-private-key-file", pki("apiserver.key")),
        ("kubelet-client-certificate", pki("kubelet-client.crt")),
        ("kubelet-client-key", pki("kubelet-client.key")),
        ("kubelet-preferred-address-types", "InternalIP".to_owned()),
        ("service-account-issuer", "https://kubernetes.default.svc.cluster.local".to_owned()),
        ("service-account-key-file", pki("service-accounts.pub")),
        ("service-account-signing-key-file", pki("service-accounts.key")),
        ("profiling", "false".to_owned()),
    ])
}

pub(super) fn controller_manager(state: &State) -> Vec<String> {
    let pki = |file: &str| path(&state.dir().join("pki").join(file));
    flags([
        ("kubeconfig", path(&state.kubeconfig("kube-controller-manager"))),
        ("bind-address", Ipv4Addr::LOCALHOST.to_string()),
        ("secure-port", state.ports.controller_manager.to_string()),
        ("leader-elect", "false".to_owned()),
        ("use-service-account-credentials", "true".to_owned()),
        ("service-account-private-key-file", pki("service-accounts.key")),
        ("root-ca-file", pki("ca.crt")),
        ("profiling", "false".to_owned()),
    ])
}

pub(super) fn scheduler(state: &State) -> Vec<String> {
    flags([
        ("kubeconfig", path(&state.kubeconfig("kube-scheduler"))),
        ("bind-address", Ipv4Addr::LOCALHOST.to_string()),
        ("secure-port", state.ports.scheduler.to_string()),
        ("leader-elect", "false".to_owned()),
        ("profiling", "false".to_owned()),
    ])
}

pub(super) fn agent_sandbox(state: &State) -> Vec<String> {
    flags([
        ("kubeconfig", path(&state.kubeconfig("agent-sandbox-controller"))),
        ("extensions", "true".to_owned()),
        ("leader-elect", "false".to_owned()),
        ("metrics-bind-address", format!("{}:{}", state.node(), state.ports.sandbox_metrics)),
        ("health-probe-bind-address", format!("{}:{}", state.node(), state.ports.sandbox_health)),
    ])
}

pub(super) fn kwok(state: &State) -> Vec<String> {
    let stages = parts::stages_of_kwok(&state.programs);
    let stages = stages.into_iter().map(|file| format!("--config={}", path(&file)));
    let args = flags([
        ("kubeconfig", path(&state.kubeconfig("kwok"))),
        ("manage-all-nodes", "false".to_owned()),
        ("manage-nodes-with-label-selector", "type=kwok".to_owned()),
        ("cidr", state.block.fake_pods()),
        ("node-ip", state.node().to_string()),
        ("node-lease-duration-seconds", "40".to_owned()),
        ("server-address", format!("{}:{}", Ipv4Addr::LOCALHOST, state.ports.kwok)),
    ]);
    args.into_iter().chain(stages).collect()
}
