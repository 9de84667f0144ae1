//! The arguments of what runs on the node.

use super::{flags, path};
use crate::certificates::NODE;
use crate::state::State;

/// Where kube-proxy says that it is well.
pub(super) const PROXY_HEALTH: u16 = 10_256;
/// Where `CoreDNS` says that it knows the Services.
pub(super) const DNS_READY: u16 = 8181;

pub(super) fn containerd(state: &State) -> Vec<String> {
    flags([("config", path(&state.file("containerd.toml"))), ("log-level", "info".to_owned())])
}

pub(super) fn kubelet(state: &State) -> Vec<String> {
    flags([
        ("config", path(&state.file("kubelet.json"))),
        ("kubeconfig", path(&state.kubeconfig("kubelet"))),
        ("root-dir", path(&state.file("kubelet"))),
        ("cert-dir", path(&state.file("kubelet-pki"))),
        ("hostname-override", NODE.to_owned()),
        ("node-ip", state.node().to_string()),
    ])
}

pub(super) fn proxy(state: &State) -> Vec<String> {
    let unchanged = || "0".to_owned();
    flags([
        ("kubeconfig", path(&state.kubeconfig("kube-proxy"))),
        ("proxy-mode", "iptables".to_owned()),
        ("hostname-override", NODE.to_owned()),
        ("cluster-cidr", state.block.pods()),
        ("healthz-bind-address", format!("{}:{PROXY_HEALTH}", state.node())),
        ("metrics-bind-address", "127.0.0.1:10249".to_owned()),
        ("iptables-localhost-nodeports", "false".to_owned()),
        // These are the machine's, not the namespace's.
        ("conntrack-max-per-core", unchanged()),
        ("conntrack-min", unchanged()),
        ("conntrack-tcp-timeout-established", "0s".to_owned()),
        ("conntrack-tcp-timeout-close-wait", "0s".to_owned()),
        ("oom-score-adj", unchanged()),
    ])
}

pub(super) fn coredns(state: &State) -> Vec<String> {
    vec!["-conf".to_owned(), path(&state.file("Corefile"))]
}
