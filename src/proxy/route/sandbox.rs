//! The style header: the contract of agent-sandbox's own router (v1.0, `sandbox-router/proxy/headers.go`), kept
//! to the letter so that its SDKs work unchanged.

use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderMap, HeaderName};

use super::Named;
use crate::agent::is_dns_label;
use crate::proxy::settings::Style;

const ID: HeaderName = HeaderName::from_static("x-sandbox-id");
const NAMESPACE: HeaderName = HeaderName::from_static("x-sandbox-namespace");
const PORT: HeaderName = HeaderName::from_static("x-sandbox-port");
const POD_IP: HeaderName = HeaderName::from_static("x-sandbox-pod-ip");
const TIMEOUT: HeaderName = HeaderName::from_static("x-sandbox-timeout");

/// The fields of this style that route.
pub const NAMES: [HeaderName; 3] = [ID, NAMESPACE, PORT];

/// Whether somebody uses this style, if only to forget the one field that it needs.
pub(super) fn is_attempted(headers: &HeaderMap) -> bool {
    NAMES.iter().any(|name| headers.contains_key(name))
}

/// The agent that the fields name; `None` without an id.
pub(super) fn parse(headers: &HeaderMap) -> Result<Option<Named<'_>>, String> {
    let agent = single(headers, &ID, "X-Sandbox-ID", "Invalid sandbox ID format.")?;
    let Some(agent) = agent else { return Ok(None) };
    if !is_dns_label(agent) {
        return Err("Invalid sandbox ID format.".to_owned());
    }
    let namespace = single(headers, &NAMESPACE, "X-Sandbox-Namespace", "Invalid namespace format.")?;
    let namespace = namespace.unwrap_or("default");
    if !is_dns_label(namespace) {
        return Err("Invalid namespace format.".to_owned());
    }
    let port = match single(headers, &PORT, "X-Sandbox-Port", "Invalid port format.")? {
        Some(text) => Some(port(text).ok_or("Invalid port format.")?),
        None => None,
    };
    if headers.get_all(POD_IP).iter().any(|value| !value.is_empty() && !is_pod_ip(value.to_str().ok())) {
        return Err("Invalid target IP address.".to_owned());
    }
    Ok(Some(Named { style: Style::Header, namespace, agent, port }))
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
    let text = value.map(http::HeaderValue::to_str).transpose().map_err(|_| malformed.to_owned())?;
    Ok(text.filter(|text| !text.is_empty()))
}

/// As the Go router reads it: a sign and leading zeros are fine.
fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port != 0)
}

/// The classes that the Go router takes, and loopback, which the process backend uses. Never dialled.
fn is_pod_ip(text: Option<&str>) -> bool {
    match text.and_then(|text| text.parse::<IpAddr>().ok()).map(|address| address.to_canonical()) {
        None => false,
        Some(IpAddr::V4(v4)) => !(v4.is_unspecified() || v4.is_link_local() || v4.is_multicast()),
        Some(IpAddr::V6(v6)) => !(v6.is_unspecified() || v6.is_unicast_link_local() || v6.is_multicast()),
    }
}
