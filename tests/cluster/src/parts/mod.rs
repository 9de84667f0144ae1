//! The programs that a cluster is made of: which there are, which of them the machine has, and where the others are
//! built. `parts/` beside this crate's manifest pins every one of them in a Go module.

mod build;
mod cache;

pub(crate) use cache::lock;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::options::Options;

/// A Go module in `parts/` and what of it is built.
#[derive(Debug)]
pub(crate) struct Module {
    /// Its folder in `parts/`.
    folder: &'static str,
    /// The module in its go.mod whose version is the parts' version; none for a program of our own.
    upstream: Option<&'static str>,
    /// Build tags that leave out what needs headers of the system, or is large.
    tags: &'static str,
    /// What the linker writes into the program; `{version}` stands for the version.
    linked: &'static str,
}

/// A program.
#[derive(Debug)]
pub(crate) struct Part {
    /// Its name on disk, and the component's name where it is one.
    pub(crate) name: &'static str,
    module: Module,
    /// The package to build, as `go build` takes it.
    package: &'static str,
}

const KUBERNETES: Module = Module {
    folder: "kubernetes",
    upstream: Some("k8s.io/kubernetes"),
    tags: "",
    linked: "-X k8s.io/component-base/version.gitVersion={version}",
};
const ETCD: Module =
    Module { folder: "etcd", upstream: Some("go.etcd.io/etcd/server/v3"), tags: "", linked: "" };
const AGENT_SANDBOX: Module =
    Module { folder: "agent-sandbox", upstream: Some("sigs.k8s.io/agent-sandbox"), tags: "", linked: "" };
const CONTAINERD: Module = Module {
    folder: "containerd",
    upstream: Some("github.com/containerd/containerd/v2"),
    tags: "no_btrfs,no_devmapper,no_zfs",
    linked: "-X github.com/containerd/containerd/v2/version.Version={version}",
};
const COREDNS: Module =
    Module { folder: "coredns", upstream: Some("github.com/coredns/coredns"), tags: "", linked: "" };
const KWOK: Module = Module { folder: "kwok", upstream: Some("sigs.k8s.io/kwok"), tags: "", linked: "" };
const PAUSE: Module = Module { folder: "pause", upstream: None, tags: "", linked: "" };

static CONTROL_PLANE: [Part; 6] = [
    Part { name: "etcd", module: ETCD, package: "go.etcd.io/etcd/server/v3" },
    Part { name: "kube-apiserver", module: KUBERNETES, package: "k8s.io/kubernetes/cmd/kube-apiserver" },
    Part { name: "kubectl", module: KUBERNETES, package: "k8s.io/kubernetes/cmd/kubectl" },
    Part {
        name: "kube-controller-manager",
        module: KUBERNETES,
        package: "k8s.io/kubernetes/cmd/kube-controller-manager",
    },
    Part { name: "kube-scheduler", module: KUBERNETES, package: "k8s.io/kubernetes/cmd/kube-scheduler" },
    Part {
        name: "agent-sandbox-controller",
        module: AGENT_SANDBOX,
        package: "sigs.k8s.io/agent-sandbox/cmd/agent-sandbox-controller",
    },
];
static NODE: [Part; 7] = [
    Part { name: "kubelet", module: KUBERNETES, package: "k8s.io/kubernetes/cmd/kubelet" },
    Part { name: "kube-proxy", module: KUBERNETES, package: "k8s.io/kubernetes/cmd/kube-proxy" },
    Part {
        name: "containerd",
        module: CONTAINERD,
        package: "github.com/containerd/containerd/v2/cmd/containerd",
    },
    Part {
        name: "containerd-shim-runc-v2",
        module: CONTAINERD,
        package: "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
    },
    Part { name: "ctr", module: CONTAINERD, package: "github.com/containerd/containerd/v2/cmd/ctr" },
    Part { name: "coredns", module: COREDNS, package: "." },
    Part { name: "pause", module: PAUSE, package: "." },
];
static FAKE_NODES: [Part; 1] = [Part { name: "kwok", module: KWOK, package: "sigs.k8s.io/kwok/cmd/kwok" }];

/// Each line of versions of nats-server has a module of its own: a module asks for one version of another.
const fn nats_server(name: &'static str) -> Part {
    const PACKAGE: &str = "github.com/nats-io/nats-server/v2";
    let module = Module { folder: name, upstream: Some(PACKAGE), tags: "", linked: "" };
    Part { name, module, package: PACKAGE }
}

const NATS: Module =
    Module { folder: "nats", upstream: Some("github.com/nats-io/natscli"), tags: "", linked: "" };
const NATS_AGENT: Module =
    Module { folder: "nats-agent", upstream: Some("github.com/nats-io/nats.go"), tags: "", linked: "" };

/// What agents that talk over NATS are tried with; no part of a cluster.
static MESSAGING: [Part; 7] = [
    nats_server("nats-server-2.9"),
    nats_server("nats-server-2.10"),
    nats_server("nats-server-2.11"),
    nats_server("nats-server-2.12"),
    nats_server("nats-server-2.15"),
    Part { name: "nats", module: NATS, package: "github.com/nats-io/natscli/nats" },
    Part { name: "nats-agent", module: NATS_AGENT, package: "." },
];

const H2SPEC: Module =
    Module { folder: "h2spec", upstream: Some("github.com/summerwind/h2spec"), tags: "", linked: "" };
const GRPC_INTEROP: Module =
    Module { folder: "grpc-interop", upstream: Some("google.golang.org/grpc"), tags: "", linked: "" };

/// Conformance suites that the front door is tried with; no part of a cluster.
static SUITES: [Part; 3] = [
    Part { name: "h2spec", module: H2SPEC, package: "github.com/summerwind/h2spec/cmd/h2spec" },
    Part {
        name: "grpc-interop-client",
        module: GRPC_INTEROP,
        package: "google.golang.org/grpc/interop/client",
    },
    Part {
        name: "grpc-interop-server",
        module: GRPC_INTEROP,
        package: "google.golang.org/grpc/interop/server",
    },
];

/// Finds or builds one program by its name: `nats-server-2.15`, `nats`, `h2spec` and so on.
pub fn program(name: &str) -> Result<PathBuf> {
    let all = CONTROL_PLANE.iter().chain(&NODE).chain(&FAKE_NODES).chain(&MESSAGING).chain(&SUITES);
    let part = all.into_iter().find(|part| part.name == name);
    let part = part.with_context(|| format!("there is no part of the name {name}"))?;
    let program = cache::provide(&[part])?.remove(name);
    program.with_context(|| format!("{name} was not built"))
}

/// Where the programs of a cluster are, by name.
pub(crate) type Programs = BTreeMap<String, PathBuf>;

/// Finds or builds all that a cluster with these options needs. The first time takes minutes, and says so.
pub(crate) fn provide(options: &Options) -> Result<Programs> {
    let node = options.with_node.then_some(NODE.iter()).into_iter().flatten();
    let fake = options.kwok.then_some(FAKE_NODES.iter()).into_iter().flatten();
    let wanted: Vec<_> = CONTROL_PLANE.iter().chain(node).chain(fake).collect();
    let mut programs = Programs::new();
    let mut missing = Vec::new();
    for part in wanted {
        match of_the_machine(part)? {
            Some(program) => _ = programs.insert(part.name.to_owned(), program),
            None => missing.push(part),
        }
    }
    programs.extend(cache::provide(&missing)?);
    Ok(programs)
}

/// `KUBEBUILDER_ASSETS` names a folder with an etcd and an API server, by a convention of Kubernetes test tools.
fn of_the_machine(part: &Part) -> Result<Option<PathBuf>> {
    let Some(assets) = std::env::var_os("KUBEBUILDER_ASSETS").filter(|assets| !assets.is_empty()) else {
        return Ok(None);
    };
    if !["etcd", "kube-apiserver"].contains(&part.name) {
        return Ok(None);
    }
    let program = Path::new(&assets).join(part.name);
    ensure!(program.is_file(), "KUBEBUILDER_ASSETS has no {}; unset it to have it built", program.display());
    Ok(Some(program))
}

/// The files that tell kwok how nodes and pods behave: beside it, in an order that is always the same.
pub(crate) fn stages_of_kwok(programs: &Programs) -> Vec<PathBuf> {
    let folder = programs.get("kwok").and_then(|kwok| Some(kwok.parent()?.join("stages")));
    let entries = folder.and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.sort();
    files
}

/// Where the definitions and rights that come with the Agent Sandbox controller are: beside it.
pub(crate) fn manifests_of_agent_sandbox(programs: &Programs) -> Option<PathBuf> {
    Some(programs.get("agent-sandbox-controller")?.parent()?.join("k8s"))
}
