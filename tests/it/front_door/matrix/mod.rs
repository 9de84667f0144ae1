//! Every form of every field that says which agent is meant, or who calls: byte for byte to the real program before real
//! agents, row by row. docs/routing.md has the rules, in the same words.

mod fields;
mod host;
mod identity;
mod path;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Agent, Drowse, PATIENCE, http, read};

/// One sentence of docs/routing.md, and requests that show that it holds. In a head lines end in `\n`, and `{echo}`, `{other}`
/// and `{team}` are ports of agents, `{long}` a label that is too long by one. What ends a head is not written.
struct Rule(&'static str, &'static [(&'static str, Then)]);

/// What becomes of a request.
#[derive(Clone, Copy)]
enum Then {
    /// It gets this status, and wakes nobody.
    Refused(u16),
    /// It is answered by this agent, who sees this: a `/target`, a `name: value`, and no field of a `!name`.
    Reaches(&'static str, &'static [&'static str]),
}

const RULES: [&[Rule]; 4] = [host::RULES, fields::RULES, path::RULES, identity::RULES];

/// A front door at which all ways to name an agent are on, before three agents of which two have one name.
struct World {
    drowse: Drowse,
    /// What stands for the ports of the agents.
    ports: [(&'static str, u16); 3],
}

impl World {
    async fn start() -> Self {
        let in_team = Agent { namespace: Some("team".to_owned()), ..Agent::demo("echo") };
        let agents = [Agent::demo("echo"), Agent::demo("other"), in_team];
        let ports = [("{echo}", agents[0].port), ("{other}", agents[1].port), ("{team}", agents[2].port)];
        let all = "find_by: [header, host, path, service], path_prefix: /p, ";
        Self { drowse: Drowse::start_door(&agents, "idle_timeout: 1h", all).await, ports }
    }

    fn fill_in(&self, text: &str) -> String {
        let filled = self
            .ports
            .iter()
            .fold(text.to_owned(), |text, (name, port)| text.replace(name, &port.to_string()));
        filled.replace("{long}", &"x".repeat(64))
    }

    /// The status of the answer, and its body.
    async fn ask(&self, head: &str) -> (u16, String) {
        let head = self.fill_in(head);
        let (first, fields) = head.split_once('\n').unwrap_or((&head, ""));
        let version = if first.contains(" HTTP/") { "" } else { " HTTP/1.1" };
        let request =
            format!("{first}{version}\n{fields}\nConnection: close\n\n").replace("\n\nConn", "\nConn");
        let mut stream = TcpStream::connect(self.drowse.front).await.unwrap();
        stream.write_all(request.replace('\n', "\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        read.unwrap_or_else(|_| panic!("no end of an answer to {request:?}")).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{request:?}: {answer:?}"));
        (head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default(), body.to_owned())
    }

    /// Agents that do not sleep.
    async fn awake(&self) -> Vec<String> {
        let answer = http::get(self.drowse.admin, "127.0.0.1", "/api/v1/agents").await.unwrap().json();
        let agents = answer.as_array().unwrap_or_else(|| panic!("{answer}")).clone();
        assert_eq!(agents.len(), 3, "{answer}");
        agents.iter().filter(|agent| agent["phase"] != "Suspended").map(ToString::to_string).collect()
    }
}

/// What is wrong with what an agent saw.
fn check(seen: &Value, agent: &str, expected: &[String]) -> Vec<String> {
    let fields: Vec<String> = seen["headers"].as_array().into_iter().flatten().map(line).collect();
    let is_so = |expected: &&String| match expected.split_at(1) {
        ("/", _) => seen["target"] == ***expected,
        ("!", name) => !fields.iter().any(|field| field.starts_with(&format!("{name}: "))),
        _ => fields.iter().filter(|field| field == expected).count() == 1,
    };
    let wrong = expected.iter().filter(|expected| !is_so(expected));
    let mut wrong: Vec<String> = wrong.map(|wrong| format!("not so: {wrong}")).collect();
    if seen["agent"] != agent {
        wrong.push(format!("reached {}", seen["agent"]));
    }
    if fields.iter().any(|field| field.contains("evil")) {
        wrong.push("the agent was shown evil".to_owned());
    }
    wrong
}

fn line(field: &Value) -> String {
    format!("{}: {}", field[0].as_str().unwrap_or_default(), field[1].as_str().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_every_field_does_what_its_rule_says() {
    let world = World::start().await;
    let rows: Vec<_> =
        RULES.into_iter().flatten().flat_map(|rule| rule.1.iter().map(|row| (rule.0, row))).collect();
    let mut wrong = Vec::new();
    for (rule, (head, then)) in &rows {
        let Then::Refused(expected) = then else { continue };
        let (status, body) = world.ask(head).await;
        if status != *expected {
            wrong.push(format!("{head:?}: {status} instead of {expected}, by: {rule}\n  {body}"));
        }
    }
    assert_eq!(world.awake().await, Vec::<String>::new(), "what is refused wakes nobody");
    for (rule, (head, then)) in &rows {
        let Then::Reaches(agent, expected) = then else { continue };
        let expected: Vec<_> = expected.iter().map(|line| world.fill_in(line)).collect();
        let (status, body) = world.ask(head).await;
        let seen = serde_json::from_str(&body).unwrap_or_default();
        let not_so = check(&seen, agent, &expected);
        if status != 200 || !not_so.is_empty() {
            wrong.push(format!("{head:?}: {status}, {not_so:?}, by: {rule}\n  {body}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[test]
fn the_rules_are_those_that_are_written_down() {
    let text = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/routing.md"));
    let items = text.lines().filter_map(|line| line.strip_prefix("- "));
    let written: BTreeSet<&str> = items.collect();
    let tested: BTreeSet<&str> = RULES.into_iter().flatten().map(|rule| rule.0).collect();
    assert_eq!(
        tested.difference(&written).collect::<Vec<_>>(),
        Vec::<&&str>::new(),
        "not written in docs/routing.md"
    );
    assert_eq!(written.difference(&tested).collect::<Vec<_>>(), Vec::<&&str>::new(), "without a row");
    for rule in RULES.into_iter().flatten() {
        assert!(!rule.1.is_empty(), "{}", rule.0);
    }
}
