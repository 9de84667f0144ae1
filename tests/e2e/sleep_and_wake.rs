//! The main job: an idle agent sleeps, and the next request wakes it with everything that it had.

use std::time::Duration;

use drowse::time::{Clock, Moment};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::support::{Agent, World, eventually};

#[tokio::test]
async fn an_idle_sandbox_sleeps_and_a_request_wakes_it_with_its_disk_and_its_names() {
    let world = World::new("wake", "idle_timeout: 2s\nmin_running: 1s").await;
    let agent = Agent::new("echo")
        .with_volume()
        .set("/spec/service", json!(true))
        .pod("runtimeClassName", json!("runc-too"))
        .container(
            "readinessProbe",
            json!({"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 1}),
        );
    world.create(&agent).await;
    let before = world.sandbox("echo").await;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(world.client.clone(), &world.namespace);
    let claim = claims.get("data-echo").await.unwrap();
    let first = world.get("echo", "/whoami").await.json();
    let visits = world.get("echo", "/").await.json()["visits"].as_u64().unwrap();

    world.wait_until_asleep("echo").await;
    assert_eq!(world.event("echo", "Suspended").await, "idle; the next request resumes it");
    let asleep = world.sandbox("echo").await;
    assert_eq!(asleep["metadata"]["annotations"]["drowse.dev/suspended-by"], "idle");
    assert_eq!(claims.get("data-echo").await.unwrap().uid(), claim.uid(), "the volume stays");

    let answer = world.get("echo", "/").await;
    assert_eq!((answer.status, answer.header("drowse-start")), (200, "cold"), "{}", answer.text());
    assert!(answer.header("server-timing").contains("resume;dur="), "{}", answer.header("server-timing"));
    assert_eq!(answer.json()["visits"], visits + 1, "the old data");
    let second = world.get("echo", "/whoami").await.json();
    assert_ne!(second["pod_uid"], first["pod_uid"], "a new pod");
    assert_eq!((&second["pod_name"], &second["hostname"]), (&first["pod_name"], &first["hostname"]));

    let after = world.sandbox("echo").await;
    for kept in ["/metadata/uid", "/metadata/name", "/status/serviceFQDN", "/spec/podTemplate"] {
        assert_eq!(after.pointer(kept), before.pointer(kept), "{kept}");
    }
    assert!(after.pointer("/status/serviceFQDN").is_some(), "{after}");
    assert_eq!(
        after["metadata"]["annotations"].get("drowse.dev/suspended-by"),
        None,
        "the marks go with the sleep"
    );
    let pod = world.pods().get("echo").await.unwrap();
    assert_eq!(pod.spec.unwrap().runtime_class_name.as_deref(), Some("runc-too"));
    world.event("echo", "Resumed").await;
}

#[tokio::test]
async fn a_thousand_callers_of_a_sleeping_sandbox_cost_one_write() {
    let world = World::new("herd", "idle_timeout: 10m\nmin_running: 0s").await;
    world.create(&Agent::new("echo")).await;
    world.suspend("echo").await;
    world.wait_until_asleep("echo").await;
    let generation = world.sandbox("echo").await["metadata"]["generation"].as_u64().unwrap();
    let calls = (0..1000).map(|_| world.get("echo", "/"));
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    let after = world.sandbox("echo").await;
    assert_eq!(after["metadata"]["generation"].as_u64().unwrap(), generation + 1);
    let writes = world.drowse.log().matches("agent is up").count();
    assert_eq!(writes, 2, "once when it was made, once for all of them");
}

#[tokio::test]
async fn what_arrives_while_it_falls_asleep_is_served_by_the_next_pod() {
    let world = World::new("race", "idle_timeout: 1s\nmin_running: 0s").await;
    world.create(&Agent::new("echo")).await;
    // At every point of the way down: right after the write, while the pod ends, when it is gone.
    for (round, phase) in ["Draining", "Suspending", "Suspended", "Suspending"].iter().enumerate() {
        eventually("it goes down", async || {
            let now = world.phase("echo").await;
            now == *phase || now == "Suspended"
        })
        .await;
        let answer = world.get("echo", "/").await;
        assert_eq!(answer.status, 200, "round {round}: {}", answer.text());
    }
}

#[tokio::test]
async fn drowse_learns_of_everything_after_a_restart_and_suspends_nobody_at_once() {
    let mut world = World::new("restart", "idle_timeout: 10m\nmin_running: 0s").await;
    world.create(&Agent::new("up")).await;
    world.create(&Agent::new("down")).await;
    world.suspend("down").await;
    world.wait_until_asleep("down").await;
    let pod = world.who_answers("up").await;
    let dns = world.sandbox("up").await["status"]["serviceFQDN"].clone();
    assert!(dns.is_null(), "it has no Service, so it is found by its pod alone: {dns}");
    world.drowse.restart().await;
    world.wait_for_phase("up", "Running").await;
    world.wait_for_phase("down", "Suspended").await;
    assert_eq!(world.who_answers("up").await, pod);
    assert_eq!(world.get("up", "/").await.header("drowse-start"), "warm");
    assert_eq!(
        world.get("down", "/").await.header("drowse-start"),
        "cold",
        "its own suspension is remembered"
    );
}

#[tokio::test]
async fn an_agent_that_a_rule_does_not_name_is_neither_routed_to_nor_written_to() {
    let world = World::with("optin", "rules:\n  - match: {labels: {team: blue}}\n    route: true\n    manage: true\n    idle_timeout: 1s\n    min_running: 0s\n").await;
    world.create(&Agent::new("other")).await;
    world.create(&Agent::new("ours").set("/metadata/labels", json!({"team": "blue"}))).await;
    assert_eq!(world.get("other", "/").await.status, 404);
    // The same Drowse has long since suspended the one that is ours.
    world.wait_until_asleep("ours").await;
    assert_eq!(world.mode("other").await, "Running");
    assert!(written_by_us(&world, "other").await.is_empty());
}

/// What in the object was written by Drowse.
async fn written_by_us(world: &World, name: &str) -> Vec<String> {
    let object = world.sandboxes().get(name).await.unwrap();
    let fields = object.metadata.managed_fields.unwrap_or_default();
    fields.into_iter().filter_map(|entry| entry.manager).filter(|manager| manager == "drowse").collect()
}

#[tokio::test]
async fn warm_requests_write_nothing_to_the_object() {
    let world = World::new("quiet", "idle_timeout: 10m").await;
    world.create(&Agent::new("echo")).await;
    eventually("the controller has said all it has to say", async || {
        world.sandbox("echo").await["status"]["conditions"].to_string().contains("DependenciesReady")
    })
    .await;
    let before = world.sandbox("echo").await["metadata"]["resourceVersion"].clone();
    for _ in 0..100 {
        assert_eq!(world.get("echo", "/").await.status, 200);
    }
    assert_eq!(world.sandbox("echo").await["metadata"]["resourceVersion"], before);
    assert!(written_by_us(&world, "echo").await.is_empty());
}

#[tokio::test]
async fn an_annotation_overrules_where_it_may() {
    let world = World::new("annotated", "idle_timeout: 10m\nmin_running: 0s\nallow_annotations: true").await;
    let annotations = json!({"drowse.dev/idle-timeout": "1s"});
    world.create(&Agent::new("echo").set("/metadata/annotations", annotations)).await;
    world.wait_until_asleep("echo").await;
    world.patch("echo", json!({"metadata": {"annotations": {"drowse.dev/idle-timeout": "1h"}}})).await;
    world.get("echo", "/").await;
    let (text, _) = world.drowse.command(&["explain", &format!("{}/echo", world.namespace)]).await;
    assert!(text.contains("annotation drowse.dev/idle-timeout"), "{text}");
}

#[tokio::test]
async fn a_reply_that_takes_longer_than_the_idle_timeout_is_whole() {
    let world = World::new("slow", "idle_timeout: 1s\nmin_running: 0s").await;
    world.create(&Agent::new("echo")).await;
    let clock = Clock::start();
    let answer = world.get("echo", "/slow?for=4s").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(clock.now().since(Moment::START) >= Duration::from_secs(4));
    world.wait_until_asleep("echo").await;
}
