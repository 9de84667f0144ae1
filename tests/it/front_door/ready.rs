//! When an agent that was started counts as up.

use drowse::policy::Policy;
use drowse::policy::messages::Ready;
use drowse::policy::rules::{Layer, RuleSet};

use super::world::{Start, Toy, World, until};

#[tokio::test]
async fn a_start_that_waits_for_messages_goes_on_when_the_rule_is_corrected() {
    let port = Toy::answering("HTTP/1.1 200 OK\nContent-Length: 2\n\nok").await;
    let policy = Policy { route: true, manage: true, ready: Ready::Messages, ..Policy::default() };
    let start = Start { policy: policy.clone(), asleep: true, ..Start::default() };
    let limits = start.limits.clone();
    let world = World::start(port, start).await;
    let mut caller = world.caller().await;
    caller.send("GET / HTTP/1.1\nHost: echo.default.agents.localhost\nConnection: close\n\n").await;
    until(|| world.view().reason.contains("waiting for the agent to answer")).await;
    let corrected = Policy { ready: Ready::Port, port: Some(port), ..policy };
    world.engine.reconfigure(RuleSet::new(corrected, Layer::default(), Vec::new()), &limits);
    let answer = caller.rest().await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\n"), "{answer}");
}
