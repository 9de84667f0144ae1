//! `/relay`: the agent calls somebody else, as agents do, and passes the answer on.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, TRANSFER_ENCODING};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::bodies::Body;

/// Until the head of the answer. Whom it calls may have to be woken.
const ANSWER_LIMIT: Duration = Duration::from_mins(2);
/// Where HTTP is spoken if the target does not say.
const DEFAULT_PORT: u16 = 80;

/// Why there is no answer to pass on.
#[derive(Debug, thiserror::Error)]
pub(super) enum RelayError {
    #[error("failed to connect to {0}: {1}")]
    Connect(String, #[source] io::Error),
    #[error("failed to get an answer: {0}")]
    Http(#[from] hyper::Error),
    #[error("no answer within {}s", ANSWER_LIMIT.as_secs())]
    Late,
}

/// `GET`s it. To be used with a target that has a host.
pub(super) async fn relay(to: &Uri) -> Result<Response<Body>, RelayError> {
    let answer = tokio::time::timeout(ANSWER_LIMIT, call(to)).await.map_err(|_| RelayError::Late)??;
    let mut answer = answer.map(|body| body.map_err(Into::into).boxed_unsync());
    // They are about the connection over there.
    for name in [CONNECTION, TRANSFER_ENCODING] {
        answer.headers_mut().remove(name);
    }
    Ok(answer)
}

async fn call(to: &Uri) -> Result<Response<Incoming>, RelayError> {
    let host = to.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = to.port_u16().unwrap_or(DEFAULT_PORT);
    let stream = TcpStream::connect((host, port))
        .await
        .map_err(|error| RelayError::Connect(format!("{host} port {port}"), error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = to.path_and_query().map_or(Uri::from_static("/"), |path| path.clone().into());
    if let Some(host) = to.authority().and_then(|authority| authority.as_str().parse().ok()) {
        request.headers_mut().insert(HOST, host);
    }
    Ok(sender.send_request(request).await?)
}
