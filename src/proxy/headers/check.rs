//! Pure: heads that are refused before anybody is looked for, because two who read them may not agree on where the request
//! goes or where it ends.

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HeaderName, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Version};

use super::names::{Meaning, may_be_hop_by_hop};
use super::tokens;

/// What the names of a head mean that was not refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checked(pub(super) Meaning);

/// Refuses a head, saying what is wrong with it and what to write instead.
pub fn check(headers: &HeaderMap, version: Version) -> Result<Checked, String> {
    let seen = Meaning::of_all(headers);
    if seen.contains(Meaning::TRANSFER_ENCODING) && !framing_is_plain(headers) {
        return Err("the only Transfer-Encoding that is understood is chunked, given once".to_owned());
    }
    if seen.contains(Meaning::CONTENT_LENGTH) && !headers.get_all(CONTENT_LENGTH).iter().all(is_number) {
        return Err("Content-Length has to be a number".to_owned());
    }
    if version > Version::HTTP_11
        && let Some((name, _)) = headers.iter().find(|(_, value)| is_padded(value))
    {
        return Err(format!("the value of {name} begins or ends with a space; leave it out"));
    }
    if seen.contains(Meaning::EXPECT) && !expectation_is_plain(headers) {
        return Err("the only Expect that is understood is 100-continue, given once".to_owned());
    }
    let is_lookalike = |name: &&HeaderName| Meaning::of(name.as_str()) == Meaning::LIKE_ROUTING;
    if seen.contains(Meaning::LIKE_ROUTING)
        && let Some(name) = headers.keys().find(is_lookalike)
    {
        return Err(format!(
            "an agent may take the field {name} for one with hyphens; write hyphens, or another name"
        ));
    }
    if !seen.contains(Meaning::CONNECTION) {
        return Ok(Checked(seen));
    }
    let named =
        tokens(headers, &CONNECTION).filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok());
    match named.into_iter().find(|name| !may_be_hop_by_hop(name.as_str())) {
        None => Ok(Checked(seen)),
        Some(name) => {
            Err(format!("Connection names {name}, which is not for one connection alone; leave it out there"))
        }
    }
}

/// Whether the body of a request is framed in a way that everybody reads alike. hyper sees to the rest: several
/// lengths that differ and `Transfer-Encoding` with HTTP/1.0 get 400 from it, and of `Transfer-Encoding` together
/// with `Content-Length` it drops the length and closes the connection after the answer (RFC 9112 §6.3).
pub fn framing_is_plain(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(only), None) => only.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

/// h2 takes a length without a digit for 0 (RFC 9110 §8.6).
fn is_number(length: &HeaderValue) -> bool {
    !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit)
}

/// RFC 9113 §8.2.1. In HTTP/1.1 the space would not be part of the value any more, so that it could become another one.
fn is_padded(value: &HeaderValue) -> bool {
    value.as_bytes().trim_ascii().len() != value.len()
}

/// Whether the body of an agent's answer is framed so. HTTP/1.0 has no transfer codings (RFC 9112 §6.1), and no agent is asked
/// for any other.
pub fn answer_is_plain(version: Version, headers: &HeaderMap) -> bool {
    framing_is_plain(headers) && (version != Version::HTTP_10 || !headers.contains_key(TRANSFER_ENCODING))
}

/// What else a caller might expect, we do not know, and an agent might (RFC 9110 §10.1.1).
fn expectation_is_plain(headers: &HeaderMap) -> bool {
    let mut expectations = headers.get_all(EXPECT).iter();
    match (expectations.next(), expectations.next()) {
        (None, _) => true,
        (Some(only), None) => only.as_bytes().eq_ignore_ascii_case(b"100-continue"),
        (Some(_), Some(_)) => false,
    }
}
