//! HTTP/1.1 is passed through as it is.

use std::fmt::Write as _;

use super::world::{PATIENCE, Toy, World, until};

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
    for byte in format!("GET / HTTP/1.1\r\n{HOST}\r\nConnection: close\r\n\r\n").chars() {
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
async fn bodies_stream_both_ways_at_the_same_time() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = world.caller().await;
    caller.send(&format!("POST / HTTP/1.1\n{HOST}\nTransfer-Encoding: chunked\n\n1\na\n")).await;
    let mut agent = toy.accept().await;
    agent.head().await;
    agent.caller.read_until("1\na\n").await;
    agent.caller.send("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n1\nA\n").await;
    caller.head().await;
    caller.read_until("1\nA\n").await;
    for (sent, got) in [("b", "B"), ("c", "C")] {
        caller.send(&format!("1\n{sent}\n")).await;
        agent.caller.read_until(&format!("1\n{sent}\n")).await;
        agent.caller.send(&format!("1\n{got}\n")).await;
        caller.read_until(&format!("1\n{got}\n")).await;
    }
    caller.send("0\n\n").await;
    agent.caller.read_until("0\n\n").await;
    agent.caller.send("0\n\n").await;
    caller.read_until("0\n\n").await;
    until(|| world.in_flight() == 0).await;
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = world.caller().await;
    let fields = "Transfer-Encoding: chunked\nTrailer: X-Sum\nTE: trailers\nConnection: TE";
    caller.send(&format!("POST / HTTP/1.1\n{HOST}\n{fields}\n\n3\nabc\n0\nX-Sum: 1\n\n")).await;
    let mut agent = toy.accept().await;
    let head = agent.head().await;
    for line in
        ["\ntrailer: X-Sum\n", "\nte: trailers\n", "\nconnection: te\n", "\ntransfer-encoding: chunked\n"]
    {
        assert!(head.contains(line), "{line:?} in {head}");
    }
    agent.caller.read_until("3\nabc\n0\nx-sum: 1\n\n").await;
    let answer = "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nTrailer: X-Total\n\n2\nok\n0\nX-Total: 9\n\n";
    agent.caller.send(answer).await;
    assert!(caller.head().await.contains("\ntrailer: x-total\n"));
    caller.read_until("2\nok\n0\nx-total: 9\n\n").await;
}

#[tokio::test]
async fn a_caller_that_does_not_read_slows_the_agent_down() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = world.caller().await;
    caller.send(&format!("GET / HTTP/1.1\n{HOST}\n\n")).await;
    let mut agent = toy.accept().await;
    agent.head().await;
    const SIZE: usize = 64 << 20;
    agent.caller.send(&format!("HTTP/1.1 200 OK\nContent-Length: {SIZE}\n\n")).await;
    let mut sent = 0;
    let chunk = vec![b'x'; 1 << 16];
    // Buffers on the way fill up, and then nothing more is taken until the caller reads.
    while tokio::time::timeout(std::time::Duration::from_millis(300), agent.caller.stream.writable())
        .await
        .is_ok()
    {
        match agent.caller.stream.try_write(&chunk) {
            Ok(count) => sent += count,
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
        }
        assert!(sent < SIZE / 2, "the agent was never slowed down");
    }
    caller.head().await;
    let mut read = vec![0; sent];
    let reading = tokio::io::AsyncReadExt::read_exact(&mut caller.stream, &mut read);
    tokio::time::timeout(PATIENCE, reading).await.unwrap().unwrap();
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
async fn continue_is_sent_when_the_agent_asks_for_the_body() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = world.caller().await;
    caller.send(&format!("POST / HTTP/1.1\n{HOST}\nContent-Length: 4\nExpect: 100-continue\n\n")).await;
    let mut agent = toy.accept().await;
    assert!(agent.head().await.contains("\nexpect: 100-continue\n"));
    agent.caller.send("HTTP/1.1 100 Continue\n\n").await;
    assert_eq!(caller.head().await, "http/1.1 100 continue\n\n");
    caller.send("body").await;
    assert_eq!(agent.read(4).await, b"body");
    agent.caller.send("HTTP/1.1 200 OK\nContent-Length: 0\n\n").await;
    assert!(caller.head().await.starts_with("http/1.1 200 ok\n"));
    // Both connections can be used again.
    caller.send(&format!("GET /again HTTP/1.1\n{HOST}\n\n")).await;
    assert!(agent.head().await.starts_with("GET /again "));
}

#[tokio::test]
async fn a_final_answer_that_comes_first_leaves_the_body_with_the_caller() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = world.caller().await;
    caller.send(&format!("POST / HTTP/1.1\n{HOST}\nContent-Length: 4\nExpect: 100-continue\n\n")).await;
    let mut agent = toy.accept().await;
    agent.head().await;
    agent.caller.send("HTTP/1.1 403 Forbidden\nContent-Length: 2\n\nno").await;
    let answer = caller.rest().await;
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\n") && answer.ends_with("\n\nno"), "{answer}");
    assert!(agent.is_closed().await, "a connection that waits for a body is not used again");
}

#[tokio::test]
async fn an_agent_that_does_not_know_expect_gets_the_body_all_the_same() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = world.caller().await;
    caller.send(&format!("POST / HTTP/1.1\n{HOST}\nContent-Length: 4\nExpect: 100-continue\n\n")).await;
    let mut agent = toy.accept().await;
    agent.head().await;
    assert_eq!(caller.head().await, "http/1.1 100 continue\n\n");
    caller.send("body").await;
    assert_eq!(agent.read(4).await, b"body");
}

#[tokio::test]
async fn an_answer_before_the_end_of_an_upload_is_passed_on_and_poisons_nothing() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = world.caller().await;
    caller.send(&format!("POST /big HTTP/1.1\n{HOST}\nContent-Length: 1000000\n\nGET /smuggled")).await;
    let mut agent = toy.accept().await;
    agent.head().await;
    agent.caller.send("HTTP/1.1 413 Too Much\nContent-Length: 2\n\nno").await;
    assert!(caller.rest().await.starts_with("HTTP/1.1 413 Too Much\n"));
    let mut other = world.caller().await;
    other.send(&format!("GET /other HTTP/1.1\n{HOST}\n\n")).await;
    let head = toy.accept().await.head().await;
    assert!(head.starts_with("GET /other "), "{head}");
}

#[tokio::test]
async fn an_answer_that_is_cut_short_is_cut_short_for_the_caller_too() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = world.caller().await;
    caller.send(&format!("GET / HTTP/1.1\n{HOST}\n\n")).await;
    let mut agent = toy.accept().await;
    agent.head().await;
    agent.caller.send("HTTP/1.1 200 OK\nContent-Length: 10\n\nhalf").await;
    drop(agent);
    let answer = caller.rest().await;
    assert!(answer.ends_with("half"), "{answer}");
    until(|| world.in_flight() == 0).await;
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
    caller.read_until("}\r\n").await;
    assert!(!toy.was_called());
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

#[tokio::test]
async fn large_bodies_arrive_whole_both_ways() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = world.caller().await;
    const SIZE: usize = 10 << 20;
    let body: Vec<u8> = (0..SIZE).map(|index| (index % 251) as u8).collect();
    caller.send(&format!("POST / HTTP/1.1\n{HOST}\nContent-Length: {SIZE}\n\n")).await;
    let (mut reader, mut writer) = caller.stream.into_split();
    let sent = body.clone();
    let sending = tokio::spawn(async move {
        tokio::io::AsyncWriteExt::write_all(&mut writer, &sent).await.unwrap();
        writer
    });
    let mut agent = toy.accept().await;
    agent.head().await;
    assert!(agent.read(SIZE).await == body, "the agent got something else");
    let echo = body.clone();
    let echoing = tokio::spawn(async move {
        agent.caller.send(&format!("HTTP/1.1 200 OK\nContent-Length: {SIZE}\n\n")).await;
        tokio::io::AsyncWriteExt::write_all(&mut agent.caller.stream, &echo).await.unwrap();
        agent
    });
    let _writer = sending.await.unwrap();
    let mut read = Vec::new();
    while read.len() < SIZE || !read.ends_with(&body[SIZE - 1000..]) {
        let count = tokio::io::AsyncReadExt::read_buf(&mut reader, &mut read).await.unwrap();
        assert!(count > 0, "closed early");
    }
    assert!(read.ends_with(&body), "the caller got something else");
    let _agent = echoing.await.unwrap();
}

#[tokio::test]
async fn many_small_frames_arrive_as_they_are_sent() {
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = world.caller().await;
    caller.send(&format!("GET / HTTP/1.1\n{HOST}\n\n")).await;
    let mut agent = toy.accept().await;
    agent.head().await;
    agent
        .caller
        .send("HTTP/1.1 200 OK\nContent-Type: text/event-stream\nTransfer-Encoding: chunked\n\n")
        .await;
    caller.head().await;
    for turn in 0..300 {
        let event = format!("data: {turn:04}\n\n");
        let mut chunk = String::new();
        write!(chunk, "{:x}\n{event}\n", event.replace('\n', "\r\n").len()).unwrap();
        agent.caller.send(&chunk).await;
        caller.read_until(&event).await;
    }
    agent.caller.send("0\n\n").await;
    caller.read_until("0\n\n").await;
}
