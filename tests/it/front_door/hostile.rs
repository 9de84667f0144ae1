//! Requests that are wrong, slow or meant to deceive get an answer of ours, and wake and reach nobody.

use std::sync::Arc;
use std::time::Duration;

use drowse::proxy::Settings;

use super::world::{PATIENCE, Start, Toy, World, until};

const HOST: &str = "Host: echo.default.agents.localhost";

/// A world whose agent sleeps: whatever is refused here must not wake it.
async fn asleep(toy: &Toy) -> World {
    World::start(toy.port, Start { asleep: true, ..Start::default() }).await
}

#[tokio::test]
async fn malformed_requests_are_refused_and_wake_nobody() {
    let mut toy = Toy::new().await;
    let world = asleep(&toy).await;
    for request in [
        // Hosts.
        "GET / HTTP/1.1\n\n".to_owned(),
        format!("GET / HTTP/1.1\n{HOST}\n{HOST}\n\n"),
        "GET / HTTP/1.1\nHost: a b\n\n".to_owned(),
        "GET / HTTP/1.1\nHost: echo.default.agents.localhost:0\n\n".to_owned(),
        "GET / HTTP/1.1\nHost: 0--echo.default.agents.localhost\n\n".to_owned(),
        "GET / HTTP/1.1\nHost: echo.agents.localhost\n\n".to_owned(),
        format!("GET http://other.default.agents.localhost/ HTTP/1.1\n{HOST}\n\n"),
        // Two agents, and the same one twice.
        format!("GET / HTTP/1.1\n{HOST}\nX-Sandbox-ID: other\n\n"),
        "GET / HTTP/1.1\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-ID: echo\n\n".to_owned(),
        "GET / HTTP/1.1\nHost: r\nX-Sandbox-ID: echo\nX-Sandbox-Port: 0\n\n".to_owned(),
        // Framing.
        format!("POST / HTTP/1.1\n{HOST}\nTransfer-Encoding: gzip, chunked\n\n0\n\n"),
        format!("POST / HTTP/1.1\n{HOST}\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n0\n\n"),
        format!("POST / HTTP/1.1\n{HOST}\nTransfer-Encoding: chunked, chunked\n\n0\n\n"),
        format!("POST / HTTP/1.1\n{HOST}\nTransfer-Encoding: identity\n\n"),
        format!("POST / HTTP/1.1\n{HOST}\nContent-Length: 1\nContent-Length: 2\n\nab"),
        format!("POST / HTTP/1.1\n{HOST}\nContent-Length: +1\n\na"),
        format!("POST / HTTP/1.1\n{HOST}\nContent-Length: 1, 1\n\na"),
        format!("POST / HTTP/1.0\n{HOST}\nTransfer-Encoding: chunked\n\n0\n\n"),
        // Syntax.
        format!("GET / HTTP/1.1\n{HOST}\nBad Name: x\n\n"),
        format!("GET / HTTP/1.1\n{HOST}\nName : x\n\n"),
        format!("GET / HTTP/1.1\n{HOST}\nName: x\n folded\n\n"),
        format!("GET / HTTP/1.1\n{HOST}\nName: \0\n\n"),
        format!("G\u{1}T / HTTP/1.1\n{HOST}\n\n"),
        format!("GET  / HTTP/1.1\n{HOST}\n\n"),
        format!("GET / HTTP/9.9\n{HOST}\n\n"),
        format!("GET /<> HTTP/1.1\n{HOST}\n\n"),
        // Targets.
        format!("OPTIONS * HTTP/1.1\n{HOST}\n\n"),
        format!("GET echo.default.agents.localhost:80 HTTP/1.1\n{HOST}\n\n"),
    ] {
        let answer = world.ask(&request).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{request:?}: {answer}");
    }
    assert_eq!(world.backend.resumes(), 0);
    assert!(!toy.was_called());
}

#[tokio::test]
async fn a_length_beside_a_transfer_coding_counts_for_nothing_and_ends_the_connection() {
    for fields in
        ["Content-Length: 4\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\nContent-Length: 4"]
    {
        let mut toy = Toy::new().await;
        let world = World::awake(toy.port).await;
        let mut caller = world.caller().await;
        let smuggled = format!("GET /smuggled HTTP/1.1\n{HOST}\n\n");
        caller.send(&format!("POST / HTTP/1.1\n{HOST}\n{fields}\n\n0\n\n{smuggled}")).await;
        let mut agent = toy.accept().await;
        let head = agent.head().await;
        assert!(!head.contains("content-length"), "{head}");
        assert!(head.contains("\ntransfer-encoding: chunked\n"), "{head}");
        agent.caller.read_until("0\n\n").await;
        agent.caller.send("HTTP/1.1 200 OK\nContent-Length: 0\n\n").await;
        let answer = caller.rest().await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        assert!(!toy.was_called(), "what came after was taken for a request");
    }
}

#[tokio::test]
async fn a_malformed_chunk_ends_the_request_and_both_connections() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = world.caller().await;
    caller.send(&format!("POST / HTTP/1.1\n{HOST}\nTransfer-Encoding: chunked\n\n1\na\n")).await;
    let mut agent = toy.accept().await;
    agent.head().await;
    agent.caller.read_until("1\na\n").await;
    caller.send("zz\n").await;
    assert!(agent.is_closed().await);
    let answer = caller.rest().await;
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\n"), "{answer}");
}

#[tokio::test]
async fn an_over_long_head_is_refused() {
    let toy = Toy::new().await;
    let world = asleep(&toy).await;
    let long = "x".repeat(100 * 1024);
    for (request, status) in [
        (format!("GET / HTTP/1.1\n{HOST}\nX-Long: {long}\n\n"), "431"),
        (format!("GET / HTTP/1.1\n{HOST}\n{}\n", "X-Many: 1\n".repeat(200)), "431"),
        (format!("GET /{long} HTTP/1.1\n{HOST}\n\n"), "4"),
    ] {
        let answer = world.ask(&request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    assert_eq!(world.backend.resumes(), 0);
}

#[tokio::test]
async fn a_slow_head_gets_408_and_a_silent_connection_is_closed() {
    let toy = Toy::new().await;
    let mut start = Start::default();
    start.settings = Settings {
        head_timeout: Duration::from_millis(100),
        idle_connection_timeout: Duration::from_millis(100),
        ..start.settings
    };
    let world = World::start(toy.port, start).await;
    let mut slow = world.caller().await;
    slow.send("GET / HTTP/1.1\nHo").await;
    let answer = slow.rest().await;
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\n"), "{answer}");
    assert!(answer.contains("\nconnection: close\n") && answer.ends_with("}\n"), "{answer}");
    assert_eq!(world.caller().await.rest().await, "", "no answer to nothing");
}

#[tokio::test]
async fn a_kept_connection_is_closed_when_idle_but_not_while_it_is_served() {
    let mut toy = Toy::new().await;
    let mut start = Start::default();
    start.settings.idle_connection_timeout = Duration::from_millis(50);
    start.settings.head_timeout = Duration::from_millis(50);
    let world = World::start(toy.port, start).await;
    world.until_running().await;
    let mut caller = world.caller().await;
    caller.send(&format!("GET / HTTP/1.1\n{HOST}\n\n")).await;
    let mut agent = toy.accept().await;
    agent.head().await;
    // Longer than both: the time passes on the machine's clock, which nothing here can advance.
    tokio::time::sleep(Duration::from_millis(200)).await;
    agent.caller.send("HTTP/1.1 200 OK\nContent-Length: 2\n\nok").await;
    let answer = caller.rest().await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\n") && answer.ends_with("\n\nok"), "{answer}");
}

#[tokio::test]
async fn what_names_no_agent_is_told_how_to() {
    let toy = Toy::new().await;
    let world = asleep(&toy).await;
    let answer = world.ask("GET /x HTTP/1.1\nHost: elsewhere\nConnection: close\n\n").await;
    assert!(answer.starts_with("HTTP/1.1 404 Not Found\n"), "{answer}");
    assert!(
        answer.contains("application/problem+json")
            && answer.contains("<agent>.<namespace>.agents.localhost")
    );
    let answer = world.ask("GET /healthz HTTP/1.1\nHost: elsewhere\nConnection: close\n\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\n") && answer.ends_with("{\"status\":\"ok\"}"), "{answer}");
    let answer = world.ask("GET / HTTP/1.1\nHost: r\nX-Sandbox-Port: 1\nConnection: close\n\n").await;
    assert!(answer.ends_with("{\"detail\":\"X-Sandbox-ID header is required.\"}\n"), "{answer}");
}

#[tokio::test]
async fn every_path_of_a_routed_request_belongs_to_its_agent() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = world.caller().await;
    caller.send(&format!("GET /healthz HTTP/1.1\n{HOST}\n\n")).await;
    assert!(toy.accept().await.head().await.starts_with("GET /healthz "));
}

#[tokio::test]
async fn an_unknown_agent_is_404_and_502_in_the_words_of_the_router() {
    let toy = Toy::new().await;
    let world = asleep(&toy).await;
    let close = "Connection: close";
    let answer =
        world.ask(&format!("GET / HTTP/1.1\nHost: nobody.default.agents.localhost\n{close}\n\n")).await;
    assert!(answer.starts_with("HTTP/1.1 404 Not Found\n"), "{answer}");
    assert!(answer.contains("\"agent\":\"default/nobody\""), "{answer}");
    let answer = world.ask(&format!("GET / HTTP/1.1\nHost: r\nX-Sandbox-ID: nobody\n{close}\n\n")).await;
    assert!(answer.starts_with("HTTP/1.1 502 Bad Gateway\n"), "{answer}");
    assert!(
        answer.ends_with("{\"detail\":\"Could not connect to the backend sandbox: nobody\"}\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn connect_is_refused_and_so_is_a_switch_of_protocols_that_nobody_asked_for() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let answer =
        world.ask("CONNECT echo.default.agents.localhost:80 HTTP/1.1\nHost: echo.default.agents.localhost:80\nConnection: close\n\n").await;
    assert!(answer.starts_with("HTTP/1.1 405 Method Not Allowed\n"), "{answer}");

    let mut caller = world.caller().await;
    // Only a GET may be upgraded.
    let upgrade = "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\nContent-Length: 0";
    caller.send(&format!("POST / HTTP/1.1\n{HOST}\n{upgrade}\n\n")).await;
    let mut agent = toy.accept().await;
    let head = agent.head().await;
    assert!(!head.contains("\nupgrade:") && !head.contains("\nconnection:"), "{head}");
    agent.caller.send("HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\nConnection: upgrade\n\n").await;
    let head = caller.head().await;
    assert!(head.starts_with("http/1.1 502 bad gateway\n"), "{head}");
}

#[tokio::test]
async fn a_refused_upload_is_read_to_where_its_caller_sees_the_answer() {
    let toy = Toy::new().await;
    let world = asleep(&toy).await;
    let mut caller = world.caller().await;
    caller.send("POST / HTTP/1.1\nHost: elsewhere\nContent-Length: 3000000\n\n").await;
    let (mut reader, mut writer) = caller.stream.into_split();
    let body = vec![b'x'; 3_000_000];
    // The front door may close before it has read all of it.
    let _cut = tokio::io::AsyncWriteExt::write_all(&mut writer, &body).await;
    let mut answer = String::new();
    let _end = tokio::io::AsyncReadExt::read_to_string(&mut reader, &mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 404 Not Found\r\n"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let port = Toy::answering("HTTP/1.1 200 OK\nContent-Length: 0\n\n").await;
    let mut start = Start::default();
    start.settings.max_connections = 2;
    let world = World::start(port, start).await;
    world.until_running().await;
    let request = format!("GET / HTTP/1.1\n{HOST}\n\n");
    let (mut one, mut two, mut three) = (world.caller().await, world.caller().await, world.caller().await);
    for caller in [&mut one, &mut two] {
        caller.send(&request).await;
        caller.head().await;
    }
    three.send(&request).await;
    until(|| world.in_flight() == 0).await;
    assert!(three.stream.try_read(&mut [0]).is_err(), "nothing yet");
    drop(one);
    three.head().await;
}

#[tokio::test]
async fn a_caller_that_never_takes_its_answer_is_cut_off() {
    let mut toy = Toy::new().await;
    let mut start = Start::default();
    start.settings.idle_connection_timeout = Duration::from_millis(100);
    let world = World::start(toy.port, start).await;
    world.until_running().await;
    let mut caller = world.caller().await;
    caller.send(&format!("GET / HTTP/1.1\n{HOST}\n\n")).await;
    let mut agent = toy.accept().await;
    agent.head().await;
    agent.caller.send("HTTP/1.1 200 OK\nContent-Length: 1000000000\n\n").await;
    let chunk = vec![0; 1 << 20];
    let endless = async {
        while tokio::io::AsyncWriteExt::write_all(&mut agent.caller.stream, &chunk).await.is_ok() {}
    };
    tokio::time::timeout(PATIENCE, endless).await.expect("the agent writes for ever");
    until(|| world.in_flight() == 0).await;
}

#[tokio::test]
async fn new_settings_apply_to_connections_that_are_open() {
    let port = Toy::answering("HTTP/1.1 200 OK\nContent-Length: 2\n\nok").await;
    let world = World::awake(port).await;
    let mut caller = world.caller().await;
    caller.send(&format!("GET / HTTP/1.1\n{HOST}\n\n")).await;
    caller.read_until("ok").await;
    let settings = Settings { domain: "example.com".to_owned(), ..Settings::clone(&world.settings.load()) };
    world.settings.store(Arc::new(settings));
    caller.send("GET / HTTP/1.1\nHost: echo.default.example.com\n\n").await;
    caller.read_until("ok").await;
    caller.send(&format!("GET / HTTP/1.1\n{HOST}\n\n")).await;
    assert!(caller.head().await.starts_with("http/1.1 404 not found\n"));
}
