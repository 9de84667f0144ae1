//! Boils the objects of the API down to what the index wants of them.

use kube::Resource;

use super::claim::{self, SandboxClaim};
use super::index::{Object, PodFacts, SandboxFacts};
use super::pod::{self, Pod};
use super::sandbox::{self, Malformed, Sandbox};

pub(super) fn sandbox(sandbox: &Sandbox) -> Option<Object> {
    let meta = &sandbox.metadata;
    let facts = || {
        Ok(SandboxFacts {
            key: sandbox::key(meta)?,
            seen: sandbox::seen(sandbox)?,
            profile: sandbox::profile(sandbox),
            claim: sandbox::claim(meta).map(Into::into),
            unclaimed: sandbox::is_unclaimed(meta),
            deleting: meta.deletion_timestamp.is_some(),
        })
    };
    good(sandbox, facts()).map(Object::Sandbox)
}

pub(super) fn pod(pod: &Pod) -> Option<Object> {
    let Some((key, owner)) = pod::owner(pod) else {
        return good(pod, pod::identity(pod)).map(|(uid, revision)| Object::Stray(uid, revision));
    };
    let name = pod.metadata.name.as_deref()?.into();
    let seen = good(pod, pod::seen(pod, owner))?;
    Some(Object::Pod(PodFacts { key, name, seen }))
}

pub(super) fn claim(claim: &SandboxClaim) -> Option<Object> {
    let key = good(claim, sandbox::key(&claim.metadata))?;
    Some(Object::Claim(key, claim::trap(claim)))
}

/// What cannot be read is left out, and said: an agent that nobody knows is not suspended.
fn good<K: Resource<DynamicType = ()>, T>(object: &K, facts: Result<T, Malformed>) -> Option<T> {
    facts
        .inspect_err(|error| {
            let (kind, meta) = (K::kind(&()), object.meta());
            tracing::error!(%kind, namespace = meta.namespace, name = meta.name, %error, "an object is left out");
        })
        .ok()
}
