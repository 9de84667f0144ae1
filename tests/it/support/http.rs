//! A plain HTTP/1.1 client for tests: one connection a request, every error returned.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// A header as text; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What may go wrong.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// `GET`.
pub(crate) async fn get(to: SocketAddr, host: &str, path: &str) -> Result<Answer, Failure> {
    send(to, Request::get(path).header("host", host).body(Full::default())?).await
}

/// `POST` with a body.
pub(crate) async fn post(to: SocketAddr, host: &str, path: &str, body: Bytes) -> Result<Answer, Failure> {
    send(to, Request::post(path).header("host", host).body(Full::new(body))?).await
}

/// Sends one request over a connection of its own, and reads all of the answer.
pub(crate) async fn send(to: SocketAddr, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.into_body().collect().await?.to_bytes().to_vec();
    driver.abort();
    Ok(Answer { status, headers, body })
}
