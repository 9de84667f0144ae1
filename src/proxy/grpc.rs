//! Pure: what gRPC needs of a proxy that answers itself or lets a call wait. (The protocol: `PROTOCOL-HTTP2.md` of gRPC.)

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// What cannot stand in `grpc-message` as it is.
const ENCODED: &AsciiSet = &CONTROLS.add(b'%');
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Whether it is a call of gRPC, which there is only over HTTP/2.
pub(super) fn is_call(version: Version, headers: &HeaderMap) -> bool {
    let media = || headers.get(CONTENT_TYPE)?.as_bytes().strip_prefix(GRPC.as_bytes());
    version == Version::HTTP_2 && media().is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// How long its caller waits for the answer at most, if it says so.
pub(super) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(TIMEOUT)?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if number.is_empty() || number.len() > 8 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u32 = number.parse().ok()?;
    let one = match unit {
        "H" => Duration::from_hours(1),
        "M" => Duration::from_mins(1),
        "S" => Duration::from_secs(1),
        "m" => Duration::from_millis(1),
        "u" => Duration::from_micros(1),
        "n" => Duration::from_nanos(1),
        _ => return None,
    };
    one.checked_mul(number)
}

/// An answer of ours as gRPC has it ("Trailers-Only"): its libraries show a program neither another status than 200 nor
/// a body.
pub(super) fn refusal(status: StatusCode, detail: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, GRPC);
    headers.insert(STATUS, HeaderValue::from(code(status)));
    if let Ok(message) = HeaderValue::try_from(utf8_percent_encode(detail, ENCODED).to_string()) {
        headers.insert(MESSAGE, message);
    }
    response
}

/// As `http-grpc-status-mapping.md` of gRPC has it, and where that is vague, what is meant.
fn code(status: StatusCode) -> u16 {
    const INVALID_ARGUMENT: u16 = 3;
    const NOT_FOUND: u16 = 5;
    const PERMISSION_DENIED: u16 = 7;
    const RESOURCE_EXHAUSTED: u16 = 8;
    const FAILED_PRECONDITION: u16 = 9;
    const UNIMPLEMENTED: u16 = 12;
    const UNAVAILABLE: u16 = 14;
    const UNAUTHENTICATED: u16 = 16;
    match status {
        StatusCode::BAD_REQUEST => INVALID_ARGUMENT,
        StatusCode::UNAUTHORIZED => UNAUTHENTICATED,
        StatusCode::FORBIDDEN => PERMISSION_DENIED,
        StatusCode::NOT_FOUND => NOT_FOUND,
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => UNIMPLEMENTED,
        StatusCode::CONFLICT => FAILED_PRECONDITION,
        StatusCode::TOO_MANY_REQUESTS => RESOURCE_EXHAUSTED,
        _ => UNAVAILABLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn a_call_is_known_by_its_content_type() {
        for (media, is_grpc) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            let headers = fields(CONTENT_TYPE, media);
            assert_eq!(is_call(Version::HTTP_2, &headers), is_grpc, "{media}");
            assert!(!is_call(Version::HTTP_11, &headers), "{media}");
        }
        assert!(!is_call(Version::HTTP_2, &HeaderMap::new()));
    }

    #[test]
    fn a_timeout_is_at_most_eight_digits_and_a_unit() {
        for (text, expected) in [
            ("1H", Some(Duration::from_hours(1))),
            ("2M", Some(Duration::from_mins(2))),
            ("3S", Some(Duration::from_secs(3))),
            ("99999999m", Some(Duration::from_millis(99_999_999))),
            ("5u", Some(Duration::from_micros(5))),
            ("0n", Some(Duration::ZERO)),
            ("100000000m", None),
            ("m", None),
            ("", None),
            ("1", None),
            ("+1S", None),
            ("1.5S", None),
            ("1s", None),
        ] {
            assert_eq!(timeout(&fields(TIMEOUT, text)), expected, "{text:?}");
        }
    }

    #[test]
    fn a_refusal_has_its_reason_in_the_fields() {
        let response = refusal(StatusCode::SERVICE_UNAVAILABLE, "100% caf\u{e9}\nnext");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[STATUS], "14");
        assert_eq!(response.headers()[MESSAGE], "100%25 caf%C3%A9%0Anext");
        assert!(response.body().is_empty());
        assert_eq!(refusal(StatusCode::NOT_FOUND, "").headers()[STATUS], "5");
    }
}
