//! Bodies stream through, both ways, with everything that belongs to them.

use std::fmt::Write as _;

use drowse::policy::{Policy, Protocol};
use tokio_util::task::AbortOnDropHandle;

use super::world::{PATIENCE, Start, Toy, World, pattern, until};

const HOST: &str = "Host: echo.default.agents.localhost";

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
    const SIZE: usize = 64 << 20;
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = world.caller().await;
    caller.send(&format!("GET / HTTP/1.1\n{HOST}\n\n")).await;
    let mut agent = toy.accept().await;
    agent.head().await;
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
async fn large_bodies_arrive_whole_both_ways() {
    const SIZE: usize = 10 << 20;
    let mut toy = Toy::new().await;
    let world = World::awake(toy.port).await;
    let mut caller = world.caller().await;
    let body = pattern(SIZE);
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

#[tokio::test]
async fn a_body_that_breaks_is_its_callers_fault_whatever_the_agent_speaks() {
    let mut toy = Toy::new().await;
    for protocol in [Protocol::Http1, Protocol::H2c] {
        let policy = Policy { protocol, ..Start::default().policy };
        let world = World::start(toy.port, Start { policy, ..Start::default() }).await;
        world.until_running().await;
        let mut caller = world.caller().await;
        caller.send(&format!("POST / HTTP/1.1\n{HOST}\nTransfer-Encoding: chunked\n\n4\nhalf\n")).await;
        let mut agent = toy.accept().await;
        let _driver = if protocol == Protocol::H2c {
            let mut agent = h2::server::handshake(agent.caller.stream).await.unwrap();
            let (request, _respond) = agent.accept().await.unwrap().unwrap();
            let driver = tokio::spawn(async move { while agent.accept().await.is_some() {} });
            let mut body = request.into_body();
            assert_eq!(body.data().await.unwrap().unwrap(), "half");
            caller.send("no chunk\n").await;
            body.data().await.unwrap().expect_err("it is taken back");
            Some(AbortOnDropHandle::new(driver))
        } else {
            agent.head().await;
            assert_eq!(agent.read(9).await, b"4\r\nhalf\r\n");
            caller.send("no chunk\n").await;
            None
        };
        let answer = caller.rest().await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("body"), "{protocol:?}: {answer}");
        until(|| world.in_flight() == 0).await;
        let metrics = world.metrics.render();
        let abandoned = "drowse_requests_total{outcome=\"abandoned\",start=\"warm\"} 1\n";
        assert!(metrics.contains(abandoned), "{protocol:?}: {metrics}");
    }
}

/// By HTTP/2 an agent says so when it ends a stream: then it is whole, wherever its last event stands.
#[tokio::test]
async fn a_stream_of_events_by_http_2_ends_whole_or_breaks_off_as_it_did_at_the_agent() {
    for whole in [true, false] {
        let mut toy = Toy::new().await;
        let policy = Policy { protocol: Protocol::H2c, ..Start::default().policy };
        let world = World::start(toy.port, Start { policy, ..Start::default() }).await;
        world.until_running().await;
        let mut caller = world.caller().await;
        caller.send(&format!("GET / HTTP/1.1\n{HOST}\n\n")).await;
        let mut agent = h2::server::handshake(toy.accept().await.caller.stream).await.unwrap();
        let (_request, mut respond) = agent.accept().await.unwrap().unwrap();
        let driver = tokio::spawn(async move { while agent.accept().await.is_some() {} });
        let _driver = AbortOnDropHandle::new(driver);
        let head = hyper::Response::builder().header("content-type", "text/event-stream");
        let mut body = respond.send_response(head.body(()).unwrap(), false).unwrap();
        caller.head().await;
        body.send_data("data: last".into(), false).unwrap();
        caller.read_until("data: last\n").await;
        if whole {
            body.send_data(Vec::new().into(), true).unwrap();
            caller.read_until("0\n\n").await;
        } else {
            body.send_reset(h2::Reason::INTERNAL_ERROR);
            assert_eq!(caller.rest().await, "", "no end that makes it look whole");
        }
    }
}
