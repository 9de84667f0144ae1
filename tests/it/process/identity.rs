//! Guard IDENT: who answers at the address of an agent.

use std::net::{SocketAddr, TcpListener};

use drowse::backend::Backend as _;
use drowse::lifecycle::FailureClass;

use super::world::{World, agent, demo, greet, key, pid, shell};

fn at(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

#[tokio::test]
async fn an_agent_that_listens_is_attested_and_only_in_the_life_that_is_meant() {
    let spec = demo("echo", &[]);
    let mut world = World::new(std::slice::from_ref(&spec)).await;
    world.resume_and_greet(&spec).await;
    let first = world.life("echo");
    assert_eq!(world.backend.attest(&key("echo"), &first, at(spec.port)).await, Ok(true));
    assert_eq!(world.backend.attest(&key("other"), &first, at(spec.port)).await, Ok(false));

    world.suspend("echo").await;
    world.resume_and_greet(&spec).await;
    assert_eq!(world.backend.attest(&key("echo"), &first, at(spec.port)).await, Ok(false));
    assert_eq!(world.backend.attest(&key("echo"), &world.life("echo"), at(spec.port)).await, Ok(true));
}

#[tokio::test]
async fn a_process_that_the_agent_started_may_answer_for_it_wherever_it_has_moved() {
    for script in [
        "$PROGRAM demo-agent --port $PORT & wait",
        "setsid $PROGRAM demo-agent --port $PORT & wait",
        "(setsid $PROGRAM demo-agent --port $PORT &); exec sleep 1000",
    ] {
        let spec = shell("echo", script);
        let mut world = World::new(std::slice::from_ref(&spec)).await;
        world.resume_and_greet(&spec).await;
        let attested = world.backend.attest(&key("echo"), &world.life("echo"), at(spec.port)).await;
        assert_eq!(attested, Ok(true), "{script}");
        world.suspend("echo").await;
    }
}

#[tokio::test]
async fn a_stranger_that_takes_the_port_is_not_attested_and_named() {
    let spec = agent("echo", &["sleep", "1000"]);
    let mut world = World::new(std::slice::from_ref(&spec)).await;
    world.resume("echo").await;
    let _stranger = TcpListener::bind(at(spec.port)).unwrap();
    let attested = world.backend.attest(&key("echo"), &world.life("echo"), at(spec.port)).await;
    assert_eq!(attested, Ok(false));
    let named = format!("port {} is held by process {} (", spec.port, std::process::id());
    assert!(world.log("echo").contains(&named), "{}", world.log("echo"));
}

#[tokio::test]
async fn a_port_that_another_agent_of_ours_holds_is_a_failed_start_that_names_it() {
    let (one, mut two) = (demo("one", &[]), demo("two", &[]));
    two.port = one.port;
    let mut world = World::new(&[one.clone(), two]).await;
    let holder = pid(&world.resume_and_greet(&one).await);
    let failure = world.resume_to_fail("two").await;
    assert_eq!(failure.class, FailureClass::Scheduling);
    let expected = format!("port {} is held by process {holder} (drowse), which is not this agent", one.port);
    assert_eq!(*failure.detail, *expected);
    assert_eq!(world.backend.attest(&key("two"), &world.life("two"), at(one.port)).await, Ok(false));
    greet(&one).await;
}

#[tokio::test]
async fn an_agent_that_fails_because_of_a_stranger_says_so() {
    let spec = demo("echo", &["--start-delay", "1s"]);
    let mut world = World::new(std::slice::from_ref(&spec)).await;
    world.resume("echo").await;
    let _stranger = TcpListener::bind(at(spec.port)).unwrap();
    let life = world.life("echo");
    assert_eq!(world.backend.attest(&key("echo"), &life, at(spec.port)).await, Ok(false));
    world.until("it failed", |world| world.failure("echo").is_some()).await;
    let detail = world.failure("echo").unwrap().detail.to_string();
    assert!(detail.contains("exited with status 1") && detail.contains("is held by process"), "{detail}");
    assert_eq!(world.backend.attest(&key("echo"), &life, at(spec.port)).await, Ok(false), "it is dead");
}

#[tokio::test]
async fn an_agent_whose_listener_nobody_can_see_is_believed_while_it_lives() {
    let spec = agent("echo", &["sleep", "1000"]);
    let mut world = World::new(std::slice::from_ref(&spec)).await;
    world.resume("echo").await;
    let life = world.life("echo");
    assert_eq!(world.backend.attest(&key("echo"), &life, at(spec.port)).await, Ok(true));
    world.suspend("echo").await;
    assert_eq!(world.backend.attest(&key("echo"), &life, at(spec.port)).await, Ok(false));
}
