//! Pure: the header block of a message, `NATS/1.0` and lines of `Name: value` (ADR-4), and the headers that Drowse adds.

use async_nats::HeaderMap;

/// Names a message that was held, for as long as it is under way: `<replica>.<number>`.
pub const HOLD_ID: &str = "Drowse-Hold-Id";
/// The message may have reached the agent before.
pub const REDELIVERED: &str = "Drowse-Redelivered";
/// An error for whoever waits for a reply, by the convention of NATS services (ADR-32).
pub const ERROR: &str = "Nats-Service-Error";
/// Its code, like those of HTTP.
pub const ERROR_CODE: &str = "Nats-Service-Error-Code";

/// The lines of a header block.
pub fn lines(block: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    let text = std::str::from_utf8(block).unwrap_or_default();
    text.lines().skip(1).filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name, value.trim()))
    })
}

/// The first value of a header.
pub fn value<'a>(block: &'a [u8], name: &str) -> Option<&'a str> {
    lines(block).find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Why a header block is not passed on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the headers of the message are malformed")]
pub struct Malformed;

/// A block as async-nats sends it, without what we added to it ourselves before. The order of the names may change, that of
/// the values of one name does not.
pub fn parse(block: &[u8]) -> Result<HeaderMap, Malformed> {
    let text = std::str::from_utf8(block).map_err(|_| Malformed)?;
    let mut lines = text.split("\r\n");
    // A status, such as in "NATS/1.0 503", is for those who receive it, and ends with them.
    if !lines.next().is_some_and(|first| first.starts_with("NATS/1.0")) {
        return Err(Malformed);
    }
    let mut headers = HeaderMap::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or(Malformed)?;
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(Malformed);
        }
        if name != HOLD_ID && name != REDELIVERED {
            let name: async_nats::HeaderName = name.parse().map_err(|_| Malformed)?;
            let value: async_nats::HeaderValue = value.trim().parse().map_err(|_| Malformed)?;
            headers.append(name, value);
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_read_line_by_line_and_loses_nothing_but_our_own() {
        let block = b"NATS/1.0\r\nX-A: 1\r\nx-a:2\r\nX-A: 3\r\nDrowse-Hold-Id: r.7\r\nEmpty:\r\n\r\n";
        assert_eq!(value(block, "x-a"), Some("1"));
        assert_eq!(value(block, HOLD_ID), Some("r.7"));
        let headers = parse(block).unwrap();
        let all: Vec<_> = headers.get_all("X-A").map(|value| value.as_str().to_owned()).collect();
        assert_eq!(all, ["1", "3"]);
        assert_eq!(
            headers.get("x-a").map(async_nats::HeaderValue::as_str),
            Some("2"),
            "names differ by case"
        );
        assert_eq!(headers.get("Empty").map(async_nats::HeaderValue::as_str), Some(""));
        assert!(headers.get(HOLD_ID).is_none());
    }

    #[test]
    fn what_is_no_header_block_is_refused() {
        for block in [
            &b""[..],
            b"HTTP/1.1\r\n\r\n",
            b"NATS/1.0\r\nno colon\r\n\r\n",
            b"NATS/1.0\r\n: v\r\n\r\n",
            b"\xff",
        ] {
            assert_eq!(parse(block), Err(Malformed), "{block:?}");
        }
        assert!(parse(b"NATS/1.0 503\r\n\r\n").unwrap().is_empty());
    }
}
