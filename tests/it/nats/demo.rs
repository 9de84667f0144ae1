//! The demo agents talk to each other, as `make run` shows.

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::servers::{NEWEST, Servers};
use super::world::QUICK;
use crate::support::{Agent, Drowse, eventually};

const TRACE: HeaderName = HeaderName::from_static("trace");

#[tokio::test(flavor = "multi_thread")]
async fn a_message_wakes_an_agent_which_wakes_another_and_both_sleep_again() {
    let servers = Servers::single(NEWEST).await;
    let agent = |name| Agent::demo(name).with(&["--nats", &servers.urls()]);
    let defaults = "messages: subject\nidle_timeout: 500ms\nmin_running: 0s";
    let drowse = Drowse::start_with(&[agent("echo"), agent("relay")], defaults, servers.section(QUICK)).await;
    eventually("the message door is open", async || drowse.log().contains("the message door is open")).await;
    let client = async_nats::connect(servers.urls()).await.unwrap();
    for start in 1..3 {
        let (whom, trace) = (
            "agents.default.echo.ask.default.relay",
            HeaderMap::from_iter([(TRACE, HeaderValue::from(start))]),
        );
        let answer = client.request_with_headers(whom, trace, "hello".into()).await.unwrap();
        let traced = answer.headers.as_ref().and_then(|headers| headers.get(TRACE));
        assert_eq!(traced, Some(&HeaderValue::from(start)), "its headers go there and back");
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert_eq!(
            (&answer["agent"], &answer["starts"]),
            (&"default/echo".into(), &start.into()),
            "{answer}"
        );
        assert_eq!(
            (&answer["asked"]["agent"], &answer["asked"]["said"]),
            (&"default/relay".into(), &"hello".into())
        );
        drowse.wait_for_phase("echo", "Suspended").await;
        drowse.wait_for_phase("relay", "Suspended").await;
    }
    let (explained, _) = drowse.command(&["explain", "default/relay"]).await;
    assert!(explained.contains("agents.default.relay.>"), "{explained}");
    let view = drowse.agent("relay").await;
    assert_eq!(view["subjects"][0], "agents.default.relay.>", "{view}");
}
