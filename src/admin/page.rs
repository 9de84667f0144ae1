//! The status page: a few files that are part of the program. They hold nothing secret; what they show comes from the
//! API, under its rules.

use std::sync::LazyLock;

use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::Full;

use bytes::Bytes;
use ring::digest::{SHA256, digest};

use super::problem::Problem;
use crate::agent::AgentKey;

/// Nothing but our own files, no script or style in the markup, and no text that becomes markup: names, reasons and logs
/// come from agents.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The page of one agent, whichever it is.
const AGENT: &str = "/agents/";

macro_rules! files {
    ($($path:literal: $kind:expr, $file:literal;)*) => {
        [$(File::new($path, $kind, include_bytes!(concat!("page/", $file)))),*]
    };
}

static FILES: LazyLock<[File; 9]> = LazyLock::new(|| {
    files! {
        "/": HTML, "list.html";
        "/agents/": HTML, "agent.html";
        "/page/style.css": "text/css; charset=utf-8", "style.css";
        "/page/icon.svg": "image/svg+xml", "icon.svg";
        "/page/api.js": SCRIPT, "api.js";
        "/page/live.js": SCRIPT, "live.js";
        "/page/show.js": SCRIPT, "show.js";
        "/page/list.js": SCRIPT, "list.js";
        "/page/agent.js": SCRIPT, "agent.js";
    }
});

/// A file of the page.
pub(super) struct File {
    path: &'static str,
    kind: &'static str,
    body: &'static [u8],
    etag: HeaderValue,
}

impl File {
    fn new(path: &'static str, kind: &'static str, body: &'static [u8]) -> Self {
        let hash =
            digest(&SHA256, body).as_ref().iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte));
        let etag =
            HeaderValue::from_str(&format!("\"{hash:016x}\"")).unwrap_or(HeaderValue::from_static("\"\""));
        Self { path, kind, body, etag }
    }

    /// The file at this path, if there is one.
    pub(super) fn find(path: &str) -> Option<&'static Self> {
        let is_agent = |rest: &str| rest.parse::<AgentKey>().is_ok();
        let path = if path.strip_prefix(AGENT).is_some_and(is_agent) { AGENT } else { path };
        FILES.iter().find(|file| file.path == path)
    }

    /// The answer. Browsers keep it and ask each time whether it is still so, since a new version has the same paths.
    pub(super) fn answer(&self, head: &Parts) -> Result<Response<Full<Bytes>>, Problem> {
        if head.method != Method::GET && head.method != Method::HEAD {
            return Err(Problem::method_not_allowed("GET, HEAD"));
        }
        let known = is_known(&head.headers, &self.etag);
        let body = if known { Bytes::new() } else { Bytes::from_static(self.body) };
        let mut response = Response::new(Full::new(body));
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
        headers.insert(ETAG, self.etag.clone());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
        headers.insert("referrer-policy", HeaderValue::from_static("no-referrer"));
        headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
        headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
        Ok(response)
    }
}

/// Whether the caller has this version (RFC 9110 §13.1.2).
fn is_known(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let fields = headers.get_all(IF_NONE_MATCH).iter();
    let mut tags = fields.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    tags.any(|tag| tag.trim().trim_start_matches("W/").as_bytes() == etag.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_agent_has_the_same_page_and_what_is_no_agent_has_none() {
        let body = |path| File::find(path).map(|file| file.body);
        assert_eq!(body("/agents/default/echo"), body("/agents/team-a/notes"));
        assert!(body("/agents/default/echo").is_some() && body("/agents/default/echo") != body("/"));
        for none in
            ["/agents/default", "/agents/default/Echo", "/agents/a/b/c", "/page/", "/page/../list.html"]
        {
            assert!(body(none).is_none(), "{none}");
        }
    }

    /// The policy forbids it; here it is seen before a browser does.
    #[test]
    fn the_markup_has_no_script_or_style_of_its_own_and_names_no_other_host() {
        for file in FILES.iter() {
            let text = std::str::from_utf8(file.body).unwrap();
            for banned in ["<script>", "<style", " style=", " onclick=", " onload=", "innerHTML", "https://"]
            {
                assert!(!text.contains(banned), "{}: {banned}", file.path);
            }
            let hosts = text.matches("http://").count() - text.matches("http://www.w3.org/2000/svg").count();
            assert_eq!(hosts, 0, "{}", file.path);
        }
    }
}
