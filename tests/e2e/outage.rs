//! The API server is away, silent or busy: who is up is served, who sleeps is held to the bound, nobody is suspended, and
//! all is well when it is back.

use std::time::Duration;

use kube::Api;
use kube::api::{DeleteParams, DynamicObject};
use serde_json::json;

use crate::support::tunnel::Way;
use crate::support::world::{from, post};
use crate::support::{Agent, World, cluster, eventually};

/// One that is warm, one that sleeps, and one that is about to be idle for too long.
async fn stage(test: &str) -> World {
    let config = "rules:\n  - match: {name: restless}\n    idle_timeout: 4s\n  \
                  - route: true\n    manage: true\n    min_running: 0s\n    idle_timeout: 10m\n    hold_timeout: 3s\n";
    let world = World::with(test, config).await;
    for name in ["warm", "asleep", "restless"] {
        world.create(&Agent::new(name)).await;
    }
    world.suspend("asleep").await;
    world.wait_until_asleep("asleep").await;
    assert_eq!(world.get("warm", "/").await.status, 200);
    assert_eq!(world.get("restless", "/").await.status, 200);
    world
}

/// What must hold while the API server cannot be used.
async fn expect_the_best_of_it(world: &World) {
    for _ in 0..50 {
        let answer = world.get("warm", "/").await;
        assert_eq!((answer.status, answer.header("drowse-start")), (200, "warm"), "{}", answer.text());
    }
    let began = std::time::Instant::now();
    let answer = world.get("asleep", "/").await;
    assert!(matches!(answer.status, 503 | 504), "{}: {}", answer.status, answer.text());
    assert!(!answer.header("retry-after").is_empty());
    assert!(began.elapsed() < Duration::from_secs(20), "held to its bound and no longer");
}

/// What must come about by itself when it is back.
async fn expect_recovery(world: &World) {
    let began = std::time::Instant::now();
    eventually("the sleeper can be woken", async || world.get("asleep", "/").await.status == 200).await;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    eventually("the idle one sleeps", async || world.mode("restless").await == "Suspended").await;
    assert_eq!(world.get("warm", "/").await.status, 200);
    assert_eq!(world.get("restless", "/").await.status, 200);
}

#[tokio::test]
async fn an_api_server_that_is_gone_stops_neither_warm_agents_nor_drowse() {
    let world = stage("cut").await;
    world.tunnel.set(Way::Cut);
    expect_the_best_of_it(&world).await;
    // Long enough for the restless one to be idle; and longer than what was seen is trusted (2 s), so that new
    // connections are not made any more to a pod that may be another by now.
    eventually("it would be suspended", async || world.reason("restless").await.contains("idle")).await;
    assert_eq!(world.mode("restless").await, "Running");
    eventually("what was seen is too old to be trusted", async || {
        let answer = world.get("warm", "/").await;
        answer.status == 503 && answer.text().contains("trust_stale_for")
    })
    .await;
    world.tunnel.set(Way::Open);
    expect_recovery(&world).await;
}

#[tokio::test]
async fn an_api_server_that_says_nothing_holds_nobody_longer_than_the_bound() {
    let world = stage("silent").await;
    world.tunnel.set(Way::Silent);
    expect_the_best_of_it(&world).await;
    assert_eq!(world.mode("restless").await, "Running");
    world.tunnel.set(Way::Open);
    expect_recovery(&world).await;
}

/// The API server's own fairness turns Drowse away with 429, as it does with anybody who asks too much.
#[tokio::test]
async fn an_api_server_that_throttles_is_asked_again_until_it_has_time() {
    let world = stage("busy").await;
    let levels: Api<DynamicObject> =
        Api::all_with(world.client.clone(), &cluster::flow_control("PriorityLevelConfiguration"));
    let schemas: Api<DynamicObject> =
        Api::all_with(world.client.clone(), &cluster::flow_control("FlowSchema"));
    let name = world.namespace.as_str();
    let nothing = json!({
        "metadata": {"name": name},
        "spec": {"type": "Limited", "limited": {
            "nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 0,
            "limitResponse": {"type": "Reject"},
        }},
    });
    levels.create(&post(), &from(nothing)).await.unwrap();
    let schema = json!({
        "metadata": {"name": name},
        "spec": {
            "priorityLevelConfiguration": {"name": name},
            "matchingPrecedence": 7,
            "rules": [{
                "subjects": [{"kind": "Group", "group": {"name": format!("system:serviceaccounts:{name}")}}],
                "resourceRules": [{
                    "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true,
                }],
            }],
        },
    });
    schemas.create(&post(), &from(schema)).await.unwrap();
    eventually("Drowse is turned away", async || {
        world.get("asleep", "/").await;
        world.drowse.log().contains("429")
    })
    .await;
    expect_the_best_of_it(&world).await;
    eventually("it would be suspended", async || world.reason("restless").await.contains("idle")).await;
    assert_eq!(world.mode("restless").await, "Running");
    schemas.delete(name, &DeleteParams::default()).await.unwrap();
    levels.delete(name, &DeleteParams::default()).await.unwrap();
    expect_recovery(&world).await;
}
