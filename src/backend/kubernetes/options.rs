//! What the backend can be told.

use std::path::PathBuf;

/// Which cluster, and what of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// The namespaces to look at; empty is all of them.
    pub namespaces: Vec<String>,
    /// A kubeconfig file. Without one: `KUBECONFIG`, else `~/.kube/config`, else the pod's own service account.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it; without one, the current one.
    pub context: Option<String>,
}
