//! Asks a pod whether it is ready in the way that its own `readinessProbe` says, only sooner and more often than the
//! kubelet: its first look comes a second late, and its word has a long way to go.

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::{CONTENT_TYPE, HOST, TE, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Version};
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio_util::task::AbortOnDropHandle;

use super::connect::connect;
use super::pace::Pace;
use crate::lifecycle::Readiness;

/// How long one check may take.
const CHECK_LIMIT: Duration = Duration::from_secs(2);
/// More than the answer of any health check.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// `grpc.health.v1.HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: u64 = 1;

/// Asks until the answer is yes. Waits without limit: drop the future to cancel.
pub async fn until_ready(address: IpAddr, readiness: &Readiness) {
    let (mut dials, mut checks) = (Pace::of_dials(), Pace::of_checks());
    loop {
        let pause = match tokio::time::timeout(CHECK_LIMIT, check(address, readiness)).await {
            Ok(Ok(true)) => return,
            Ok(Ok(false)) => {
                tracing::trace!(%address, "the agent says that it is not ready yet");
                checks.next()
            }
            Ok(Err(error)) => {
                tracing::trace!(%address, %error, "the agent does not say yet whether it is ready");
                // Nobody was bothered by a dial that was refused.
                if matches!(error, CheckError::Connect(_)) { dials.next() } else { checks.next() }
            }
            Err(_) => {
                tracing::trace!(%address, "the agent takes long to say whether it is ready");
                checks.next()
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Why a check came to no answer.
#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error("failed to connect: {0}")]
    Connect(#[from] std::io::Error),
    #[error("failed to ask: {0}")]
    Http(#[from] hyper::Error),
    #[error("the check is malformed: {0}")]
    Malformed(#[from] http::Error),
    #[error("the answer broke off or is too long")]
    Answer,
}

async fn check(address: IpAddr, readiness: &Readiness) -> Result<bool, CheckError> {
    match readiness {
        Readiness::Tcp { port } => Ok(connect(address, *port, CHECK_LIMIT).await.map(|_| true)?),
        Readiness::Http { port, path, headers } => {
            let status = ask(address, *port, path, headers).await?;
            // As the kubelet sees it (k8s.io/kubernetes/pkg/probe/http).
            Ok(status.is_success() || status.is_redirection())
        }
        Readiness::Answer { port, path } => match ask(address, *port, path, &[]).await {
            // One that speaks another protocol answers by bytes that are no HTTP/1.1, or hangs up. The kernel does neither for a
            // process that stands still.
            Ok(_) | Err(CheckError::Http(_)) => Ok(true),
            Err(error) => Err(error),
        },
        Readiness::Grpc { port, service } => check_grpc(address, *port, service).await,
    }
}

/// `GET`, and the status of the answer.
async fn ask(
    address: IpAddr,
    port: u16,
    path: &str,
    headers: &[(std::sync::Arc<str>, std::sync::Arc<str>)],
) -> Result<StatusCode, CheckError> {
    let stream = connect(address, port, CHECK_LIMIT).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
    let mut request = Request::builder().method(Method::GET).uri(path).body(Empty::<Bytes>::new())?;
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(http::Error::from)?;
        request.headers_mut().append(name, HeaderValue::from_str(value).map_err(http::Error::from)?);
    }
    let fields = request.headers_mut();
    if !fields.contains_key(HOST) {
        let host = std::net::SocketAddr::new(address, port).to_string();
        fields.insert(HOST, HeaderValue::try_from(host).map_err(http::Error::from)?);
    }
    fields.entry(USER_AGENT).or_insert(HeaderValue::from_static("drowse-probe"));
    Ok(sender.send_request(request).await?.status())
}

/// The gRPC health checking protocol, version 1: one unary call.
async fn check_grpc(address: IpAddr, port: u16, service: &str) -> Result<bool, CheckError> {
    let stream = connect(address, port, CHECK_LIMIT).await?;
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let _driver = AbortOnDropHandle::new(tokio::spawn(connection));
    let request = Request::builder()
        .method(Method::POST)
        .version(Version::HTTP_2)
        .uri(format!("http://{}/grpc.health.v1.Health/Check", std::net::SocketAddr::new(address, port)))
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header(USER_AGENT, "drowse-probe")
        .body(Full::new(health_request(service)).map_err(|never: Infallible| match never {}))?;
    let response = sender.send_request(request).await?;
    let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
    let message = body.map_err(|_| CheckError::Answer)?.to_bytes();
    Ok(serving_status(message) == Some(SERVING))
}

/// `HealthCheckRequest{service}` with the five bytes that gRPC puts before a message. Names of services are short; a
/// longer one than a byte can count is not asked for.
fn health_request(service: &str) -> Bytes {
    let length = u8::try_from(service.len()).ok().filter(|length| *length < 0x80 && *length > 0);
    let message: Vec<u8> = match length {
        Some(length) => [&[0x0a, length], service.as_bytes()].concat(),
        None => Vec::new(),
    };
    let prefix = [0, 0, 0, 0, u8::try_from(message.len()).unwrap_or_default()];
    Bytes::from([&prefix, message.as_slice()].concat())
}

/// The field `status` of a `HealthCheckResponse`; it is its only one, and a small number.
fn serving_status(mut framed: Bytes) -> Option<u64> {
    if framed.len() < 5 || framed[0] != 0 {
        return None;
    }
    framed.advance(5);
    match framed.as_ref() {
        [0x08, status] => Some(u64::from(*status)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use http::Response;
    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use tokio::net::TcpListener;

    use super::*;
    use crate::upstream::testing::LOCAL;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A server that is asked and answers as it is told; gives its port.
    async fn serve<F, B>(http2: bool, answer: F) -> u16
    where
        F: Fn(Request<Incoming>) -> Response<B> + Clone + Send + Sync + 'static,
        B: http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
    {
        let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answer = answer.clone();
                let service = service_fn(move |request| {
                    let response = answer(request);
                    async move { Ok::<_, Infallible>(response) }
                });
                let io = TokioIo::new(stream);
                if http2 {
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    tokio::spawn(server.serve_connection(io, service));
                } else {
                    tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
                }
            }
        });
        port
    }

    fn http(port: u16, headers: Vec<(Arc<str>, Arc<str>)>) -> Readiness {
        Readiness::Http { port, path: "/ready?deep=1".into(), headers }
    }

    async fn ready(readiness: &Readiness) {
        tokio::time::timeout(PATIENCE, until_ready(LOCAL, readiness)).await.unwrap();
    }

    #[tokio::test]
    async fn an_http_check_asks_until_the_status_is_good() {
        let asked = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&asked);
        let port = serve(false, move |request| {
            assert_eq!(request.uri(), "/ready?deep=1");
            assert_eq!(request.headers()["x-key"], "value");
            assert_eq!(request.headers()[HOST], "agent");
            let status = if counter.fetch_add(1, Ordering::Relaxed) < 3 { 503 } else { 204 };
            Response::builder().status(status).body(Empty::new()).unwrap()
        })
        .await;
        let headers = vec![("X-Key".into(), "value".into()), ("Host".into(), "agent".into())];
        ready(&http(port, headers)).await;
        assert_eq!(asked.load(Ordering::Relaxed), 4);
    }

    #[tokio::test]
    async fn a_redirect_counts_as_ready_and_an_error_does_not() {
        let port = serve(false, |_| Response::builder().status(302).body(Empty::new()).unwrap()).await;
        assert!(check(LOCAL, &http(port, Vec::new())).await.unwrap());
        let port = serve(false, |_| Response::builder().status(404).body(Empty::new()).unwrap()).await;
        assert!(!check(LOCAL, &http(port, Vec::new())).await.unwrap());
    }

    #[tokio::test]
    async fn any_answer_counts_where_that_is_asked_and_an_open_port_does_not() {
        let any = |port| Readiness::Answer { port, path: "/".into() };
        let port = serve(false, |_| Response::builder().status(500).body(Empty::new()).unwrap()).await;
        assert!(check(LOCAL, &any(port)).await.unwrap());
        let port = serve(true, |_| Response::new(Empty::new())).await;
        assert!(check(LOCAL, &any(port)).await.unwrap(), "HTTP/2 alone is an answer, too");
        // Nobody accepts, as with a process that stands still.
        let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let readiness = any(port);
        let asked = until_ready(LOCAL, &readiness);
        assert!(tokio::time::timeout(Duration::from_millis(50), asked).await.is_err());
        drop(listener);
        assert!(check(LOCAL, &any(port)).await.is_err());
    }

    #[tokio::test]
    async fn a_tcp_check_waits_for_its_own_port() {
        let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        ready(&Readiness::Tcp { port }).await;
        drop(listener);
        assert!(check(LOCAL, &Readiness::Tcp { port }).await.is_err());
    }

    #[tokio::test]
    async fn a_grpc_check_wants_serving() {
        for (status, wanted) in [(0, false), (1, true), (2, false)] {
            let port = serve(true, move |request| {
                assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
                let message = Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 0x08, status]);
                Response::builder().header(CONTENT_TYPE, "application/grpc").body(Full::new(message)).unwrap()
            })
            .await;
            let readiness = Readiness::Grpc { port, service: "agent".into() };
            assert_eq!(check(LOCAL, &readiness).await.unwrap(), wanted, "status {status}");
        }
    }

    #[test]
    fn the_grpc_request_names_the_service() {
        assert_eq!(health_request("").as_ref(), [0, 0, 0, 0, 0]);
        assert_eq!(health_request("ab").as_ref(), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
    }
}
