//! What a resume makes of the answers of the API server.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::backend::kubernetes::testing;

/// A suspended Sandbox with these annotations.
fn stored(annotations: &Value) -> Value {
    json!({
        "apiVersion": "agents.x-k8s.io/v1beta1", "kind": "Sandbox",
        "metadata": {
            "name": "echo", "namespace": "default", "uid": "u", "resourceVersion": "7", "generation": 3,
            "annotations": annotations,
        },
        "spec": {"operatingMode": "Suspended"},
    })
}

fn refused(message: &str) -> (u16, Value) {
    let status =
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 422, "message": message});
    (422, status)
}

/// What becomes of a resume if patches are answered by this and reads by that, each by its number; and how it was asked.
async fn resumed(
    answer: impl Fn(usize) -> (u16, Value) + Send + Sync + 'static,
    object: impl Fn(usize) -> Value + Send + Sync + 'static,
) -> (Result<AgentSeen, WriteError>, Vec<String>) {
    let (patches, reads) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (client, asked) = testing::api(move |asked| match &*asked.method {
        "PATCH" => answer(patches.fetch_add(1, Ordering::Relaxed)),
        _ => (200, object(reads.fetch_add(1, Ordering::Relaxed))),
    })
    .await;
    let key = AgentKey::new("default", "echo");
    let uid = AgentUid("u".into());
    let result = resume(client, key, uid, Generation(3), Mode::Suspended, Timestamp::UNIX_EPOCH).await;
    let methods = asked.lock().iter().map(|asked| asked.method.clone()).collect();
    (result, methods)
}

#[tokio::test]
async fn what_a_webhook_says_is_told_also_of_a_sandbox_without_our_marks() {
    let denied = |_| refused("denied by policy x");
    let (result, asked) = resumed(denied, |_| stored(&json!({"a": "b"}))).await;
    let Err(WriteError::Refused(failure)) = result else { panic!("{result:?}") };
    assert_eq!(&*failure.detail, "denied by policy x");
    assert_eq!(asked, ["PATCH", "GET", "PATCH", "GET"]);
}

#[tokio::test]
async fn a_sandbox_without_our_marks_is_resumed() {
    let patched = |number| if number == 0 { refused("a test failed") } else { (200, stored(&json!({}))) };
    let (result, asked) = resumed(patched, |_| stored(&Value::Null)).await;
    assert_eq!(result.unwrap().uid, AgentUid("u".into()));
    assert_eq!(asked, ["PATCH", "GET", "PATCH"]);
}

#[tokio::test]
async fn marks_that_change_again_and_again_are_a_conflict() {
    let other = |number| if number == 0 { stored(&Value::Null) } else { stored(&json!({"a": "b"})) };
    let (result, asked) = resumed(|_| refused("a test failed"), other).await;
    assert_eq!(result, Err(WriteError::Conflict));
    assert_eq!(asked, ["PATCH", "GET", "PATCH", "GET"]);
}

#[tokio::test]
async fn a_sandbox_that_was_changed_is_a_conflict() {
    let mut newer = stored(&Value::Null);
    newer["metadata"]["generation"] = json!(4);
    let (result, asked) = resumed(|_| refused("a test failed"), move |_| newer.clone()).await;
    assert_eq!(result, Err(WriteError::Conflict));
    assert_eq!(asked, ["PATCH", "GET"]);
}
