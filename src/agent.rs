//! Who an agent is, which life of it is meant, and how observations of it are ordered.
//!
//! Names survive a suspension, lives do not: everything that could reach the wrong agent is keyed by
//! [`Life`], never by a name or an address alone (invariant 3).

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

/// The name of an agent: `namespace/name`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentKey {
    namespace: Arc<str>,
    name: Arc<str>,
}

impl AgentKey {
    /// Joins the two parts. Both are DNS-1123 labels wherever they come from outside; see [`is_dns_label`].
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The Kubernetes namespace, or the one given in the configuration file.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name within the namespace.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for AgentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Debug for AgentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not the name of an agent.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0:?} is not an agent; write namespace/name, for example default/echo (a Sandbox with a dot in its name, or more than 63 \
     characters, is left alone)"
)]
pub struct AgentKeyError(String);

impl FromStr for AgentKey {
    type Err = AgentKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((namespace, name)) if is_dns_label(namespace) && is_dns_label(name) => {
                Ok(Self::new(namespace, name))
            }
            _ => Err(AgentKeyError(text.to_owned())),
        }
    }
}

/// What has the name of an agent in it.
pub trait Keyed {
    /// That name.
    fn key(&self) -> &AgentKey;
}

/// A pointer to something that is found by the name in it. As a key of its own, the name would take 32 bytes more for each, and for each
/// place of the set that is still free.
#[derive(Debug)]
pub struct ByKey<P>(pub P);

impl<P: Deref<Target: Keyed>> Borrow<AgentKey> for ByKey<P> {
    fn borrow(&self) -> &AgentKey {
        self.0.key()
    }
}

impl<P: Deref<Target: Keyed>> Hash for ByKey<P> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key().hash(state);
    }
}

impl<P: Deref<Target: Keyed>> PartialEq for ByKey<P> {
    fn eq(&self, other: &Self) -> bool {
        self.0.key() == other.0.key()
    }
}

impl<P: Deref<Target: Keyed>> Eq for ByKey<P> {}

/// Whether a text is a DNS label as RFC 1123 §2.1 and Kubernetes want it: 1 to 63 of `a-z 0-9 -`, no `-` at
/// either end.
pub fn is_dns_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        && bytes[0] != b'-'
        && bytes[bytes.len() - 1] != b'-'
}

/// The identity of one agent object: a deleted and re-created agent of the same name has another.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct AgentUid(pub Arc<str>);

/// The identity of one pod. With the process backend, of one start of the process.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PodUid(pub Arc<str>);

/// One life of an agent: this object, in this pod. An upstream connection belongs to exactly one.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Life {
    /// The agent object.
    pub agent: AgentUid,
    /// The pod that runs it.
    pub pod: PodUid,
}

/// A version of an object, as Kubernetes' `resourceVersion`: larger is newer (comparable as an integer since
/// KEP-5504).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Revision(pub u64);

/// Counts the changes of an object's spec, as Kubernetes' `metadata.generation`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Generation(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_parsed_and_printed_as_namespace_slash_name() {
        let key: AgentKey = "default/echo".parse().unwrap();
        assert_eq!(
            (key.namespace(), key.name(), key.to_string().as_str()),
            ("default", "echo", "default/echo")
        );
    }

    #[test]
    fn what_is_not_two_dns_labels_is_refused_with_an_example() {
        for bad in [
            "",
            "echo",
            "/echo",
            "a/",
            "a/b/c",
            "A/b",
            "a/-b",
            "a/b-",
            "a/b.c",
            &format!("a/{}", "x".repeat(64)),
        ] {
            let error = bad.parse::<AgentKey>().unwrap_err().to_string();
            assert!(error.contains("default/echo"), "{bad}: {error}");
        }
    }
}
