//! A reverse proxy of a few lines on hyper: what the library costs without Drowse, and a hold of a few lines, for comparison.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{Either, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::responder::wait_for;
use crate::args;

type Body = Either<Incoming, Empty<Bytes>>;

struct Proxy {
    client: Client<HttpConnector, Incoming>,
    upstream: Authority,
    gate: Gate,
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
    let proxy = Arc::new(Proxy { client, upstream, gate });
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
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http2().max_concurrent_streams(1000);
    // However it ended, the caller knows.
    let _end = server.serve_connection(TokioIo::new(stream), answer).await;
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
        request.headers_mut().insert("x-forwarded-proto", HeaderValue::from_static("http"));
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
