//! What the demo agent answers to which path.

use std::fmt::Write as _;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::state::Store;
use super::streams::{self, Body};
use crate::units::{HumanDuration, Written as _};

/// How much of a body `/echo` shows.
const MAX_SHOWN_BYTES: usize = 64 * 1024;
/// The longest `/slow`, and the longest gap of `/sse`.
const LONGEST: Duration = Duration::from_hours(1);
/// The most chunks or events of one answer.
const MAX_PIECES: u32 = 1_000_000;

const HELP: &str = "\
/                      who I am, how often I was started and greeted
/echo                  your request; /echo/body sends its body back as it comes, trailers included
/slow?for=3s&chunks=10 an answer that takes its time
/sse?every=1s&count=60 server-sent events
/upload                counts and hashes what you send
/bytes/<n>             so many bytes
/status/<code>         an empty answer with this status
/close                 closes the connection without an answer
/crash                 ends me with status 1
/requests              how many requests I saw since I was started
/healthz               that I am well
";

/// The agent, once it listens.
pub(super) struct Demo {
    name: String,
    /// Of this life.
    boot: String,
    store: Store,
    requests: AtomicU64,
}

/// Makes the server close the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("asked to close the connection")]
pub(super) struct Close;

/// What was wrong with a request, for the caller.
struct Bad(String);

type Answer = Result<Response<Body>, Bad>;

impl Demo {
    pub(super) fn new(name: String, store: Store) -> Self {
        let boot = format!("{:016x}", RandomState::new().build_hasher().finish());
        Self { name, boot, store, requests: AtomicU64::new(0) }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Answers one request.
    pub(super) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Close> {
        let path = request.uri().path().to_owned();
        if path != "/requests" {
            self.requests.fetch_add(1, Ordering::Relaxed);
        }
        let answer = match path.as_str() {
            "/close" => return Err(Close),
            "/" => Ok(self.greet()),
            "/requests" => Ok(json(&json!({ "requests": self.requests.load(Ordering::Relaxed) }))),
            "/healthz" => Ok(text(StatusCode::OK, "ok\n")),
            "/echo" => echo(request).await,
            "/echo/body" => Ok(echo_body(request)),
            "/upload" => upload(request).await,
            "/slow" => slow(request.uri()),
            "/sse" => events(request.uri()),
            "/crash" => crash(),
            other => numbered(other),
        };
        Ok(answer.unwrap_or_else(|Bad(why)| text(StatusCode::BAD_REQUEST, why + "\n")))
    }

    fn greet(&self) -> Response<Body> {
        let state = match self.store.count_visit() {
            Ok(state) => state,
            Err(error) => return text(StatusCode::INSUFFICIENT_STORAGE, format!("{error:#}\n")),
        };
        json(&json!({
            "hello": format!("I am {}; you are visitor {}", self.name, state.visits),
            "name": self.name,
            "pid": std::process::id(),
            "boot": self.boot,
            "starts": state.starts,
            "visits": state.visits,
        }))
    }
}

/// `/status/<code>`, `/bytes/<n>`, or nothing of ours.
fn numbered(path: &str) -> Answer {
    if let Some(code) = path.strip_prefix("/status/") {
        let status = code.parse().ok().filter(|code| *code >= 200).and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.ok_or_else(|| Bad(format!("{code:?} is no status; write one from 200 to 999")))?;
        return Ok(with_type(status, "text/plain", streams::whole("")));
    }
    if let Some(count) = path.strip_prefix("/bytes/") {
        let count: u64 = count.parse().map_err(|_| Bad(format!("{count:?} is no number of bytes")))?;
        let mut response = with_type(StatusCode::OK, "application/octet-stream", streams::bytes(count));
        response.headers_mut().insert(header::CONTENT_LENGTH, count.into());
        return Ok(response);
    }
    Ok(text(StatusCode::NOT_FOUND, format!("There is nothing at {path}. There is:\n{HELP}")))
}

async fn echo(request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let body = match head.method {
        Method::POST | Method::PUT | Method::PATCH => {
            let body = Limited::new(body, MAX_SHOWN_BYTES).collect().await;
            let body = body.map_err(|error| Bad(format!("the body cannot be shown: {error}; try /echo/body")))?;
            Value::from(String::from_utf8_lossy(&body.to_bytes()))
        }
        _ => Value::Null,
    };
    let headers: Vec<_> = head
        .headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    Ok(json(&json!({
        "method": head.method.as_str(),
        "target": head.uri.to_string(),
        "version": format!("{:?}", head.version),
        "headers": headers,
        "body": body,
    })))
}

fn echo_body(request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let mut response = Response::new(streams::echo(body));
    // Trailers are sent only if they are announced.
    for name in [header::CONTENT_TYPE, header::TRAILER] {
        for value in head.headers.get_all(&name) {
            response.headers_mut().append(&name, value.clone());
        }
    }
    response
}

async fn upload(request: Request<Incoming>) -> Answer {
    let counted = streams::count(request.into_body()).await;
    let (bytes, hash) = counted.map_err(|error| Bad(format!("the upload broke off: {error}")))?;
    Ok(json(&json!({ "bytes": bytes, "fnv1a": format!("{hash:016x}") })))
}

fn slow(uri: &Uri) -> Answer {
    let (over, chunks) = (span(uri, "for", "3s")?, pieces(uri, "chunks", 10)?);
    Ok(with_type(StatusCode::OK, "text/plain", streams::slowly(over, chunks.max(1))))
}

fn events(uri: &Uri) -> Answer {
    let (every, count) = (span(uri, "every", "1s")?, pieces(uri, "count", 60)?);
    let mut response = with_type(StatusCode::OK, "text/event-stream", streams::events(every, count));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

fn crash() -> ! {
    eprintln!("asked to crash");
    std::process::exit(1);
}

fn parameter<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next()
}

fn span(uri: &Uri, name: &str, default: &str) -> Result<Duration, Bad> {
    let text = parameter(uri, name).unwrap_or(default);
    let span = HumanDuration::read(text).map_err(|why| Bad(format!("{name}: {why}")))?.get();
    if span <= LONGEST { Ok(span) } else { Err(Bad(format!("{name}: {text} is too long; write at most 1h"))) }
}

fn pieces(uri: &Uri, name: &str, default: u32) -> Result<u32, Bad> {
    let count = parameter(uri, name).map_or(Ok(default), str::parse);
    count
        .ok()
        .filter(|count| *count <= MAX_PIECES)
        .ok_or_else(|| Bad(format!("{name}: write a number up to {MAX_PIECES}")))
}

fn json(value: &Value) -> Response<Body> {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(text, "{value:#}");
    with_type(StatusCode::OK, "application/json", streams::whole(text))
}

fn text(status: StatusCode, text: impl Into<String>) -> Response<Body> {
    with_type(status, "text/plain; charset=utf-8", streams::whole(text.into()))
}

fn with_type(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn parameters_have_defaults_and_bounds_and_bad_ones_say_what_to_write() {
        assert_eq!(span(&uri("/slow"), "for", "3s").ok(), Some(Duration::from_secs(3)));
        assert_eq!(span(&uri("/slow?a=b&for=3m"), "for", "3s").ok(), Some(Duration::from_mins(3)));
        assert_eq!(pieces(&uri("/slow?chunks=7"), "chunks", 10).ok(), Some(7));
        for (query, part) in [("for=2h", "1h"), ("for=x", "for"), ("for=", "for")] {
            let Bad(why) = span(&uri(&format!("/slow?{query}")), "for", "3s").err().unwrap();
            assert!(why.contains(part), "{query}: {why}");
        }
        for query in ["chunks=-1", "chunks=1000001", "chunks="] {
            assert!(pieces(&uri(&format!("/slow?{query}")), "chunks", 10).is_err(), "{query}");
        }
    }

    #[test]
    fn a_status_is_given_as_asked_and_one_that_is_no_answer_is_not() {
        assert_eq!(numbered("/status/418").ok().unwrap().status(), 418);
        for path in ["/status/100", "/status/x", "/status/", "/status/1000", "/bytes/", "/bytes/-1"] {
            assert!(numbered(path).is_err(), "{path}");
        }
        assert_eq!(numbered("/nothing").ok().unwrap().status(), 404);
    }
}
