//! A plain HTTP/1.1 client: one keep-alive connection, one request at a time, nothing retried.

use std::io;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::loopback::Loopback;

/// What is asked, and of whom.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) to: Loopback,
    method: Method,
    host: HeaderValue,
    path: Uri,
}

impl Call {
    pub(crate) fn get(to: Loopback, host: &'static str, path: &'static str) -> Self {
        Self::new(Method::GET, to, HeaderValue::from_static(host), Uri::from_static(path))
    }

    /// The same for another path.
    pub(crate) fn with_path(self, path: Uri) -> Self {
        Self { path, ..self }
    }

    pub(crate) const fn new(method: Method, to: Loopback, host: HeaderValue, path: Uri) -> Self {
        Self { to, method, host, path }
    }

    fn request(&self) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path.clone();
        request.headers_mut().insert(HOST, self.host.clone());
        request
    }

    /// Sends it over a connection of its own.
    pub(crate) async fn once(&self) -> Result<Answer, ClientError> {
        Connection::open(self.to).await?.send(self).await
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// A header as text; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as JSON; null if it is none.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("failed to connect")]
    Connect(#[from] io::Error),
    #[error("the connection broke")]
    Broke(#[from] hyper::Error),
}

impl ClientError {
    /// One of a few words, to count by.
    pub(crate) fn kind(&self) -> String {
        match self {
            Self::Connect(error) => format!("connect: {}", error.kind()),
            Self::Broke(error) if error.is_incomplete_message() => "closed without an answer".to_owned(),
            Self::Broke(_) => "connection broke".to_owned(),
        }
    }
}

/// An open connection. Closed when dropped.
#[derive(Debug)]
pub(crate) struct Connection(SendRequest<Empty<Bytes>>);

impl Connection {
    pub(crate) async fn open(to: Loopback) -> Result<Self, ClientError> {
        let stream = TcpStream::connect(to.address()).await?;
        stream.set_nodelay(true)?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
        // What breaks the connection also fails the request that waits on it.
        tokio::spawn(async move { driver.await.unwrap_or_default() });
        Ok(Self(sender))
    }

    /// Whether it can take a request. One whose last answer was read to its end can, unless the other side has closed it.
    pub(crate) async fn is_ready(&mut self) -> bool {
        self.0.ready().await.is_ok()
    }

    /// Sends one request, and reads the head of the answer. Its body is for the caller to read.
    pub(crate) async fn begin(&mut self, call: &Call) -> Result<http::Response<Incoming>, ClientError> {
        self.0.ready().await?;
        Ok(self.0.send_request(call.request()).await?)
    }

    /// Sends one request, and reads all of the answer.
    pub(crate) async fn send(&mut self, call: &Call) -> Result<Answer, ClientError> {
        self.send_and_note(call, || ()).await.map(|(answer, ())| answer)
    }

    /// The same, and notes something when the head of the answer is there.
    pub(crate) async fn send_and_note<T>(
        &mut self,
        call: &Call,
        note: impl FnOnce() -> T,
    ) -> Result<(Answer, T), ClientError> {
        let (head, body) = self.begin(call).await?.into_parts();
        let noted = note();
        let body = body.collect().await?.to_bytes();
        Ok((Answer { status: head.status, headers: head.headers, body }, noted))
    }
}
