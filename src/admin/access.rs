//! Who may use the admin API: whoever has the token; without a token, whoever is on this machine and means to.
//!
//! A browser on this machine runs pages of strangers. A page that resolves its own name to 127.0.0.1 (DNS
//! rebinding) is given away by `Host`, one that posts across sites by `Origin`.

use std::net::{IpAddr, SocketAddr};

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, StatusCode};

use super::problem::Problem;
use super::token::Token;

/// Why the admin API cannot be served as asked.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// The network could command all agents.
    #[error(
        "the admin API at {0} can be reached from other machines and has no token; set a token file, or listen \
         on 127.0.0.1"
    )]
    Open(SocketAddr),
}

/// Decides about every call of the admin API.
#[derive(Clone, Debug)]
pub struct Access {
    token: Option<Token>,
}

impl Access {
    /// The rule for a listener at this address. Without a token, only loopback will do.
    pub fn new(listen: SocketAddr, token: Option<Token>) -> Result<Self, AccessError> {
        if token.is_none() && !listen.ip().to_canonical().is_loopback() {
            return Err(AccessError::Open(listen));
        }
        Ok(Self { token })
    }

    pub(super) fn check(&self, head: &Parts) -> Result<(), Problem> {
        match &self.token {
            Some(token) if presents(&head.headers, token) => Ok(()),
            Some(_) => Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "this API wants `Authorization: Bearer <token>`; with the command line: --token-file, or DROWSE_TOKEN",
            )),
            None => may_ask(head),
        }
    }

    /// The same for the files of the status page. Everybody may have them who can reach an API with a token: the page
    /// must be there to ask for it.
    pub(super) fn check_page(&self, head: &Parts) -> Result<(), Problem> {
        if self.token.is_some() { Ok(()) } else { may_ask(head) }
    }
}

fn presents(headers: &HeaderMap, token: &Token) -> bool {
    let Some(value) = only(headers, &AUTHORIZATION) else { return false };
    let (scheme, rest) = value.split_at_checked("Bearer ".len()).unwrap_or_default();
    scheme.eq_ignore_ascii_case(b"Bearer ") && token.is(rest)
}

fn may_ask(head: &Parts) -> Result<(), Problem> {
    from_this_machine(head).map_err(|detail| Problem::new(StatusCode::FORBIDDEN, detail))
}

fn from_this_machine(head: &Parts) -> Result<(), &'static str> {
    let host = only(&head.headers, &HOST).and_then(|host| Authority::try_from(host).ok());
    let named = head.uri.authority().or(host.as_ref());
    if !named.is_some_and(is_loopback) || !host.as_ref().is_some_and(is_loopback) {
        return Err(
            "without a token this API answers only to localhost, 127.0.0.1 or [::1] in the Host field",
        );
    }
    let same_origin = |origin: &[u8]| {
        let host = host.as_ref().map_or("", Authority::as_str);
        origin.strip_prefix(b"http://").is_some_and(|origin| origin.eq_ignore_ascii_case(host.as_bytes()))
    };
    if head.headers.contains_key(ORIGIN) && !only(&head.headers, &ORIGIN).is_some_and(same_origin) {
        return Err("without a token this API does not take calls that other web pages make");
    }
    Ok(())
}

fn is_loopback(authority: &Authority) -> bool {
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The value of a field that must not be repeated.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then(|| first.as_bytes())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const TOKEN: &str = "0123456789abcdef";
    const LOOPBACK: &str = "127.0.0.1:9090";

    fn access(token: Option<&str>) -> Access {
        Access::new(LOOPBACK.parse().unwrap(), token.map(|text| Token::new(text).unwrap())).unwrap()
    }

    /// The status for a request with these fields.
    fn status(access: &Access, fields: &[(&str, &str)]) -> u16 {
        let mut request = Request::get("/api/v1/agents");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        access
            .check(&request.body(()).unwrap().into_parts().0)
            .map_or_else(|problem| problem.status, |()| 200)
    }

    #[test]
    fn an_open_listener_without_a_token_is_refused() {
        for open in ["0.0.0.0:9090", "[::]:9090", "10.0.0.1:9090"] {
            let error = Access::new(open.parse().unwrap(), None).unwrap_err();
            assert_eq!(error, AccessError::Open(open.parse().unwrap()));
            assert!(Access::new(open.parse().unwrap(), Some(Token::new(TOKEN).unwrap())).is_ok());
        }
        for closed in ["127.0.0.1:9090", "127.8.8.8:1", "[::1]:9090", "[::ffff:127.0.0.1]:9090"] {
            assert!(Access::new(closed.parse().unwrap(), None).is_ok(), "{closed}");
        }
    }

    #[test]
    fn without_a_token_only_loopback_names_are_answered() {
        let access = access(None);
        for good in ["localhost:9090", "LocalHost", "127.0.0.1:9090", "[::1]:9090"] {
            assert_eq!(status(&access, &[("host", good)]), 200, "{good}");
        }
        for bad in ["evil.example:9090", "localhost.evil.example", "10.0.0.1", "", "127.0.0.1.evil.example"] {
            assert_eq!(status(&access, &[("host", bad)]), 403, "{bad}");
        }
        assert_eq!(status(&access, &[]), 403);
        assert_eq!(status(&access, &[("host", "localhost"), ("host", "evil.example")]), 403);
    }

    #[test]
    fn a_target_that_names_a_stranger_is_refused_whatever_host_says() {
        let request = Request::get("http://evil.example/api/v1/agents").header("host", "localhost").body(());
        assert!(access(None).check(&request.unwrap().into_parts().0).is_err());
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        let access = access(None);
        let with = |origin| status(&access, &[("host", LOOPBACK), ("origin", origin)]);
        assert_eq!(with("http://127.0.0.1:9090"), 200);
        for bad in
            ["https://evil.example", "null", "http://127.0.0.1:3000", "http://127.0.0.1:9090.evil.example"]
        {
            assert_eq!(with(bad), 403, "{bad}");
        }
    }

    #[test]
    fn with_a_token_the_token_decides_and_nothing_else() {
        let access = access(Some(TOKEN));
        let bearer = format!("Bearer {TOKEN}");
        let good = [("host", "drowse.example"), ("origin", "https://x.example"), ("authorization", &bearer)];
        assert_eq!(status(&access, &good), 200);
        assert_eq!(status(&access, &[("authorization", &format!("bearer {TOKEN}"))]), 200);
        for bad in ["", "Bearer", "Bearer ", "Basic 0123456789abcdef", "Bearer 0123456789abcdeX", TOKEN] {
            assert_eq!(status(&access, &[("host", LOOPBACK), ("authorization", bad)]), 401, "{bad}");
        }
        assert_eq!(status(&access, &[("host", LOOPBACK)]), 401);
    }
}
