//! The fields of a request and of its answer: whatever comes in, nothing goes out that belongs to one connection, that only we
//! may say, or that an agent could take for either; the rest goes out as it is; and doing it twice does no more.

#![no_main]

mod head;

use bytes::Bytes;
use drowse::proxy::headers::{Peer, Wants, check, for_agent, for_caller};
use http::{HeaderMap, HeaderName, HeaderValue, Response, Version};
use http_body_util::Full;
use libfuzzer_sys::fuzz_target;

const SANDBOX: [&str; 5] =
    ["x-sandbox-id", "x-sandbox-namespace", "x-sandbox-port", "x-sandbox-uid", "x-sandbox-pod-ip"];

/// What we write ourselves about where a request comes from.
const WRITTEN: [(&str, &str); 4] = [
    ("x-forwarded-for", "10.1.2.3"),
    ("x-real-ip", "10.1.2.3"),
    ("x-forwarded-port", "8080"),
    ("x-forwarded-proto", "http"),
];

// The first byte says what the request wants.
fuzz_target!(|input: &[u8]| {
    let Some((wants, text)) = input.split_first() else { return };
    let Some(head) = head::read(text) else { return };
    check_answer(&head.headers);
    let Ok(checked) = check(&head.headers, head.version) else { return };
    let wants = Wants {
        body: wants & 1 != 0,
        drop_authorization: wants & 2 != 0,
        keep_routing: wants & 4 != 0,
        by_http2: wants & 8 != 0,
    };
    let peer = Peer::new(([10, 1, 2, 3], 5555).into(), ([10, 0, 0, 1], 8080).into(), false);
    let mut sent = head.headers.clone();
    for_agent(&mut sent, &peer, wants, checked);
    check_hop_by_hop(&sent, wants.body);
    check_claims(&sent, &head.headers, wants);
    check_rest(&sent, &head.headers, wants);

    let checked = check(&sent, Version::HTTP_11).expect("the next one of us would not refuse it");
    let mut again = sent.clone();
    for_agent(&mut again, &peer, wants, checked);
    again.remove("via");
    sent.remove("via");
    assert_eq!(again, sent, "it is not finished after the first time");
});

fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a [u8]> {
    headers.get_all(name).iter().map(HeaderValue::as_bytes).collect()
}

/// As an agent behind CGI or the like reads a name.
fn as_taken(name: &HeaderName) -> String {
    name.as_str().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

fn ends_here(name: &str) -> bool {
    ["keep-alive", "proxy-connection", "upgrade", "http2-settings", "proxy-authenticate", "proxy-authorization"]
        .contains(&name)
}

fn check_hop_by_hop(headers: &HeaderMap, body: bool) {
    for name in headers.keys() {
        assert!(!ends_here(&as_taken(name)), "{name}");
        let framing = ["content-length", "transfer-encoding"].contains(&&*as_taken(name));
        assert!(!framing || !name.as_str().contains(|c: char| !c.is_ascii_alphanumeric() && c != '-'), "{name}");
    }
    // All that is said of this hop: trailers are welcome, the body is in chunks.
    match values(headers, "connection")[..] {
        [] => assert!(!headers.contains_key("te")),
        [only] => assert_eq!((only, &values(headers, "te")[..]), (&b"te"[..], &[&b"trailers"[..]][..])),
        _ => panic!("several Connection fields"),
    }
    let codings = values(headers, "transfer-encoding");
    assert!(codings.is_empty() || body && codings == [b"chunked"], "{codings:?}");
    assert!(body || !headers.contains_key("expect"));
}

fn check_claims(headers: &HeaderMap, before: &HeaderMap, wants: Wants) {
    for (name, value) in WRITTEN {
        assert_eq!(values(headers, name), [value.as_bytes()], "{name}");
    }
    assert_eq!(values(headers, "forwarded").len(), 1);
    assert!(values(headers, "forwarded")[0].starts_with(b"for=10.1.2.3;proto=http"));
    assert_eq!(headers.get("x-forwarded-host"), before.get("host"));
    let via = if wants.by_http2 { &b"2.0 drowse"[..] } else { b"1.1 drowse" };
    assert_eq!(values(headers, "via").last(), Some(&via));
    for name in headers.keys() {
        let taken = as_taken(name);
        let ours = ["forwarded", "x-forwarded-host"].into_iter().chain(WRITTEN.map(|(name, _)| name));
        let is_claim = taken.starts_with("x-forwarded-") || taken.starts_with("drowse-") || taken == "x-real-ip";
        assert!(!is_claim || ours.into_iter().any(|ours| *name == *ours), "{name}");
        if SANDBOX.contains(&&*taken) {
            assert!(wants.keep_routing && *name == *taken, "{name}");
        }
    }
    assert!(!wants.drop_authorization || !headers.contains_key("authorization"));
}

/// What means nothing to us passes as it is, unless `Connection` names it.
fn check_rest(after: &HeaderMap, before: &HeaderMap, wants: Wants) {
    let named: Vec<u8> = values(before, "connection").join(&b","[..]).to_ascii_lowercase();
    for name in before.keys() {
        let is_named = named
            .split(|byte| *byte == b',')
            .map(|member| member.split(|byte| *byte == b';').next().unwrap_or_default())
            .any(|member| String::from_utf8_lossy(member).trim().as_bytes() == name.as_str().as_bytes());
        let is_plain = name.as_str().starts_with("x-my") || ["host", "cookie", "accept"].contains(&name.as_str());
        let passes = is_plain && !is_named
            || *name == "authorization" && !is_named && !wants.drop_authorization
            || SANDBOX.contains(&name.as_str()) && wants.keep_routing;
        if passes && *name == "cookie" && wants.by_http2 {
            assert_eq!(values(after, "cookie"), [values(before, "cookie").join(&b"; "[..])], "as one");
        } else if passes {
            assert_eq!(values(after, name.as_str()), values(before, name.as_str()), "{name}");
        }
        assert!(!is_named || !is_plain || !after.contains_key(name), "{name} was for one connection");
    }
    let announced = values(after, "trailer").join(&b","[..]);
    for name in announced.split(|byte| *byte == b',') {
        let taken = String::from_utf8_lossy(name).trim().to_ascii_lowercase().replace('_', "-");
        let decides = ["content-length", "transfer-encoding", "host", "x-forwarded-for", "drowse-start"];
        assert!(!decides.contains(&&*taken) && !SANDBOX.contains(&&*taken), "{taken} may not come late");
    }
}

fn check_answer(fields: &HeaderMap) {
    let answer = |fields: HeaderMap| {
        let mut response = Response::new(Full::new(Bytes::from_static(b"12345")));
        *response.headers_mut() = fields;
        for_caller(&mut response);
        std::mem::take(response.headers_mut())
    };
    let once = answer(fields.clone());
    for name in once.keys() {
        assert!(!ends_here(name.as_str()) && *name != "connection" && *name != "transfer-encoding", "{name}");
    }
    let lengths = values(&once, "content-length");
    assert!(lengths.len() <= 1 && lengths.iter().all(|length| length.iter().all(u8::is_ascii_digit)), "{lengths:?}");
    assert_eq!(answer(once.clone()), once);
}
