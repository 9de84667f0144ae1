//! Which fields reach the agent, which reach the caller, and which never leave.

use bytes::Bytes;
use http::Version;
use http_body_util::{Empty, Full};
use proptest::prelude::*;

use super::*;

const PLAIN: Wants = Wants { body: false, drop_authorization: false, by_http2: false, keep_routing: false };
const WITH_BODY: Wants = Wants { body: true, ..PLAIN };

fn peer() -> Peer {
    Peer::new("10.1.2.3:5555".parse().unwrap(), "10.0.0.1:8080".parse().unwrap(), false)
}

fn map(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

/// Also what would have been refused.
fn treat(headers: &mut HeaderMap, peer: &Peer, wants: Wants) {
    let checked = Checked(Meaning::of_all(headers));
    for_agent(headers, peer, wants, checked);
}

fn sent(fields: &[(&str, &str)], wants: Wants) -> HeaderMap {
    let mut headers = map(fields);
    treat(&mut headers, &peer(), wants);
    headers
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

#[test]
fn where_a_caller_comes_from_is_what_we_saw_and_not_what_it_says() {
    let lies: Vec<_> = [
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-real-ip",
    ]
    .into_iter()
    .flat_map(|name| [(name, "evil"), (name, "evil too")])
    .chain([("host", "a.example:80")])
    .collect();
    let headers = sent(&lies, PLAIN);
    assert_eq!(values(&headers, "forwarded"), ["for=10.1.2.3;proto=http;host=\"a.example:80\""]);
    assert_eq!(values(&headers, "x-forwarded-for"), ["10.1.2.3"]);
    assert_eq!(values(&headers, "x-forwarded-host"), ["a.example:80"]);
    assert_eq!(values(&headers, "x-forwarded-port"), ["8080"]);
    assert_eq!(values(&headers, "x-forwarded-proto"), ["http"]);
    assert_eq!(values(&headers, "x-real-ip"), ["10.1.2.3"]);
}

#[test]
fn addresses_of_ip_version_6_are_written_as_rfc_7239_wants_them() {
    let local = "[::1]:8080".parse().unwrap();
    let mut headers = HeaderMap::new();
    treat(&mut headers, &Peer::new("[2001:db8::1]:1".parse().unwrap(), local, false), PLAIN);
    assert_eq!(headers[FORWARDED], "for=\"[2001:db8::1]\";proto=http");
    treat(&mut headers, &Peer::new("[::ffff:10.1.2.3]:1".parse().unwrap(), local, false), PLAIN);
    assert_eq!(headers["x-forwarded-for"], "10.1.2.3", "a version 4 caller of a version 6 socket");
}

#[test]
fn connection_cannot_make_us_drop_what_is_ours_to_write() {
    let headers = sent(
        &[
            ("connection", "x-forwarded-for, Forwarded, via, host, content-length, transfer-encoding, close"),
            ("connection", "x-secret"),
            ("host", "a"),
            ("content-length", "5"),
            ("x-secret", "1"),
        ],
        WITH_BODY,
    );
    assert_eq!(values(&headers, "x-forwarded-for"), ["10.1.2.3"]);
    assert_eq!(values(&headers, "via"), ["1.1 drowse"]);
    assert_eq!(values(&headers, "host"), ["a"]);
    assert_eq!(values(&headers, "content-length"), ["5"]);
    assert!(!headers.contains_key("x-secret") && !headers.contains_key("connection"));
}

#[test]
fn hop_by_hop_fields_end_here() {
    let headers = sent(
        &[
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("upgrade", "websocket"),
            ("connection", "Upgrade, HTTP2-Settings"),
            ("http2-settings", "AAA"),
            ("proxy-authorization", "Basic x"),
            ("te", "gzip"),
            ("transfer-encoding", "chunked"),
            ("expect", "100-continue"),
            ("authorization", "Bearer t"),
            ("trailer", "x-sum"),
            ("via", "1.0 other"),
        ],
        PLAIN,
    );
    for gone in ["keep-alive", "proxy-connection", "upgrade", "connection", "http2-settings"] {
        assert!(!headers.contains_key(gone), "{gone}");
    }
    for gone in ["proxy-authorization", "te", "transfer-encoding", "expect"] {
        assert!(!headers.contains_key(gone), "{gone}");
    }
    assert_eq!(values(&headers, "authorization"), ["Bearer t"]);
    assert_eq!(values(&headers, "trailer"), ["x-sum"]);
    assert_eq!(values(&headers, "via"), ["1.0 other", "1.1 drowse"]);
}

#[test]
fn what_a_caller_claims_is_removed_however_it_is_spelled() {
    let claims = [
        "x-forwarded-client-cert",
        "x_forwarded_for",
        "x-forwarded_host",
        "x_real.ip",
        "true-client-ip",
        "drowse-start",
        "drowse_agent",
        "keep_alive",
        "proxy_authorization",
        "x_sandbox_id",
        "content_length",
    ];
    let fields: Vec<_> = claims.into_iter().map(|name| (name, "evil")).chain([("x_my.field", "1")]).collect();
    for keep_routing in [true, false] {
        let headers = sent(&fields, Wants { keep_routing, ..PLAIN });
        assert!(!headers.values().any(|value| value == "evil"), "{headers:?}");
        assert_eq!(values(&headers, "x_my.field"), ["1"], "it could be taken for nothing of ours");
    }
}

#[test]
fn fields_of_the_router_reach_only_an_agent_that_they_have_named() {
    let names =
        ["x-sandbox-id", "x-sandbox-namespace", "x-sandbox-port", "x-sandbox-uid", "x-sandbox-pod-ip"];
    let fields: Vec<_> = names.into_iter().map(|name| (name, "a")).collect();
    let routed = sent(&fields, Wants { keep_routing: true, ..PLAIN });
    let other = sent(&fields, PLAIN);
    for name in names {
        assert!(routed.contains_key(name) && !other.contains_key(name), "{name}");
    }
    assert_eq!(values(&sent(&[("x-sandbox-timeout", "5")], PLAIN), "x-sandbox-timeout"), ["5"]);
}

#[test]
fn trailers_that_decide_something_are_not_announced_to_the_agent() {
    for (announced, left) in [
        (&["X-Sum, Grpc-Status"][..], &["X-Sum, Grpc-Status"][..]),
        (&["X-Sum, Content-Length", "x_real_ip,x-two"], &["x-sum, x-two"]),
        (&["Host", "Transfer-Encoding, TE"], &[]),
    ] {
        let fields: Vec<_> = announced.iter().map(|value| ("trailer", *value)).collect();
        assert_eq!(values(&sent(&fields, WITH_BODY), "trailer"), left);
    }
}

#[test]
fn a_length_loses_the_zeros_in_front_of_it() {
    for (length, expected) in [("005", "5"), ("0", "0"), ("000", "0"), ("50", "50")] {
        assert_eq!(values(&sent(&[("content-length", length)], WITH_BODY), "content-length"), [expected]);
    }
}

#[test]
fn a_member_of_connection_that_is_no_text_hides_no_other() {
    let mut headers = map(&[("x-hop", "1")]);
    headers.insert(CONNECTION, HeaderValue::from_bytes(b"\xff, x-hop").unwrap());
    treat(&mut headers, &peer(), PLAIN);
    assert!(!headers.contains_key("x-hop"));
}

#[test]
fn a_body_keeps_its_framing_and_its_expectation() {
    let headers = sent(&[("transfer-encoding", "Chunked"), ("expect", "100-continue")], WITH_BODY);
    assert_eq!(values(&headers, "transfer-encoding"), ["chunked"]);
    assert_eq!(values(&headers, "expect"), ["100-continue"]);
}

#[test]
fn a_caller_that_takes_trailers_says_so_to_the_agent() {
    for te in ["trailers", "gzip;q=0.5, Trailers", "trailers;q=1"] {
        let headers = sent(&[("te", te), ("connection", "te")], PLAIN);
        assert_eq!((values(&headers, "te"), values(&headers, "connection")), (vec!["trailers"], vec!["te"]));
    }
}

#[test]
fn the_credential_of_a_header_routed_caller_is_not_shown_to_the_agent() {
    let wants = Wants { drop_authorization: true, ..PLAIN };
    assert!(!sent(&[("authorization", "Bearer t")], wants).contains_key("authorization"));
}

fn answered<B: Body>(body: B, fields: &[(&str, &str)]) -> HeaderMap {
    let mut response = Response::new(body);
    *response.headers_mut() = map(fields);
    for_caller(&mut response);
    std::mem::take(response.headers_mut())
}

#[test]
fn an_answer_loses_its_hop_by_hop_fields_and_keeps_the_rest() {
    let headers = answered(
        Empty::<Bytes>::new(),
        &[
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("upgrade", "h2c"),
            ("proxy-authenticate", "Basic"),
            ("trailer", "grpc-status"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
        ],
    );
    assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["trailer", "set-cookie"]);
    assert_eq!(values(&headers, "set-cookie"), ["a=1", "b=2"]);
}

#[test]
fn of_a_length_and_a_transfer_coding_only_the_coding_counts() {
    let both = [("content-length", "3"), ("transfer-encoding", "chunked")];
    let headers = answered(Full::new(Bytes::from_static(b"more than three")), &both);
    assert!(!headers.contains_key("content-length") && !headers.contains_key("transfer-encoding"));
}

#[test]
fn a_length_that_is_told_twice_leaves_once() {
    for fields in [vec![("content-length", "5, 5")], vec![("content-length", "5"), ("content-length", "5")]] {
        let headers = answered(Full::new(Bytes::from_static(b"12345")), &fields);
        assert_eq!(values(&headers, "content-length"), ["5"]);
    }
}

#[test]
fn the_length_that_an_answer_to_head_tells_is_kept() {
    assert_eq!(
        values(&answered(Empty::<Bytes>::new(), &[("content-length", "123")]), "content-length"),
        ["123"]
    );
}

#[test]
fn only_chunked_given_once_is_a_plain_framing() {
    for (codings, plain) in [
        (vec![], true),
        (vec!["chunked"], true),
        (vec!["Chunked"], true),
        (vec!["gzip, chunked"], false),
        (vec!["chunked, chunked"], false),
        (vec!["xchunked"], false),
        (vec!["chunked;a=b"], false),
        (vec!["chunked", "chunked"], false),
        (vec!["identity"], false),
        (vec![""], false),
    ] {
        let fields: Vec<_> = codings.iter().map(|coding| ("transfer-encoding", *coding)).collect();
        assert_eq!(framing_is_plain(&map(&fields)), plain, "{codings:?}");
    }
}

#[test]
fn heads_that_two_may_read_differently_are_refused_with_what_to_write() {
    for (fields, advice) in [
        (&[("transfer-encoding", "identity")][..], "chunked"),
        (&[("content-length", "")], "a number"),
        (&[("content-length", "5"), ("content-length", "+5")], "a number"),
        (&[("expect", "200-maybe")], "100-continue"),
        (&[("expect", "100-continue"), ("expect", "100-continue")], "given once"),
        (&[("x_sandbox_id", "echo")], "write hyphens"),
        (&[("x-sandbox.port", "80")], "write hyphens"),
        (&[("content_length", "5")], "write hyphens"),
        (&[("connection", "close, Host")], "leave it out"),
        (&[("connection", "close"), ("connection", "x-sandbox-id")], "leave it out"),
        (&[("connection", "content-length;q=1")], "leave it out"),
    ] {
        let error = check(&map(fields), Version::HTTP_11).unwrap_err();
        assert!(error.contains(advice), "{fields:?}: {error}");
    }
    for fields in [
        &[][..],
        &[("expect", "100-Continue")],
        &[("x_my_field", "1"), ("x_forwarded_for", "1")],
        &[("connection", "keep-alive, te, x-my"), ("te", "trailers")],
        &[("connection", "x-forwarded-for, authorization")],
    ] {
        assert!(check(&map(fields), Version::HTTP_11).is_ok(), "{fields:?}");
    }
}

#[test]
fn space_around_a_value_of_http2_is_refused() {
    for value in [" 1", "1 ", "\t1", "1\t", " "] {
        let fields = map(&[("x", "1"), ("x", value)]);
        assert!(check(&fields, Version::HTTP_2).unwrap_err().contains("value of x"), "{value:?}");
        assert!(check(&fields, Version::HTTP_11).is_ok(), "hyper has left it out: {value:?}");
    }
    assert!(check(&map(&[("x", ""), ("y", "a b")]), Version::HTTP_2).is_ok());
}

#[test]
fn a_length_leaves_as_one_plain_number() {
    for lengths in [&["5"][..], &["005"], &["5", "5"], &["05", "5"]] {
        let fields: Vec<_> = lengths.iter().map(|length| ("content-length", *length)).collect();
        let headers = sent(&fields, Wants { body: true, ..PLAIN });
        assert_eq!(values(&headers, "content-length"), ["5"], "{lengths:?}");
    }
}

proptest! {
    /// Whatever a caller lists in `Connection`, what we say of it reaches the agent once, and nothing that is
    /// hop-by-hop does.
    #[test]
    fn no_connection_field_changes_what_we_say(
        listed in proptest::collection::vec("[a-zA-Z-]{1,20}|x-forwarded-for|host|via|x-real-ip|forwarded", 0..8),
    ) {
        let listed = listed.join(",");
        let headers = sent(&[("connection", &listed), ("host", "a"), ("upgrade", "x"), ("via", "1.1 b")], PLAIN);
        prop_assert_eq!(values(&headers, "host"), ["a"]);
        prop_assert_eq!(values(&headers, "x-forwarded-for"), ["10.1.2.3"]);
        prop_assert_eq!(values(&headers, "x-real-ip"), ["10.1.2.3"]);
        prop_assert_eq!(values(&headers, "via").last().copied(), Some("1.1 drowse"));
        prop_assert!(!headers.contains_key("upgrade") && !headers.contains_key("connection"));
    }

    #[test]
    fn a_field_that_connection_lists_does_not_pass(name in "x-[a-z]{1,12}") {
        let headers = sent(&[("connection", &name), (&name, "1")], PLAIN);
        prop_assert!(!headers.contains_key(&name) || name.starts_with("x-forwarded") || name == "x-real-ip");
    }
}
