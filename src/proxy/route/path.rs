//! The style path: an agent named by the first segments of the path, as agent-sandbox's own router has it (v1.0.3,
//! `sandbox-router/proxy/pathroute.go`).

use std::borrow::Cow;

use bytes::Bytes;
use http::uri::PathAndQuery;

use super::sandbox::{BAD_ID, BAD_NAMESPACE, BAD_PORT, port};
use super::{Named, Style};
use crate::agent::is_dns_label;
use crate::proxy::settings::Settings;

const FORM: &str = "Path-routed request must have the form <prefix>/<namespace>/<id>/<port>/...";
const BAD_ESCAPE: &str = "Invalid percent-encoding in path.";

/// A target below the prefix.
pub(super) struct ByPath<'a> {
    namespace: Cow<'a, str>,
    agent: Cow<'a, str>,
    port: u16,
    /// What follows the port, with the query; empty or begins with `/` or `?`.
    rest: &'a str,
}

/// What follows the prefix and the slash after it, up to the query. `None` if the path is about something else: a
/// path that is the prefix alone is, too.
pub(super) fn below<'a>(settings: &Settings, path: &'a str) -> Option<&'a str> {
    let prefix = settings.path_prefix.as_deref().filter(|_| settings.find_by.contains(&Style::Path))?;
    path.strip_prefix(prefix)?.strip_prefix('/')
}

/// The agent that this target names. `None` if it is outside the prefix.
pub(super) fn parse<'a>(settings: &Settings, target: &'a PathAndQuery) -> Result<Option<ByPath<'a>>, String> {
    let Some(below) = below(settings, target.path()) else { return Ok(None) };
    // What is below may be followed by a query.
    let with_query = &target.as_str()[target.path().len() - below.len()..];
    parts(below, with_query).map(Some).map_err(str::to_owned)
}

fn parts<'a>(below: &'a str, with_query: &'a str) -> Result<ByPath<'a>, &'static str> {
    let mut parts = below.splitn(4, '/').take(3).filter(|part| !part.is_empty());
    let (Some(namespace), Some(agent), Some(digits)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(FORM);
    };
    let rest = &with_query[namespace.len() + 1 + agent.len() + 1 + digits.len()..];
    let decoded = [namespace, agent, digits].map(unescape);
    let [Some(namespace), Some(agent), Some(digits)] = decoded else { return Err(BAD_ESCAPE) };
    if !is_dns_label(&namespace) {
        return Err(BAD_NAMESPACE);
    }
    if !is_dns_label(&agent) {
        return Err(BAD_ID);
    }
    let port = port(&digits).ok_or(BAD_PORT)?;
    Ok(ByPath { namespace, agent, port, rest })
}

/// A segment without its percent-encoding. What is no UTF-8 then is no name either.
fn unescape(part: &str) -> Option<Cow<'_, str>> {
    if !part.contains('%') {
        return Some(Cow::Borrowed(part));
    }
    let mut left = part.bytes();
    let mut plain = Vec::with_capacity(part.len());
    while let Some(byte) = left.next() {
        plain.push(if byte == b'%' { hex(left.next()?)? << 4 | hex(left.next()?)? } else { byte });
    }
    Some(Cow::Owned(String::from_utf8_lossy(&plain).into_owned()))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

impl ByPath<'_> {
    pub(super) fn named(&self) -> Named<'_> {
        Named { style: Style::Path, namespace: &self.namespace, agent: &self.agent, port: Some(self.port) }
    }

    /// What the agent gets as target.
    pub(super) fn rest(&self) -> Result<PathAndQuery, String> {
        let target = match self.rest.as_bytes() {
            [] => return Ok(PathAndQuery::from_static("/")),
            rest @ [b'/', ..] => Bytes::copy_from_slice(rest),
            query => Bytes::from([b"/", query].concat()),
        };
        PathAndQuery::from_maybe_shared(target)
            .map_err(|error| format!("the rest of the path is not a path: {error}"))
    }
}
