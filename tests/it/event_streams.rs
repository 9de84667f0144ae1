//! Server-sent events of the real demo agent through the real program.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Agent, Drowse, PATIENCE, eventually, host};

const SHORT: &str = "idle_timeout: 2s\nmin_running: 0s";

/// A caller who reads a stream.
struct Reader(TcpStream);

impl Reader {
    async fn open(drowse: &Drowse, query: &str) -> Self {
        let mut stream = TcpStream::connect(drowse.front).await.unwrap();
        let request =
            format!("GET /sse?{query} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", host("echo"));
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reader = Self(stream);
        let head = reader.until("\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("text/event-stream"), "{head}");
        reader
    }

    async fn until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            let byte = tokio::time::timeout(PATIENCE, self.0.read_u8()).await.expect("silence");
            read.push(byte.unwrap_or_else(|_| panic!("ended after {:?}", String::from_utf8_lossy(&read))));
        }
        String::from_utf8(read).unwrap()
    }

    async fn rest(mut self) -> String {
        let mut read = Vec::new();
        let reading = self.0.read_to_end(&mut read);
        let _end = tokio::time::timeout(PATIENCE, reading).await.expect("it goes on");
        String::from_utf8(read).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_wake_an_agent_and_keep_it_up_and_comments_let_it_sleep() {
    let drowse = Drowse::start(&[Agent::demo("echo")], SHORT).await;
    assert_eq!(drowse.phase("echo").await, "Suspended");
    let mut events = Reader::open(&drowse, "every=200ms&count=100000").await;
    // Three idle timeouts.
    events.until("data: {\"n\":30}\n\n").await;
    assert_eq!(drowse.agent("echo").await["inFlight"], 0);
    let (explained, code) = drowse.command(&["explain", "default/echo"]).await;
    assert!(code == 0 && explained.contains("data moved on an open connection"), "{explained}");
    assert!(explained.contains("1, last data "), "{explained}");
    assert!((drowse.metric("drowse_event_streams", "").await - 1.0).abs() < f64::EPSILON);

    let comments = Reader::open(&drowse, "every=200ms&count=100000&kind=comments").await;
    drop(events);
    let read = comments.rest().await;
    assert!(read.contains(": still here\n\n") && read.ends_with("\r\n0\r\n\r\n"), "a clean end: {read:?}");
    drowse.wait_for_phase("echo", "Suspended").await;
    eventually("no stream is open", async || drowse.metric("drowse_event_streams", "").await < 0.5).await;
    assert_eq!(drowse.get("echo", "/").await.json()["starts"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_an_event_is_never_the_end_of_a_stream() {
    let drowse = Drowse::start(&[Agent::demo("echo")], "idle_timeout: 1h\nmin_running: 0s").await;
    let mut halves = Reader::open(&drowse, "every=1h&count=2&kind=halves").await;
    halves.until("data: first half\n\r\n").await;
    let (text, code) = drowse.command(&["suspend", "--stay", "default/echo"]).await;
    assert_eq!(code, 0, "{text}");
    assert_eq!(halves.rest().await, "", "no last chunk");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_must_not_wake_lets_its_agent_sleep_and_does_not_wake_it_again() {
    let defaults = format!("{SHORT}\nmust_not_wake: [/sse]");
    let drowse = Drowse::start(&[Agent::demo("echo")], &defaults).await;
    assert_eq!(drowse.get("echo", "/").await.status, 200);
    let events = Reader::open(&drowse, "every=50ms&count=100000").await;
    let read = tokio::time::timeout(PATIENCE, events.rest()).await.expect("events keep it up");
    assert!(read.ends_with("\r\n0\r\n\r\n"), "a clean end");
    drowse.wait_for_phase("echo", "Suspended").await;
    // As a caller who comes back by itself would.
    assert_eq!(drowse.get("echo", "/sse").await.status, 503);
    assert_eq!(drowse.phase("echo").await, "Suspended");
}
