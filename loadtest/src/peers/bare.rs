//! A reverse proxy of a few lines on hyper: what the library costs without Drowse, and a hold of a few lines, for comparison.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use http::uri::{Authority, Scheme};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{Either, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::responder::wait_for;
use crate::args;

type Body = Either<Incoming, Empty<Bytes>>;

struct Proxy {
    client: Client<HttpConnector, Incoming>,
    upstream: Authority,
    gate: Gate,
    /// Callers speak HTTP/2, by its preface, instead of HTTP/1.1.
    http2: bool,
}

/// Lets everybody through, or everybody at one moment.
#[derive(Default)]
struct Gate {
    opens: Option<PathBuf>,
    opened: Notify,
}

/// Proxies until it is killed. One thread: a runtime without work stealing; more: one with.
pub(crate) fn run(options: &args::Bare) -> anyhow::Result<()> {
    let mut builder = match options.workers {
        None => tokio::runtime::Builder::new_current_thread(),
        Some(workers) => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(workers.into());
            builder
        }
    };
    builder.enable_all().build().context("failed to start")?.block_on(serve(options))
}

async fn serve(options: &args::Bare) -> anyhow::Result<()> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
    let upstream = Authority::try_from(format!("{}:{}", Ipv4Addr::LOCALHOST, options.upstream))?;
    let gate = Gate { opens: options.when.clone(), opened: Notify::new() };
    let proxy = Arc::new(Proxy { client, upstream, gate, http2: options.http2 });
    if let Some(file) = options.when.clone() {
        let proxy = Arc::clone(&proxy);
        tokio::spawn(async move {
            wait_for(&file).await;
            proxy.gate.opened.notify_waiters();
        });
    }
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await.context("failed to listen")?;
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(connection(stream, Arc::clone(&proxy)));
    }
}

async fn connection(stream: TcpStream, proxy: Arc<Proxy>) {
    let _nodelay = stream.set_nodelay(true);
    let answer = service_fn(|request| {
        let proxy = Arc::clone(&proxy);
        async move { Ok::<_, Infallible>(proxy.pass(request).await) }
    });
    // However it ended, the caller knows.
    if proxy.http2 {
        let _end =
            http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await;
    } else {
        let _end = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
    }
}

impl Proxy {
    async fn pass(&self, mut request: Request<Incoming>) -> Response<Body> {
        self.gate.pass().await;
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.upstream.clone());
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        *request.version_mut() = http::Version::HTTP_11;
        request.headers_mut().remove(http::header::CONNECTION);
        match self.client.request(request).await {
            Ok(answer) => answer.map(Either::Left),
            Err(_) => {
                let mut answer = Response::new(Either::Right(Empty::new()));
                *answer.status_mut() = StatusCode::BAD_GATEWAY;
                answer
            }
        }
    }
}

impl Gate {
    async fn pass(&self) {
        let Some(file) = &self.opens else { return };
        let opened = self.opened.notified();
        let mut opened = std::pin::pin!(opened);
        // Before the look, so that what happens between is not missed.
        opened.as_mut().enable();
        if !file.exists() {
            opened.await;
        }
    }
}
