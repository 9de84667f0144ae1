//! For tests: both ends of things that only hyper can make.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::{Connection, RequestBody};

pub(super) const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The body of a request with this head, and the end through which the test sends it.
pub(super) async fn incoming(head: &str) -> (Incoming, DuplexStream) {
    let (mut caller, server) = tokio::io::duplex(1 << 20);
    let (sender, mut bodies) = mpsc::channel(1);
    let service = service_fn(move |request: Request<Incoming>| {
        let sender = sender.clone();
        async move {
            sender.send(request.into_body()).await.unwrap();
            std::future::pending::<Result<Response<String>, Infallible>>().await
        }
    });
    tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(server), service));
    caller.write_all(head.replace('\n', "\r\n").as_bytes()).await.unwrap();
    (bodies.recv().await.unwrap(), caller)
}

/// A connection, and the agent's end of it.
pub(super) async fn connection() -> (Connection, TcpStream) {
    let (stream, agent) = streams().await;
    (Connection::new(stream).unwrap(), agent)
}

/// Both ends of a stream over loopback: ours, and the agent's.
pub(super) async fn streams() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap());
    let (ours, accepted) = tokio::join!(ours, listener.accept());
    (ours.unwrap(), accepted.unwrap().0)
}

/// A request without a body.
pub(super) fn get() -> Request<RequestBody> {
    Request::get("/").header("host", "agent").body(RequestBody::default()).unwrap()
}

/// Plays one exchange at the agent's end.
pub(super) async fn answer(agent: &mut TcpStream, answer: &str) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(agent.read_u8().await.unwrap());
    }
    agent.write_all(answer.replace('\n', "\r\n").as_bytes()).await.unwrap();
}

/// Waits until something is so.
pub(super) async fn until(mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), waiting).await.expect("it did not come about");
}
