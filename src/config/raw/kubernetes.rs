//! The section `backend.kubernetes` as it is written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::words::Label;
use crate::units::HumanDuration;

/// Agents as Agent Sandboxes of a Kubernetes cluster (`agents.x-k8s.io/v1beta1`).
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Kubernetes {
    /// The namespaces whose Sandboxes Drowse looks at; if empty, all. With a list, Roles in these namespaces
    /// suffice. A change needs a restart.
    pub(crate) namespaces: Vec<Label>,
    /// A kubeconfig file. Relative to the folder of this file. If left out: `KUBECONFIG`, else
    /// `~/.kube/config`, else the service account of the pod that Drowse runs in. A change needs a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kubeconfig: Option<String>,
    /// The context in the kubeconfig; if left out, its current one. A change needs a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) context: Option<String>,
    /// While the API server cannot be reached, new connections are made to pods that were seen within this time.
    /// After it, only to pods that the API server confirms. A change needs a restart.
    pub(crate) trust_stale_for: HumanDuration,
}

impl Default for Kubernetes {
    fn default() -> Self {
        Self {
            namespaces: Vec::new(),
            kubeconfig: None,
            context: None,
            trust_stale_for: HumanDuration::from_secs(600),
        }
    }
}
