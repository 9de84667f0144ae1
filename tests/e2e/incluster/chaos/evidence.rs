//! What is kept of a run, to find out why something failed: beside the logs of the cluster, which outlive it.

use std::fs;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::agents::cluster_folder;
use crate::incluster::kubectl::try_kubectl;

/// Pods whose logs are kept.
const WHOSE: [&str; 2] = ["drowse-system_", "agent-sandbox-system_"];

/// Keeps what the replicas and the controller of Sandboxes have logged so far, also those whose process was killed: the node keeps
/// the log of no more than one that is dead.
pub(super) fn keep_logs() {
    // A file for each life of each container of each pod.
    for pod in entries(&cluster_folder().join("pod-logs")) {
        let name = pod.file_name().unwrap().to_string_lossy().into_owned();
        if WHOSE.iter().any(|whose| name.starts_with(whose)) {
            for log in entries(&pod).iter().flat_map(|container| entries(container)) {
                // By its inode, as a log that has grown large is put aside, and another one gets its name.
                let Ok(inode) = fs::metadata(&log).map(|log| log.ino()) else { continue };
                let kept =
                    folder().join(format!("{name}.{}.{inode}", log.file_name().unwrap().to_string_lossy()));
                // Linked, so that one that goes on is kept whole.
                let linked = fs::hard_link(&log, kept);
                // It may be kept already, or be gone by now.
                let is_fine =
                    |error: &Error| matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound);
                assert!(linked.as_ref().err().is_none_or(is_fine), "{}: {linked:?}", log.display());
            }
        }
    }
}

/// Keeps what the cluster tells about pods and Sandboxes. Where all of it is.
pub(super) fn keep_events() -> PathBuf {
    keep_logs();
    for what in ["events", "sandboxes", "pods"] {
        let text = try_kubectl(&["get", what, "--all-namespaces", "-o", "json"]);
        fs::write(folder().join(format!("{what}.json")), text.unwrap_or_else(|error| error)).unwrap();
    }
    folder()
}

fn folder() -> PathBuf {
    let folder = cluster_folder().join("logs/chaos");
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}
