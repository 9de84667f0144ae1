//! When an agent that was started counts as up.

use std::sync::Arc;

use drowse::agent::{AgentKey, Revision};
use drowse::engine::MessageDoor;
use drowse::policy::Policy;
use drowse::policy::messages::{Messages, Preset, Ready};
use drowse::policy::rules::{Layer, RuleSet};

use super::world::{Start, Toy, World, until};

/// Nobody ever subscribes.
struct Deaf;

impl MessageDoor for Deaf {
    fn agent_changed(&self, _key: &AgentKey) {}

    fn listen(&self, _key: &AgentKey, _revision: Revision) {}
}

#[tokio::test]
async fn a_start_that_waits_for_messages_goes_on_when_the_rule_is_corrected() {
    let port = Toy::answering("HTTP/1.1 200 OK\nContent-Length: 2\n\nok").await;
    let messages = Arc::new(Messages { preset: Preset::Subject, ..Messages::default() });
    let policy = Policy {
        route: true,
        manage: true,
        port: Some(port),
        ready: Ready::Messages,
        messages,
        ..Policy::default()
    };
    let start = Start { asleep: true, ..Start::default() };
    let limits = start.limits.clone();
    let world = World::start(port, start).await;
    world.engine.set_message_door(Arc::new(Deaf));
    let rules = |policy: Policy| RuleSet::new(policy, Layer::default(), Vec::new());
    world.engine.reconfigure(rules(policy.clone()), &limits);
    let mut caller = world.caller().await;
    caller.send("GET / HTTP/1.1\nHost: echo.default.agents.localhost\nConnection: close\n\n").await;
    until(|| world.view().reason.contains("waiting for the agent to answer")).await;
    world.engine.reconfigure(rules(Policy { ready: Ready::Port, ..policy }), &limits);
    let answer = caller.rest().await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\n"), "{answer}");
}
