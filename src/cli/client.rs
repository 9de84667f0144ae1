//! Asks the admin API of a Drowse that runs.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use super::args::Server;
use super::failure::Failure;
use crate::admin::{Problem, Token};

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Longer than the API takes for anything.
const ANSWER_WITHIN: Duration = Duration::from_secs(40);
/// A list of a hundred thousand agents is some 40 MB.
const MAX_ANSWER_BYTES: usize = 256 << 20;
/// The environment variable with the token itself.
const TOKEN_VARIABLE: &str = "DROWSE_TOKEN";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("{0:?} is not the address of an admin API; write for example http://127.0.0.1:9090")]
    Address(String),
    #[error(
        "https is not spoken here; forward the port instead: kubectl port-forward …, then --admin http://127.0.0.1:9090"
    )]
    Https,
    #[error(
        "Drowse does not answer at {url} ({error}); is `drowse run` running? If its admin API listens elsewhere, \
         say where with --admin or DROWSE_ADMIN"
    )]
    Unreachable { url: String, error: std::io::Error },
    #[error("Drowse at {url} took longer than {} s to answer; its log may say why", .after.as_secs())]
    Timeout { url: String, after: Duration },
    #[error("{}", .0.detail)]
    Refused(Problem),
    #[error("what answers at {url} is not the admin API of this version of Drowse: {detail}")]
    Foreign { url: String, detail: String },
}

/// One admin API.
#[derive(Debug)]
pub(super) struct Client {
    /// `host:port`.
    authority: String,
    token: Option<Token>,
}

impl Client {
    pub(super) fn new(server: &Server) -> Result<Self, Failure> {
        let authority = authority(&server.admin).map_err(|error| Failure::Usage(error.to_string()))?;
        let token = match (&server.token_file, std::env::var(TOKEN_VARIABLE)) {
            (Some(file), _) => Some(Token::read(file).map_err(Failure::runtime)?),
            (None, Ok(text)) if !text.is_empty() => {
                Some(Token::new(&text).context(TOKEN_VARIABLE).map_err(Failure::Runtime)?)
            }
            (None, _) => None,
        };
        Ok(Self { authority, token })
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| self.foreign(&error))?;
        self.call(Method::POST, path, body.into()).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T, ClientError> {
        let timeout = |after| ClientError::Timeout { url: self.url(), after };
        let connecting = tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(&self.authority)).await;
        let stream = connecting
            .map_err(|_| timeout(CONNECT_WITHIN))?
            .map_err(|error| ClientError::Unreachable { url: self.url(), error })?;
        let answering = tokio::time::timeout(ANSWER_WITHIN, self.exchange(stream, method, path, body)).await;
        let (status, body) = answering.map_err(|_| timeout(ANSWER_WITHIN))??;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| self.foreign(&error));
        }
        match serde_json::from_slice(&body) {
            Ok(problem) => Err(ClientError::Refused(problem)),
            Err(_) => Err(self.foreign(&format!("it answers {status}"))),
        }
    }

    async fn exchange(
        &self,
        stream: TcpStream,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let mut request = Request::builder().method(method).uri(path).header("host", &self.authority);
        if let Some(token) = &self.token {
            request = request.header("authorization", token.bearer());
        }
        let request = request.body(Full::new(body)).map_err(|error| self.foreign(&error))?;
        let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.foreign(&error))?;
        let asking = async {
            let answer = send.send_request(request).await.map_err(|error| self.foreign(&error))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
            Ok((status, body.map_err(|error| self.foreign(&error))?.to_bytes()))
        };
        let mut asking = std::pin::pin!(asking);
        tokio::select! {
            answer = &mut asking => answer,
            // The connection may end before its last answer is picked up.
            _ = connection => asking.await,
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.authority)
    }

    fn foreign(&self, detail: &impl ToString) -> ClientError {
        ClientError::Foreign { url: self.url(), detail: detail.to_string() }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::runtime(error)
    }
}

/// Runs one short conversation.
pub(super) fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Failure::runtime)?.block_on(work)
}

/// `host:port` of a URL.
fn authority(url: &str) -> Result<String, ClientError> {
    let bad = || ClientError::Address(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| bad())?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("https"), _) => Err(ClientError::Https),
        (Some("http"), Some(authority)) if uri.path() == "/" && uri.query().is_none() => {
            // Neither a user nor a port that is none.
            let host_alone = authority.as_str() == authority.host();
            let port = authority.port_u16().or(host_alone.then_some(80)).ok_or_else(bad)?;
            Ok(format!("{}:{port}", authority.host()))
        }
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_plain_http_url() {
        assert_eq!(authority("http://127.0.0.1:9090").unwrap(), "127.0.0.1:9090");
        assert_eq!(authority("http://[::1]:9090/").unwrap(), "[::1]:9090");
        assert_eq!(authority("http://drowse").unwrap(), "drowse:80");
        for bad in [
            "",
            "127.0.0.1:9090",
            "http://",
            "http://x/api",
            "http://x/?q",
            "ftp://x",
            "http://x:99999",
            "http://me@x",
        ] {
            assert!(matches!(authority(bad), Err(ClientError::Address(_))), "{bad}");
        }
        assert!(matches!(authority("https://x"), Err(ClientError::Https)));
    }
}
