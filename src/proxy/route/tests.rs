//! The rules of routing, case by case, and properties over names that nobody would think of.

use std::collections::BTreeSet;

use http::header::HOST;
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

/// All styles are on.
fn settings() -> Settings {
    Settings {
        domain: "agents.example.com".to_owned(),
        find_by: BTreeSet::from([Style::Header, Style::Host, Style::Path, Style::Service]),
        path_prefix: Some("/p".to_owned()),
        ..Settings::default()
    }
}

struct Req {
    method: Method,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
}

fn get(uri: &str, fields: &[(&str, &str)]) -> Req {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    Req { method: Method::GET, uri: uri.parse().unwrap(), version: Version::HTTP_11, headers }
}

impl Req {
    fn find(&self) -> Result<Option<Route>, BadRoute> {
        self.find_with(&settings())
    }

    fn find_with(&self, settings: &Settings) -> Result<Option<Route>, BadRoute> {
        Ok(match self.found_with(settings)? {
            Found::Agent(route) => Some(route),
            Found::Ourselves | Found::Nobody => None,
        })
    }

    fn found_with(&self, settings: &Settings) -> Result<Found, BadRoute> {
        let Self { method, uri, version, headers } = self;
        find(settings, Head { method, uri, version: *version, headers })
    }
}

/// `namespace/agent port target`, for short tables.
fn short(route: &Route) -> String {
    let port = route.port.map_or("-".to_owned(), |port| port.to_string());
    format!("{} {port} {}", route.agent, route.target)
}

#[test]
fn one_host_is_that_of_drowse_itself_however_it_is_spelled_and_whichever_styles_are_on() {
    for find_by in
        [&[Style::Header, Style::Host, Style::Path, Style::Service][..], &[Style::Header], &[Style::Path]]
    {
        let settings = Settings { find_by: find_by.iter().copied().collect(), ..settings() };
        for host in
            ["drowse.agents.example.com", "Drowse.AGENTS.example.com.", "drowse.agents.example.com:8080"]
        {
            for path in ["/v1/leases", "/p/default/echo/80/", "/"] {
                let found = get(path, &[("host", host)]).found_with(&settings);
                assert_eq!(found, Ok(Found::Ourselves), "{host} {path} {find_by:?}");
            }
        }
    }
    let absolute =
        get("http://drowse.agents.example.com/v1/leases", &[("host", "drowse.agents.example.com")]);
    assert_eq!(absolute.found_with(&settings()), Ok(Found::Ourselves));
    for other in ["drowse.example.com", "agents.example.com", "xdrowse.agents.example.com.evil", "drowse"] {
        assert_eq!(
            get("/v1/leases", &[("host", other)]).found_with(&settings()),
            Ok(Found::Nobody),
            "{other}"
        );
    }
    for other in ["xdrowse.agents.example.com", "8080--drowse.agents.example.com"] {
        assert!(get("/v1/leases", &[("host", other)]).found_with(&settings()).is_err(), "{other}");
    }
}

#[test]
fn a_request_to_drowse_itself_names_no_agent_by_its_fields() {
    let host = ("host", "drowse.agents.example.com");
    for field in [("x-sandbox-id", "echo"), ("x-sandbox-id", ""), ("x-sandbox-namespace", "default")] {
        let error = get("/v1/leases", &[host, field]).found_with(&settings()).unwrap_err();
        assert!(error.detail.contains("name one"), "{field:?}: {error}");
    }
    let off = Settings { find_by: BTreeSet::from([Style::Host]), ..settings() };
    let ignored = get("/v1/leases", &[host, ("x-sandbox-id", "echo")]);
    assert_eq!(ignored.found_with(&off), Ok(Found::Ourselves), "the fields mean nothing there");
}

#[test]
fn a_host_names_an_agent_and_maybe_a_port() {
    for (host, expected) in [
        ("echo.default.agents.example.com", "default/echo - /x?y"),
        ("echo.default.agents.example.com:8080", "default/echo - /x?y"),
        ("echo.default.agents.example.com.", "default/echo - /x?y"),
        ("echo.default.agents.example.com.:80", "default/echo - /x?y"),
        ("echo.default.agents.example.com:", "default/echo - /x?y"),
        ("ECHO.Default.Agents.Example.COM", "default/echo - /x?y"),
        ("3000--echo.default.agents.example.com", "default/echo 3000 /x?y"),
        ("65535--echo.default.agents.example.com", "default/echo 65535 /x?y"),
        ("my--agent.default.agents.example.com", "default/my--agent - /x?y"),
        ("1--2--a.default.agents.example.com", "default/2--a 1 /x?y"),
        ("echo.default.svc", "default/echo - /x?y"),
        ("echo.default.svc.cluster.local:8080", "default/echo - /x?y"),
    ] {
        let route = get("/x?y", &[("host", host)]).find().unwrap().unwrap();
        assert_eq!(short(&route), expected, "{host}");
    }
}

#[test]
fn a_host_that_is_not_about_agents_is_no_route() {
    for host in [
        "example.com",
        "agents.example.com",
        "xagents.example.com",
        "10.0.0.1:8080",
        "[::1]:8080",
        "localhost",
        "",
        "echo.default.svc.other.domain",
        "a_b.example.com",
    ] {
        assert_eq!(get("/", &[("host", host)]).find(), Ok(None), "{host}");
    }
}

#[test]
fn a_host_that_nearly_names_an_agent_is_refused() {
    for host in [
        "echo.agents.example.com",
        "a.b.c.agents.example.com",
        ".default.agents.example.com",
        "echo..agents.example.com",
        "-echo.default.agents.example.com",
        "echo-.default.agents.example.com",
        "ec_ho.default.agents.example.com",
        "0--echo.default.agents.example.com",
        "65536--echo.default.agents.example.com",
        "99999999999999999999--echo.default.agents.example.com",
        "08--echo.default.agents.example.com",
        "80--.default.agents.example.com",
        "echo.svc",
        "a.b.c.svc",
    ] {
        get("/", &[("host", host)]).find().expect_err(host);
    }
}

#[test]
fn what_is_no_host_is_refused() {
    for host in [
        "echo.default.agents.example.com..",
        "a b",
        "a,b",
        "user@echo.default.agents.example.com",
        "echo.default.agents.example.com:0",
        "echo.default.agents.example.com:65536",
        "echo.default.agents.example.com:8080x",
        "echo.default.agents.example.com:-1",
        "echo%2Edefault.agents.example.com",
        "echo.default.agents.example.com/x",
        ".",
        ".echo.example.com",
        "echo..example.com",
        ":80",
        "[]",
        "[::1",
        "[::1].",
        "[::1]x",
        "[zz]",
        "\u{fc}.default.agents.example.com",
    ] {
        get("/", &[("host", host)]).find().expect_err(host);
    }
}

#[test]
fn a_request_has_one_host() {
    let host = ("host", "echo.default.agents.example.com");
    assert!(get("/", &[]).find().is_err(), "HTTP/1.1 needs one");
    assert!(get("/", &[host, host]).find().is_err(), "even when both are equal");
    let mut old = get("/", &[]);
    old.version = Version::HTTP_10;
    assert_eq!(old.find(), Ok(None), "HTTP/1.0 needs none");
}

#[test]
fn an_absolute_target_and_the_host_agree() {
    let host = "echo.default.agents.example.com";
    let find = |uri: &str, host: &str| get(uri, &[("host", host)]).find();
    for (uri, field) in [
        (format!("http://{host}/a?b"), host.to_owned()),
        (format!("http://{host}:80/a?b"), host.to_owned()),
        (format!("http://{}/a?b", host.to_uppercase()), format!("{host}:80")),
        (format!("https://{host}./a?b"), host.to_owned()),
        (format!("https://{host}/a?b"), format!("{host}:443")),
    ] {
        assert_eq!(short(&find(&uri, &field).unwrap().unwrap()), "default/echo - /a?b", "{uri}");
    }
    assert_eq!(short(&find(&format!("http://{host}"), host).unwrap().unwrap()), "default/echo - /");
    for (rest, expected) in [("#", "/"), ("#x", "/"), ("?x", "/?x"), ("?x#y", "/?x"), ("/a#x", "/a")] {
        let route = find(&format!("http://{host}{rest}"), host).unwrap().unwrap();
        assert_eq!(route.target.as_str(), expected, "{rest}");
        // What hyper writes into the request line.
        assert_eq!(Uri::from(route.target).to_string(), expected, "{rest}");
    }
    find(&format!("http://{host}/"), "other.default.agents.example.com").expect_err("two agents");
    find(&format!("http://{host}:81/"), host).expect_err("two ports");
    find(&format!("https://{host}/"), &format!("{host}:80")).expect_err("two ports, by the scheme");
    find(&format!("ftp://{host}/"), host).expect_err("not http");
    find(&format!("http://user@{host}/"), host).expect_err("user information");
    get(&format!("http://{host}/"), &[]).find().expect_err("HTTP/1.1 needs the field all the same");
    let mut old = get(&format!("http://{host}/a"), &[]);
    old.version = Version::HTTP_10;
    assert_eq!(short(&old.find().unwrap().unwrap()), "default/echo - /a");
}

#[test]
fn headers_name_an_agent_as_the_router_has_it() {
    let host = ("host", "router.example.com");
    for (fields, expected) in [
        (vec![("x-sandbox-id", "echo")], "default/echo - /x"),
        (vec![("X-Sandbox-ID", "echo"), ("X-Sandbox-Namespace", "team-a")], "team-a/echo - /x"),
        (vec![("x-sandbox-id", "echo"), ("x-sandbox-port", "9000")], "default/echo 9000 /x"),
        (vec![("x-sandbox-id", "echo"), ("x-sandbox-port", "080")], "default/echo 80 /x"),
        (vec![("x-sandbox-id", "echo"), ("x-sandbox-port", "")], "default/echo - /x"),
        (vec![("x-sandbox-id", "echo"), ("x-sandbox-namespace", "")], "default/echo - /x"),
        (vec![("x-sandbox-id", "echo"), ("x-sandbox-pod-ip", "10.1.2.3")], "default/echo - /x"),
        (vec![("x-sandbox-id", "echo"), ("x-sandbox-pod-ip", "2001:db8::1")], "default/echo - /x"),
        (vec![("x-sandbox-id", "echo"), ("x-sandbox-pod-ip", "")], "default/echo - /x"),
        (vec![("x-sandbox-id", "echo"), ("x-sandbox-uid", "")], "default/echo - /x"),
    ] {
        let fields: Vec<_> = fields.into_iter().chain([host]).collect();
        let route = get("/x", &fields).find().unwrap().unwrap();
        assert_eq!(short(&route), expected, "{fields:?}");
        assert_eq!(route.style, Style::Header);
    }
}

#[test]
fn headers_that_are_wrong_are_refused_in_the_words_of_the_router() {
    let id = ("x-sandbox-id", "echo");
    for (fields, detail) in [
        (vec![("x-sandbox-id", "Echo")], "Invalid sandbox ID format."),
        (vec![("x-sandbox-id", "a.b")], "Invalid sandbox ID format."),
        (vec![("x-sandbox-id", "-a")], "Invalid sandbox ID format."),
        (vec![("x-sandbox-id", "\u{fc}")], "Invalid sandbox ID format."),
        (vec![id, ("x-sandbox-namespace", "a/b")], "Invalid namespace format."),
        (vec![id, ("x-sandbox-port", "0")], "Invalid port format."),
        (vec![id, ("x-sandbox-port", "65536")], "Invalid port format."),
        (vec![id, ("x-sandbox-port", "-1")], "Invalid port format."),
        (vec![id, ("x-sandbox-port", "http")], "Invalid port format."),
        (vec![id, ("x-sandbox-port", "80 ")], "Invalid port format."),
        (vec![id, ("x-sandbox-pod-ip", "localhost")], "Invalid target IP address."),
        (vec![id, ("x-sandbox-pod-ip", "169.254.169.254")], "Invalid target IP address."),
        (vec![id, ("x-sandbox-pod-ip", "0.0.0.0")], "Invalid target IP address."),
        (vec![id, ("x-sandbox-pod-ip", "fe80::1")], "Invalid target IP address."),
        (vec![id, ("x-sandbox-pod-ip", "::ffff:169.254.1.1")], "Invalid target IP address."),
        (vec![id, ("x-sandbox-pod-ip", "224.0.0.1")], "Invalid target IP address."),
        (vec![id, ("x-sandbox-pod-ip", "127.0.0.1")], "Invalid target IP address."),
        (vec![id, ("x-sandbox-pod-ip", "::1")], "Invalid target IP address."),
        (vec![id, ("x-sandbox-pod-ip", "::ffff:127.0.0.1")], "Invalid target IP address."),
        (vec![id, ("x-sandbox-pod-ip", "fe80::1%eth0")], "Invalid target IP address."),
        (vec![id, ("x-sandbox-pod-ip", "10.0.0.1"), ("x-sandbox-pod-ip", "x")], "Invalid target IP address."),
        (vec![id, id], "X-Sandbox-ID is given more than once."),
        (vec![id, ("x-sandbox-id", "")], "X-Sandbox-ID is given more than once."),
        (
            vec![id, ("x-sandbox-port", "80"), ("x-sandbox-port", "80")],
            "X-Sandbox-Port is given more than once.",
        ),
        (
            vec![id, ("x-sandbox-namespace", "a"), ("x-sandbox-namespace", "b")],
            "X-Sandbox-Namespace is given more than once.",
        ),
        (vec![id, ("x-sandbox-uid", "a"), ("x-sandbox-uid", "a")], "X-Sandbox-UID is given more than once."),
    ] {
        let fields: Vec<_> = fields.into_iter().chain([("host", "router")]).collect();
        let bad = get("/", &fields).find().unwrap_err();
        assert_eq!((bad.by_router, bad.detail.as_str()), (true, detail), "{fields:?}");
    }
}

#[test]
fn a_loopback_address_is_taken_where_agents_have_such() {
    let settings = Settings { loopback_pod_ip: true, ..settings() };
    let with_address = |address| {
        get("/", &[("host", "r"), ("x-sandbox-id", "echo"), ("x-sandbox-pod-ip", address)])
            .find_with(&settings)
            .is_ok()
    };
    for good in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "10.0.0.1"] {
        assert!(with_address(good), "{good}");
    }
    for bad in ["0.0.0.0", "::", "169.254.1.1", "fe80::1", "ff02::1"] {
        assert!(!with_address(bad), "{bad}");
    }
}

#[test]
fn a_uid_is_kept_as_it_is_where_headers_name_the_agent() {
    let uid = |fields: &[(&str, &str)]| {
        let fields: Vec<_> = fields.iter().copied().chain([("x-sandbox-uid", "ab-\u{fc}")]).collect();
        get("/p/default/echo/80/", &fields).find().unwrap().unwrap().uid
    };
    let kept = AgentUid("ab-\u{fc}".into());
    assert_eq!(uid(&[("host", "r"), ("x-sandbox-id", "echo")]), Some(kept));
    assert_eq!(uid(&[("host", "r")]), None, "the router looks at no field of a path-routed request");
    let mut broken = get("/", &[("host", "r"), ("x-sandbox-id", "echo")]);
    broken.headers.insert("x-sandbox-uid", HeaderValue::from_bytes(b"\xff").unwrap());
    assert!(broken.find().unwrap().unwrap().uid.is_some(), "what is no text is no reason to forget it");
}

#[test]
fn headers_without_an_id_are_refused_only_when_nothing_else_names_an_agent() {
    let port = ("x-sandbox-port", "80");
    let bad = get("/", &[("host", "router"), port]).find().unwrap_err();
    assert_eq!(bad.detail, "X-Sandbox-ID header is required.");
    let route = get("/", &[("host", "echo.default.agents.example.com"), port]).find().unwrap().unwrap();
    assert_eq!(short(&route), "default/echo - /");
}

#[test]
fn a_timeout_is_read_where_it_is_a_number_of_seconds() {
    for (value, expected) in [
        ("5", Some(Duration::from_secs(5))),
        ("0.5", Some(Duration::from_millis(500))),
        ("soon", None),
        ("-1", None),
        ("NaN", None),
        ("1e300", None),
    ] {
        let fields = [("host", "r"), ("x-sandbox-id", "echo"), ("x-sandbox-timeout", value)];
        assert_eq!(get("/", &fields).find().unwrap().unwrap().patience, expected, "{value}");
    }
}

#[test]
fn a_path_names_an_agent_and_passes_its_rest_on_byte_for_byte() {
    for (uri, expected) in [
        ("/p/default/echo/8080/a/b?c=d", "default/echo 8080 /a/b?c=d"),
        ("/p/default/echo/8080/", "default/echo 8080 /"),
        ("/p/default/echo/8080", "default/echo 8080 /"),
        ("/p/default/echo/8080?q", "default/echo 8080 /?q"),
        ("/p/default/echo/8080//x", "default/echo 8080 //x"),
        ("/p/default/echo/8080/../../other", "default/echo 8080 /../../other"),
        ("/p/default/echo/8080/a%2Fb%20c", "default/echo 8080 /a%2Fb%20c"),
        ("/p/default/echo/8080/p/a/b/1/", "default/echo 8080 /p/a/b/1/"),
        ("/p/default/echo/8080/a?/p/a/b/1/", "default/echo 8080 /a?/p/a/b/1/"),
        ("/p/def%61ult/ec%68o/%380%380?q=%20", "default/echo 8080 /?q=%20"),
        ("/p/default/echo/+080/", "default/echo 80 /"),
    ] {
        let route = get(uri, &[("host", "r")]).find().unwrap().unwrap();
        assert_eq!(short(&route), expected, "{uri}");
        assert_eq!(route.style, Style::Path);
    }
    for uri in
        ["/", "/x", "/p", "/p?x", "/px/default/echo/80/", "/P/default/echo/80/", "/x?/p/default/echo/80/"]
    {
        assert_eq!(get(uri, &[("host", "r")]).find(), Ok(None), "{uri}");
    }
}

#[test]
fn a_path_below_the_prefix_that_names_no_agent_is_refused_and_not_looked_for_elsewhere() {
    let form = "Path-routed request must have the form <prefix>/<namespace>/<id>/<port>/...";
    for (uri, detail) in [
        ("/p/", form),
        ("/p/?x", form),
        ("/p/default", form),
        ("/p/default/echo", form),
        ("/p/default/echo/", form),
        ("/p/default/echo?/80/", form),
        ("/p/default//80/", form),
        ("/p//default/echo/80/", form),
        ("/p/Default/Echo/0/", "Invalid namespace format."),
        ("/p/de%2Ffault/echo/80/", "Invalid namespace format."),
        ("/p/default/Echo/0/", "Invalid sandbox ID format."),
        ("/p/default/%ff/80/", "Invalid sandbox ID format."),
        ("/p/default/..%2fecho/80/", "Invalid sandbox ID format."),
        ("/p/default/echo/0/", "Invalid port format."),
        ("/p/default/echo/65536/", "Invalid port format."),
        ("/p/default/echo/http/", "Invalid port format."),
        ("/p/default/ec%6/80/", "Invalid percent-encoding in path."),
        ("/p/default/echo/%zz/", "Invalid percent-encoding in path."),
        ("/p/Default/echo/8%", "Invalid percent-encoding in path."),
    ] {
        let bad = get(uri, &[("host", "echo.default.agents.example.com")]).find().unwrap_err();
        assert_eq!((bad.by_router, bad.detail.as_str()), (true, detail), "{uri}");
    }
}

#[test]
fn two_styles_name_the_same_agent_or_the_request_is_refused() {
    let host = ("host", "echo.default.agents.example.com");
    let with_port = ("host", "90--echo.default.agents.example.com");
    let id = ("x-sandbox-id", "echo");
    let same = get("/", &[host, id]).find().unwrap().unwrap();
    assert_eq!((short(&same).as_str(), same.style), ("default/echo - /", Style::Header));
    let port_of_the_host = get("/", &[with_port, id]).find().unwrap().unwrap();
    assert_eq!(short(&port_of_the_host), "default/echo 90 /");

    for (uri, fields) in [
        ("/", vec![host, ("x-sandbox-id", "other")]),
        ("/", vec![host, id, ("x-sandbox-namespace", "other")]),
        ("/", vec![with_port, id, ("x-sandbox-port", "91")]),
        ("/p/default/other/80/", vec![host]),
        ("/p/other/echo/80/", vec![("host", "r"), id]),
        ("/p/default/echo/80/", vec![with_port]),
        ("/", vec![("host", "router.system.svc"), id]),
    ] {
        let bad = get(uri, &fields).find().expect_err(uri);
        assert!(bad.detail.contains("two"), "{bad}");
    }
}

#[test]
fn a_style_that_is_off_is_not_looked_at() {
    let only = |style| Settings { find_by: BTreeSet::from([style]), ..settings() };
    let all = get(
        "/p/c/three/80/x",
        &[("host", "two.b.agents.example.com"), ("x-sandbox-id", "one"), ("x-sandbox-namespace", "a")],
    );
    assert!(all.find().is_err());
    for (style, expected) in [
        (Style::Header, "a/one - /p/c/three/80/x"),
        (Style::Host, "b/two - /p/c/three/80/x"),
        (Style::Path, "c/three 80 /x"),
    ] {
        assert_eq!(short(&all.find_with(&only(style)).unwrap().unwrap()), expected);
    }
    assert_eq!(all.find_with(&only(Style::Service)), Ok(None));
    assert_eq!(
        all.find_with(&Settings { path_prefix: None, ..only(Style::Path) }),
        Ok(None),
        "no prefix, no style"
    );
}

#[test]
fn a_request_for_no_path_is_refused() {
    let mut star = get("*", &[("host", "echo.default.agents.example.com")]);
    star.find().expect_err("GET *");
    star.method = Method::OPTIONS;
    let bad = star.find().unwrap_err();
    assert!(bad.detail.contains("OPTIONS *"), "{bad}");
    get("example.com:80", &[("host", "example.com:80")]).find().expect_err("authority form");
    // As HTTP/2 has it: the host is beside it, and not in a field.
    for (path, is_one) in [("*", false), ("/*", true)] {
        let mut parts = Uri::from_static("http://echo.default.agents.example.com/").into_parts();
        parts.path_and_query = Some(path.parse().unwrap());
        let mut star = get("/", &[]);
        star.uri = Uri::from_parts(parts).unwrap();
        star.method = Method::OPTIONS;
        star.version = Version::HTTP_2;
        assert_eq!(star.find().is_ok(), is_one, "{path}");
    }
}

#[test]
fn the_port_is_the_requests_then_the_agents_then_the_styles() {
    let header = get("/", &[("host", "r"), ("x-sandbox-id", "echo")]).find().unwrap().unwrap();
    let host = get("/", &[("host", "echo.default.agents.example.com")]).find().unwrap().unwrap();
    let named = get("/", &[("host", "90--echo.default.agents.example.com")]).find().unwrap().unwrap();
    assert_eq!((header.port_or(None), header.port_to_probe(None)), (8888, Some(8888)));
    assert_eq!((header.port_or(Some(3000)), header.port_to_probe(Some(3000))), (3000, None));
    assert_eq!((host.port_or(None), host.port_to_probe(None)), (8080, None));
    assert_eq!((host.port_or(Some(3000)), host.port_to_probe(Some(3000))), (3000, None));
    assert_eq!((named.port_or(Some(3000)), named.port_to_probe(Some(3000))), (90, Some(90)));
}

proptest! {
    #[test]
    fn whatever_the_host_an_agent_that_is_found_is_the_one_that_is_written_there(host in "[-a-zA-Z0-9.:_@ ]{0,40}") {
        let host = format!("{host}.agents.example.com");
        if let Ok(Some(route)) = get("/", &[(HOST.as_str(), &host)]).find() {
            let port = route.port.map_or(String::new(), |port| format!("{port}--"));
            let expected = format!("{port}{}.{}.agents.example.com", route.agent.name(), route.agent.namespace());
            prop_assert_eq!(host.to_lowercase(), expected);
            prop_assert!(crate::agent::is_dns_label(route.agent.name()));
            prop_assert!(crate::agent::is_dns_label(route.agent.namespace()));
        }
    }

    #[test]
    fn whatever_the_path_its_rest_is_passed_on_as_it_is(
        port in 1..=u16::MAX, rest in "(/[A-Za-z0-9%._~!$&()*+,;=:@/-]{0,40})?([?][A-Za-z0-9%._~?/=&]{0,20})?",
    ) {
        let uri = format!("/p/ns/agent/{port}{rest}");
        let route = get(&uri, &[("host", "r")]).find().unwrap().unwrap();
        prop_assert_eq!(route.port, Some(port));
        let expected = if rest.starts_with('/') { rest } else { format!("/{rest}") };
        prop_assert_eq!(route.target.as_str(), expected);
    }
}
