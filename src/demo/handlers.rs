//! What the demo agent answers. Any method will do; hyper leaves the body away for HEAD.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, TRAILER};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::answers::{json_answer, of_length, text, with_type};
use super::bodies::{self, Body, Checksum};
use super::route::{PATHS, Route, RouteError};
use super::runtime::Call;
use super::serve::Agent;
use super::websocket;
use super::{grpc, relay};

/// Why a request gets no answer. Ends the connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    #[error("asked to close the connection")]
    Asked,
    #[error("the body of the request broke off")]
    Body(#[from] hyper::Error),
}

/// Answers one request.
pub(super) async fn answer(agent: &Agent, request: Request<Incoming>) -> Result<Response<Body>, Unanswered> {
    let (mut head, mut body) = request.into_parts();
    let uri = head.uri.clone();
    let route = Route::of(&uri);
    if !matches!(route, Ok(Route::Health | Route::Ping | Route::Ready)) {
        agent.count_request();
        if let Some(Err(error)) = agent.journal.as_ref().map(|journal| journal.write(&uri)) {
            return Ok(failure(&error));
        }
    }
    if !route.as_ref().is_ok_and(Route::takes_body) {
        // Left unread, it would cost the connection, and a caller still writing might miss the answer.
        checksum(&mut body).await?;
    }
    Ok(match route {
        Ok(Route::State) => state(agent, &head.method),
        Ok(Route::Busy(length)) => {
            agent.work_for(length);
            ping(agent)
        }
        Ok(Route::Bytes(length)) => of_length(length, bodies::streamed(bodies::pattern(length))),
        Ok(Route::Close) => return Err(Unanswered::Asked),
        Ok(Route::Crash) => agent.crash().await,
        Ok(Route::Echo) => json_answer(StatusCode::OK, &echo(agent, &head)),
        Ok(Route::EchoBody) => echo_body(&head.headers, body),
        Ok(Route::GrpcHealth) => grpc::check(),
        Ok(Route::Health) => text("ok\n"),
        Ok(Route::Ping) => ping(agent),
        Ok(Route::Relay(_)) if !agent.relays => json_answer(
            StatusCode::FORBIDDEN,
            &json!({"error": "this agent fetches nothing for others; start it with --relay if nobody else can call it"}),
        ),
        Ok(Route::Relay(to)) => relay::relay(&to).await.unwrap_or_else(|error| {
            json_answer(StatusCode::BAD_GATEWAY, &json!({"error": error.to_string()}))
        }),
        Ok(Route::Ready) => ready(agent),
        Ok(Route::Requests) => json_answer(StatusCode::OK, &json!({"requests": agent.requests()})),
        Ok(Route::Slow { length, every }) => {
            with_type("text/plain", bodies::streamed(bodies::slow(length, every)))
        }
        Ok(Route::Events { every, count, kind }) => {
            events(bodies::streamed(bodies::events(every, count, kind)))
        }
        Ok(Route::Status(code)) => status(code),
        Ok(Route::Checksum) => sum(checksum(&mut body).await?),
        Ok(Route::WebSocket) => websocket::answer(&mut head),
        Ok(Route::Whoami) => json_answer(StatusCode::OK, &json!(agent.identity)),
        Ok(Route::Runtime(call)) => agent.runtime.answer(call, &head, body).await,
        Err(error) => refusal(&error),
    })
}

fn state(agent: &Agent, method: &Method) -> Response<Body> {
    let mut file = agent.state.lock();
    if method == Method::GET
        && let Err(error) = file.update(|state| state.visits += 1)
    {
        return failure(&error);
    }
    let (state, who) = (file.state(), &agent.identity);
    let answer = json!({
        "agent": who.agent,
        "pid": who.pid,
        "boot": who.boot,
        "starts": state.starts,
        "visits": state.visits,
        "message": format!("Hello, this is {}: visit {}, start {}.", who.agent, state.visits, state.starts),
    });
    json_answer(StatusCode::OK, &answer)
}

fn failure(error: &dyn std::error::Error) -> Response<Body> {
    json_answer(StatusCode::INTERNAL_SERVER_ERROR, &json!({"error": error.to_string()}))
}

/// By the HTTP contract of Amazon Bedrock `AgentCore` Runtime (see [`crate::policy::ping`]).
fn ping(agent: &Agent) -> Response<Body> {
    let (busy, since) = agent.work();
    let status = if busy { "HealthyBusy" } else { "Healthy" };
    json_answer(StatusCode::OK, &json!({"status": status, "time_of_last_update": since.as_second()}))
}

fn ready(agent: &Agent) -> Response<Body> {
    if agent.is_ready() {
        return text("ready\n");
    }
    let mut response = text("not ready yet\n");
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

/// The request as it arrived: the target byte for byte, names in lower case, in the order of the first of each.
fn echo(agent: &Agent, head: &Parts) -> Value {
    let field = |(name, value): (&HeaderName, &HeaderValue)| {
        json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())])
    };
    json!({
        "agent": agent.identity.agent,
        "method": head.method.as_str(),
        "target": head.uri.to_string(),
        "headers": head.headers.iter().map(field).collect::<Vec<_>>(),
    })
}

/// Keeps `Trailer`, since hyper sends only trailers that were announced, and only to callers with `TE: trailers`.
fn echo_body(headers: &HeaderMap, body: Incoming) -> Response<Body> {
    let mut response = Response::new(body.map_err(Into::into).boxed_unsync());
    for name in [CONTENT_TYPE, TRAILER] {
        for value in headers.get_all(&name) {
            response.headers_mut().append(&name, value.clone());
        }
    }
    response
}

/// Reads a body to its end and keeps nothing of it.
async fn checksum(body: &mut Incoming) -> hyper::Result<Checksum> {
    let mut sum = Checksum::EMPTY;
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            sum.update(data);
        }
    }
    Ok(sum)
}

fn sum(sum: Checksum) -> Response<Body> {
    json_answer(StatusCode::OK, &json!({"bytes": sum.bytes, "checksum": format!("{:016x}", sum.hash)}))
}

fn events(body: Body) -> Response<Body> {
    let mut response = with_type("text/event-stream", body);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn status(code: StatusCode) -> Response<Body> {
    let empty = matches!(code, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED);
    let mut response =
        if empty { Response::new(bodies::full(Bytes::new())) } else { text(format!("{code}\n")) };
    *response.status_mut() = code;
    response
}

fn refusal(error: &RouteError) -> Response<Body> {
    let message = error.to_string();
    match error {
        RouteError::Unknown => {
            let paths = [&PATHS[..], &Call::PATHS].concat();
            json_answer(StatusCode::NOT_FOUND, &json!({"error": message, "paths": paths}))
        }
        RouteError::Invalid(_) => json_answer(StatusCode::BAD_REQUEST, &json!({"error": message})),
    }
}
