//! The head of a request from made-up text: `GET /x`, then a field a line. What no HTTP parser would let through gives nothing.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};

/// Not every target looks at all of it.
#[allow(dead_code)]
pub struct Head {
    pub method: Method,
    pub uri: Uri,
    pub version: Version,
    pub headers: HeaderMap,
}

/// More fields than these are refused by hyper.
const MOST_FIELDS: usize = 100;

pub fn read(text: &[u8]) -> Option<Head> {
    let mut lines = text.split(|byte| *byte == b'\n');
    let (method, target) = cut(lines.next()?, b' ')?;
    // A target that ends so is one of HTTP/1.0.
    let (target, version) = match target.strip_suffix(b" 0") {
        Some(target) => (target, Version::HTTP_10),
        None => (target, Version::HTTP_11),
    };
    if target.iter().any(|byte| byte.is_ascii_control() || *byte == b' ') {
        return None;
    }
    let mut headers = HeaderMap::new();
    for line in lines.filter(|line| !line.is_empty()).take(MOST_FIELDS) {
        let (name, value) = cut(line, b':')?;
        headers.append(HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value.trim_ascii()).ok()?);
    }
    let method = Method::from_bytes(method).ok()?;
    Some(Head { method, uri: Uri::from_maybe_shared(Bytes::copy_from_slice(target)).ok()?, version, headers })
}

fn cut(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| *byte == at)?;
    Some((&text[..end], &text[end + 1..]))
}
