//! `drowse status`: the agents, a line each.

use jiff::Timestamp;
use serde::Serialize;

use super::args::{Output, Status};
use super::client::{Client, ClientError};
use super::failure::Failure;
use super::print;
use super::table::Table;
use super::text::{lines, relative};
use crate::admin::ConfigState;
use crate::engine::snapshot::{AgentDetail, AgentView};
use crate::lifecycle::PhaseName;
use crate::time::Clock;

pub(super) async fn status(args: &Status) -> Result<(), Failure> {
    let client = Client::new(&args.server)?;
    match (&args.agent, args.output) {
        (Some(key), Output::Json) => {
            print_json(&client.get::<AgentDetail>(&format!("/api/v1/agents/{key}")).await?)
        }
        (None, Output::Json) => print_json(&client.get::<Vec<AgentView>>("/api/v1/agents").await?),
        (Some(key), Output::Table) => {
            let detail: AgentDetail = client.get(&format!("/api/v1/agents/{key}")).await?;
            print(&table(&[detail.agent], wall()))
        }
        (None, Output::Table) => {
            let agents: Vec<AgentView> = client.get("/api/v1/agents").await?;
            print(&(table(&agents, wall()) + &summary(&agents) + &warnings(&client).await?))
        }
    }
}

/// What the calendar says now.
pub(super) fn wall() -> Timestamp {
    let clock = Clock::start();
    clock.wall(clock.now())
}

/// What of the configuration on disk is not in force, if anything.
pub(super) async fn warnings(client: &Client) -> Result<String, ClientError> {
    let state: ConfigState = client.get("/api/v1/config").await?;
    Ok(warnings_of(&state, wall()))
}

fn warnings_of(state: &ConfigState, now: Timestamp) -> String {
    let refused = state.refused.as_ref().map(|refused| {
        format!(
            "\nThe configuration file on disk was refused {}; the one before it is in force:\n{}",
            relative(now, refused.at),
            lines("  ", refused.error.lines())
        )
    });
    let waits = (!state.needs_restart.is_empty()).then(|| {
        format!(
            "\nThe configuration file has values that wait for a restart: {}\n",
            state.needs_restart.join(", ")
        )
    });
    [refused, waits].into_iter().flatten().collect()
}

fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    print(&serde_json::to_string_pretty(value).map_err(Failure::runtime)?)
}

fn table(agents: &[AgentView], now: Timestamp) -> String {
    let mut table =
        Table::with_head(&["AGENT", "PHASE", "SINCE", "ACTIVE", "IN FLIGHT", "HELD", "SUSPENDS", "WHY"]);
    let or_dash =
        |moment: Option<Timestamp>| moment.map_or_else(|| "-".to_owned(), |then| relative(now, then));
    for agent in agents {
        table.row([
            format!("{}/{}", agent.namespace, agent.name),
            agent.phase.as_str().to_owned(),
            relative(now, agent.since),
            or_dash(agent.last_activity),
            agent.in_flight.to_string(),
            agent.held.to_string(),
            or_dash(agent.idle_deadline),
            agent.reason.clone(),
        ]);
    }
    table.render("")
}

/// `3 agents: 1 Running, 2 Suspended`.
fn summary(agents: &[AgentView]) -> String {
    let count = |phase| agents.iter().filter(|agent| agent.phase == phase).count();
    let by_phase = PhaseName::ALL.into_iter().map(|phase| (count(phase), phase));
    let parts: Vec<_> = by_phase
        .filter(|(count, _)| *count > 0)
        .map(|(count, phase)| format!("{count} {}", phase.as_str()))
        .collect();
    match agents.len() {
        0 => "No agents are known. With the process backend they are listed in the configuration; on Kubernetes they are the Sandboxes of \
              the namespaces that it looks at, once it is ready (/readyz).\n".to_owned(),
        1 => String::new(),
        all => format!("{all} agents: {}\n", parts.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::RefusedConfig;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn agent(name: &str, phase: PhaseName) -> AgentView {
        AgentView {
            namespace: "default".to_owned(),
            name: name.to_owned(),
            phase,
            since: at(800),
            last_activity: None,
            in_flight: 0,
            held: 0,
            messages_waiting: 0,
            idle_deadline: None,
            reason: "suspended by Drowse; the next call resumes it".to_owned(),
            managed: true,
        }
    }

    #[test]
    fn agents_are_shown_in_aligned_columns_with_times_seen_from_now() {
        let running = AgentView {
            last_activity: Some(at(988)),
            in_flight: 12,
            idle_deadline: Some(at(1_048)),
            reason: "12 requests in flight".to_owned(),
            ..agent("a-long-name", PhaseName::Running)
        };
        let shown = table(&[running, agent("echo", PhaseName::Suspended)], at(1_000));
        let expected = "\
AGENT                 PHASE       SINCE       ACTIVE    IN FLIGHT   HELD   SUSPENDS   WHY
default/a-long-name   Running     3m20s ago   12s ago   12          0      in 48s     12 requests in flight
default/echo          Suspended   3m20s ago   -         0           0      -          suspended by Drowse; the next call resumes it
";
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_list_ends_with_how_many_agents_are_in_which_phase() {
        let agents = [
            agent("a", PhaseName::Suspended),
            agent("b", PhaseName::Running),
            agent("c", PhaseName::Suspended),
        ];
        assert_eq!(summary(&agents), "3 agents: 1 Running, 2 Suspended\n");
        assert!(summary(&[]).starts_with("No agents are known."));
    }

    #[test]
    fn a_configuration_that_is_not_in_force_is_warned_of_and_a_good_one_is_not() {
        let config = crate::admin::config_state::tests::config("on");
        let mut state = crate::admin::ConfigBoard::new(&config, at(1)).state();
        assert_eq!(warnings_of(&state, at(1_000)), "");
        state.refused = Some(RefusedConfig { at: at(990), error: "drowse.yaml:3:1: no\n  3 | x".to_owned() });
        state.needs_restart = vec!["nats".to_owned(), "admin.listen".to_owned()];
        let warning = warnings_of(&state, at(1_000));
        assert!(
            warning.contains("refused 10s ago") && warning.contains("\n  drowse.yaml:3:1: no\n"),
            "{warning}"
        );
        assert!(warning.contains("wait for a restart: nats, admin.listen\n"), "{warning}");
    }
}
