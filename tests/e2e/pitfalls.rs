//! What agent-sandbox's controller does that one would not expect, each with the rule by which Drowse lives with it.

use std::time::Duration;

use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::world::{from, post};
use crate::support::{Agent, World, cluster, eventually};

/// A condition of a Sandbox.
async fn condition(world: &World, name: &str, kind: &str) -> Value {
    let sandbox = world.sandbox(name).await;
    let all = sandbox["status"]["conditions"].as_array().cloned().unwrap_or_default();
    all.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default()
}

/// A resume in the middle of a termination: the controller shows the dying pod, with `Ready: True` and the newest
/// `observedGeneration`. Drowse goes by the pod.
#[tokio::test]
async fn a_resume_during_termination_never_reaches_the_dying_pod() {
    let world = World::new("a", "idle_timeout: 10m\nmin_running: 0s").await;
    // It goes on serving for a while after it was told to end.
    world.create(&Agent::new("echo").with(&["--stop-after", "3s"])).await;
    for _ in 0..3 {
        let dying = world.who_answers("echo").await;
        world.suspend("echo").await;
        eventually("the pod terminates", async || {
            let pod = world.pods().get_opt("echo").await.unwrap();
            pod.is_none_or(|pod| pod.metadata.deletion_timestamp.is_some())
        })
        .await;
        let still_there = world.pod_uid("echo").await;
        assert_eq!(still_there.as_ref(), Some(&dying), "it takes its time");
        let callers = (0..20).map(|_| world.who_answers("echo"));
        let answered = futures_util::future::join_all(callers).await;
        assert!(answered.iter().all(|uid| *uid != dying), "{dying}: {answered:?}");
        assert!(answered.iter().all(|uid| *uid == answered[0]), "{answered:?}");
    }
}

/// A pod that has failed is never made anew by the controller; to suspend and to resume the Sandbox does it.
#[tokio::test]
async fn a_failed_pod_is_recovered_by_the_next_call() {
    let world = World::new("c", "idle_timeout: 10m\nmin_running: 0s").await;
    world.create(&Agent::new("echo").pod("restartPolicy", json!("Never"))).await;
    let first = world.who_answers("echo").await;
    // It breaks off, as was asked for.
    let crashed = world.get("echo", "/crash").await;
    assert_eq!(crashed.status, 502, "{}", crashed.text());
    // Once it is known, whether the pod is cleared away before the call or by it is a matter of a moment.
    assert!(world.event("echo", "ResumeFailed").await.starts_with("crash: its pod has failed"));
    let answer = world.get("echo", "/whoami").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_ne!(answer.json()["pod_uid"], json!(first));
}

/// The time to live of a Sandbox runs on while it sleeps.
#[tokio::test]
async fn a_sandbox_that_expires_in_its_sleep_says_so_and_one_that_is_deleted_is_unknown() {
    let world = World::new("d", "idle_timeout: 10m\nmin_running: 0s").await;
    for name in ["kept", "deleted"] {
        world.create(&Agent::new(name)).await;
        world.suspend(name).await;
        world.wait_until_asleep(name).await;
    }
    let past = "2026-01-01T00:00:00Z";
    world.patch("kept", json!({"spec": {"shutdownTime": past, "shutdownPolicy": "Retain"}})).await;
    world.patch("deleted", json!({"spec": {"shutdownTime": past, "shutdownPolicy": "Delete"}})).await;
    eventually("one is gone", async || world.sandboxes().get_opt("deleted").await.unwrap().is_none()).await;
    eventually("Drowse knows", async || world.phase("deleted").await.is_empty()).await;
    assert_eq!(world.get("deleted", "/").await.status, 404);
    eventually("the other has expired", async || {
        condition(&world, "kept", "Ready").await["reason"] == "SandboxExpired"
    })
    .await;
    let answer = world.get("kept", "/").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("expired"), "{}", answer.text());
    assert!(!answer.header("retry-after").is_empty());
}

/// A pod of the agent's name that is not the agent's blocks it. It must not get the agent's requests.
#[tokio::test]
async fn a_strangers_pod_in_the_way_gets_no_request_and_the_agent_comes_up_when_it_goes() {
    let world = World::new("e", "idle_timeout: 10m\nmin_running: 0s").await;
    let agent = Agent::new("echo");
    world.create(&agent).await;
    world.suspend("echo").await;
    world.wait_until_asleep("echo").await;
    let mut spec = agent.template()["spec"].clone();
    spec["containers"][0]["command"] =
        agent.json()["spec"]["podTemplate"]["spec"]["containers"][0]["command"].clone();
    spec["terminationGracePeriodSeconds"] = json!(1);
    let stranger = json!({"metadata": {"name": "echo"}, "spec": spec});
    let stranger: k8s_openapi::api::core::v1::Pod =
        world.pods().create(&post(), &from(stranger)).await.unwrap();
    let stranger = stranger.uid().unwrap();
    eventually("the stranger is up", async || {
        let pod = world.pods().get("echo").await.unwrap();
        pod.status.and_then(|status| status.pod_ip).is_some()
    })
    .await;
    let call = world.get("echo", "/whoami");
    tokio::pin!(call);
    eventually("a caller waits, and the controller complains", async || {
        assert!(futures_util::poll!(&mut call).is_pending(), "answered");
        condition(&world, "echo", "Ready").await["reason"] == "ReconcilerError"
    })
    .await;
    assert_eq!(world.pod_uid("echo").await.as_ref(), Some(&stranger));
    world.delete_pod("echo", 0).await;
    let answer = call.await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_ne!(answer.json()["pod_uid"], json!(stranger));
}

/// Two pods of one Sandbox: the controller gives up. The one that has the agent's name is the agent.
#[tokio::test]
async fn of_two_pods_only_the_one_of_the_agents_name_gets_requests() {
    let world = World::new("e2", "idle_timeout: 10m\nmin_running: 0s").await;
    let agent = Agent::new("echo");
    world.create(&agent).await;
    let real = world.who_answers("echo").await;
    let sandbox = world.sandbox("echo").await;
    let owner = json!({
        "apiVersion": "agents.x-k8s.io/v1beta1", "kind": "Sandbox", "name": "echo",
        "uid": sandbox["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
    });
    let selector = sandbox["status"]["selector"].as_str().unwrap().to_owned();
    let (label, value) = selector.split_once('=').unwrap();
    let spec = agent.json()["spec"]["podTemplate"]["spec"].clone();
    let second = json!({
        "metadata": {"name": "intruder", "labels": {label: value}, "ownerReferences": [owner]}, "spec": spec,
    });
    world.pods().create(&post(), &from(second)).await.unwrap();
    eventually("the second pod is up", async || {
        let pod = world.pods().get("intruder").await.unwrap();
        pod.status.and_then(|status| status.pod_ip).is_some()
    })
    .await;
    for _ in 0..20 {
        assert_eq!(world.who_answers("echo").await, real);
    }
    world.pods().delete("intruder", &DeleteParams::default().grace_period(0)).await.unwrap();
    assert_eq!(world.who_answers("echo").await, real);
}

/// Conditions and addresses in the status are somebody's word. Only pods are believed.
#[tokio::test]
async fn a_status_that_says_ready_is_not_believed_without_a_pod() {
    let world = World::new("h", "idle_timeout: 10m\nmin_running: 0s\nhold_timeout: 30s").await;
    world.create(&Agent::new("echo")).await;
    world.suspend("echo").await;
    world.wait_until_asleep("echo").await;
    // A decoy that would answer.
    let host = std::env::var("HOST_ADDRESS").unwrap_or_else(|_| "127.0.0.1".to_owned());
    let decoy = TcpListener::bind((host.as_str(), 8080))
        .await
        .or(TcpListener::bind((host.as_str(), 0)).await)
        .unwrap();
    let generation = world.sandbox("echo").await["metadata"]["generation"].clone();
    let ready = json!({
        "type": "Ready", "status": "True", "reason": "DependenciesReady", "message": "",
        "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    let status = json!({"status": {"conditions": [ready], "podIPs": [host]}});
    world.sandboxes().patch_status("echo", &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
    let answer = tokio::select! {
        answer = world.get("echo", "/whoami") => answer,
        caught = decoy.accept() => panic!("the decoy was dialled: {caught:?}"),
    };
    assert_eq!((answer.status, answer.header("drowse-start")), (200, "cold"));
}

/// A pod without a readiness probe is Ready before its program listens.
#[tokio::test]
async fn a_pod_that_is_ready_before_it_listens_is_waited_for() {
    let world = World::new("i", "idle_timeout: 10m\nmin_running: 0s").await;
    world.create(&Agent::new("echo").with(&["--listen-after", "3s"])).await;
    world.suspend("echo").await;
    world.wait_until_asleep("echo").await;
    let call = world.get("echo", "/");
    tokio::pin!(call);
    eventually("the Sandbox says that it is ready", async || {
        assert!(futures_util::poll!(&mut call).is_pending(), "answered before");
        condition(&world, "echo", "Ready").await["status"] == "True"
    })
    .await;
    let answer = call.await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// The kubelet asks once in a period. The pod's own probe, asked by Drowse, decides all the same.
#[tokio::test]
async fn a_pod_that_listens_before_it_is_ready_is_waited_for() {
    let world = World::new("ready", "idle_timeout: 10m\nmin_running: 0s").await;
    let probe = json!({"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 1});
    world.create(&Agent::new("echo").with(&["--ready-after", "2s"]).container("readinessProbe", probe)).await;
    world.suspend("echo").await;
    world.wait_until_asleep("echo").await;
    let answer = world.get("echo", "/readyz").await;
    assert_eq!((answer.status, answer.header("drowse-start")), (200, "cold"), "{}", answer.text());
}

/// Upstream knows no scale, so nothing that scales can suspend a Sandbox behind our back.
#[tokio::test]
async fn the_sandbox_kind_has_no_scale() {
    let world = World::new("k", "idle_timeout: 10m").await;
    let crds: kube::Api<
        k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    > = kube::Api::all(world.client.clone());
    let crd = crds.get("sandboxes.agents.x-k8s.io").await.unwrap();
    let versions = crd.spec.versions;
    assert!(
        versions.iter().all(|version| version.subresources.as_ref().is_some_and(|sub| sub.scale.is_none()))
    );
    assert!(versions.iter().any(|version| version.name == "v1beta1" && version.served));
}

/// A controller that has not seen the resume may still delete the pod. Until it says that it has seen it, no request
/// goes to a pod that is there.
#[tokio::test]
async fn a_pod_from_before_the_newest_mode_is_not_believed_until_the_controller_has_seen_it() {
    let world = World::new("l", "idle_timeout: 10m\nmin_running: 0s\nhold_timeout: 50s").await;
    world.create(&Agent::new("echo")).await;
    let pod = world.who_answers("echo").await;
    // As if the controller were behind: what it has observed is older than what is asked for.
    let frozen = cluster::freeze_controller();
    world.suspend("echo").await;
    let call = world.get("echo", "/whoami");
    tokio::pin!(call);
    eventually("it is resumed again, and its pod is still there", async || {
        assert!(
            futures_util::poll!(&mut call).is_pending(),
            "answered by a pod that may be deleted any moment"
        );
        world.mode("echo").await == "Running" && world.pod_uid("echo").await.as_ref() == Some(&pod)
    })
    .await;
    for _ in 0..20 {
        assert!(futures_util::poll!(&mut call).is_pending());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(frozen);
    let answer = call.await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // Whichever pod the controller decided on, it is the one that stays.
    let stays = world.pod_uid("echo").await;
    assert_eq!(answer.json()["pod_uid"].as_str(), stays.as_deref());
}

/// An image that cannot be had: callers are told at once, and it recovers when the template is mended.
#[tokio::test]
async fn an_image_that_does_not_exist_is_told_to_callers_and_can_be_mended() {
    let world = World::new("image", "idle_timeout: 10m\nmin_running: 0s").await;
    world.create(&Agent::new("echo")).await;
    world.suspend("echo").await;
    world.wait_until_asleep("echo").await;
    let image = |image: &str| {
        let change =
            json!([{"op": "replace", "path": "/spec/podTemplate/spec/containers/0/image", "value": image}]);
        serde_json::from_value::<json_patch::Patch>(change).unwrap()
    };
    let set = async |name: &str| {
        let patch: Patch<()> = Patch::Json(image(name));
        world.sandboxes().patch("echo", &PatchParams::default(), &patch).await.unwrap();
    };
    set("no-such-image:1").await;
    let answer = world.get("echo", "/").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(answer.text().contains("ErrImageNeverPull"), "{}", answer.text());
    set("drowse:dev").await;
    eventually("it comes up again", async || world.get("echo", "/").await.status == 200).await;
}
