//! Pure: which fields pass through, which end here, and which are ours to write.
//!
//! Hop-by-hop fields end here (RFC 9110 §7.6.1), and what `Connection` names is removed *before* our own fields
//! are written, so that a caller cannot make us drop them. What a caller says about where it comes from
//! (`Forwarded`, `X-Forwarded-*`, `X-Real-IP`) is replaced by what we saw. `Authorization` passes, except where
//! the router's own styles are spoken: agent-sandbox's router never shows an agent the credential of its caller;
//! and except where we check it. docs/routing.md has the rules one by one.

mod check;
mod names;

use std::net::SocketAddr;

use bytes::BytesMut;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, HeaderName, HeaderValue, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{HeaderMap, Response, StatusCode};
use http_body::Body;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

pub use check::{Checked, answer_is_plain, check, framing_is_plain};

use names::Meaning;

/// Our name in `Via`, behind the version in which the request came (RFC 9110 §7.6.3).
const OURSELVES: HeaderValue = HeaderValue::from_static("1.1 drowse");
const OURSELVES_BY_HTTP2: HeaderValue = HeaderValue::from_static("2.0 drowse");

/// Where a caller comes from, ready to be written into every request of its connection.
#[derive(Clone, Debug)]
pub struct Peer {
    address: HeaderValue,
    /// `for=…;proto=…`
    forwarded: HeaderValue,
    port: HeaderValue,
    scheme: HeaderValue,
}

impl Peer {
    /// A caller at `remote` whose connection, with TLS or without, we accepted at `local`.
    pub fn new(remote: SocketAddr, local: SocketAddr, is_secure: bool) -> Self {
        let scheme = if is_secure { "https" } else { "http" };
        let address = remote.ip().to_canonical();
        let node = if address.is_ipv6() { format!("\"[{address}]\"") } else { address.to_string() };
        Self {
            address: text(&address.to_string()),
            forwarded: text(&format!("for={node};proto={scheme}")),
            port: text(&local.port().to_string()),
            scheme: HeaderValue::from_static(scheme),
        }
    }
}

/// The text of an address or a number: always a valid value.
fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static("unknown"))
}

/// What a request needs besides what is common to all.
#[expect(clippy::struct_excessive_bools, reason = "each means something by itself")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wants {
    /// It has a body, so that `Expect` and the framing fields mean something.
    pub body: bool,
    /// The credential is not for the agent.
    pub drop_authorization: bool,
    /// It came by HTTP/2.
    pub by_http2: bool,
    /// The `X-Sandbox-*` fields have routed it, so that they are known to be true.
    pub keep_routing: bool,
}

/// What we write into a request, so that the fields are moved into more room once at most.
const OURS: usize = 7;

/// Makes the fields of a request, which were checked as they are, those that the agent gets. `Host` is the caller's business.
pub fn for_agent(headers: &mut HeaderMap, peer: &Peer, wants: Wants, Checked(seen): Checked) {
    let trailers = seen.contains(Meaning::TE) && names_token(headers, &TE, "trailers");
    // HTTP/2 has an end for every body; HTTP/1.1 takes a GET without a length for one without a body.
    let unsaid = wants.by_http2 && !seen.contains(Meaning::CONTENT_LENGTH);
    let chunked = wants.body && (unsaid || seen.contains(Meaning::TRANSFER_ENCODING));
    headers.reserve(OURS);
    let untrue = Meaning::CLAIM | Meaning::LIKE_ROUTING;
    let routing = if wants.keep_routing { Meaning::empty() } else { Meaning::ROUTING };
    strip(headers, seen, Meaning::OF_THE_HOP | untrue | routing);
    if seen.contains(Meaning::TRAILER) {
        strip_trailer(headers);
    }
    if seen.contains(Meaning::CONTENT_LENGTH) {
        plain_length(headers);
    }
    if trailers {
        // RFC 9110 §10.1.4: TE is itself hop-by-hop, and has to say so.
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
    if chunked {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if seen.contains(Meaning::EXPECT) && (!wants.body || wants.by_http2) {
        headers.remove(EXPECT);
    }
    if seen.contains(Meaning::AUTHORIZATION) && wants.drop_authorization {
        headers.remove(AUTHORIZATION);
    }
    replace_forwarded(headers, peer);
    if wants.by_http2 {
        if seen.contains(Meaning::COOKIE) {
            join_cookies(headers);
        }
        headers.append(VIA, OURSELVES_BY_HTTP2);
    } else {
        headers.append(VIA, OURSELVES);
    }
}

/// HTTP/2 may have a field for each cookie; whoever speaks something else knows only one field (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(COOKIE).iter();
    if cookies.next().is_none() || cookies.next().is_none() {
        return;
    }
    let all: Vec<_> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Makes a head one that switches to this protocol. After [`for_agent`] or [`for_caller`], which drop what the other hop
/// said of it.
pub fn switch_to(headers: &mut HeaderMap, protocol: &HeaderValue) {
    for framing in [TE, CONTENT_LENGTH, TRANSFER_ENCODING] {
        headers.remove(framing);
    }
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol.clone());
}

fn replace_forwarded(headers: &mut HeaderMap, peer: &Peer) {
    if let Some(host) = headers.get(HOST).cloned() {
        let mut forwarded = BytesMut::with_capacity(peer.forwarded.len() + host.len() + 8);
        for part in [peer.forwarded.as_bytes(), b";host=\"", host.as_bytes(), b"\""] {
            forwarded.extend_from_slice(part);
        }
        // A host has been checked to have no character that would have to be escaped.
        let forwarded = HeaderValue::from_maybe_shared(forwarded.freeze());
        headers.insert(FORWARDED, forwarded.unwrap_or_else(|_| peer.forwarded.clone()));
        headers.insert(X_FORWARDED_HOST, host);
    } else {
        headers.insert(FORWARDED, peer.forwarded.clone());
        headers.remove(X_FORWARDED_HOST);
    }
    headers.insert(X_FORWARDED_FOR, peer.address.clone());
    headers.insert(X_REAL_IP, peer.address.clone());
    headers.insert(X_FORWARDED_PORT, peer.port.clone());
    headers.insert(X_FORWARDED_PROTO, peer.scheme.clone());
}

/// Makes the fields of an agent's answer those that the caller gets.
pub fn for_caller<B: Body>(response: &mut Response<B>) {
    let length = response.body().size_hint().exact();
    let seen = Meaning::of_all(response.headers());
    let chunked = seen.contains(Meaning::TRANSFER_ENCODING);
    let offered: Vec<_> = match response.status() {
        StatusCode::UPGRADE_REQUIRED => response.headers().get_all(UPGRADE).iter().cloned().collect(),
        _ => Vec::new(),
    };
    strip(response.headers_mut(), seen, Meaning::OF_THE_HOP);
    if !offered.is_empty() {
        // RFC 9110 §15.5.22: 426 says what to upgrade to, and §7.8: Connection says that this is for one hop. In HTTP/2, which
        // has neither field, hyper leaves them out.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        for protocol in offered {
            response.headers_mut().append(UPGRADE, protocol);
        }
    }
    if chunked {
        // RFC 9112 §6.3: Transfer-Encoding wins, and the other must not be passed on.
        response.headers_mut().remove(CONTENT_LENGTH);
    } else if let Some(length) = length
        && seen.contains(Meaning::CONTENT_LENGTH)
        && has_odd_length(response.headers())
    {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// `Content-Length` may come as a list of equal numbers (RFC 9110 §8.6); it leaves as one.
fn has_odd_length(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    lengths.next().is_some_and(|first| !first.as_bytes().iter().all(u8::is_ascii_digit))
        || lengths.next().is_some()
}

/// Removes what means this, and what `Connection` names. `seen` is what all of them mean.
fn strip(headers: &mut HeaderMap, seen: Meaning, unwanted: Meaning) {
    if seen.contains(Meaning::CONNECTION) {
        for name in named_by_connection(headers) {
            headers.remove(name);
        }
    }
    if seen.intersects(unwanted) {
        let is_unwanted = |name: &&HeaderName| Meaning::of(name.as_str()).intersects(unwanted);
        let names: Vec<_> = headers.keys().filter(is_unwanted).cloned().collect();
        for name in names {
            headers.remove(name);
        }
    }
}

/// Zeros in front of a length mean nothing here, and an octal number elsewhere. Lengths that are given more than once are
/// equal, or nobody gets here, but whoever is next may refuse them all the same.
fn plain_length(headers: &mut HeaderMap) {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else { return };
    if lengths.next().is_none() && !(first.len() > 1 && first.as_bytes().starts_with(b"0")) {
        return;
    }
    if let Some(length) = first.to_str().ok().and_then(|length| length.parse::<u64>().ok()) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// Of the fields that are announced to come after the body, only those that may. hyper sends no others.
fn strip_trailer(headers: &mut HeaderMap) {
    let announced: Vec<_> = tokens(headers, &TRAILER).map(str::to_ascii_lowercase).collect();
    if announced.iter().all(|name| names::may_be_trailer(name)) {
        return;
    }
    let rest: Vec<_> = announced.into_iter().filter(|name| names::may_be_trailer(name)).collect();
    match HeaderValue::try_from(rest.join(", ")) {
        Ok(rest) if !rest.is_empty() => {
            headers.insert(TRAILER, rest);
        }
        _ => {
            headers.remove(TRAILER);
        }
    }
}

/// What `Connection` names, apart from what no caller may make us drop: the framing, which is ours to write, and
/// `Host`.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    tokens(headers, &CONNECTION)
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        .filter(|name| ![HOST, CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER].contains(name))
        .collect()
}

/// Whether a list field has this member.
pub fn names_token(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    tokens(headers, name).any(|token| token.eq_ignore_ascii_case(wanted))
}

/// The members of a list field, without parameters.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    // One member that is no text does not hide the others.
    let members =
        headers.get_all(name).into_iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let members = members.filter_map(|member| std::str::from_utf8(member).ok());
    members.map(|member| member.split(';').next().unwrap_or_default().trim())
}

#[cfg(test)]
mod tests;
