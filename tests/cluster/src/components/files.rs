//! The configuration files of the node's components.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::node::DNS_READY;
use crate::state::State;
use crate::{debian, network, pause};

/// The runtime class whose pods all have the same address, one pod at a time.
const ONE_ADDRESS: &str = "one-address";

/// Writes all of them.
pub(crate) fn write(state: &State) -> Result<()> {
    let pods = state.block.pod_range();
    let one = (state.block.one_address(), state.block.one_address());
    for (name, range) in [("pods", pods), (ONE_ADDRESS, one)] {
        fs::create_dir_all(state.file("cni").join(name))?;
        save(state, &format!("cni/{name}/{name}.conflist"), &format!("{:#}", network(state, name, range)))?;
    }
    save(state, "containerd.toml", &containerd(state)?)?;
    save(state, "kubelet.json", &format!("{:#}", kubelet(state)))?;
    save(state, "Corefile", &corefile(state))
}

fn save(state: &State, name: &str, text: &str) -> Result<()> {
    let file = state.file(name);
    fs::write(&file, text).with_context(|| format!("failed to write {}", file.display()))
}

/// One network for each range: both on the same bridge, each with its own list of addresses given.
fn network<A: std::fmt::Display>(state: &State, name: &str, (first, last): (A, A)) -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": format!("drowse-{}-{name}", state.id),
        "plugins": [{
            "type": "bridge",
            "bridge": network::BRIDGE,
            "isGateway": true,
            // A pod may call the Service that it is behind.
            "hairpinMode": true,
            "ipam": {
                "type": "host-local",
                "dataDir": state.file("addresses"),
                "ranges": [[{
                    "subnet": state.block.pods(),
                    "rangeStart": first.to_string(),
                    "rangeEnd": last.to_string(),
                    "gateway": state.block.gateway(),
                }]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }],
    })
}

fn containerd(state: &State) -> Result<String> {
    let plugins = quoted(&debian::plugins().context("the network plugins are gone")?);
    let runtimes: String = [("runc", "pods"), ("runc-too", "pods"), (ONE_ADDRESS, ONE_ADDRESS)]
        .map(|(runtime, network)| {
            format!(
                r#"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.{runtime}]
runtime_type = "io.containerd.runc.v2"
cni_conf_dir = {cni}
cni_max_conf_num = 1
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.{runtime}.options]
SystemdCgroup = false
Root = {runc}
"#,
                cni = quoted(&state.file("cni").join(network)),
                runc = quoted(&state.short().join("runc")),
            )
        })
        .concat();
    Ok(format!(
        r#"version = 3
root = {root}
state = {running}
# These have places on the machine that two clusters would share.
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri"]

[grpc]
address = {socket}

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{pause}"

[plugins."io.containerd.cri.v1.runtime"]
# Lowering a score needs a right that a virtual machine's root may lack.
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = [{plugins}]
conf_dir = {cni}
[plugins."io.containerd.cri.v1.runtime".containerd]
default_runtime_name = "runc"
{runtimes}"#,
        root = quoted(&state.file("containerd")),
        running = quoted(&state.short().join("c")),
        socket = quoted(&state.containerd()),
        pause = pause::IMAGE,
        cni = quoted(&state.file("cni").join("pods")),
    ))
}

/// A path as TOML has it, which is as JSON has it.
fn quoted(path: &Path) -> String {
    json!(path).to_string()
}

fn kubelet(state: &State) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": state.node(),
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": state.file("pki/ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": format!("unix://{}", state.containerd().display()),
        "clusterDNS": [state.node()],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        "podLogsDir": state.file("pod-logs"),
        "volumePluginDir": state.file("volume-plugins"),
        "maxPods": 250,
        // A test that kills a container again and again does not wait minutes for the next one.
        "crashLoopBackOff": {"maxContainerRestartPeriod": "5s"},
        // The machine's control groups are left as they are, whichever version they have.
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": false,
        "enforceNodeAllocatable": [],
        "failCgroupV1": false,
        "failSwapOn": false,
        "oomScoreAdj": 0,
        // An image that is collected cannot be pulled again.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
    })
}

fn corefile(state: &State) -> String {
    format!(
        "cluster.local:53 in-addr.arpa:53 {{
    bind {node}
    errors
    ready {node}:{DNS_READY}
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {kubeconfig}
        pods insecure
        ttl 5
    }}
}}
",
        node = state.node(),
        kubeconfig = state.kubeconfig("coredns").display(),
    )
}
