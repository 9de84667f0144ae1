//! Busy leases over HTTP: an agent proves that it is the one by the token that is bound to its pod.

use serde_json::{Value, json};

use crate::support::http::{self, Answer};
use crate::support::tunnel::Way;
use crate::support::{Agent, PATIENCE, World};
use hyper::Request;

const QUICK: &str = "idle_timeout: 15s\nmin_running: 0s";

impl World {
    async fn order(&self, token: &str, order: &Value) -> Answer {
        let request = Request::post("/v1/leases")
            .header("host", "drowse.agents.localhost")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(order.to_string().into())
            .unwrap();
        let answer = http::send(self.drowse.front, request);
        tokio::time::timeout(PATIENCE, answer).await.expect("an answer in time").expect("an answer")
    }
}

#[tokio::test]
async fn a_pod_keeps_its_own_agent_up_and_no_other_and_only_while_it_is_its_pod() {
    let world = World::new("leases", QUICK).await;
    world.allow_token_reviews().await;
    let unbound = world.token_of("agent").await;
    let with_account = |name: &str| {
        let agent = Agent::new(name).pod("serviceAccountName", json!("agent"));
        agent.pod("automountServiceAccountToken", json!(false))
    };
    world.create(&with_account("echo")).await;
    let echo = world.token_of_pod("agent", "echo").await;
    let take = json!({"id": "job", "reason": "thinks", "ttl": "1h"});
    let taken = world.order(&echo, &take).await;
    assert_eq!((taken.status, &taken.json()["leases"][0]["id"]), (200, &json!("job")), "{}", taken.text());

    world.create(&with_account("other")).await;
    let other = world.token_of_pod("agent", "other").await;
    let of_echo = json!({"agent": format!("{}/echo", world.namespace)});
    for (token, expected) in [(&other, "not-the-agent"), (&unbound, "not-bound")] {
        let refused = world.order(token, &of_echo).await;
        assert_eq!(refused.status, 403, "{}", refused.text());
        assert_eq!(refused.json()["type"], format!("https://drowse.dev/problems/{expected}"));
    }
    let (head, _signature) = echo.rsplit_once('.').expect("a JWT");
    assert_eq!(world.order(&format!("{head}.bm90IHNpZ25lZA"), &take).await.status, 401);

    world.wait_until_asleep("other").await;
    assert_eq!(world.phase("echo").await, "Running");
    let ended = world.order(&echo, &json!({"action": "end", "id": "job"})).await;
    assert_eq!(ended.status, 200, "{}", ended.text());
    world.wait_until_asleep("echo").await;

    // Its pod is gone: the API server takes the token no more, or Drowse still remembers it and knows of no such pod.
    let late = world.order(&echo, &take).await;
    assert!([401, 403].contains(&late.status), "{}", late.text());
    assert_eq!(world.get("echo", "/").await.status, 200);
    let older = world.order(&echo, &take).await;
    assert!([401, 403].contains(&older.status), "the agent has another pod now: {}", older.text());
    let newer = world.token_of_pod("agent", "echo").await;
    assert_eq!(world.order(&newer, &take).await.status, 200);
}

#[tokio::test]
async fn while_the_api_server_is_away_an_agent_is_told_to_come_back() {
    let world = World::new("leases2", "idle_timeout: 1h").await;
    world.allow_token_reviews().await;
    let token = world.token_of("agent").await;
    world.tunnel.set(Way::Cut);
    let answer = world.order(&token, &json!({})).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"), "{}", answer.text());
    world.tunnel.set(Way::Open);
    crate::support::eventually("it is judged again", async || {
        world.order(&token, &json!({})).await.status == 403
    })
    .await;
}
