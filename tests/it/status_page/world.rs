//! A Drowse with agents, and its page.

use serde_json::{Value, json};

use super::browser::Wish;
use super::page::Page;
use crate::support::{Agent, Drowse, http};

/// A Drowse, and a browser that shows a page of it.
pub(super) struct World {
    pub(super) drowse: Drowse,
    pub(super) page: Page,
    // Dropped last: then the browser may end.
    _wish: Wish,
}

impl World {
    /// With these agents, and this path of the page.
    pub(super) async fn open(agents: &[Agent], path: &str) -> Self {
        let wish = Wish::new();
        let drowse = Drowse::start(agents, "idle_timeout: 1h\nmin_running: 0s").await;
        let page = Page::open(wish.granted().await, &drowse, path).await;
        Self { drowse, page, _wish: wish }
    }

    /// Three that sleep: `default/echo`, `default/relay`, `team-a/notes`.
    pub(super) async fn with_three(path: &str) -> Self {
        let notes = Agent { namespace: Some("team-a".to_owned()), ..Agent::demo("notes") };
        Self::open(&[Agent::demo("echo"), Agent::demo("relay"), notes], path).await
    }

    /// Takes a busy lease for `default/echo`.
    pub(super) async fn lease(&self, reason: &str) {
        let order = json!({"agent": "default/echo", "id": "job-7", "reason": reason, "ttl": "1h"});
        let request = hyper::Request::post("/v1/leases")
            .header("host", "drowse.agents.localhost")
            .header("content-type", "application/json");
        let request = request.body(order.to_string().into()).unwrap();
        let answer = http::send(self.drowse.front, request).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// The overview, as the page gets it.
    pub(super) async fn overview(&self, query: &str) -> Value {
        let path = format!("/api/v1/overview?{query}");
        http::get(self.drowse.admin, "127.0.0.1", &path).await.expect("an answer").json()
    }
}

/// So many agents that sleep, `many/a0000` and on.
pub(super) fn sleepers(count: usize) -> Vec<Agent> {
    let sleeper = |number| Agent {
        name: format!("a{number:04}"),
        // Nobody starts them.
        port: u16::try_from(20_000 + number).unwrap(),
        namespace: Some("many".to_owned()),
        ..Agent::demo("x")
    };
    (0..count).map(sleeper).collect()
}
