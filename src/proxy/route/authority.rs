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
    let (host, rest) = match text.strip_prefix('[') {
        Some(inside) => {
            let (host, rest) = text.split_at(inside.find(']').ok_or_else(malformed)? + 2);
            let is_address = host[1..host.len() - 1].parse::<std::net::Ipv6Addr>().is_ok();
            (is_address.then(|| host.to_ascii_lowercase().into()), rest)
        }
        None => name(text),
    };
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => None,
        Some("") => None,
        Some(digits) => Some(port(digits).ok_or_else(malformed)?),
        None => return Err(malformed()),
    };
    Ok(Some(Authority { host: host.ok_or_else(malformed)?, port }))
}

/// What a byte of a host may be; several at once, for what several bytes are.
mod kind {
    /// Of a label.
    pub(super) const LABEL: u8 = 1;
    pub(super) const UPPER: u8 = 1 << 1;
    pub(super) const DOT: u8 = 1 << 2;
    /// A dot where a label should begin.
    pub(super) const EMPTY_LABEL: u8 = DOT << 1;
    pub(super) const COLON: u8 = 1 << 4;
    /// No host has it.
    pub(super) const ALIEN: u8 = 1 << 5;
}

const KINDS: [u8; 256] = {
    let mut kinds = [kind::ALIEN; 256];
    let mut byte = 0_u8;
    // Beyond ASCII there is nothing that a host may have.
    while byte.is_ascii() {
        kinds[byte as usize] = match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => kind::LABEL,
            b'A'..=b'Z' => kind::LABEL | kind::UPPER,
            b'.' => kind::DOT,
            b':' => kind::COLON,
            _ => kind::ALIEN,
        };
        byte += 1;
    }
    kinds
};

/// The host that a text begins with, in lower case and without the dot that may end it, and what follows; `None` if it is no host.
/// Every request comes by here: one pass, and nearly all hosts are in lower case already.
fn name(text: &str) -> (Option<Cow<'_, str>>, &str) {
    // As if another dot had been before it.
    let (mut all, mut before, mut length) = (0, kind::DOT, 0);
    for byte in text.bytes() {
        let this = KINDS[usize::from(byte)];
        if this == kind::COLON {
            break;
        }
        // Two dots with nothing between them: `DOT << 1` is `EMPTY_LABEL`.
        all |= this | (this & before & kind::DOT) << 1;
        (before, length) = (this, length + 1);
    }
    let (host, rest) = text.split_at(length);
    let is_host = length > 0 && all & (kind::EMPTY_LABEL | kind::ALIEN) == 0;
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_lower = all & kind::UPPER == 0;
    let lower = || if is_lower { Cow::Borrowed(host) } else { Cow::Owned(host.to_ascii_lowercase()) };
    (is_host.then(lower), rest)
}
