//! `drowse explain`: everything about one agent, in the order in which one asks at three in the morning.

use std::fmt::Write;

use jiff::Timestamp;

use super::args::Explain;
use super::client::Client;
use super::failure::Failure;
use super::print;
use super::status::{wall, warnings};
use super::table::Table;
use super::text::{lasting, lines, moment, plain};
use crate::engine::snapshot::{AgentDetail, ElsewhereView, FailureView, PolicyKeyView};
use crate::lifecycle::PhaseName;

pub(super) async fn explain(args: &Explain) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    let detail: AgentDetail = client.get(&format!("/api/v1/agents/{}", args.agent)).await?;
    print(&(render(&detail, wall()) + &warnings(&client).await?))
}

fn render(detail: &AgentDetail, now: Timestamp) -> String {
    let agent = &detail.agent;
    let mut page = format!(
        "{}/{} is {} for {}\n  {}\n",
        agent.namespace,
        agent.name,
        agent.phase.as_str(),
        lasting(now, agent.since),
        plain(&agent.reason)
    );
    for (title, body) in [
        (String::new(), facts(detail, now)),
        failure(detail, now),
        ("What keeps it up\n".to_owned(), signals(detail, now)),
        ("Its last log lines\n".to_owned(), lines("  | ", detail.log.iter().map(String::as_str))),
        ("Policy\n".to_owned(), policy(&detail.policy)),
    ] {
        if !body.is_empty() {
            // Writing to a String cannot fail.
            let _ = write!(page, "\n{title}{body}");
        }
    }
    page
}

/// What is so, a line each.
fn facts(detail: &AgentDetail, now: Timestamp) -> String {
    let agent = &detail.agent;
    let mut table = Table::new();
    let mut fact = |name: &str, value: String| table.row([name.to_owned(), value]);
    fact("in flight", agent.in_flight.to_string());
    fact("held", agent.held.to_string());
    fact(
        "last activity",
        agent.last_activity.map_or_else(|| "none seen".to_owned(), |then| moment(now, then)),
    );
    if let Some(then) = agent.idle_deadline {
        fact("suspends", format!("{}, if nothing happens", moment(now, then)));
    }
    if let Some(address) = &detail.address {
        fact("address", address.clone());
    }
    if !detail.subjects.is_empty() {
        let taken = if detail.subscribed { "subscribed" } else { "nobody subscribes" };
        fact("messages", format!("{}: {taken}, {} wait", detail.subjects.join(", "), agent.messages_waiting));
    }
    if detail.open_connections > 0 {
        let data = detail
            .last_data
            .map_or_else(|| "no data yet".to_owned(), |then| format!("last data {}", moment(now, then)));
        fact("open connections", format!("{}, {data}", detail.open_connections));
    }
    for lease in &detail.leases {
        let why = if lease.reason.is_empty() { "no reason given" } else { &lease.reason };
        fact(
            "busy lease",
            format!("{}, until {}: {}", plain(&lease.id), moment(now, lease.until), plain(why)),
        );
    }
    for share in &detail.elsewhere {
        fact("elsewhere", elsewhere(share, now));
    }
    for silent in &detail.silent {
        let value = format!("nothing was heard for {}; it may use the agent", lasting(now, silent.since));
        fact("elsewhere", format!("{}: {value}", plain(&silent.replica)));
    }
    if let Some(key) = &detail.decided_by {
        fact("decided by", format!("{}: {}, {}", key.key, key.value, key.from));
    }
    table.render("  ")
}

/// One replica's part.
fn elsewhere(share: &ElsewhereView, now: Timestamp) -> String {
    let counts = [
        (share.in_flight, "in flight"),
        (share.held, "held"),
        (share.messages_waiting, "messages wait"),
        (share.open_connections, "open connections"),
    ];
    let mut parts: Vec<_> =
        counts.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if let Some(then) = share.last_activity {
        let source = share.source.as_deref().unwrap_or("activity");
        parts.push(format!("last active {} ({})", moment(now, then), plain(source)));
    }
    if parts.is_empty() {
        parts.push("not in use".to_owned());
    }
    format!("{}: {}", plain(&share.replica), parts.join(", "))
}

fn failure(detail: &AgentDetail, now: Timestamp) -> (String, String) {
    let Some(FailureView { class, detail: seen, attempts, retry_at }) = &detail.failure else {
        return Default::default();
    };
    let times = if *attempts == 1 { "once".to_owned() } else { format!("{attempts} times in a row") };
    let next = match (retry_at, detail.agent.phase) {
        (Some(then), _) if *then > now => format!("next attempt {}", moment(now, *then)),
        (_, PhaseName::Resuming) => "the next attempt is under way".to_owned(),
        (_, PhaseName::Running) => "it is up again".to_owned(),
        // Whether a call starts it is said beside its phase.
        _ => String::new(),
    };
    (format!("It failed {times}: {class}\n"), lines("  ", seen.lines()) + &lines("  ", next.lines()))
}

fn signals(detail: &AgentDetail, now: Timestamp) -> String {
    let mut table = Table::new();
    for signal in &detail.signals {
        let keeps = match (signal.active, signal.until) {
            (false, _) => "no".to_owned(),
            (true, None) => "yes".to_owned(),
            (true, Some(then)) => format!("yes, until {}", moment(now, then)),
        };
        table.row([signal.source.clone(), keeps, signal.says.clone()]);
    }
    table.render("  ")
}

pub(super) fn policy(keys: &[PolicyKeyView]) -> String {
    if keys.is_empty() {
        return String::new();
    }
    let mut table = Table::with_head(&["KEY", "VALUE", "FROM"]);
    for key in keys {
        table.row([key.key.clone(), key.value.clone(), key.from.clone()]);
    }
    table.render("  ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::snapshot::{AgentView, SignalView, SilentView};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn detail(phase: PhaseName, reason: &str) -> AgentDetail {
        let key = |key: &str, value: &str, from: &str| PolicyKeyView {
            key: key.to_owned(),
            value: value.to_owned(),
            from: from.to_owned(),
        };
        AgentDetail {
            agent: AgentView {
                namespace: "default".to_owned(),
                name: "echo".to_owned(),
                phase,
                since: at(800),
                last_activity: None,
                in_flight: 0,
                held: 0,
                messages_waiting: 0,
                idle_deadline: None,
                reason: reason.to_owned(),
                managed: true,
            },
            signals: Vec::new(),
            leases: Vec::new(),
            subjects: Vec::new(),
            subscribed: false,
            open_connections: 0,
            last_data: None,
            elsewhere: Vec::new(),
            silent: Vec::new(),
            failure: None,
            address: None,
            log: Vec::new(),
            policy: vec![
                key("manage", "true", "built in"),
                key("idle_timeout", "1m", "rules[2] (line 41)"),
                key("resume_deadline", "5m", "defaults"),
            ],
            decided_by: None,
            recent: Vec::new(),
            refusals: Vec::new(),
        }
    }

    #[test]
    fn a_running_agent_shows_what_keeps_it_up_until_when_and_which_rule_says_so() {
        let mut detail = detail(PhaseName::Running, "last request 12s ago; idle in 48s");
        detail.agent.last_activity = Some(at(988));
        detail.agent.idle_deadline = Some(at(1_048));
        detail.address = Some("127.0.0.1:9101".to_owned());
        detail.subjects = vec!["agents.default.echo.>".to_owned()];
        detail.agent.messages_waiting = 3;
        detail.decided_by = Some(detail.policy[1].clone());
        let signal = |source: &str, says: &str, until, active| SignalView {
            source: source.to_owned(),
            says: says.to_owned(),
            until,
            active,
        };
        detail.signals = vec![
            signal("requests", "last request 12s ago", Some(at(1_048)), true),
            signal("min_running", "stays up 1m after a start", None, false),
        ];
        let expected = "\
default/echo is Running for 3m20s (since 1970-01-01 00:13:20Z)
  last request 12s ago; idle in 48s

  in flight       0
  held            0
  last activity   12s ago (1970-01-01 00:16:28Z)
  suspends        in 48s (1970-01-01 00:17:28Z), if nothing happens
  address         127.0.0.1:9101
  messages        agents.default.echo.>: nobody subscribes, 3 wait
  decided by      idle_timeout: 1m, rules[2] (line 41)

What keeps it up
  requests      yes, until in 48s (1970-01-01 00:17:28Z)   last request 12s ago
  min_running   no                                         stays up 1m after a start

Policy
  KEY               VALUE   FROM
  manage            true    built in
  idle_timeout      1m      rules[2] (line 41)
  resume_deadline   5m      defaults
";
        assert_eq!(render(&detail, at(1_000)), expected);
    }

    #[test]
    fn what_other_replicas_have_of_it_is_named_and_who_is_not_heard_of_too() {
        let mut detail = detail(PhaseName::Running, "1 request in flight at drowse-b");
        let share = |replica: &str, in_flight, last_activity, source: Option<&str>| ElsewhereView {
            replica: replica.to_owned(),
            in_flight,
            held: 0,
            messages_waiting: 0,
            open_connections: in_flight * 2,
            last_activity,
            source: source.map(str::to_owned),
            heard: at(999),
        };
        detail.elsewhere =
            vec![share("drowse-b", 1, Some(at(988)), Some("requests")), share("drowse-c", 0, None, None)];
        detail.silent = vec![SilentView { replica: "drowse-d".to_owned(), since: at(940) }];
        let page = render(&detail, at(1_000));
        let expected = "
  elsewhere       drowse-b: 1 in flight, 2 open connections, last active 12s ago (1970-01-01 00:16:28Z) (requests)
  elsewhere       drowse-c: not in use
  elsewhere       drowse-d: nothing was heard for 60s (since 1970-01-01 00:15:40Z); it may use the agent
";
        assert!(page.contains(expected), "{page}");
    }

    #[test]
    fn a_failed_agent_shows_the_failure_the_next_attempt_and_its_last_words_first() {
        let mut detail = detail(PhaseName::Failed, "crash: exit status 1; the next attempt is made in 12s");
        detail.failure = Some(FailureView {
            class: "crash".to_owned(),
            detail: "exit status 1".to_owned(),
            attempts: 3,
            retry_at: Some(at(1_012)),
        });
        detail.log = vec!["panic: \u{1b}[31mno database".to_owned()];
        let page = render(&detail, at(1_000));
        let expected = "
It failed 3 times in a row: crash
  exit status 1
  next attempt in 12s (1970-01-01 00:16:52Z)

Its last log lines
  | panic: \\u{1b}[31mno database

Policy
";
        assert!(page.contains(expected), "{page}");
    }
}
