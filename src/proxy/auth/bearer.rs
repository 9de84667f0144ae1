//! Pure: the bearer token of a request (RFC 6750 §2.1), read as agent-sandbox's router reads it (v1.0.3,
//! `sandbox-router/authz/identity.go`).

use http::HeaderMap;
use http::header::AUTHORIZATION;

const SCHEME: &str = "Bearer ";

/// The token; `None` if there is none, or nothing that could be one. A field that is given twice has none: whoever
/// is behind us might believe the other.
pub(in crate::proxy) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    let (scheme, token) = field.to_str().ok()?.split_at_checked(SCHEME.len())?;
    let token = token.trim();
    let fits = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    (scheme.eq_ignore_ascii_case(SCHEME) && fits).then_some(token)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(fields: &[&'static [u8]]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(field).unwrap());
        }
        bearer(&headers).map(str::to_owned)
    }

    #[test]
    fn a_bearer_token_is_read_whatever_the_case_of_its_scheme() {
        for field in [&b"Bearer a.b-c"[..], b"bearer a.b-c", b"BEARER   a.b-c  "] {
            assert_eq!(of(&[field]).as_deref(), Some("a.b-c"));
        }
    }

    #[test]
    fn what_is_no_bearer_token_counts_for_nothing() {
        for field in [
            &b""[..],
            b"Bearer",
            b"Bearer ",
            b"Bearer    ",
            b"Bearera.b",
            b"Basic a.b",
            b"Bearer a b",
            b"Bearer a\tb",
            b"Bearer \xfc",
            b"Token Bearer a",
        ] {
            assert_eq!(of(&[field]), None, "{}", String::from_utf8_lossy(field));
        }
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[b"Bearer a", b"Bearer a"]), None, "twice");
        assert_eq!(of(&[b"Bearer a", b"Basic b"]), None, "twice, one of another scheme");
    }
}
