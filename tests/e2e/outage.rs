//! The API server is away, silent or busy: who is up is served, who sleeps is held to the bound, nobody is suspended, and
//! all is well when it is back.

use std::time::Duration;

use drowse::time::{Clock, Moment};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams, VersionMatch};
use serde_json::{Value, json};

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
    let clock = Clock::start();
    let answer = world.get("asleep", "/").await;
    assert!(matches!(answer.status, 503 | 504), "{}: {}", answer.status, answer.text());
    assert!(!answer.header("retry-after").is_empty());
    assert!(clock.now().since(Moment::START) < Duration::from_secs(20), "held to its bound and no longer");
}

/// What must come about by itself when it is back.
async fn expect_recovery(world: &World) {
    let clock = Clock::start();
    eventually("the sleeper can be woken", async || world.get("asleep", "/").await.status == 200).await;
    let took = clock.now().since(Moment::START);
    assert!(took < Duration::from_secs(20), "{took:?}");
    eventually("the idle one sleeps", async || world.mode("restless").await == "Suspended").await;
    assert_eq!(world.get("warm", "/").await.status, 200);
    assert_eq!(world.get("restless", "/").await.status, 200);
}

#[tokio::test]
async fn an_api_server_that_is_gone_stops_neither_warm_agents_nor_drowse() {
    let world = stage("cut").await;
    world.tunnel.set(Way::Cut);
    expect_the_best_of_it(&world).await;
    // Longer than what was seen is trusted (15 s), so that new connections are not made any more to a pod that may be
    // another by now; and long enough for the restless one to be idle.
    eventually("what was seen is too old to be trusted", async || {
        // The agent breaks off each connection that is left, and the call that finds none needs a new one.
        let answer = world.get("warm", "/close").await;
        answer.status == 503 && answer.text().contains("trust_stale_for")
    })
    .await;
    assert!(
        world.reason("restless").await.contains("nobody is suspended"),
        "{}",
        world.reason("restless").await
    );
    assert_eq!(world.mode("restless").await, "Running");
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

/// The API server's own fairness turns Drowse away with 429, as it does with anybody when there is too much to do: all of
/// Drowse's requests share one place, and somebody else nearly always has it.
#[tokio::test]
async fn an_api_server_that_throttles_is_asked_again_until_it_has_time() {
    let world = stage("busy").await;
    let levels: Api<DynamicObject> =
        Api::all_with(world.client.clone(), &cluster::flow_control("PriorityLevelConfiguration"));
    let schemas: Api<DynamicObject> =
        Api::all_with(world.client.clone(), &cluster::flow_control("FlowSchema"));
    let name = world.namespace.as_str();
    levels.create(&post(), &from(one_place(name))).await.unwrap();
    schemas.create(&post(), &from(for_accounts_of(name))).await.unwrap();
    let hogs: Vec<_> =
        (0..8).map(|_| tokio::spawn(hog(world.as_drowse.clone(), world.namespace.clone()))).collect();
    eventually("Drowse is turned away", async || {
        for _ in 0..10 {
            let answer = world.get("warm", "/").await;
            assert_eq!((answer.status, answer.header("drowse-start")), (200, "warm"), "{}", answer.text());
        }
        // It may find the place free by chance.
        let answer = world.get("asleep", "/").await;
        let held_to_the_bound =
            matches!(answer.status, 503 | 504) && !answer.header("retry-after").is_empty();
        assert!(answer.status == 200 || held_to_the_bound, "{}: {}", answer.status, answer.text());
        if answer.status == 200 {
            // By hand, and by chance too.
            world.drowse.command(&["suspend", &format!("{name}/asleep")]).await;
        }
        world.drowse.log().contains("429")
    })
    .await;
    for hog in hogs {
        hog.abort();
    }
    schemas.delete(name, &DeleteParams::default()).await.unwrap();
    levels.delete(name, &DeleteParams::default()).await.unwrap();
    expect_recovery(&world).await;
}

/// Keeps the one place: a list at a version that is yet to come is answered after three seconds, with an error.
async fn hog(client: kube::Client, namespace: String) {
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(client, &namespace);
    let future = ListParams::default().at("9000000000000").matching(VersionMatch::NotOlderThan);
    loop {
        if pods.list(&future).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
}

fn one_place(name: &str) -> Value {
    let limits = json!({
        "nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 0,
        "limitResponse": {"type": "Reject"},
    });
    json!({"metadata": {"name": name}, "spec": {"type": "Limited", "limited": limits}})
}

fn for_accounts_of(namespace: &str) -> Value {
    let everything = json!({
        "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true,
    });
    let subject = json!({"kind": "Group", "group": {"name": format!("system:serviceaccounts:{namespace}")}});
    json!({"metadata": {"name": namespace}, "spec": {
        "priorityLevelConfiguration": {"name": namespace},
        "matchingPrecedence": 7,
        "rules": [{"subjects": [subject], "resourceRules": [everything]}],
    }})
}
