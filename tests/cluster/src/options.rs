//! What kind of cluster somebody wants.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// What kind of cluster to start, and where it keeps its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// The folder of its state. What the cluster has on the machine (network namespace, addresses, short paths) is
    /// named after it, so that every folder is a cluster of its own.
    pub dir: PathBuf,
    /// Whether it has a real node (kubelet, containerd, pods). That needs root.
    pub with_node: bool,
    /// Whether kwok acts for nodes and pods that do not exist, to try out large numbers.
    pub kwok: bool,
}

impl Options {
    /// A cluster with one real node, called `name`, in the `target` folder of the workspace.
    pub fn named(name: &str) -> Result<Self> {
        let target = match std::env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty()) {
            Some(dir) => std::path::absolute(dir).context("failed to find the current folder")?,
            None => {
                let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
                workspace.context("this crate is in no workspace; set CARGO_TARGET_DIR")?.join("target")
            }
        };
        Ok(Self { dir: target.join("cluster").join(name), with_node: true, kwok: false })
    }
}
