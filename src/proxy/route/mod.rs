//! Pure: which agent a request is for.
//!
//! The styles, in order of precedence; each only where it is turned on:
//!
//! | style | names an agent when | port | default port |
//! |---|---|---|---|
//! | header ¹ | `X-Sandbox-ID` is there | `X-Sandbox-Port` | the agent's own, else 8888 |
//! | host | the host is `[<port>--]<agent>.<namespace>.<domain>` | `<port>--` | the agent's own, else 8080 |
//! | path ¹ | the path goes on below the prefix | always named | – |
//! | service | the host is `<agent>.<namespace>.svc[.<cluster domain>]` | – | the agent's own, else 8080 |
//!
//! "The agent's own" is the port of its policy, else the one that the backend knows. (agent-sandbox's router does
//! not know an agent's own port, so to it 8888 is the only default.)
//!
//! ¹ That router has these two. Their callers get its answers, and their agents see what it lets through:
//! the agent's address as `Host`, and no `Authorization`.
//!
//! What is given twice, or disagrees, is refused with 400, because believing the first one found is how
//! requests reach the wrong tenant:
//!
//! | what | rule |
//! |---|---|
//! | `Host` | exactly one with HTTP/1.1, at most one with HTTP/1.0 |
//! | absolute target and `Host` | the same host and port |
//! | `X-Sandbox-ID`, `-Namespace`, `-Port`, `-UID` | at most one of each, even when equal |
//! | `X-Sandbox-UID` | with `X-Sandbox-ID`, the uid that the agent's object has; another reaches nobody, wakes nobody and gets 502 |
//! | `X-Sandbox-Pod-IP` | any number, each an address that is not link-local, multicast, unspecified, nor (unless agents have such) loopback; never dialled |
//! | `X-Sandbox-Timeout` | the first that is a number of seconds counts |
//! | two styles | the same agent, and the same port if both name one |
//! | host `drowse.<domain>` | Drowse itself, whatever the path and whichever styles are on; no `X-Sandbox-*` |
//!
//! An empty `X-Sandbox-*` value counts as absent, and an agent named by the path only is not looked for when
//! the path is outside the prefix. The router takes the first of a field that is given twice, lets the path win
//! over the fields, and takes a uid that it does not know for absent; here each of these is refused.

mod authority;
mod host;
mod path;
mod sandbox;
#[cfg(test)]
mod tests;

use std::time::Duration;

use http::HeaderMap;
use http::uri::{PathAndQuery, Uri};
use http::{Method, Version};

use super::settings::{Settings, Style};
use crate::agent::{AgentKey, AgentUid};

pub use sandbox::{NAMES as SANDBOX_HEADERS, NO_ID};

const OURS_AND_AN_AGENT: &str =
    "the host is that of Drowse itself, and X-Sandbox headers name an agent; name one";

/// Whom a request is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Found {
    /// An agent.
    Agent(Route),
    /// Drowse itself: its host is `drowse.<domain>`.
    Ourselves,
    /// It does not say.
    Nobody,
}

/// Where a request goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// The agent.
    pub agent: AgentKey,
    /// The style that won.
    pub style: Style,
    /// The port that the request names.
    pub port: Option<u16>,
    /// The object that the request is for (`X-Sandbox-UID`): no other agent of this name may get it.
    pub uid: Option<AgentUid>,
    /// What the agent gets as target, byte for byte.
    pub target: PathAndQuery,
    /// How long the caller wants to be held at most (`X-Sandbox-Timeout`).
    pub patience: Option<Duration>,
}

impl Route {
    /// The port to use, for an agent whose own port is this.
    pub fn port_or(&self, own: Option<u16>) -> u16 {
        let default = if self.style == Style::Header { 8888 } else { 8080 };
        self.port.or(own).unwrap_or(default)
    }

    /// The port to have probed: none when the agent's own is meant.
    pub fn port_to_probe(&self, own: Option<u16>) -> Option<u16> {
        match self.port {
            None if own.is_none() && self.style == Style::Header => Some(8888),
            named => named,
        }
    }
}

/// A request that names no agent in a way that could be believed: 400.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{detail}")]
pub struct BadRoute {
    /// The request speaks the language of agent-sandbox's router, and gets its answers.
    pub by_router: bool,
    /// What is wrong, and what to write instead.
    pub detail: String,
}

/// What of a request decides where it goes.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its target.
    pub uri: &'a Uri,
    /// Its version.
    pub version: Version,
    /// Its fields.
    pub headers: &'a HeaderMap,
}

/// An agent as one style names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Named<'a> {
    style: Style,
    namespace: &'a str,
    agent: &'a str,
    port: Option<u16>,
}

/// Finds whom a request is for.
pub fn find(settings: &Settings, head: Head<'_>) -> Result<Found, BadRoute> {
    let by_header = settings.find_by.contains(&Style::Header) && sandbox::is_attempted(head.headers);
    let by_router = by_header || path::below(settings, head.uri.path()).is_some();
    find_any(settings, head, by_header).map_err(|detail| BadRoute { by_router, detail })
}

fn find_any(settings: &Settings, head: Head<'_>, by_header: bool) -> Result<Found, String> {
    let host = authority::of(head)?;
    if host.as_deref().is_some_and(|host| host::is_ours(settings, host)) {
        return if by_header { Err(OURS_AND_AN_AGENT.to_owned()) } else { Ok(Found::Ourselves) };
    }
    let target = target_of(head)?;

    let header = if by_header { sandbox::parse(settings, head.headers)? } else { None };
    let host = match &host {
        Some(host) => host::parse(settings, host)?,
        None => None,
    };
    let path = path::parse(settings, &target)?;

    let named = [header, host, path.as_ref().map(path::ByPath::named)];
    let Some(first) = named.into_iter().flatten().min_by_key(|named| named.style) else {
        return if by_header { Err(NO_ID.to_owned()) } else { Ok(Found::Nobody) };
    };
    let port = agree(first, named.into_iter().flatten())?;
    let agent = AgentKey::new(first.namespace, first.agent);
    let (uid, patience) = match header {
        Some(_) => (sandbox::uid(head.headers)?, sandbox::patience(head.headers)),
        None => (None, None),
    };
    let style = first.style;
    let rest = path.map(|path| path.rest()).transpose()?;
    Ok(Found::Agent(Route { agent, style, port, uid, target: rest.unwrap_or(target), patience }))
}

/// The port that all agree on; an error if they do not mean the same agent and port.
fn agree<'a>(first: Named<'_>, all: impl Iterator<Item = Named<'a>>) -> Result<Option<u16>, String> {
    let mut port = first.port;
    for other in all {
        if (first.namespace, first.agent) != (other.namespace, other.agent) {
            return Err(format!(
                "the request names two agents: {}/{} by its {} and {}/{} by its {}; name one",
                first.namespace,
                first.agent,
                what(first.style),
                other.namespace,
                other.agent,
                what(other.style),
            ));
        }
        match (port, other.port) {
            (Some(one), Some(two)) if one != two => {
                return Err(format!("the request names two ports of one agent, {one} and {two}; name one"));
            }
            (named, other) => port = named.or(other),
        }
    }
    Ok(port)
}

const fn what(style: Style) -> &'static str {
    match style {
        Style::Header => "X-Sandbox headers",
        Style::Host | Style::Service => "host",
        Style::Path => "path",
    }
}

fn target_of(head: Head<'_>) -> Result<PathAndQuery, String> {
    let is_url = head.version <= Version::HTTP_11 && head.uri.authority().is_some();
    match head.uri.path_and_query() {
        // `http://host?query` has no slash, and `http://host#fragment` nothing at all.
        Some(target) if is_url => {
            let slash = if target.as_str().starts_with('/') { "" } else { "/" };
            PathAndQuery::try_from(format!("{slash}{target}", target = target.as_str()))
                .map_err(|error| format!("the request target is not a URL: {error}"))
        }
        // Of HTTP/2 there may be `*` or `?query` here, and http says that the path of the latter is `/` (RFC 9113 §8.3.1).
        // Where http has left out a fragment nothing may be left, which it calls `/` but does not write so.
        Some(target) if target.as_str() == "/" => Ok(PathAndQuery::from_static("/")),
        Some(target) if target.as_str().starts_with('/') => Ok(target.clone()),
        _ if head.method == Method::OPTIONS => {
            Err("OPTIONS * is about the server, not about an agent; ask for a path".to_owned())
        }
        _ => Err("the request target must be a path that begins with /".to_owned()),
    }
}

/// A port from 1 to 65535, in decimal digits without a leading zero.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    if plain { text.parse().ok() } else { None }
}
