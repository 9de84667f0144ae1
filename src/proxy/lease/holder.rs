//! Who may take leases, and for which agent. On a cluster an agent has to prove that it is the one: its token is bound to
//! its pod. Processes of one machine have nothing to prove it by, and share their user anyway: whoever is on the machine may.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName, VIA};

use super::super::Caller;
use super::super::auth::{Authenticator, BoundPod};
use super::super::error::{Fault, LeaseDenial};
use super::super::request::authenticate;
use crate::agent::AgentKey;
use crate::engine::Engine;

/// What proxies write into what they pass on: such a request comes from wherever they are reached from.
const WRITTEN_BY_PROXIES: [HeaderName; 4] =
    [FORWARDED, VIA, HeaderName::from_static("x-forwarded-for"), HeaderName::from_static("x-real-ip")];

/// Who may take busy leases.
#[derive(Clone)]
pub enum LeaseHolders {
    /// Whoever calls from this machine, for any agent.
    OnThisMachine,
    /// Pods, each for the agent whose pod it is. This judges the token that is bound to it.
    Pods(Arc<dyn Authenticator>),
}

/// Who has called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Holder {
    OnThisMachine,
    Pod(Arc<BoundPod>),
}

impl LeaseHolders {
    pub(super) async fn identify(&self, caller: &Caller, headers: &HeaderMap) -> Result<Holder, Fault> {
        match self {
            Self::OnThisMachine if is_local(caller.address, headers) => Ok(Holder::OnThisMachine),
            Self::OnThisMachine => Err(LeaseDenial::NotLocal.into()),
            Self::Pods(authenticator) => {
                let pod = authenticate(authenticator.as_ref(), &caller.door.metrics, headers).await?;
                pod.map(Holder::Pod).ok_or_else(|| LeaseDenial::NotBound.into())
            }
        }
    }
}

impl Holder {
    /// Whom an order is about. A Sandbox and its pod have the same name, unless the pod was there first.
    pub(super) fn agent(&self, named: Option<&AgentKey>) -> Option<AgentKey> {
        named.cloned().or_else(|| match self {
            Self::OnThisMachine => None,
            Self::Pod(pod) => Some(AgentKey::new(Arc::clone(&pod.namespace), Arc::clone(&pod.name))),
        })
    }

    /// Whether the caller is this agent. What is said of another agent says nothing about whether there is one.
    pub(super) fn check(&self, engine: &Engine, agent: &AgentKey) -> Result<(), LeaseDenial> {
        let Self::Pod(pod) = self else { return Ok(()) };
        let is_its_pod = || engine.slot(agent).is_some_and(|slot| slot.has_pod(&pod.uid));
        if *agent.namespace() == *pod.namespace && is_its_pod() {
            return Ok(());
        }
        // A pod may be newer than what we have seen.
        Err(if engine.is_synced() { LeaseDenial::NotTheAgent } else { LeaseDenial::Unsure })
    }
}

fn is_local(address: IpAddr, headers: &HeaderMap) -> bool {
    address.is_loopback() && !WRITTEN_BY_PROXIES.iter().any(|name| headers.contains_key(name))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::agent::PodUid;

    #[test]
    fn on_this_machine_is_who_calls_over_loopback_and_was_not_passed_on() {
        let none = HeaderMap::new();
        for (address, expected) in [
            ("127.0.0.1", true),
            ("127.8.9.1", true),
            ("::1", true),
            ("10.0.0.1", false),
            ("0.0.0.0", false),
            ("::2", false),
            ("fe80::1", false),
        ] {
            assert_eq!(is_local(address.parse().unwrap(), &none), expected, "{address}");
        }
        for name in ["forwarded", "via", "x-forwarded-for", "x-real-ip"] {
            let headers = HeaderMap::from_iter([(
                HeaderName::from_static(name),
                HeaderValue::from_static("127.0.0.1"),
            )]);
            assert!(!is_local("127.0.0.1".parse().unwrap(), &headers), "{name}");
        }
    }

    #[test]
    fn a_pod_is_its_namesake_unless_it_says_otherwise_and_others_have_to_say() {
        let named = AgentKey::new("other", "one");
        let pod = BoundPod { namespace: "a".into(), name: "echo".into(), uid: PodUid("u".into()) };
        let pod = Holder::Pod(Arc::new(pod));
        assert_eq!(pod.agent(None), Some(AgentKey::new("a", "echo")));
        assert_eq!(pod.agent(Some(&named)), Some(named.clone()));
        assert_eq!(Holder::OnThisMachine.agent(None), None);
        assert_eq!(Holder::OnThisMachine.agent(Some(&named)), Some(named));
    }
}
