//! The style path: an agent named by the first segments of the path.

use bytes::Bytes;
use http::uri::PathAndQuery;

use super::{Named, port};
use crate::agent::is_dns_label;
use crate::proxy::settings::{Settings, Style};

/// A target below the prefix.
pub(super) struct ByPath<'a> {
    pub(super) named: Named<'a>,
    /// What follows the port, with the query; empty or begins with `/` or `?`.
    rest: &'a str,
}

/// The agent that this target names. `None` if it is outside the prefix.
pub(super) fn parse<'a>(settings: &Settings, target: &'a PathAndQuery) -> Result<Option<ByPath<'a>>, String> {
    let Some(prefix) = settings.path_prefix.as_deref().filter(|_| settings.find_by.contains(&Style::Path))
    else {
        return Ok(None);
    };
    let Some(below) = target.as_str().strip_prefix(prefix) else { return Ok(None) };
    if !(below.is_empty() || below.starts_with(['/', '?'])) {
        return Ok(None);
    }
    parts(below)
        .map(Some)
        .ok_or_else(|| format!("Path-routed request must have the form {prefix}/<namespace>/<id>/<port>/..."))
}

fn parts(below: &str) -> Option<ByPath<'_>> {
    let (namespace, below) = below.strip_prefix('/')?.split_once('/')?;
    let (agent, below) = below.split_once('/')?;
    let (digits, rest) = below.split_at(below.find(['/', '?']).unwrap_or(below.len()));
    if !is_dns_label(namespace) || !is_dns_label(agent) {
        return None;
    }
    let named = Named { style: Style::Path, namespace, agent, port: Some(port(digits)?) };
    Some(ByPath { named, rest })
}

impl ByPath<'_> {
    /// What the agent gets as target.
    pub(super) fn rest(&self) -> Result<Option<PathAndQuery>, String> {
        let target = match self.rest.as_bytes() {
            [] => return Ok(Some(PathAndQuery::from_static("/"))),
            [b'/', ..] => Bytes::copy_from_slice(self.rest.as_bytes()),
            query => Bytes::from([b"/", query].concat()),
        };
        let target = PathAndQuery::from_maybe_shared(target);
        target.map(Some).map_err(|error| format!("the rest of the path is not a path: {error}"))
    }
}
