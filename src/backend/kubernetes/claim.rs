//! A `SandboxClaim` as far as Drowse wants to know it: whether the end of a pod would be the end of the agent.

use kube::CustomResource;
use serde::{Deserialize, Serialize};

use crate::policy::HandsOff;

/// `spec` of a claim, trimmed.
#[derive(CustomResource, Clone, Debug, Default, Serialize, Deserialize)]
#[kube(
    group = "extensions.agents.x-k8s.io",
    version = "v1beta1",
    kind = "SandboxClaim",
    plural = "sandboxclaims",
    namespaced,
    schema = "disabled"
)]
#[serde(default)]
pub(super) struct SandboxClaimSpec {
    /// How it ends.
    pub(super) lifecycle: Lifecycle,
}

/// How a claim ends.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Lifecycle {
    /// The claim, its Sandbox and its volumes go this long after the Sandbox has finished. A pod that is being
    /// suspended passes through a terminal phase, which counts as finished while it lasts.
    pub(super) ttl_seconds_after_finished: Option<i64>,
}

/// Why an agent of this claim must not be suspended, if so.
pub(super) fn trap(claim: &SandboxClaim) -> Option<HandsOff> {
    let ttl_seconds = u32::try_from(claim.spec.lifecycle.ttl_seconds_after_finished?.max(0)).ok()?;
    let name = claim.metadata.name.as_deref()?.into();
    (ttl_seconds < HandsOff::SAFE_TTL_SECONDS).then_some(HandsOff::ClaimExpires { claim: name, ttl_seconds })
}
