//! The style header: the contract of agent-sandbox's own router (v1.0.3, `sandbox-router/proxy/headers.go`), kept
//! to the letter so that its SDKs work unchanged.

use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::Named;
use crate::agent::{AgentUid, is_dns_label};
use crate::proxy::settings::{Settings, Style};

const ID: HeaderName = HeaderName::from_static("x-sandbox-id");
const NAMESPACE: HeaderName = HeaderName::from_static("x-sandbox-namespace");
const PORT: HeaderName = HeaderName::from_static("x-sandbox-port");
const UID: HeaderName = HeaderName::from_static("x-sandbox-uid");
const POD_IP: HeaderName = HeaderName::from_static("x-sandbox-pod-ip");
const TIMEOUT: HeaderName = HeaderName::from_static("x-sandbox-timeout");

/// The fields of this style that route.
pub static NAMES: [HeaderName; 5] = [ID, NAMESPACE, PORT, UID, POD_IP];

/// The answer to a request that this style would have to route, and that lacks the one field that it needs.
pub const NO_ID: &str = "X-Sandbox-ID header is required.";

pub(super) const BAD_ID: &str = "Invalid sandbox ID format.";
pub(super) const BAD_NAMESPACE: &str = "Invalid namespace format.";
pub(super) const BAD_PORT: &str = "Invalid port format.";

/// Whether somebody uses this style, if only to forget the one field that it needs.
pub(super) fn is_attempted(headers: &HeaderMap) -> bool {
    // In one pass, since hardly a request has one of them.
    headers.keys().any(|name| name.as_str().starts_with("x-sandbox-") && NAMES.contains(name))
}

/// The agent that the fields name; `None` without an id.
pub(super) fn parse<'a>(settings: &Settings, headers: &'a HeaderMap) -> Result<Option<Named<'a>>, String> {
    let agent = single(headers, &ID, "X-Sandbox-ID", BAD_ID)?;
    let Some(agent) = agent else { return Ok(None) };
    if !is_dns_label(agent) {
        return Err(BAD_ID.to_owned());
    }
    let namespace = single(headers, &NAMESPACE, "X-Sandbox-Namespace", BAD_NAMESPACE)?.unwrap_or("default");
    if !is_dns_label(namespace) {
        return Err(BAD_NAMESPACE.to_owned());
    }
    let port = match single(headers, &PORT, "X-Sandbox-Port", BAD_PORT)? {
        Some(text) => Some(port(text).ok_or(BAD_PORT)?),
        None => None,
    };
    let is_pod_ip = |value: &HeaderValue| is_pod_ip(value.to_str().ok(), settings.loopback_pod_ip);
    if headers.get_all(POD_IP).iter().any(|value| !value.is_empty() && !is_pod_ip(value)) {
        return Err("Invalid target IP address.".to_owned());
    }
    Ok(Some(Named { style: Style::Header, namespace, agent, port }))
}

/// The Sandbox object that is meant, if the caller says so. What cannot be the uid of any object is kept as well, so
/// that it is the uid of none that is found.
pub(super) fn uid(headers: &HeaderMap) -> Result<Option<AgentUid>, String> {
    let mut values = headers.get_all(UID).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err("X-Sandbox-UID is given more than once.".to_owned());
    }
    let named = value.filter(|value| !value.is_empty());
    Ok(named.map(|value| AgentUid(String::from_utf8_lossy(value.as_bytes()).into())))
}

/// How long the caller waits for an answer, if it says so.
pub(super) fn patience(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(TIMEOUT).iter();
    let seconds = values.filter_map(|value| value.to_str().ok()?.parse::<f64>().ok());
    seconds.into_iter().find_map(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

/// The value of a field that may be there once. Empty is absent.
fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    shown: &str,
    malformed: &str,
) -> Result<Option<&'a str>, String> {
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(format!("{shown} is given more than once."));
    }
    let text = value.map(HeaderValue::to_str).transpose().map_err(|_| malformed.to_owned())?;
    Ok(text.filter(|text| !text.is_empty()))
}

/// As the Go router reads it: a sign and leading zeros are fine.
pub(super) fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port != 0)
}

/// The classes that the Go router takes: a caller cannot ask for what its network would not let it reach itself.
fn is_pod_ip(text: Option<&str>, loopback: bool) -> bool {
    let address = text.and_then(|text| text.parse::<IpAddr>().ok()).map(|address| address.to_canonical());
    let Some(address) = address else { return false };
    let is_link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    let is_refused = address.is_unspecified() || address.is_multicast() || is_link_local;
    !is_refused && (loopback || !address.is_loopback())
}
