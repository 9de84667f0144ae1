//! Whom a request is for: whatever its head, it is one agent that every style names or none, and what that agent gets is a
//! target that reads the same again.

#![no_main]

mod head;

use std::collections::BTreeSet;

use drowse::agent::is_dns_label;
use drowse::proxy::route::{self, BadRoute, Found, NO_ID, Route};
use drowse::proxy::{Settings, Style};
use head::Head;
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};
use libfuzzer_sys::fuzz_target;

const STYLES: [Style; 4] = [Style::Header, Style::Host, Style::Path, Style::Service];

// The first byte says which styles are on.
fuzz_target!(|input: &[u8]| {
    let Some((styles, text)) = input.split_first() else { return };
    let Some(head) = head::read(text) else { return };
    let on: Vec<_> = STYLES.into_iter().enumerate().filter(|(bit, _)| styles & (1 << bit) != 0).collect();
    let settings = settings(on.into_iter().map(|(_, style)| style));

    let found = find(&settings, &head);
    if let Ok(Found::Agent(route)) = &found {
        assert!(is_dns_label(route.agent.name()) && is_dns_label(route.agent.namespace()));
        assert_ne!(route.port, Some(0));
        assert!(settings.find_by.contains(&route.style));
        check_target(route);
        check_each_style(&settings, &head, route);
        check_normal_forms(route);
    }
    check_spelling(&settings, &head, &found);
});

fn settings(styles: impl IntoIterator<Item = Style>) -> Settings {
    Settings {
        domain: "d.io".to_owned(),
        find_by: styles.into_iter().collect::<BTreeSet<_>>(),
        path_prefix: Some("/p".to_owned()),
        cluster_domain: "c.io".to_owned(),
        ..Settings::default()
    }
}

fn find(settings: &Settings, head: &Head) -> Result<Found, BadRoute> {
    let Head { method, uri, version, headers } = head;
    route::find(settings, route::Head { method, uri, version: *version, headers })
}

/// It is one line, and what the next parser makes of it is the same.
fn check_target(route: &Route) {
    let target = route.target.as_str();
    assert!(target.starts_with('/'));
    assert!(!target.bytes().any(|byte| byte <= b' ' || byte == 0x7f || byte == b'#'), "{target:?}");
    let again: Uri = target.parse().expect("a target is a URI");
    assert!(again.authority().is_none() && again.path_and_query() == Some(&route.target));
}

/// Each style that is on names this agent when it is asked alone, or nobody.
fn check_each_style(settings: &Settings, head: &Head, route: &Route) {
    let mut somebody = false;
    for style in &settings.find_by {
        match find(&self::settings([*style]), head) {
            Ok(Found::Agent(alone)) => {
                somebody = true;
                assert_eq!(alone.agent, route.agent, "{style:?} names another");
                assert!(alone.port.is_none() || alone.port == route.port, "{style:?} names another port");
            }
            Ok(Found::Nobody) => {}
            Ok(Found::Ourselves) => panic!("{style:?} takes it for ours"),
            Err(bad) => assert_eq!(bad.detail, NO_ID, "{style:?} refuses it alone"),
        }
    }
    assert!(somebody);
}

/// Written in the plainest way in the other styles, it is the same.
fn check_normal_forms(route: &Route) {
    let (name, namespace, target) = (route.agent.name(), route.agent.namespace(), &route.target);
    let fields = [("x-sandbox-id", name), ("x-sandbox-namespace", namespace)];
    let port = route.port.map(|port| port.to_string());
    let with_port = port.as_deref().map(|port| ("x-sandbox-port", port));
    let fields = fields.into_iter().chain(with_port).chain([("host", "r")]);
    // A path below the prefix would name an agent of its own.
    check_form(&[Style::Header], target.as_str(), fields, route);
    if let Some(port) = &port {
        let path = format!("/p/{namespace}/{name}/{port}{target}");
        check_form(&[Style::Path], &path, [("host", "r")].into_iter(), route);
        let host = format!("{port}--{name}.{namespace}.d.io");
        check_form(&[Style::Host], target.as_str(), [("host", host.as_str())].into_iter(), route);
    }
}

fn check_form<'a>(
    styles: &[Style],
    target: &str,
    fields: impl Iterator<Item = (&'static str, &'a str)>,
    route: &Route,
) {
    let value = |value: &str| HeaderValue::from_str(value).expect("a value");
    let headers: HeaderMap = fields.map(|(name, text)| (HeaderName::from_static(name), value(text))).collect();
    // HTTP limits the length of a target, which the prefix has made longer.
    let Ok(uri) = target.parse() else { return };
    let head = Head { method: Method::GET, uri, version: Version::HTTP_11, headers };
    match find(&settings(styles.iter().copied()), &head) {
        Ok(Found::Agent(again)) => {
            assert_eq!((&again.agent, again.port, &again.target), (&route.agent, route.port, &route.target));
        }
        other => panic!("{styles:?}: {other:?} instead of {route:?}"),
    }
}

/// The case of a host and the order of fields mean nothing.
fn check_spelling(settings: &Settings, head: &Head, found: &Result<Found, BadRoute>) {
    let mut headers = HeaderMap::new();
    let fields: Vec<_> = head.headers.iter().collect();
    for (name, value) in fields.into_iter().rev() {
        let upper = value.to_str().ok().and_then(|text| text.to_ascii_uppercase().try_into().ok());
        let value = if *name == HOST { upper.unwrap_or(value.clone()) } else { value.clone() };
        headers.append(name.clone(), value);
    }
    let other = Head { headers, method: head.method.clone(), uri: head.uri.clone(), version: head.version };
    match (found, find(settings, &other)) {
        (Ok(Found::Agent(one)), Ok(Found::Agent(mut two))) => {
            // Of several the first counts.
            two.patience = one.patience;
            assert_eq!(*one, two);
        }
        (Ok(one), Ok(two)) => assert_eq!(*one, two),
        (one, two) => assert_eq!(one.is_ok(), two.is_ok(), "{one:?} and {two:?}"),
    }
}
