//! The one host that a request is for.

use std::borrow::Cow;

use http::header::HOST;
use http::{HeaderValue, Version};

use super::{Head, port};

/// The host in lower case, without its port and without the dot that may end it. `None` if the request names
/// none (HTTP/1.0, or an empty `Host`).
pub(super) fn of(head: Head<'_>) -> Result<Option<Cow<'_, str>>, String> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let header = hosts.next();
    if hosts.next().is_some() {
        return Err("the request has more than one Host field".to_owned());
    }
    if header.is_none() && head.version == Version::HTTP_11 {
        return Err("the request has no Host field".to_owned());
    }
    if header.is_none() && head.version > Version::HTTP_11 && head.uri.authority().is_none() {
        return Err("the request has neither :authority nor a Host field".to_owned());
    }
    let header = header.map(parse).transpose()?;
    let Some(authority) = head.uri.authority() else {
        return Ok(header.flatten().map(|authority| authority.host));
    };

    let default_port = match head.uri.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        _ => return Err("the request target must be a path or an http URL".to_owned()),
    };
    let target = parse_text(authority.as_str())?;
    match (header, target) {
        (None, target) => Ok(target.map(|authority| authority.host)),
        (Some(header), Some(target))
            if header.as_ref().is_some_and(|header| header.same_as(&target, default_port)) =>
        {
            Ok(Some(target.host))
        }
        _ => Err("the host of the request target and the Host field differ".to_owned()),
    }
}

#[derive(Debug)]
struct Authority<'a> {
    host: Cow<'a, str>,
    port: Option<u16>,
}

impl Authority<'_> {
    fn same_as(&self, other: &Self, default_port: u16) -> bool {
        self.host == other.host && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }
}

fn parse(value: &HeaderValue) -> Result<Option<Authority<'_>>, String> {
    let text = value.to_str().map_err(|_| "the Host field has characters that no host has".to_owned())?;
    parse_text(text)
}

fn parse_text(text: &str) -> Result<Option<Authority<'_>>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let malformed = || format!("{text:?} is not a host");
    // The colons of an IPv6 address are inside brackets.
    let host_end = match text.strip_prefix('[') {
        Some(rest) => rest.find(']').ok_or_else(malformed)? + 2,
        None => text.bytes().position(|byte| byte == b':').unwrap_or(text.len()),
    };
    let (host, rest) = text.split_at(host_end);
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => None,
        Some("") => None,
        Some(digits) => Some(port(digits).ok_or_else(malformed)?),
        None => return Err(malformed()),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let host = lower(host).ok_or_else(malformed)?;
    Ok(Some(Authority { host, port }))
}

/// A host in lower case; `None` if it is none. Every request comes by here: one pass, and nearly all hosts are in lower case already.
fn lower(host: &str) -> Option<Cow<'_, str>> {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let is_address = address.parse::<std::net::Ipv6Addr>().is_ok();
        return is_address.then(|| host.to_ascii_lowercase().into());
    }
    let (mut is_in_label, mut has_upper) = (false, false);
    for byte in host.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => is_in_label = true,
            b'.' if is_in_label => is_in_label = false,
            b'A'..=b'Z' => (is_in_label, has_upper) = (true, true),
            _ => return None,
        }
    }
    let lower = if has_upper { Cow::Owned(host.to_ascii_lowercase()) } else { Cow::Borrowed(host) };
    is_in_label.then_some(lower)
}
