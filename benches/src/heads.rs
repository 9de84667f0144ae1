//! Heads of requests and of an answer as they come over the wire, and what the front door makes of them.

use std::collections::BTreeSet;

use bytes::Bytes;
use drowse::proxy::headers::{Peer, Wants};
use drowse::proxy::route::{self, Found};
use drowse::proxy::{Settings, Style};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, Version};
use http_body_util::Full;

/// What clients say besides where they want to go.
const FIELDS: &str = "\
    user-agent: OpenAI/Python 1.109.1\n\
    accept: application/json\n\
    accept-encoding: gzip, deflate\n\
    connection: keep-alive\n\
    content-type: application/json\n\
    content-length: 512\n\
    authorization: Bearer sk-0123456789abcdef0123456789abcdef\n\
    cookie: session=8f14e45fceea167a5a36dedd4bea2543; theme=dark\n\
    traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n\
    x-request-id: 4bf92f3577b34da6a3ce929d0e0e4736\n\
    x-forwarded-for: 203.0.113.7, 198.51.100.2\n\
    x-forwarded-proto: https\n";

/// What an agent answers with.
const ANSWER: &str = "\
    content-type: application/json\n\
    content-length: 13\n\
    connection: keep-alive\n\
    keep-alive: timeout=5\n\
    server: uvicorn\n\
    date: Mon, 30 Nov 2026 06:00:00 GMT\n\
    cache-control: no-store\n\
    x-request-id: 4bf92f3577b34da6a3ce929d0e0e4736\n";

/// The head of a request.
#[derive(Clone, Debug)]
pub struct Head {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Head {
    /// Names its agent by its host.
    pub fn by_host() -> Self {
        Self::new("/v1/chat/completions?stream=true", "host: echo.default.agents.localhost\n")
    }

    /// Names its agent as agent-sandbox's clients do.
    pub fn by_header() -> Self {
        let fields = "host: gateway.example.com\nx-sandbox-id: echo\n\
                      x-sandbox-namespace: default\nx-sandbox-port: 8888\n";
        Self::new("/v1/chat/completions?stream=true", fields)
    }

    /// Names its agent by its path.
    pub fn by_path() -> Self {
        Self::new("/agents/default/echo/8888/v1/chat/completions?stream=true", "host: gateway.example.com\n")
    }

    fn new(target: &str, fields: &str) -> Self {
        Self {
            method: Method::POST,
            uri: target.parse().expect("a target"),
            headers: read(fields.lines().chain(FIELDS.lines())),
        }
    }

    /// Its fields.
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Whom it is for.
    pub fn route(&self, settings: &Settings) -> Found {
        let Self { method, uri, headers } = self;
        let head = route::Head { method, uri, version: Version::HTTP_11, headers };
        route::find(settings, head).expect("it names one agent")
    }
}

fn read<'a>(lines: impl Iterator<Item = &'a str>) -> HeaderMap {
    let field = |line: &'a str| {
        let (name, value) = line.split_once(": ").expect("a field");
        (HeaderName::try_from(name).expect("a name"), HeaderValue::from_str(value).expect("a value"))
    };
    lines.map(field).collect()
}

/// Every way to name an agent is on.
pub fn settings() -> Settings {
    Settings {
        find_by: BTreeSet::from([Style::Header, Style::Host, Style::Path, Style::Service]),
        path_prefix: Some("/agents".to_owned()),
        ..Settings::default()
    }
}

/// A caller on this machine.
pub fn peer() -> Peer {
    Peer::new(([127, 0, 0, 1], 40_000).into(), ([127, 0, 0, 1], 8080).into(), false)
}

/// What a usual request with a body wants.
pub const WANTS: Wants =
    Wants { body: true, drop_authorization: false, by_http2: false, keep_routing: false };

/// An agent's answer.
pub fn answer() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"{\"ok\": true}\n")));
    *response.status_mut() = StatusCode::OK;
    *response.headers_mut() = read(ANSWER.lines());
    response
}

#[cfg(test)]
mod tests {
    use drowse::proxy::headers::{check, for_agent, for_caller};

    use super::*;

    #[test]
    fn every_style_finds_the_same_agent() {
        let settings = settings();
        let heads = [
            (Head::by_host(), Style::Host, None),
            (Head::by_header(), Style::Header, Some(8888)),
            (Head::by_path(), Style::Path, Some(8888)),
        ];
        for (head, style, port) in heads {
            let Found::Agent(route) = head.route(&settings) else { panic!("{style:?} finds nobody") };
            assert_eq!(
                (route.agent.to_string().as_str(), route.style, route.port),
                ("default/echo", style, port)
            );
            assert_eq!(route.target, "/v1/chat/completions?stream=true");
        }
    }

    #[test]
    fn the_heads_are_such_that_the_policy_has_something_to_do() {
        let mut headers = Head::by_host().headers().clone();
        let checked = check(&headers, Version::HTTP_11).unwrap();
        for_agent(&mut headers, &peer(), WANTS, checked);
        assert_eq!(
            (headers.get("connection"), headers["x-forwarded-for"].as_bytes()),
            (None, &b"127.0.0.1"[..])
        );
        let mut answer = answer();
        for_caller(&mut answer);
        assert_eq!((answer.headers().get("keep-alive"), answer.headers().len()), (None, 6));
    }
}
