//! What is made of a Sandbox as the API server sends it.

use serde_json::json;

use super::*;
use crate::backend::Texts;

/// A Sandbox with this merged into it.
fn sandbox(change: serde_json::Value) -> Sandbox {
    let mut object = json!({
        "apiVersion": "agents.x-k8s.io/v1beta1",
        "kind": "Sandbox",
        "metadata": {
            "namespace": "team-a", "name": "echo", "uid": "u1", "resourceVersion": "17", "generation": 3,
            "labels": {"tier": "gold"},
        },
        "spec": {
            "operatingMode": "Running",
            "podTemplate": {"spec": {"containers": [
                {"name": "a", "image": "x", "ports": [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 8888}]},
            ]}},
        },
        "status": {"conditions": [
            condition("Suspended", "False", "NotSuspended", 2),
            condition("Ready", "True", "DependenciesReady", 3),
        ]},
    });
    merge(&mut object, change);
    serde_json::from_value(object).unwrap()
}

fn condition(kind: &str, status: &str, reason: &str, generation: i64) -> serde_json::Value {
    json!({
        "type": kind, "status": status, "reason": reason, "message": "as the test wants",
        "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z",
    })
}

fn merge(into: &mut serde_json::Value, from: serde_json::Value) {
    match (into.as_object_mut(), from) {
        (Some(object), serde_json::Value::Object(changes)) => {
            for (key, value) in changes {
                merge(object.entry(key).or_insert(serde_json::Value::Null), value);
            }
        }
        (_, value) => *into = value,
    }
}

/// Suspended, marked by us as idle, and with these owners of the mode.
fn suspended(owners: &[&str]) -> Sandbox {
    let owner = |name: &&str| {
        json!({
            "manager": name, "operation": "Update", "apiVersion": "agents.x-k8s.io/v1beta1", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:operatingMode": {}}},
        })
    };
    let other = json!({
        "manager": "agent-sandbox-controller", "operation": "Update", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:status": {"f:conditions": {}}},
    });
    let all: Vec<_> = owners.iter().map(owner).chain([other]).collect();
    sandbox(json!({
        "metadata": {"annotations": {"drowse.dev/suspended-by": "idle"}, "managedFields": all},
        "spec": {"operatingMode": "Suspended"},
    }))
}

#[test]
fn the_newest_generation_that_a_condition_was_observed_at_counts() {
    let seen = seen(&sandbox(json!({}))).unwrap();
    assert_eq!((seen.generation, seen.observed), (Generation(3), Generation(3)));
    assert_eq!((seen.revision, seen.mode), (Revision(17), Mode::Running));
    assert_eq!(seen.trouble, None);
}

#[test]
fn a_sandbox_that_no_controller_has_looked_at_is_not_observed() {
    let seen = seen(&sandbox(json!({"status": null}))).unwrap();
    assert_eq!(seen.observed, Generation(0));
}

#[test]
fn a_mode_that_is_left_out_is_running() {
    let mut bare = sandbox(json!({}));
    bare.spec = serde_json::from_value(json!({"podTemplate": {"spec": {"containers": []}}})).unwrap();
    assert_eq!(seen(&bare).unwrap().mode, Mode::Running);
}

#[test]
fn our_mark_is_believed_only_while_we_alone_own_the_mode() {
    let by = |sandbox: &Sandbox| seen(sandbox).unwrap().suspended_by;
    assert_eq!(by(&suspended(&["drowse"])), SuspendedBy::Idle);
    assert_eq!(by(&suspended(&["kubectl-patch"])), SuspendedBy::Person, "resumed and suspended since");
    assert_eq!(by(&suspended(&["drowse", "argocd"])), SuspendedBy::Person, "somebody else wants it too");
    assert_eq!(by(&suspended(&[])), SuspendedBy::Person, "nobody knows");
    let mut unmarked = suspended(&["drowse"]);
    unmarked.metadata.annotations = None;
    assert_eq!(by(&unmarked), SuspendedBy::Person);
}

#[test]
fn what_the_controller_cannot_do_is_classified_if_it_is_about_the_newest_spec() {
    let trouble = |reason: &str, message: &str, generation| {
        let mut ready = condition("Ready", "False", reason, generation);
        ready["message"] = message.into();
        let seen = seen(&sandbox(json!({"status": {"conditions": [ready]}}))).unwrap();
        seen.trouble.map(|failure| failure.class)
    };
    assert_eq!(trouble("SandboxExpired", "", 3), Some(FailureClass::Expired));
    assert_eq!(trouble("SandboxExpired", "", 2), None, "of an older spec");
    assert_eq!(trouble("MultiplePods", "", 3), Some(FailureClass::Admission));
    assert_eq!(
        trouble("ReconcilerError", "pods is forbidden: exceeded quota: q", 3),
        Some(FailureClass::Quota)
    );
    assert_eq!(
        trouble("ReconcilerError", "admission webhook \"x\" denied the request", 3),
        Some(FailureClass::Admission)
    );
    assert!(trouble("ReconcilerError", "connection reset", 3).unwrap().is_transient());
    assert_eq!(trouble("DependenciesNotReady", "", 3), None);
}

#[test]
fn rules_see_labels_and_our_annotations_but_not_our_marks() {
    let profile = profile(&sandbox(json!({"metadata": {"annotations": {
        "drowse.dev/idle-timeout": "5m", "drowse.dev/wanted-at": "now", "other": "x",
    }}})));
    assert_eq!(profile.labels, Texts::from_iter([("tier", "gold")]));
    assert_eq!(profile.annotations, Texts::from_iter([("idle-timeout", "5m")]));
    assert_eq!((profile.port, profile.only_port), (Some(8888), false), "the first TCP port");
}

#[test]
fn on_the_network_of_its_node_an_agent_has_no_port_but_its_own() {
    let shared = sandbox(json!({"spec": {"podTemplate": {"spec": {"hostNetwork": true}}}}));
    assert!(profile(&shared).only_port);
}

#[test]
fn a_pool_owns_a_sandbox_until_it_is_claimed() {
    let owned = |kind: &str, labels: serde_json::Value| {
        let owner = json!({"apiVersion": "x", "kind": kind, "name": "o", "uid": "y", "controller": true});
        sandbox(json!({"metadata": {"ownerReferences": [owner], "labels": labels}})).metadata
    };
    let pool = json!({"agents.x-k8s.io/warm-pool-sandbox": "p"});
    assert!(is_unclaimed(&owned("SandboxWarmPool", json!({}))));
    assert!(is_unclaimed(&sandbox(json!({"metadata": {"labels": pool.clone()}})).metadata));
    let claimed = owned("SandboxClaim", pool);
    assert!(!is_unclaimed(&claimed));
    assert_eq!(claim(&claimed), Some("o"));
    assert!(!is_unclaimed(&sandbox(json!({})).metadata));
}

#[test]
fn an_object_that_cannot_be_put_in_order_is_refused() {
    let error = seen(&sandbox(json!({"metadata": {"resourceVersion": "x7"}}))).unwrap_err();
    assert_eq!(error, Malformed::Revision("x7".to_owned()));
    assert_eq!(seen(&sandbox(json!({"metadata": {"uid": null}}))).unwrap_err(), Malformed::Missing("uid"));
}
