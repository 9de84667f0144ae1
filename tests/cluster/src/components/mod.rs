//! The components: which a cluster has, in the order in which they start, and with which arguments. All of it follows
//! from the cluster's state, so that one can be started again at any time.

mod control_plane;
mod files;
mod node;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

pub(crate) use files::write as write_files;

use crate::state::State;

/// How to run a component, and how to tell that it works.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) ready: Ready,
}

/// How to tell that a component works.
#[derive(Debug, Clone)]
pub(crate) enum Ready {
    /// It runs; it has no better sign that can be seen from outside.
    Running,
    /// It answers 200 to this path.
    Http(SocketAddrV4, &'static str),
    /// The API server says it is ready.
    ApiServer,
    /// Its socket accepts.
    Socket(PathBuf),
    /// The API server says that the node is ready.
    Node,
}

/// The components of a cluster, in the order in which they start.
pub(crate) fn names(state: &State) -> Vec<&'static str> {
    let mut names = Vec::new();
    if state.options.with_node {
        names.push("containerd");
    }
    names.extend(["etcd", "kube-apiserver"]);
    names.extend(["kube-controller-manager", "kube-scheduler", "agent-sandbox-controller"]);
    if state.options.with_node {
        names.extend(["kubelet", "kube-proxy", "coredns"]);
    }
    if state.options.kwok {
        names.push("kwok");
    }
    names
}

/// How to run one of them; none if there is no such component.
pub(crate) fn spec(state: &State, name: &str) -> Option<Spec> {
    let (args, ready) = match name {
        "etcd" => (control_plane::etcd(state), Ready::Running),
        "kube-apiserver" => (control_plane::apiserver(state), Ready::ApiServer),
        "kube-controller-manager" => (control_plane::controller_manager(state), Ready::Running),
        "kube-scheduler" => (control_plane::scheduler(state), Ready::Running),
        "agent-sandbox-controller" => {
            let health = SocketAddrV4::new(state.node(), state.ports.sandbox_health);
            (control_plane::agent_sandbox(state), Ready::Http(health, "/readyz"))
        }
        "kwok" => (control_plane::kwok(state), Ready::Running),
        "containerd" => (node::containerd(state), Ready::Socket(state.containerd())),
        "kubelet" => (node::kubelet(state), Ready::Node),
        "kube-proxy" => {
            (node::proxy(state), Ready::Http(SocketAddrV4::new(state.node(), node::PROXY_HEALTH), "/healthz"))
        }
        "coredns" => {
            (node::coredns(state), Ready::Http(SocketAddrV4::new(state.node(), node::DNS_READY), "/ready"))
        }
        _ => return None,
    };
    Some(Spec { program: state.programs.get(name)?.clone(), args, ready })
}

/// `--key=value` for each pair.
fn flags<const N: usize>(pairs: [(&str, String); N]) -> Vec<String> {
    pairs.into_iter().map(|(key, value)| format!("--{key}={value}")).collect()
}

fn loopback(port: u16) -> String {
    format!("http://{}:{port}", Ipv4Addr::LOCALHOST)
}

fn path(path: &Path) -> String {
    path.display().to_string()
}
