//! Our own answers: the status, and words that tell a person what to do.
//!
//! A request that is routed as agent-sandbox's router routes gets that router's form, `{"detail": …}`, and its
//! codes where it has one; all others get a problem document (RFC 9457).

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::agent::AgentKey;
use crate::lifecycle::Refusal;

use super::route::BadRoute;

mod lease;
mod refusal;

pub use lease::LeaseDenial;

/// The form in which a caller is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// RFC 9457.
    Problem,
    /// As agent-sandbox's router does it.
    Detail,
}

impl Form {
    /// The form for a request that speaks the language of agent-sandbox's router, or does not.
    pub const fn of(by_router: bool) -> Self {
        if by_router { Self::Detail } else { Self::Problem }
    }
}

/// Why we answer ourselves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The request is malformed, or names no agent in a way that could be believed.
    Bad(String),
    /// The request head did not arrive in time.
    SlowHead,
    /// A method that we do not do.
    Method,
    /// A protocol to which a stream of HTTP/2 cannot switch (RFC 8441 §4, `:protocol`).
    Protocol,
    /// There is no token, or it is nobody's.
    Unauthenticated,
    /// The token is somebody's who may not call.
    Forbidden,
    /// Nobody could be asked about the token.
    Unreviewed,
    /// The request names no agent.
    NoRoute {
        /// The host under which agents are found.
        domain: String,
    },
    /// There is no such agent, or no rule routes to it.
    UnknownAgent,
    /// Not all agents are known yet, and this one is not among those that are.
    Starting,
    /// The agent of this name is not the one that is meant.
    AnotherUid,
    /// An order for a busy lease was not carried out.
    Lease(LeaseDenial),
    /// The engine did not let it through.
    Refused(Refusal),
    /// The agent's port did not take a connection.
    Unreachable {
        /// The port.
        port: u16,
        /// What was seen.
        error: String,
    },
    /// Drowse has not seen the cluster for so long that it cannot tell whose address this is.
    Unconfirmed {
        /// What was seen.
        error: String,
    },
    /// The agent neither answered nor took a byte for as long as a request may keep it up.
    Silent {
        /// How long that is (`busy_cap`).
        cap: Duration,
    },
    /// The agent broke off before it answered.
    Broken {
        /// What was seen.
        error: String,
    },
    /// What the agent sent is no answer, or none that may be passed on.
    BadAnswer {
        /// What is wrong with it.
        error: String,
    },
}

/// How an answer to a [`Fault`] looks.
struct Shape {
    status: StatusCode,
    slug: &'static str,
    title: &'static str,
    retry_after: Option<Duration>,
}

#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
}

#[derive(Serialize)]
struct Detail<'a> {
    detail: &'a str,
}

impl From<BadRoute> for Fault {
    fn from(bad: BadRoute) -> Self {
        Self::Bad(bad.detail)
    }
}

impl Fault {
    /// The metric label.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Bad(_) => "bad_request",
            Self::SlowHead => "slow_head",
            Self::Method => "method",
            Self::Protocol => "protocol",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::Unreviewed => "unreviewed",
            Self::NoRoute { .. } => "no_route",
            Self::UnknownAgent => "unknown_agent",
            Self::Starting => "starting",
            Self::AnotherUid => "another_uid",
            Self::Lease(denial) => denial.as_str(),
            Self::Refused(refusal) => refusal.as_str(),
            Self::Unreachable { .. } => "unreachable",
            Self::Unconfirmed { .. } => "unconfirmed",
            Self::Silent { .. } => "silent",
            Self::Broken { .. } => "broken",
            Self::BadAnswer { .. } => "bad_answer",
        }
    }

    /// The answer, about this agent if the request named one.
    pub fn answer(&self, form: Form, agent: Option<&AgentKey>) -> Response<Bytes> {
        let shape = self.shape(form);
        let detail = match (form, agent) {
            (Form::Detail, Some(agent)) => self.detail_of_the_router(agent),
            _ => self.detail(agent),
        };
        let mut response = Response::new(body(form, &shape, &detail, agent));
        *response.status_mut() = shape.status;
        let headers = response.headers_mut();
        let media = match form {
            Form::Problem => "application/problem+json",
            Form::Detail => "application/json",
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = shape.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
        }
        if matches!(self, Self::Bad(_) | Self::SlowHead) {
            // Where the next request on this connection would begin cannot be relied on.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if matches!(self, Self::Unauthenticated) {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(methods) = self.allow() {
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        response
    }

    /// The methods that would do.
    const fn allow(&self) -> Option<&'static str> {
        match self {
            Self::Method => Some("GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS, TRACE"),
            Self::Lease(LeaseDenial::Method) => Some("POST"),
            _ => None,
        }
    }

    fn shape(&self, form: Form) -> Shape {
        let shape = |status, slug, title| Shape { status, slug, title, retry_after: None };
        match self {
            Self::Bad(_) => shape(StatusCode::BAD_REQUEST, "bad-request", "The request is malformed"),
            Self::SlowHead => {
                shape(StatusCode::REQUEST_TIMEOUT, "slow-head", "The request head did not arrive in time")
            }
            Self::Method => shape(StatusCode::METHOD_NOT_ALLOWED, "method", "This method is not supported"),
            Self::Protocol => {
                shape(StatusCode::NOT_IMPLEMENTED, "protocol", "This protocol is not supported")
            }
            Self::Unauthenticated => {
                shape(StatusCode::UNAUTHORIZED, "unauthenticated", "The caller is not known")
            }
            Self::Forbidden => shape(StatusCode::FORBIDDEN, "forbidden", "The caller may not call"),
            // The router says 500 here, which is the only code that tells neither whose fault it is nor when to come
            // back; both its SDKs try either again.
            Self::Unreviewed => Shape {
                retry_after: Some(Duration::from_secs(1)),
                ..shape(StatusCode::SERVICE_UNAVAILABLE, "unreviewed", "The caller could not be identified")
            },
            Self::NoRoute { .. } => shape(StatusCode::NOT_FOUND, "no-route", "The request names no agent"),
            Self::UnknownAgent | Self::Refused(Refusal::Gone) => {
                let status = match form {
                    Form::Problem => StatusCode::NOT_FOUND,
                    Form::Detail => StatusCode::BAD_GATEWAY,
                };
                shape(status, "unknown-agent", "There is no such agent")
            }
            Self::Starting => Shape {
                retry_after: Some(Duration::from_secs(1)),
                ..shape(StatusCode::SERVICE_UNAVAILABLE, "starting", "Drowse is starting")
            },
            Self::AnotherUid => {
                shape(StatusCode::BAD_GATEWAY, "another-uid", "The agent of this name is another one")
            }
            Self::Lease(denial) => denial.shape(),
            Self::Refused(refusal) => refusal::shape(refusal),
            Self::Unreachable { .. } => {
                shape(StatusCode::BAD_GATEWAY, "unreachable", "The agent does not answer on this port")
            }
            Self::Unconfirmed { .. } => Shape {
                retry_after: Some(Duration::from_secs(5)),
                ..shape(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "unconfirmed",
                    "It cannot be confirmed where the agent is",
                )
            },
            Self::Silent { .. } => {
                shape(StatusCode::GATEWAY_TIMEOUT, "silent", "The agent did not answer in time")
            }
            Self::Broken { .. } => {
                shape(StatusCode::BAD_GATEWAY, "broken", "The agent broke off before it answered")
            }
            Self::BadAnswer { .. } => {
                shape(StatusCode::BAD_GATEWAY, "bad-answer", "The agent's answer cannot be passed on")
            }
        }
    }

    /// The texts that the SDKs of agent-sandbox know, where there is one.
    fn detail_of_the_router(&self, agent: &AgentKey) -> String {
        match self {
            Self::UnknownAgent
            | Self::AnotherUid
            | Self::Refused(Refusal::Gone)
            | Self::Unreachable { .. }
            | Self::Broken { .. }
            | Self::BadAnswer { .. } => format!("Could not connect to the backend sandbox: {}", agent.name()),
            Self::Unauthenticated => "unauthenticated".to_owned(),
            Self::Forbidden => "forbidden".to_owned(),
            Self::Refused(Refusal::HoldTimedOut { .. }) => {
                format!("Timed out waiting for the backend sandbox: {}", agent.name())
            }
            _ => self.detail(Some(agent)),
        }
    }

    /// What is wrong and what to do, for people.
    pub(super) fn detail(&self, agent: Option<&AgentKey>) -> String {
        let name = agent.map_or_else(|| "the agent".to_owned(), ToString::to_string);
        match self {
            Self::Bad(detail) => detail.clone(),
            Self::SlowHead => "send the whole request head at once".to_owned(),
            Self::Method => "CONNECT is not supported: send the request itself".to_owned(),
            Self::Protocol => "a CONNECT may ask for :protocol websocket only".to_owned(),
            Self::Unauthenticated => {
                "send a token that the API server accepts: Authorization: Bearer <token>".to_owned()
            }
            Self::Forbidden => {
                "the token is good, but not for Drowse; get one for an audience in \
                 front_door.token_review.audiences"
                    .to_owned()
            }
            Self::Unreviewed => {
                "the API server could not be asked whose the token is; the request reached nobody, send it again"
                    .to_owned()
            }
            Self::NoRoute { domain } => format!(
                "address an agent by Host <agent>.<namespace>.{domain}, or by the header X-Sandbox-ID with \
                 X-Sandbox-Namespace, as far as front_door.find_by allows"
            ),
            Self::UnknownAgent => format!(
                "{name} does not exist, or no rule has route: true for it; `drowse explain {name}` tells which"
            ),
            Self::Starting => format!(
                "Drowse has just started and may not know {name} yet; send the request again (whoever heeds /readyz is not sent \
                 here meanwhile)"
            ),
            Self::AnotherUid => {
                format!("{name} does not have the uid that X-Sandbox-UID names; look its Sandbox up again")
            }
            Self::Lease(denial) => denial.detail(),
            Self::Refused(refusal) => refusal::detail(refusal, &name),
            Self::Unreachable { port, error } => format!(
                "{name} is up, but its port {port} does not take connections ({error}); name the port that it \
                 listens on, or see its log; `drowse explain {name}`"
            ),
            Self::Unconfirmed { error } => format!(
                "the API server has not been reachable for longer than trust_stale_for, and what is at the address of \
                 {name} may be another pod by now ({error}); see the log of Drowse"
            ),
            Self::Silent { cap } => format!(
                "{name} has had the request for {} without a byte from it or for it (busy_cap); it may have been acted on, \
                 so it was not repeated; an agent that works longer in silence sends something now and then, or answers \
                 at once and takes a busy lease",
                humantime::format_duration(*cap)
            ),
            Self::Broken { error } => format!(
                "{name} closed the connection without an answer ({error}); the request may have been acted on, \
                 so it was not repeated; see the agent's log"
            ),
            Self::BadAnswer { error } => format!(
                "what {name} answered cannot be passed on ({error}); the request may have been acted on, so it was not repeated; \
                 see the agent's log, and whether this port and protocol are its own"
            ),
        }
    }
}

fn body(form: Form, shape: &Shape, detail: &str, agent: Option<&AgentKey>) -> Bytes {
    let text = match form {
        Form::Problem => serde_json::to_string(&Problem {
            r#type: format!("https://drowse.dev/problems/{}", shape.slug),
            title: shape.title,
            status: shape.status.as_u16(),
            detail,
            agent: agent.map(ToString::to_string),
        }),
        Form::Detail => serde_json::to_string(&Detail { detail }),
    };
    // Strings and numbers always make JSON.
    let mut text = text.unwrap_or_default();
    text.push('\n');
    Bytes::from(text)
}

/// `Retry-After` has no fractions, and 0 would mean "at once".
fn whole_seconds(after: Duration) -> u64 {
    after.as_secs() + u64::from(after.subsec_nanos() > 0 || after.is_zero())
}

#[cfg(test)]
mod tests;
