//! Busy leases over HTTP, with the real program: an agent of this machine says that it is at work.

use hyper::Request;
use serde_json::{Value, json};

use crate::support::http::{self, Answer};
use crate::support::{Agent, Drowse, eventually, host};

const QUICK: &str = "idle_timeout: 300ms\nmin_running: 0s";
const OURS: &str = "drowse.agents.localhost";

impl Drowse {
    async fn send(
        &self,
        request: http_body_util::Full<bytes::Bytes>,
        head: hyper::http::request::Builder,
    ) -> Answer {
        http::send(self.front, head.body(request).unwrap()).await.expect("an answer")
    }

    /// An order, as it is.
    async fn order(&self, order: &Value) -> Answer {
        let head =
            Request::post("/v1/leases").header("host", OURS).header("content-type", "application/json");
        self.send(order.to_string().into(), head).await
    }

    /// Carries out an order for `default/echo`, and gives its leases.
    async fn lease(&self, action: &str, id: &str, ttl: &str) -> Vec<Value> {
        let order =
            json!({"agent": "default/echo", "action": action, "id": id, "ttl": ttl, "reason": "thinks"});
        let answer = self.order(&order).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, "application/json"),
            "{}",
            answer.text()
        );
        answer.json()["leases"].as_array().unwrap().clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_keeps_an_agent_up_beyond_its_idle_timeout_until_it_ends() {
    let drowse = Drowse::start(&[Agent::demo("echo"), Agent::demo("other")], QUICK).await;
    let taken = drowse.lease("take", "job-7", "1h").await;
    assert_eq!((&taken[0]["id"], &taken[0]["reason"]), (&json!("job-7"), &json!("thinks")));
    assert_eq!(drowse.phase("echo").await, "Suspended", "a lease wakes nobody");
    let listed = drowse.order(&json!({"agent": "default/echo", "action": "list"})).await;
    assert_eq!(listed.json()["phase"], "Suspended", "and says so");
    assert_eq!(drowse.get("echo", "/").await.status, 200);
    let before = drowse.agent("echo").await["lastActivity"].clone();

    // Called later, and asleep again: by then the other would sleep, too, if it had no lease.
    assert_eq!(drowse.get("other", "/").await.status, 200);
    drowse.wait_for_phase("other", "Suspended").await;
    assert_eq!(drowse.phase("echo").await, "Running");
    assert_eq!(drowse.agent("echo").await["lastActivity"], before, "no request has renewed it");
    let (explained, _) = drowse.command(&["explain", "default/echo"]).await;
    assert!(explained.contains("busy lease") && explained.contains("thinks"), "{explained}");
    assert_eq!(drowse.lease("list", "job-7", "1s").await, taken);

    assert_eq!(drowse.lease("end", "job-7", "1s").await, [Value::Null; 0]);
    drowse.wait_for_phase("echo", "Suspended").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_renewed_up_to_its_cap_and_there_are_not_more_than_may_be() {
    let drowse = Drowse::start(&[Agent::demo("echo")], &format!("{QUICK}\nbusy_cap: 1s")).await;
    let since = drowse.lease("take", "job", "500ms").await[0]["since"].clone();
    let renewed = drowse.lease("renew", "job", "10m").await;
    assert_eq!(renewed[0]["since"], since);
    let echo = json!({"agent": "default/echo", "action": "renew", "id": "job"});
    let mut last = drowse.order(&echo).await;
    eventually("the cap is reached", async || {
        last = drowse.order(&echo).await;
        last.status != 200
    })
    .await;
    assert_eq!(
        (last.status, last.header("content-type")),
        (409, "application/problem+json"),
        "{}",
        last.text()
    );
    assert_eq!(last.json()["type"], "https://drowse.dev/problems/lease-capped");

    drowse.edit_defaults(QUICK);
    eventually("the cap is that of every day", async || {
        drowse.metric("drowse_config_reloads_total", "").await > 0.0
    })
    .await;
    let order = |id: &str| json!({"agent": "default/echo", "ttl": "1h", "id": id});
    for number in 0..64 {
        assert_eq!(drowse.order(&order(&number.to_string())).await.status, 200, "{number}");
    }
    let many = drowse.order(&order("more")).await;
    assert_eq!((many.status, &many.json()["agent"]), (429, &json!("default/echo")), "{}", many.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_understood_is_told_why_and_wakes_nobody() {
    let drowse = Drowse::start(&[Agent::demo("echo")], "idle_timeout: 1h").await;
    for (order, status) in [
        (json!("take it"), 400),
        (json!({}), 400),
        (json!({"agent": "echo"}), 400),
        (json!({"agent": 7}), 400),
        (json!({"agent": "default/echo", "action": "steal"}), 400),
        (json!({"agent": "default/echo", "action": "renew"}), 400),
        (json!({"agent": "default/echo", "ttl": "soon"}), 400),
        (json!({"agent": "default/echo", "tttl": "1m"}), 400),
        (json!({"agent": "default/echo", "id": "x".repeat(65)}), 400),
        (json!({"agent": "default/echo", "action": "end", "id": "none"}), 404),
        (json!({"agent": "default/stranger"}), 404),
        (json!({"agent": "default/echo", "reason": "x".repeat(5000)}), 413),
    ] {
        let answer = drowse.order(&order).await;
        assert_eq!(answer.status, status, "{order}: {}", answer.text());
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert!(
            answer.json()["detail"].as_str().is_some_and(|detail| !detail.is_empty()),
            "{}",
            answer.text()
        );
    }
    assert_eq!(drowse.phase("echo").await, "Suspended");
    assert_eq!(drowse.agent("echo").await["leases"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_are_ordered_by_post_as_json_at_the_host_of_drowse_and_nowhere_else() {
    let drowse = Drowse::start(&[Agent::demo("echo")], "idle_timeout: 1h").await;
    let ask = async |method: &str, path: &str, host: &str, media: &str| {
        let head =
            Request::builder().method(method).uri(path).header("host", host).header("content-type", media);
        drowse.send(r#"{"agent": "default/echo"}"#.into(), head).await
    };
    let json = "application/json";
    for (method, path, host, media, status) in [
        ("GET", "/v1/leases", OURS, json, 405),
        ("DELETE", "/v1/leases", OURS, json, 405),
        ("OPTIONS", "/v1/leases", OURS, json, 405),
        ("POST", "/v1/leases/", OURS, json, 404),
        ("POST", "/", OURS, json, 404),
        ("POST", "/v1/leases", OURS, "text/plain", 415),
        ("POST", "/v1/leases", "agents.localhost", json, 404),
        ("POST", "/v1/leases", "localhost", json, 404),
        ("POST", "/v1/leases", "x.drowse.agents.localhost", json, 404),
        ("GET", "/healthz", OURS, json, 200),
    ] {
        let answer = ask(method, path, host, media).await;
        assert_eq!(answer.status, status, "{method} {path} at {host}: {}", answer.text());
        assert_eq!(answer.header("allow"), if status == 405 { "POST" } else { "" });
    }
    assert_eq!(drowse.agent("echo").await["leases"], serde_json::json!([]));
    for host in ["DROWSE.Agents.Localhost", "drowse.agents.localhost.", "drowse.agents.localhost:8080"] {
        assert_eq!(ask("POST", "/v1/leases", host, json).await.status, 200, "{host}");
    }

    // At an agent's own host every path is the agent's.
    let theirs = ask("POST", "/v1/leases", &host("echo"), json).await;
    assert_eq!((theirs.status, theirs.header("drowse-start")), (404, "cold"), "{}", theirs.text());
    assert_eq!(drowse.agent("echo").await["leases"].as_array().unwrap().len(), 3);
}
