//! Agents that are asked whether they are at work, byte for byte: what goes out, and what comes at the wrong moment.

use std::time::Duration;

use drowse::lifecycle::PhaseName;
use drowse::policy::Policy;
use drowse::policy::rules::{Layer, RuleSet};
use drowse::units::{Ping, Written};

use super::world::{Played, Start, Toy, World, until};

const HOST: &str = "Host: echo.default.agents.localhost";
const HEALTHY: &str = "HTTP/1.1 200 OK\nContent-Length: 21\n\n{\"status\": \"Healthy\"}";
const BUSY: &str = "HTTP/1.1 200 OK\nContent-Length: 25\n\n{\"status\": \"HealthyBusy\"}";
const IDLE: Duration = Duration::from_millis(300);

fn policy(ping: &str) -> Policy {
    Policy {
        route: true,
        manage: true,
        idle_timeout: IDLE,
        min_running: Duration::ZERO,
        ping: Ping::read(ping).unwrap(),
        ..Policy::default()
    }
}

/// An agent that is up and has just been asked.
async fn asked() -> (World, Toy, Played) {
    let mut toy = Toy::new().await;
    let world = World::start(toy.port, Start { policy: policy("/ping?x=1"), ..Start::default() }).await;
    let agent = question(&mut toy).await;
    (world, toy, agent)
}

/// The next connection, on which the question has come.
async fn question(toy: &mut Toy) -> Played {
    let mut agent = toy.accept().await;
    let head = agent.head().await.to_lowercase();
    assert!(head.starts_with("get /ping?x=1 http/1.1\n"), "{head}");
    assert!(head.contains(&format!("host: 127.0.0.1:{}\n", toy.port)), "{head}");
    assert!(head.contains("accept: application/json\n") && !head.contains("content-length"), "{head}");
    agent
}

#[tokio::test]
async fn an_agent_that_says_healthy_is_suspended_and_its_connection_closed() {
    let (world, _toy, mut agent) = asked().await;
    assert_eq!((world.view().phase, world.in_flight()), (PhaseName::Running, 0), "it holds no place");
    agent.caller.send(HEALTHY).await;
    until(|| world.view().phase == PhaseName::Suspended).await;
    assert!(agent.is_closed().await);
}

#[tokio::test]
async fn a_request_during_the_question_is_served_and_stops_the_suspension() {
    let (world, mut toy, mut agent) = asked().await;
    let mut caller = world.caller().await;
    caller.send(&format!("GET /work HTTP/1.1\n{HOST}\n\n")).await;
    let mut served = toy.accept().await;
    assert!(served.head().await.starts_with("GET /work "));
    served.caller.send("HTTP/1.1 200 OK\nContent-Length: 2\n\nok").await;
    assert!(caller.head().await.starts_with("http/1.1 200 ok\n"));
    agent.caller.send(HEALTHY).await;
    // It is asked anew, an idle timeout later; and it was up all the time.
    question_on_any(&mut toy, &mut [agent, served]).await;
    assert_eq!((world.view().phase, world.backend.resumes()), (PhaseName::Running, 0));
}

/// The next question, on a connection that is known or on another one.
async fn question_on_any(toy: &mut Toy, known: &mut [Played]) {
    let [one, other] = known else { panic!("two connections") };
    let asks = |head: String| assert!(head.starts_with("GET /ping?x=1 "), "{head}");
    tokio::select! {
        head = one.head() => asks(head),
        head = other.head() => asks(head),
        mut new = toy.accept() => asks(new.head().await),
    }
}

#[tokio::test]
async fn an_answer_after_the_end_of_the_life_is_not_heard() {
    let (world, mut toy, mut agent) = asked().await;
    world.backend.replace_pod();
    assert!(agent.is_closed().await, "the question ends with the life that was asked");
    agent.caller.send(HEALTHY).await;
    world.until_running().await;
    let mut next = question(&mut toy).await;
    next.caller.send(BUSY).await;
    until(|| world.view().reason.contains("says HealthyBusy")).await;
    let metrics = world.metrics.render();
    for unheard in ["healthy", "timed_out", "unreachable"] {
        let count = format!("drowse_pings_total{{outcome=\"{unheard}\"}} 0\n");
        assert!(metrics.contains(&count), "{unheard}");
    }
    assert_eq!((world.view().phase, world.backend.resumes()), (PhaseName::Running, 0));
}

#[tokio::test]
async fn a_rule_that_asks_elsewhere_holds_from_the_next_question_and_none_at_all_at_once() {
    let (world, mut toy, mut agent) = asked().await;
    let rules = |ping: &str| {
        let policy = Policy { port: Some(toy.port), ..policy(ping) };
        RuleSet::new(policy, Layer::default(), Vec::new())
    };
    let (elsewhere, off) = (rules("/elsewhere"), rules("off"));
    world.engine.reconfigure(elsewhere, &Start::default().limits);
    agent.caller.send(HEALTHY).await;
    let asked_there = async {
        tokio::select! {
            head = agent.head() => head,
            mut new = toy.accept() => new.head().await,
        }
    };
    assert!(asked_there.await.starts_with("GET /elsewhere "));
    assert_eq!(world.view().phase, PhaseName::Running);
    world.engine.reconfigure(off, &Start::default().limits);
    until(|| world.view().phase == PhaseName::Suspended).await;
}
