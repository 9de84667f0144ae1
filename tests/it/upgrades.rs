//! A WebSocket through the real program, with a client that others use, too.

use futures_util::{SinkExt as _, StreamExt as _};
use rustix::process::Signal;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::support::{Agent, Drowse, PATIENCE, eventually, host, signal};

/// Sleeps soon after it was used.
const SHORT: &str = "idle_timeout: 2s\nmin_running: 0s";
const LONG: &str = "idle_timeout: 1h\nmin_running: 0s";

struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    async fn open(drowse: &Drowse) -> (Self, Response) {
        Self::try_open(drowse, "/ws").await.expect("a WebSocket")
    }

    async fn try_open(drowse: &Drowse, path: &str) -> Result<(Self, Response), Error> {
        let stream = TcpStream::connect(drowse.front).await.unwrap();
        let url = format!("ws://{}{path}", host("echo"));
        let opening = tokio_tungstenite::client_async(url, stream);
        let (socket, response) = tokio::time::timeout(PATIENCE, opening).await.expect("an answer")?;
        Ok((Self(socket), response))
    }

    async fn send(&mut self, message: Message) {
        self.0.send(message).await.unwrap();
    }

    async fn next(&mut self) -> Option<Result<Message, Error>> {
        tokio::time::timeout(PATIENCE, self.0.next()).await.expect("silence")
    }

    async fn echoes(&mut self, text: &str) {
        self.send(Message::text(text)).await;
        assert_eq!(self.next().await.unwrap().unwrap(), Message::text(text));
    }

    /// The code of the close frame that comes next, whatever control frames come before.
    async fn close_code(&mut self) -> u16 {
        loop {
            match self.next().await {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                Some(Ok(Message::Pong(_))) => {}
                other => panic!("no close frame: {other:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_to_a_sleeping_agent_wakes_it_and_is_closed_when_it_sleeps_again() {
    let drowse = Drowse::start(&[Agent::demo("echo")], SHORT).await;
    assert_eq!(drowse.phase("echo").await, "Suspended");
    let (mut socket, response) = Socket::open(&drowse).await;
    assert_eq!(response.headers()["drowse-start"], "cold");
    assert!(response.headers().contains_key("server-timing"));
    socket.echoes("hello").await;
    socket.send(Message::binary(vec![7; 300_000])).await;
    assert_eq!(socket.next().await.unwrap().unwrap().into_data().len(), 300_000);
    assert!((drowse.metric("drowse_tunnels", "").await - 1.0).abs() < f64::EPSILON);

    let (explained, code) = drowse.command(&["explain", "default/echo"]).await;
    assert!(code == 0 && explained.contains("open connections"), "{explained}");
    assert!(explained.contains("1, last data "), "{explained}");

    assert_eq!(socket.close_code().await, 1001);
    drowse.wait_for_phase("echo", "Suspended").await;
    eventually("no tunnel is open", async || drowse.metric("drowse_tunnels", "").await < 0.5).await;
    Socket::open(&drowse).await.0.echoes("again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_keep_an_agent_up_and_pings_do_not() {
    let drowse = Drowse::start(&[Agent::demo("echo")], SHORT).await;
    let (mut socket, _) = Socket::open(&drowse).await;
    for turn in 0..10 {
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        socket.echoes(&format!("turn {turn}")).await;
    }
    assert_eq!(drowse.agent("echo").await["inFlight"], 0);
    assert_eq!(drowse.get("echo", "/").await.json()["starts"], 1, "it was up all the time");
    let mut pongs = 0;
    let code = loop {
        // A ping that comes too late fails, and the close frame is read all the same.
        let _late = socket.0.send(Message::Ping("still there?".into())).await;
        match socket.next().await {
            Some(Ok(Message::Pong(_))) => pongs += 1,
            Some(Ok(Message::Close(Some(frame)))) => break u16::from(frame.code),
            other => panic!("{other:?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert_eq!(code, 1001);
    assert!(pongs > 5, "{pongs} pongs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_websockets_at_once_start_a_sleeping_agent_once() {
    let drowse = Drowse::start(&[Agent::demo("echo")], LONG).await;
    let sockets = futures_util::future::join_all((0..100).map(|_| Socket::open(&drowse))).await;
    for (number, (mut socket, _)) in sockets.into_iter().enumerate() {
        socket.echoes(&number.to_string()).await;
    }
    assert_eq!(drowse.get("echo", "/").await.json()["starts"], 1);
    assert!((drowse.metric("drowse_resumes_total", "ok").await - 1.0).abs() < f64::EPSILON);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_code_of_whoever_closes_reaches_the_other() {
    let drowse = Drowse::start(&[Agent::demo("echo")], LONG).await;
    let (mut socket, _) = Socket::open(&drowse).await;
    socket.send(Message::text("close 4000")).await;
    assert_eq!(socket.close_code().await, 4000);

    let (mut socket, _) = Socket::open(&drowse).await;
    let frame = tokio_tungstenite::tungstenite::protocol::CloseFrame { code: 4001.into(), reason: "".into() };
    socket.0.close(Some(frame)).await.unwrap();
    assert_eq!(socket.close_code().await, 4001, "the agent echoes it");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_dies_ends_its_websockets() {
    let drowse = Drowse::start(&[Agent::demo("echo")], LONG).await;
    let (mut socket, _) = Socket::open(&drowse).await;
    let pid = drowse.get("echo", "/").await.json()["pid"].as_u64().unwrap();
    signal(u32::try_from(pid).unwrap(), Signal::KILL);
    loop {
        match socket.next().await {
            None | Some(Err(_)) => break,
            Some(Ok(message)) => assert!(message.is_close(), "{message:?}"),
        }
    }
    // A call in the instant of its death may reach it, and is then not sent again.
    eventually("its death is known", async || drowse.phase("echo").await != "Running").await;
    Socket::open(&drowse).await.0.echoes("up again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_without_websockets_answers_as_usual() {
    let drowse = Drowse::start(&[Agent::demo("echo")], LONG).await;
    match Socket::try_open(&drowse, "/whoami").await.map(|_| ()) {
        Err(Error::Http(response)) => assert_eq!(response.status(), 200),
        other => panic!("{other:?}"),
    }
    assert_eq!(drowse.get("echo", "/ws").await.status, 426);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_changes_applies_to_websockets_that_are_open() {
    let drowse = Drowse::start(&[Agent::demo("echo")], &format!("{SHORT}\nopen_connections: keep")).await;
    let (mut socket, _) = Socket::open(&drowse).await;
    eventually("it is idle but for the WebSocket", async || {
        let reason = drowse.agent("echo").await["reason"].to_string();
        assert_eq!(drowse.phase("echo").await, "Running");
        reason.contains("open connections keep it up")
    })
    .await;
    let (text, code) = drowse.command(&["suspend", "default/echo"]).await;
    assert!(code == 1 && text.contains("open connections keep it up"), "{code}: {text}");
    drowse.edit_defaults(&format!("{SHORT}\nopen_connections: ignore"));
    assert_eq!(socket.close_code().await, 1001);
    drowse.wait_for_phase("echo", "Suspended").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_that_must_not_wake_neither_wakes_its_agent_nor_keeps_it_up() {
    let defaults = format!("{SHORT}\nmust_not_wake: [/ws]\nopen_connections: keep");
    let drowse = Drowse::start(&[Agent::demo("echo")], &defaults).await;
    match Socket::try_open(&drowse, "/ws").await.map(|_| ()) {
        Err(Error::Http(response)) => assert_eq!(response.status(), 503),
        other => panic!("{other:?}"),
    }
    assert_eq!(drowse.get("echo", "/").await.status, 200);
    let (mut socket, _) = Socket::open(&drowse).await;
    assert_eq!(socket.close_code().await, 1001);
}
