//! Warm pools and claims: agents that somebody else looks after too.

use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::world::{from, post};
use crate::support::{Agent, World, cluster, eventually};

/// A template, and a pool of that many of it.
async fn pool(world: &World, replicas: u32) {
    let template = json!({
        "apiVersion": "extensions.agents.x-k8s.io/v1beta1", "kind": "SandboxTemplate", "metadata": {"name": "demo"},
        "spec": {"podTemplate": Agent::new("x").template(), "networkPolicyManagement": "Unmanaged"},
    });
    let templates = world.api(&cluster::extension("SandboxTemplate", "sandboxtemplates"));
    templates.create(&post(), &from(template)).await.unwrap();
    let pool = json!({
        "apiVersion": "extensions.agents.x-k8s.io/v1beta1", "kind": "SandboxWarmPool", "metadata": {"name": "pool"},
        "spec": {"replicas": replicas, "sandboxTemplateRef": {"name": "demo"}},
    });
    let pools = world.api(&cluster::extension("SandboxWarmPool", "sandboxwarmpools"));
    pools.create(&post(), &from(pool)).await.unwrap();
}

/// A claim with this lifecycle, and the name of the Sandbox that it got.
async fn claim(world: &World, name: &str, lifecycle: Value) -> String {
    let claim = json!({
        "apiVersion": "extensions.agents.x-k8s.io/v1beta1", "kind": "SandboxClaim", "metadata": {"name": name},
        "spec": {"warmPoolRef": {"name": "pool"}, "lifecycle": lifecycle},
    });
    let claims = world.api(&cluster::extension("SandboxClaim", "sandboxclaims"));
    claims.create(&post(), &from(claim)).await.unwrap();
    let mut sandbox = String::new();
    eventually("the claim has a Sandbox", async || {
        let claim = claims.get(name).await.unwrap();
        claim.data["status"]["sandbox"]["name"].as_str().unwrap_or_default().clone_into(&mut sandbox);
        !sandbox.is_empty()
    })
    .await;
    sandbox
}

#[tokio::test]
async fn members_of_a_warm_pool_are_left_alone_until_they_are_claimed() {
    let world = World::new("pool", "idle_timeout: 1s\nmin_running: 0s").await;
    pool(&world, 1).await;
    let mut member = String::new();
    eventually("the pool has a member that is ready", async || {
        let all = world.sandboxes().list(&ListParams::default()).await.unwrap();
        member = all.items.first().and_then(|it| it.metadata.name.clone()).unwrap_or_default();
        let ready =
            all.items.first().is_some_and(|it| it.data["status"].to_string().contains("DependenciesReady"));
        ready && world.phase(&member).await == "Unknown"
    })
    .await;
    assert_eq!(world.get(&member, "/").await.status, 404, "nobody's, so nobody is let in");
    // One that is managed falls asleep meanwhile.
    world.create(&Agent::new("other")).await;
    world.wait_until_asleep("other").await;
    assert_eq!(world.mode(&member).await, "Running");
    let (text, _) = world.drowse.command(&["explain", &format!("{}/{member}", world.namespace)]).await;
    assert!(text.contains("warm pool"), "{text}");

    let claimed = claim(&world, "mine", json!({})).await;
    eventually("it sleeps", async || world.phase(&claimed).await == "Suspended").await;
    let answer = world.get(&claimed, "/").await;
    assert_eq!((answer.status, answer.header("drowse-start")), (200, "cold"), "{}", answer.text());
    let claims = world.api(&cluster::extension("SandboxClaim", "sandboxclaims"));
    assert!(claims.get_opt("mine").await.unwrap().is_some());
}

/// A pod that is being suspended passes through a terminal phase. A claim that is deleted soon after its pod has ended
/// would take the Sandbox and its data with it.
#[tokio::test]
async fn an_agent_whose_claim_would_be_deleted_by_a_suspension_is_not_suspended() {
    let world = World::new("b", "idle_timeout: 1s\nmin_running: 0s").await;
    pool(&world, 0).await;
    let trapped = claim(&world, "short", json!({"ttlSecondsAfterFinished": 0})).await;
    let note = world.event(&trapped, "NotSuspended").await;
    assert!(note.contains("ttlSecondsAfterFinished: 0"), "{note}");
    assert_eq!(world.mode(&trapped).await, "Running");
    let name = format!("{}/{trapped}", world.namespace);
    let (text, _) = world.drowse.command(&["explain", &name]).await;
    assert!(text.contains("ttlSecondsAfterFinished: 0"), "{text}");
    let (text, code) = world.drowse.command(&["suspend", &name]).await;
    assert_ne!(code, 0, "not by hand either: {text}");
    assert_eq!(world.get(&trapped, "/").await.status, 200, "it is served all the same");

    // Mended, it is like any other.
    let claims = world.api(&cluster::extension("SandboxClaim", "sandboxclaims"));
    let change = json!({"spec": {"lifecycle": {"ttlSecondsAfterFinished": 3600}}});
    claims.patch("short", &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
    eventually("it sleeps", async || world.phase(&trapped).await == "Suspended").await;
    assert_eq!(world.get(&trapped, "/").await.status, 200);
    assert!(claims.get_opt("short").await.unwrap().is_some(), "and its claim is still there");
}
