//! HTTP/1.1 is passed through as it is: heads, connections, versions.

use std::time::Duration;

use drowse::policy::{Policy, Protocol};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::world::{Caller, PATIENCE, Played, Start, Toy, World, until};

const HOST: &str = "Host: echo.default.agents.localhost";

#[tokio::test]
async fn a_request_reaches_its_agent_with_our_fields_and_its_target_byte_for_byte() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = world.caller().await;
    caller.send(&format!("GET /a%2Fb/../c//d;x?q=%20+&r HTTP/1.1\n{HOST}:8080\nX-Mine: 1\n\n")).await;

    let mut agent = toy.accept().await;
    let head = agent.head().await;
    assert!(head.starts_with("GET /a%2Fb/../c//d;x?q=%20+&r HTTP/1.1\n"), "{head}");
    for line in [
        "\nhost: echo.default.agents.localhost:8080\n",
        "\nx-mine: 1\n",
        "\nvia: 1.1 drowse\n",
        "\nx-forwarded-for: 127.0.0.1\n",
        "\nx-forwarded-host: echo.default.agents.localhost:8080\n",
        "\nx-forwarded-proto: http\n",
    ] {
        assert!(head.contains(line), "{line:?} in {head}");
    }
    agent
        .caller
        .send("HTTP/1.1 202 Of course\nContent-Length: 2\nX-Theirs: 2\nConnection: x-hop\nX-Hop: 3\n\nhi")
        .await;
    let head = caller.head().await;
    assert!(head.starts_with("http/1.1 202 of course\n"), "{head}");
    assert!(head.contains("\nx-theirs: 2\n") && head.contains("\ndrowse-start: warm\n"), "{head}");
    assert!(!head.contains("x-hop") && !head.contains("server-timing"), "{head}");
    caller.read_until("hi").await;
}

#[tokio::test]
async fn who_comes_before_all_agents_are_known_is_not_told_that_there_is_none() {
    let mut toy = Toy::new().await;
    let world = World::start(toy.port, Start { unsynced: true, ..Start::default() }).await;
    let request = "GET / HTTP/1.1\nHost: other.default.agents.localhost\nConnection: close\n\n";
    let early = world.ask(request).await;
    assert!(early.starts_with("HTTP/1.1 503 ") && early.contains("\nretry-after: 1\n"), "{early}");
    assert!(early.contains("/problems/starting") && early.contains("default/other"), "{early}");

    world.backend.sync();
    until(|| world.engine.is_synced()).await;
    let late = world.ask(request).await;
    assert!(late.starts_with("HTTP/1.1 404 "), "{late}");
    assert!(!toy.was_called());
}

#[tokio::test]
async fn connections_are_kept_on_both_sides() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = world.caller().await;
    caller.send(&format!("GET /0 HTTP/1.1\n{HOST}\n\n")).await;
    let mut agent = toy.accept().await;
    for turn in 1..5 {
        agent.head().await;
        agent.caller.send("HTTP/1.1 200 OK\nContent-Length: 0\n\n").await;
        caller.head().await;
        caller.send(&format!("GET /{turn} HTTP/1.1\n{HOST}\n\n")).await;
    }
    assert!(agent.head().await.starts_with("GET /4 "));
    assert!(!toy.was_called(), "one connection carried all");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let port = Toy::answering("HTTP/1.1 200 OK\nContent-Length: 3\n\nyes").await;
    let world = World::awake(port).await;
    let one = format!("GET / HTTP/1.1\n{HOST}\n\n");
    let last = format!("GET / HTTP/1.1\n{HOST}\nConnection: close\n\n");
    let answers = world.ask(&format!("{one}{one}{last}")).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK\n").count(), 3, "{answers}");
    assert!(answers.ends_with("yes"), "{answers}");
}

#[tokio::test]
async fn a_head_may_come_byte_by_byte() {
    let port = Toy::answering("HTTP/1.1 200 OK\nContent-Length: 3\n\nyes").await;
    let world = World::awake(port).await;
    let mut caller = world.caller().await;
    for byte in format!("GET / HTTP/1.1\n{HOST}\nConnection: close\n\n").chars() {
        caller.send(&byte.to_string()).await;
    }
    assert!(caller.rest().await.starts_with("HTTP/1.1 200 OK\n"));
}

#[tokio::test]
async fn answers_without_a_body_have_none_and_keep_the_connection() {
    for (method, answer, length) in [
        ("HEAD", "HTTP/1.1 200 OK\nContent-Length: 123\n\n", Some("content-length: 123")),
        ("HEAD", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", None),
        ("GET", "HTTP/1.1 204 No Content\n\n", None),
        ("GET", "HTTP/1.1 304 Not Modified\nETag: \"x\"\n\n", None),
    ] {
        let world = World::awake(Toy::answering(answer).await).await;
        let mut caller = world.caller().await;
        for _ in 0..2 {
            caller.send(&format!("{method} / HTTP/1.1\n{HOST}\n\n")).await;
            let head = caller.head().await;
            assert!(head.contains("drowse-start: warm"), "{answer:?}: {head}");
            assert!(length.is_none_or(|length| head.contains(length)), "{answer:?}: {head}");
        }
    }
}

#[tokio::test]
async fn an_http_1_0_caller_is_served_and_its_connection_closed() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = world.caller().await;
    caller.send("GET /old HTTP/1.0\nHost: echo.default.agents.localhost\n\n").await;
    let mut agent = toy.accept().await;
    assert!(agent.head().await.starts_with("GET /old HTTP/1.1\n"));
    agent.caller.send("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nhi\n2\nho\n0\n\n").await;
    let answer = caller.rest().await;
    assert!(answer.starts_with("HTTP/1.0 200 OK\n") && answer.ends_with("\n\nhiho"), "{answer}");
}

/// An answer that ends where its connection does, half of it, and whoever gets and gives it.
async fn half_an_old_answer(world: &World, toy: &mut Toy) -> (Caller, Played) {
    let mut caller = world.caller().await;
    caller.send("GET /old HTTP/1.0\nHost: echo.default.agents.localhost\n\n").await;
    let mut agent = toy.accept().await;
    agent.head().await;
    agent.caller.send("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n4\nhalf\n").await;
    caller.read_until("half").await;
    (caller, agent)
}

async fn is_reset(caller: &mut Caller) -> bool {
    let mut rest = Vec::new();
    let end = tokio::time::timeout(PATIENCE, caller.stream.read_to_end(&mut rest)).await;
    end.expect("it stays open").is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn an_answer_that_the_agent_cuts_short_does_not_look_whole_to_an_http_1_0_caller() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let (mut caller, agent) = half_an_old_answer(&world, &mut toy).await;
    drop(agent);
    assert!(is_reset(&mut caller).await);
}

#[tokio::test]
async fn an_answer_that_a_shutdown_cuts_short_does_not_look_whole_to_an_http_1_0_caller() {
    let mut toy = Toy::new().await;
    let mut start = Start::default();
    start.settings.drain_timeout = Duration::from_millis(50);
    let world = World::start(toy.port, start).await;
    world.until_running().await;
    let (mut caller, _agent) = half_an_old_answer(&world, &mut toy).await;
    world.shutdown.cancel();
    assert!(is_reset(&mut caller).await);
}

#[tokio::test]
async fn an_answer_that_is_not_taken_does_not_look_whole_to_an_http_1_0_caller() {
    let mut toy = Toy::new().await;
    let mut start = Start::default();
    start.settings.idle_connection_timeout = Duration::from_millis(100);
    let world = World::start(toy.port, start).await;
    world.until_running().await;
    let (mut caller, mut agent) = half_an_old_answer(&world, &mut toy).await;
    let chunk = format!("100000\r\n{}\r\n", "x".repeat(1 << 20));
    let endless = async { while agent.caller.stream.write_all(chunk.as_bytes()).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, endless).await.expect("the agent writes for ever");
    until(|| world.in_flight() == 0).await;
    assert!(is_reset(&mut caller).await);
}

#[tokio::test]
async fn an_agent_that_speaks_http_1_0_is_understood() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = world.caller().await;
    caller.send(&format!("GET / HTTP/1.1\n{HOST}\n\n")).await;
    let mut agent = toy.accept().await;
    agent.head().await;
    agent.caller.send("HTTP/1.0 200 OK\n\nuntil the end").await;
    drop(agent);
    assert!(caller.head().await.contains("\ntransfer-encoding: chunked\n"));
    caller.read_until("until the end\n0\n\n").await;
}

#[tokio::test]
async fn an_absolute_target_reaches_the_agent_as_a_path() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = world.caller().await;
    caller.send(&format!("GET http://echo.default.agents.localhost/x?y HTTP/1.1\n{HOST}\n\n")).await;
    assert!(toy.accept().await.head().await.starts_with("GET /x?y HTTP/1.1\n"));
}

#[tokio::test]
async fn a_header_routed_request_gets_the_agents_address_as_host_and_no_credential() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = world.caller().await;
    caller.send("GET /x HTTP/1.1\nHost: router\nX-Sandbox-ID: echo\nAuthorization: Bearer t\n\n").await;
    let head = toy.accept().await.head().await;
    assert!(head.contains(&format!("\nhost: 127.0.0.1:{}\n", toy.port)), "{head}");
    assert!(
        head.contains("\nx-forwarded-host: router\n") && head.contains("\nx-sandbox-id: echo\n"),
        "{head}"
    );
    assert!(!head.contains("authorization"), "{head}");
}

#[tokio::test]
async fn a_caller_that_leaves_in_the_middle_ends_the_request_at_the_agent() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    for before_the_answer in [true, false] {
        let mut caller = world.caller().await;
        caller.send(&format!("GET / HTTP/1.1\n{HOST}\n\n")).await;
        let mut agent = toy.accept().await;
        agent.head().await;
        if !before_the_answer {
            agent.caller.send("HTTP/1.1 200 OK\nContent-Length: 10\n\nhalf").await;
            caller.head().await;
        }
        assert_eq!(world.in_flight(), 1);
        drop(caller);
        assert!(agent.is_closed().await);
        until(|| world.in_flight() == 0).await;
    }
}

#[tokio::test]
async fn an_agent_that_breaks_off_is_not_asked_twice() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = world.caller().await;
    caller.send(&format!("POST / HTTP/1.1\n{HOST}\nContent-Length: 0\n\n")).await;
    let mut agent = toy.accept().await;
    agent.head().await;
    drop(agent);
    let head = caller.head().await;
    assert!(head.starts_with("http/1.1 502 bad gateway\n"), "{head}");
    caller.read_until("}").await;
    assert!(!toy.was_called());
}

#[tokio::test]
async fn an_agent_that_sends_no_answer_is_not_said_to_have_broken_off() {
    let mut toy = Toy::new().await;
    let long = format!("HTTP/1.1 200 OK\nX: {}\n\n", "x".repeat(20_000));
    let switch = "HTTP/1.1 101 Switching Protocols\nConnection: upgrade\nUpgrade: x\n\n";
    for (protocol, answer, wrong) in [
        (Protocol::Http1, "SSH-2.0-OpenSSH_9.6\n", "not HTTP/1.1"),
        (Protocol::Http1, "HTTP/1.1 200 OK\nBad Name: x\n\n", "not HTTP/1.1: invalid HTTP header"),
        (Protocol::Http1, &long, "more than 16 KiB"),
        (Protocol::Http1, "HTTP/1.1 200 OK\nTransfer-Encoding: gzip, chunked\n\n", "Transfer-Encoding"),
        (Protocol::Http1, switch, "switches protocols"),
        (Protocol::H2c, "HTTP/1.1 400 Bad Request\nContent-Length: 0\n\n", "HTTP/2"),
    ] {
        let policy = Policy { protocol, ..Start::default().policy };
        let world = World::start(toy.port, Start { policy, ..Start::default() }).await;
        world.until_running().await;
        let mut caller = world.caller().await;
        caller.send(&format!("GET / HTTP/1.1\n{HOST}\n\n")).await;
        let mut agent = toy.accept().await;
        agent.caller.send(answer).await;
        let head = caller.head().await;
        assert!(head.starts_with("http/1.1 502 bad gateway\n"), "{answer:?}: {head}");
        let problem = caller.read_until("}").await;
        assert!(problem.contains("/problems/bad-answer") && problem.contains(wrong), "{answer:?}: {problem}");
        let refused = "drowse_request_refusals_total{reason=\"bad_answer\"} 1\n";
        assert!(world.metrics.render().contains(refused), "{answer:?}");
        agent.caller.rest().await;
        assert!(!toy.was_called(), "it is not asked again");
    }
}

#[tokio::test]
async fn a_kept_connection_that_the_agent_has_closed_is_replaced_without_the_caller_noticing() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = world.caller().await;
    for turn in 0..20 {
        caller.send(&format!("GET /{turn} HTTP/1.1\n{HOST}\n\n")).await;
        let mut agent = toy.accept().await;
        agent.head().await;
        agent.caller.send("HTTP/1.1 200 OK\nContent-Length: 0\n\n").await;
        caller.head().await;
        drop(agent);
        // The close has reached the front door's socket when it shows in the system's table; on this machine that
        // is at once.
        until_closed_connections_show().await;
    }
}

/// Lets the runtime look at its sockets.
async fn until_closed_connections_show() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}
