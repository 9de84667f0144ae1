//! What the cluster tells of Sandboxes and their pods, and when it arrived here.

use std::fmt::Debug;
use std::net::IpAddr;

use ::drowse::time::{Clock, Moment};
use anyhow::{Context as _, bail};
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DynamicObject, ListParams, WatchEvent, WatchParams};
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::mpsc;

use super::Ground;

/// Sights that may wait to be looked at; beyond, the watch waits.
const MAX_WAITING: usize = 8192;
/// After this long the server ends a watch, and it is begun anew.
const WATCH_FOR_SECS: u32 = 280;

/// Something was seen.
#[derive(Clone, Debug)]
pub(super) struct Sight {
    pub(super) at: Moment,
    pub(super) seen: Seen,
}

#[derive(Clone, Debug)]
pub(super) enum Seen {
    Sandbox(SandboxSight),
    Pod(PodSight),
}

/// A Sandbox as it is now.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct SandboxSight {
    pub(super) name: String,
    /// It is asked to run.
    pub(super) running: bool,
    /// Its condition Ready, as of this very spec.
    pub(super) ready: bool,
    /// The controller has looked at its newest spec.
    pub(super) observed: bool,
    /// When Drowse wanted it last, as Drowse writes it: every write of a resume changes it.
    pub(super) wanted_at: Option<String>,
}

/// A pod as it is now.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a condition of its own")]
pub(super) struct PodSight {
    /// That of its Sandbox, too.
    pub(super) name: String,
    pub(super) gone: bool,
    pub(super) terminating: bool,
    pub(super) scheduled: bool,
    pub(super) ready: bool,
    pub(super) address: Option<IpAddr>,
}

/// Watches both kinds from now on.
pub(super) async fn watch(
    ground: &Ground,
    clock: Clock,
) -> anyhow::Result<mpsc::Receiver<anyhow::Result<Sight>>> {
    let (sights, receiver) = mpsc::channel(MAX_WAITING);
    let pods: Api<Pod> = Api::namespaced(ground.client.clone(), &ground.namespace);
    start(ground.sandboxes(), clock, |object, _| Seen::Sandbox(sandbox(object)), sights.clone()).await?;
    start(pods, clock, |object, gone| Seen::Pod(pod(object, gone)), sights).await?;
    Ok(receiver)
}

async fn start<K>(
    api: Api<K>,
    clock: Clock,
    boil: fn(&K, bool) -> Seen,
    sights: mpsc::Sender<anyhow::Result<Sight>>,
) -> anyhow::Result<()>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let list = api.list(&ListParams::default().limit(1)).await.context("failed to list")?;
    let version = list.metadata.resource_version.context("a list without a version")?;
    tokio::spawn(async move {
        if let Err(error) = follow(api, version, clock, boil, &sights).await {
            // Whoever does not listen any more does not want to know either.
            sights.send(Err(error)).await.unwrap_or_default();
        }
    });
    Ok(())
}

/// Until nobody listens.
async fn follow<K>(
    api: Api<K>,
    mut version: String,
    clock: Clock,
    boil: fn(&K, bool) -> Seen,
    sights: &mpsc::Sender<anyhow::Result<Sight>>,
) -> anyhow::Result<()>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    let params = WatchParams::default().timeout(WATCH_FOR_SECS);
    while !sights.is_closed() {
        let mut events = api.watch(&params, &version).await.context("failed to watch")?.boxed();
        while let Some(event) = events.next().await {
            let at = clock.now();
            let (object, gone) = match event.context("the watch broke")? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, false),
                WatchEvent::Deleted(object) => (object, true),
                WatchEvent::Bookmark(bookmark) => {
                    version = bookmark.metadata.resource_version;
                    continue;
                }
                WatchEvent::Error(status) => bail!("the watch ended: {}", status.message),
            };
            version = object.resource_version().unwrap_or_default();
            if sights.send(Ok(Sight { at, seen: boil(&object, gone) })).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn sandbox(object: &DynamicObject) -> SandboxSight {
    let generation = object.metadata.generation.unwrap_or_default();
    let conditions = object.data["status"]["conditions"].as_array();
    let is_current = |condition: &&Value| condition["observedGeneration"].as_i64() == Some(generation);
    let mut current = conditions.into_iter().flatten().filter(is_current).peekable();
    SandboxSight {
        name: object.name_any(),
        running: object.data["spec"]["operatingMode"] != "Suspended",
        observed: current.peek().is_some(),
        ready: current.any(|condition| condition["type"] == "Ready" && condition["status"] == "True"),
        wanted_at: object.annotations().get("drowse.dev/wanted-at").cloned(),
    }
}

fn pod(pod: &Pod, gone: bool) -> PodSight {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let is = |name: &str| conditions.iter().any(|c| c.type_ == name && c.status == "True");
    PodSight {
        name: pod.name_any(),
        gone,
        terminating: pod.metadata.deletion_timestamp.is_some(),
        scheduled: is("PodScheduled"),
        ready: is("Ready"),
        address: status.and_then(|status| status.pod_ip.as_deref()?.parse().ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_sandbox_is_ready_only_as_of_its_newest_spec() {
        let at = |observed: i64| {
            let object = json!({
                "apiVersion": "agents.x-k8s.io/v1beta1", "kind": "Sandbox",
                "metadata": {"name": "a", "generation": 3, "annotations": {"drowse.dev/wanted-at": "now"}},
                "spec": {"operatingMode": "Running"},
                "status": {"conditions": [
                    {"type": "Finished", "status": "True", "observedGeneration": 3},
                    {"type": "Ready", "status": "True", "observedGeneration": observed},
                ]},
            });
            sandbox(&serde_json::from_value(object).unwrap())
        };
        let expected = SandboxSight {
            name: "a".into(),
            running: true,
            ready: true,
            observed: true,
            wanted_at: Some("now".into()),
        };
        assert_eq!(at(3), expected);
        assert!(!at(2).ready && at(2).observed, "another condition is current");
    }

    #[test]
    fn a_pod_is_seen_with_what_it_has_reached() {
        let object = json!({"metadata": {"name": "a"}, "status": {
            "podIP": "10.0.0.7",
            "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}],
        }});
        let seen = pod(&serde_json::from_value(object).unwrap(), false);
        assert_eq!(seen.address, Some([10, 0, 0, 7].into()));
        assert!(seen.scheduled && !seen.ready && !seen.gone && !seen.terminating, "{seen:?}");
    }
}
