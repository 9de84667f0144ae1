//! A client of HTTP/2 for tests: one connection, many requests.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2;
use hyper::{HeaderMap, Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_util::task::AbortOnDropHandle;

use super::http::{Answer, Failure};

pub(crate) type Body = UnsyncBoxBody<Bytes, Failure>;

/// A connection. Ends when it is dropped.
pub(crate) struct Http2 {
    pub(crate) sender: http2::SendRequest<Body>,
    driver: AbortOnDropHandle<()>,
}

/// An answer with what came behind its body.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) answer: Answer,
    pub(crate) trailers: HeaderMap,
}

impl Http2 {
    /// Begins with the preface, without TLS.
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        Self::over(TcpStream::connect(to).await.unwrap()).await
    }

    /// By TLS, trusting the authority in this file; what ALPN agreed on must be HTTP/2.
    pub(crate) async fn secure(to: SocketAddr, authority: &Path) -> Self {
        let stream = tls(to, authority, &["h2", "http/1.1"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        Self::over(stream).await
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let driver = tokio::spawn(async move { drop(connection.await) });
        Self { sender, driver: AbortOnDropHandle::new(driver) }
    }

    /// Whether the connection has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.driver.is_finished()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, Failure> {
        let mut sender = self.sender.clone();
        sender.ready().await?;
        Ok(sender.send_request(request).await?)
    }

    /// Sends a request and reads all of the answer.
    pub(crate) async fn ask(&self, request: Request<Body>) -> Result<Whole, Failure> {
        whole(self.send(request).await?).await
    }

    /// `GET` from this host.
    pub(crate) async fn get(&self, host: &str, path: &str) -> Result<Whole, Failure> {
        self.ask(Request::get(uri(host, path)).body(empty()).unwrap()).await
    }
}

/// What may be sent to a caller of [`frames`] on one stream before any of it is taken, in bytes.
pub(crate) const WINDOW: u16 = 16 * 1024;

/// A caller whose frames the test chooses, with little room for each answer and much for all.
pub(crate) async fn frames(to: SocketAddr) -> (SendRequest<Bytes>, AbortOnDropHandle<()>) {
    let stream = TcpStream::connect(to).await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(WINDOW.into()).initial_connection_window_size(1 << 20);
    let (sender, connection) = builder.handshake(stream).await.unwrap();
    let driver = tokio::spawn(async move { drop(connection.await) });
    (sender.ready().await.unwrap(), AbortOnDropHandle::new(driver))
}

/// Reads all of an answer.
pub(crate) async fn whole(response: Response<Incoming>) -> Result<Whole, Failure> {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.into_body().collect().await?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    let answer = Answer { status, headers, body: body.to_bytes().to_vec() };
    Ok(Whole { answer, trailers })
}

pub(crate) fn uri(host: &str, path: &str) -> Uri {
    format!("http://{host}{path}").parse().unwrap()
}

pub(crate) fn empty() -> Body {
    full("")
}

pub(crate) fn full(content: impl Into<Bytes>) -> Body {
    Full::new(content.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that consists of what is sent here, until the sender is dropped.
pub(crate) fn piecewise() -> (mpsc::Sender<Frame<Bytes>>, Body) {
    let (sender, frames) = mpsc::channel(1);
    let frames = futures_util::stream::unfold(frames, |mut frames| async move {
        frames.recv().await.map(|frame| (Ok(frame), frames))
    });
    (sender, StreamBody::new(frames).boxed_unsync())
}

/// A stream of TLS, offering these protocols by ALPN.
pub(crate) async fn tls(
    to: SocketAddr,
    authority: &Path,
    protocols: &[&str],
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from("agents.localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(to).await?).await
}
