//! Requests that come by HTTP/2 and go on by HTTP/1.1, or by HTTP/2 again: what has no one meaning there is refused, and what an
//! agent gets is one whole request.

mod bodies;
mod heads;
mod recorder;
mod targets;
pub(super) mod wire;

use std::path::Path;

use drowse::policy::{Policy, Protocol};

use super::super::recorder::Recorder;
use super::super::world::{Start, World};
use super::{HOST, short};
use crate::support::read;
use wire::{End, Then};

/// A request, and what becomes of it.
struct Row {
    what: &'static str,
    /// Where it is written that it has to be so: a section of an RFC.
    rule: &'static str,
    /// A field a line, `name=value`. `{POST}` and `{GET}` are all that a request for `/a` needs, `{no NAME}` leaves one of that out.
    head: &'static str,
    then: &'static [Then],
    told: Told,
    /// As the rows of HTTP/1.1 have it.
    heard: &'static [&'static str],
    /// Or nobody hears of it.
    perhaps: bool,
}

/// What its caller is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    /// An answer.
    Status(u16),
    /// That its stream is in error.
    Reset,
    /// That its connection is: nobody knows any more what the fields of the next request would be (RFC 7541 §2.2).
    Closed,
}

const OK: Told = Told::Status(200);

/// A request for `/a` that is passed on.
const fn good(
    what: &'static str,
    rule: &'static str,
    fields: &'static str,
    then: &'static [Then],
    heard: &'static [&'static str],
) -> Row {
    Row { what, rule, head: fields, then, told: OK, heard, perhaps: false }
}

/// Of a request that is refused no agent hears, or no more than the beginning.
const fn bad(
    what: &'static str,
    rule: &'static str,
    head: &'static str,
    then: &'static [Then],
    told: Told,
) -> Row {
    Row { what, rule, head, then, told, heard: &[], perhaps: false }
}

/// One that goes wrong when all that belongs to it may have been passed on.
const fn late(
    what: &'static str,
    rule: &'static str,
    fields: &'static str,
    then: &'static [Then],
    heard: &'static [&'static str],
) -> Row {
    Row { what, rule, head: fields, then, told: Told::Reset, heard, perhaps: true }
}

/// The fields that the head of a row stands for.
fn spelled_out(head: &str) -> String {
    let mut lines = Vec::new();
    for line in head.lines() {
        let all = |method| {
            [
                format!(":method={method}"),
                ":scheme=http".into(),
                ":path=/a".into(),
                format!(":authority={NAME}"),
            ]
        };
        match line {
            "{POST}" => lines.extend(all("POST")),
            "{GET}" => lines.extend(all("GET")),
            "{many}" => lines.extend((0..100).map(|number| format!("x{number}={}", "x".repeat(1000)))),
            "{most}" => lines.extend((0..1000).map(|number| format!("x{number}={}", "x".repeat(1000)))),
            line => match line.strip_prefix("{no ").and_then(|line| line.strip_suffix('}')) {
                Some(name) => lines.retain(|line| !line.starts_with(&format!("{name}="))),
                None => lines.push(line.replace("{H}", NAME)),
            },
        }
    }
    lines.join("\n")
}

/// The name in [`HOST`].
const NAME: &str = "echo.default.agents.localhost";

async fn told(world: &World, row: &Row) -> Told {
    let answer = wire::ask(world.address, &spelled_out(row.head), row.then).await;
    match (answer.statuses[..].last(), answer.end) {
        (Some(status), _) => Told::Status(*status),
        (None, End::Reset) => Told::Reset,
        (None, End::Closed | End::Whole) => Told::Closed,
    }
}

/// The beginning of a request that is cut off is no request.
fn is_cut(odd: &str) -> bool {
    odd.starts_with("a part of a request: \"")
}

/// The key of a WebSocket is made up.
fn without_key(heard: &str) -> String {
    match heard.split_once("sec-websocket-key: ") {
        // 16 bytes in base64 (RFC 6455 §4.1).
        Some((before, rest)) if !rest.starts_with("evil") => {
            format!("{before}sec-websocket-key: KEY{}", &rest[24..])
        }
        _ => heard.to_owned(),
    }
}

/// What only HTTP/1.1 has to say.
fn without_framing(heard: &str) -> String {
    let heard = heard.replace("transfer-encoding: chunked", "").replace("connection: te", "");
    heard.replace(", ]", "]").replace("[, ", "[").replace(", , ", ", ")
}

async fn check(protocol: Protocol, rows: &[Row]) {
    let (recorder, port) = match protocol {
        Protocol::Http1 => Recorder::listen().await,
        Protocol::H2c => recorder::listen().await,
    };
    let policy = Policy { protocol, ..Start::default().policy };
    let world = World::start(port, Start { policy, ..Start::default() }).await;
    world.until_running().await;
    let mut wrong = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let told = told(&world, row).await;
        let after = format!("/after/{number}");
        let good = world.ask(&format!("GET {after} HTTP/1.1\n{HOST}\nConnection: close\n\n")).await;
        let (heard, mut odd) = recorder.up_to(&after).await;
        odd.retain(|odd| !is_cut(odd));
        let heard: Vec<_> = heard.iter().map(|heard| without_key(&short(heard))).collect();
        let mut expected: Vec<_> = row.heard.iter().map(|it| (*it).to_owned()).collect();
        expected.push(format!("GET {after} [] "));
        if protocol == Protocol::H2c {
            expected = expected.iter().map(|heard| without_framing(heard)).collect();
        }
        if row.perhaps && heard.len() == 1 {
            expected.remove(0);
        }
        if told != row.told || heard != expected || !odd.is_empty() || !good.starts_with("HTTP/1.1 200 ") {
            wrong.push(format!(
                "{} ({}): {:?}\n  told {told:?} instead of {:?}, heard {heard:?}, odd {odd:?}",
                row.what, row.rule, row.head, row.told
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

/// Before an agent that speaks HTTP/1.1, and before one that speaks HTTP/2.
macro_rules! tables {
    ($($name:ident: $($rows:path),+;)*) => {
        mod before_http1 {
            use super::*;
            $(#[tokio::test] async fn $name() { $(check(Protocol::Http1, $rows).await;)+ })*
        }
        mod before_h2c {
            use super::*;
            $(#[tokio::test] async fn $name() { $(check(Protocol::H2c, $rows).await;)+ })*
        }
    };
}

tables! {
    a_length_is_one_plain_number_and_that_of_the_body: bodies::LENGTHS;
    trailers_decide_nothing: bodies::TRAILERS;
    no_field_is_about_the_connection: heads::CONNECTION;
    a_field_is_a_token_and_plain_text: heads::FIELDS;
    all_of_a_head_is_passed_on_once: heads::MANY;
    pseudo_fields_come_first_and_once: targets::PSEUDO;
    a_request_is_for_one_host: targets::HOSTS;
    a_target_is_a_path: targets::PATHS;
    a_method_is_a_token: targets::METHODS;
}

#[tokio::test]
async fn a_stream_becomes_a_tunnel_only_if_the_agent_makes_it_one() {
    check(Protocol::Http1, targets::TUNNELS).await;
}

#[test]
fn every_rule_is_in_the_table_of_the_documentation() {
    let text = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/routing.md"));
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with("| RFC ")).collect();
    let tables = [
        bodies::LENGTHS,
        bodies::TRAILERS,
        heads::CONNECTION,
        heads::FIELDS,
        heads::MANY,
        targets::PSEUDO,
        targets::HOSTS,
        targets::PATHS,
        targets::METHODS,
        targets::TUNNELS,
    ];
    for row in tables.into_iter().flatten() {
        let Some((document, section)) = row.rule.split_once(" §") else {
            assert_eq!(row.rule, "docs/routing.md", "{}", row.what);
            continue;
        };
        let names = |line: &&str| {
            let sections = line.split(['§', ' ', ',', ')', ';']);
            line.contains(document) && sections.into_iter().any(|other| other == section)
        };
        assert!(lines.iter().any(names), "{}: {} is not in docs/routing.md", row.what, row.rule);
    }
}
