//! The writes and the reads past every cache. A suspension and a resume are one patch each, with their preconditions
//! in it: what somebody else does meanwhile makes them fail.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, PatchOperation, RemoveOperation, ReplaceOperation, TestOperation};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::error;
use super::marks::{self, FIELD_MANAGER, SUSPENDED_AT, SUSPENDED_BY, WANTED_AT};
use super::pod::{self, Pod};
use super::sandbox::{self, OperatingMode, Sandbox};
use crate::agent::{AgentKey, AgentUid, Generation, Life, Revision};
use crate::lifecycle::{AgentSeen, Mode, SuspendedBy, WriteError};

/// How long one call may take. Below the time after which the core takes an answer for lost.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// How long the read of a pod may take: somebody waits for it.
const ATTEST_LIMIT: Duration = Duration::from_secs(5);

/// What a resume does to our marks on the object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Marks {
    /// There are annotations, and the two of a suspension among them.
    Suspended,
    /// There are annotations, without them.
    None,
    /// There are no annotations at all.
    NoAnnotations,
}

/// Writes `Suspended` with the marks, if the object still has this identity and exactly this revision.
pub(super) async fn suspend(
    client: Client,
    key: AgentKey,
    uid: AgentUid,
    revision: Revision,
    by: SuspendedBy,
    now: Timestamp,
) -> Result<AgentSeen, WriteError> {
    let by = match by {
        SuspendedBy::Idle => marks::IDLE,
        SuspendedBy::Person => marks::PERSON,
    };
    // A merge patch with uid and resourceVersion fails with 409 where the object has others.
    let patch = json!({
        "metadata": {
            "uid": *uid.0,
            "resourceVersion": revision.0.to_string(),
            "annotations": { SUSPENDED_BY: by, SUSPENDED_AT: now.to_string() },
        },
        "spec": { "operatingMode": OperatingMode::Suspended },
    });
    seen(&bounded(sandboxes(client, &key).patch(key.name(), &params(), &Patch::Merge(&patch))).await?)
}

/// Writes `Running` and a wanted-at mark, if the object still has this identity and generation, and so this mode.
///
/// The generation counts changes of the spec alone, so the controller's status writes do not get in the way, and a
/// person's change does.
pub(super) async fn resume(
    client: Client,
    key: AgentKey,
    uid: AgentUid,
    generation: Generation,
    from: Mode,
    now: Timestamp,
) -> Result<AgentSeen, WriteError> {
    let writing = resume_unbounded(client, key, uid, generation, from, now);
    let Ok(result) = tokio::time::timeout(CALL_LIMIT, writing).await else {
        return Err(Failed::TimedOut.into());
    };
    result
}

/// One to four calls.
async fn resume_unbounded(
    client: Client,
    key: AgentKey,
    uid: AgentUid,
    generation: Generation,
    from: Mode,
    now: Timestamp,
) -> Result<AgentSeen, WriteError> {
    let api = sandboxes(client, &key);
    let write = async |marks| {
        let patch: Patch<()> =
            Patch::Json(json_patch::Patch(resume_patch(&uid, generation, from, marks, now)));
        api.patch(key.name(), &params(), &patch).await
    };
    // What is so nearly always is not looked up first.
    let mut marks = if from == Mode::Suspended { Marks::Suspended } else { Marks::None };
    for _ in 0..2 {
        let error = match bounded(write(marks)).await {
            Err(Failed::Api(error)) if is_failed_test(&error) => error,
            other => return seen(&other?),
        };
        // Some precondition did not hold: find out which.
        let object = bounded(api.get(key.name())).await?;
        let now_seen = sandbox::seen(&object).map_err(malformed)?;
        let holds = now_seen.uid == uid && now_seen.generation == generation && now_seen.mode == from;
        if !holds {
            break;
        }
        let found = marks_on(&object);
        if found == marks {
            // Not a precondition of ours then: a webhook or a schema refuses it, and says why.
            return Err(error::of_write(&error));
        }
        marks = found;
    }
    Err(WriteError::Conflict)
}

/// Reads the object past every cache: without a resourceVersion the API server asks etcd.
pub(super) async fn read(client: Client, key: AgentKey) -> Result<AgentSeen, WriteError> {
    seen(&bounded(sandboxes(client, &key).get(key.name())).await?)
}

/// Whether, read past every cache, the pod of this name is the one of this life, at this address and not on its way
/// out (guard IDENT).
pub(super) async fn attest(
    client: Client,
    key: AgentKey,
    pod_name: std::sync::Arc<str>,
    life: Life,
    at: IpAddr,
) -> Result<bool, String> {
    let api: Api<Pod> = Api::namespaced(client, key.namespace());
    let read = tokio::time::timeout(ATTEST_LIMIT, api.get_opt(&pod_name)).await;
    let pod = read.map_err(|_| format!("the API server did not show the pod within {ATTEST_LIMIT:?}"))?;
    let Some(pod) = pod.map_err(|error| error::with_causes(&error))? else { return Ok(false) };
    Ok(pod.metadata.uid.as_deref() == Some(&*life.pod.0)
        && pod::owner(&pod).is_some_and(|(_, uid)| uid == life.agent)
        && pod.metadata.deletion_timestamp.is_none()
        && pod::address(&pod.status) == Some(at))
}

fn sandboxes(client: Client, key: &AgentKey) -> Api<Sandbox> {
    Api::namespaced(client, key.namespace())
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

fn seen(object: &Sandbox) -> Result<AgentSeen, WriteError> {
    sandbox::seen(object).map_err(malformed)
}

/// It was written, but what came back cannot be read.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn malformed(error: sandbox::Malformed) -> WriteError {
    WriteError::Unknown(error.to_string().into())
}

enum Failed {
    Api(kube::Error),
    TimedOut,
}

impl From<Failed> for WriteError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Api(error) => error::of_write(&error),
            Failed::TimedOut => Self::Unknown(format!("nothing within {CALL_LIMIT:?}").into()),
        }
    }
}

async fn bounded<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, Failed> {
    match tokio::time::timeout(CALL_LIMIT, call).await {
        Ok(result) => result.map_err(Failed::Api),
        Err(_) => Err(Failed::TimedOut),
    }
}

/// The API server answers 422 when a test of a JSON patch fails, and for other things too.
fn is_failed_test(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 422)
}

fn marks_on(object: &Sandbox) -> Marks {
    match &object.metadata.annotations {
        None => Marks::NoAnnotations,
        Some(all) if all.contains_key(SUSPENDED_BY) && all.contains_key(SUSPENDED_AT) => Marks::Suspended,
        Some(_) => Marks::None,
    }
}

/// RFC 6902. The tests come first, so nothing is written where one fails.
fn resume_patch(
    uid: &AgentUid,
    generation: Generation,
    from: Mode,
    marks: Marks,
    now: Timestamp,
) -> Vec<PatchOperation> {
    let wanted_at = Value::from(now.to_string());
    let mode = ["spec", "operatingMode"];
    let before = match from {
        Mode::Running => OperatingMode::Running,
        Mode::Suspended => OperatingMode::Suspended,
    };
    let mut patch = vec![
        test(["metadata", "uid"], Value::from(&*uid.0)),
        test(["metadata", "generation"], Value::from(generation.0)),
        test(mode, json!(before)),
    ];
    if from == Mode::Suspended {
        let value = json!(OperatingMode::Running);
        patch.push(PatchOperation::Replace(ReplaceOperation { path: PointerBuf::from_tokens(mode), value }));
    }
    if marks == Marks::NoAnnotations {
        // Were there annotations by now, they would be replaced: so there must be none.
        patch.push(test(["metadata", "annotations"], Value::Null));
        patch.push(add(["metadata", "annotations"], json!({ WANTED_AT: wanted_at })));
        return patch;
    }
    patch.push(add(["metadata", "annotations", WANTED_AT], wanted_at));
    if marks == Marks::Suspended {
        for mark in [SUSPENDED_BY, SUSPENDED_AT] {
            patch.push(remove(["metadata", "annotations", mark]));
        }
    }
    patch
}

fn test<const N: usize>(path: [&str; N], value: Value) -> PatchOperation {
    PatchOperation::Test(TestOperation { path: PointerBuf::from_tokens(path), value })
}

fn add<const N: usize>(path: [&str; N], value: Value) -> PatchOperation {
    PatchOperation::Add(AddOperation { path: PointerBuf::from_tokens(path), value })
}

fn remove<const N: usize>(path: [&str; N]) -> PatchOperation {
    PatchOperation::Remove(RemoveOperation { path: PointerBuf::from_tokens(path) })
}

#[cfg(test)]
mod tests;
