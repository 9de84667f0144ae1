//! Ending the containers of a cluster: their processes belong to nobody that we started, and their control groups to
//! the machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process::Process;
use crate::wait;

/// How long containerd may take to put away containers whose processes are gone.
const PUT_AWAY_LIMIT: Duration = Duration::from_secs(5);
/// Where containerd's interface to the kubelet puts what it runs.
const NAMESPACE: &str = "k8s.io";

/// Kills all containers of the cluster with this short folder. If its containerd still runs, it is given time to put
/// them away.
pub(crate) fn end(short: &Path) {
    let all = bundles(short);
    for bundle in &all {
        if let Some(process) = first_process(bundle) {
            process.kill();
        }
    }
    if all.is_empty() || std::os::unix::net::UnixStream::connect(short.join("containerd.sock")).is_err() {
        return;
    }
    wait::whether(PUT_AWAY_LIMIT, || bundles(short).is_empty());
}

/// Removes what containers that nobody put away have outside the cluster's folders: the control groups, and the
/// sockets of their shims.
pub(crate) fn remove_traces(short: &Path) {
    let left = bundles(short);
    for bundle in &left {
        let address = fs::read_to_string(bundle.join("address")).unwrap_or_default();
        if let Some(socket) = address.trim().strip_prefix("unix://") {
            let _ = fs::remove_file(socket);
        }
    }
    let names: Vec<_> = left.iter().filter_map(|bundle| bundle.file_name()).collect();
    let root = Path::new("/sys/fs/cgroup");
    // In version 1, each controller has a tree of its own.
    let trees = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    for tree in std::iter::once(root.to_owned()).chain(trees) {
        let folder = tree.join(NAMESPACE);
        for name in &names {
            let _ = fs::remove_dir(folder.join(name));
        }
        // Fails while another cluster has containers.
        let _ = fs::remove_dir(folder);
    }
}

/// The folders of all containers that are not put away.
fn bundles(short: &Path) -> Vec<PathBuf> {
    let folder = short.join("c/io.containerd.runtime.v2.task").join(NAMESPACE);
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// A container's first process. Its control group is named after the container, which tells it from another process
/// with the same pid.
fn first_process(bundle: &Path) -> Option<Process> {
    let pid = fs::read_to_string(bundle.join("init.pid")).ok()?.trim().parse().ok()?;
    let process = Process::of(pid)?;
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    groups.contains(bundle.file_name()?.to_str()?).then_some(process)
}
