//! Which configuration is in force, and what was wrong with the last file that was refused.

use std::net::SocketAddr;
use std::path::PathBuf;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::{Backend, Config};

/// What `/api/v1/config` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigState {
    /// Which file is watched.
    pub path: PathBuf,
    /// Since when what is in force is in force.
    pub since: Timestamp,
    /// What is in force.
    pub in_force: ConfigSummary,
    /// The file on disk, if it was refused; what is in force is then the one before.
    pub refused: Option<RefusedConfig>,
    /// Keys whose values in the file wait for a restart.
    #[serde(default)]
    pub needs_restart: Vec<String>,
}

/// A configuration without what may be secret (the agents' environment and arguments). What holds for one agent is
/// told by the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigSummary {
    /// What runs the agents.
    pub backend: String,
    /// How many agents the file lists.
    pub agents: usize,
    /// Where requests for agents come in.
    pub front_door: SocketAddr,
    /// The domain below which agents are found.
    pub domain: String,
    /// Where health and metrics are served.
    pub health: SocketAddr,
    /// Where this is served.
    pub admin: SocketAddr,
    /// False while all suspensions are switched off.
    pub suspend: bool,
    /// Callers that wait at most, in all.
    pub max_held: u32,
    /// Starts under way at most, in all.
    pub starts_in_flight: u32,
}

impl From<&Config> for ConfigSummary {
    fn from(config: &Config) -> Self {
        let (backend, agents) = match &config.backend {
            Backend::Process(process) => ("process", process.agents.len()),
            Backend::Kubernetes(_) => ("kubernetes", 0),
        };
        Self {
            backend: backend.to_owned(),
            agents,
            front_door: config.front_door.listen,
            domain: config.front_door.domain.clone(),
            health: config.health.listen,
            admin: config.admin.listen,
            suspend: config.suspend,
            max_held: config.limits.held,
            starts_in_flight: config.limits.starts_in_flight,
        }
    }
}

/// A configuration file that was not applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusedConfig {
    /// When.
    pub at: Timestamp,
    /// What is wrong, with line and column, and what to write instead.
    pub error: String,
}

/// Where whoever loads the configuration says how that went.
#[derive(Debug)]
pub struct ConfigBoard(ArcSwap<ConfigState>);

impl ConfigBoard {
    /// The board of a Drowse that starts with this configuration.
    pub fn new(config: &Config, now: Timestamp) -> Self {
        Self(ArcSwap::from_pointee(good(config, &[], now)))
    }

    /// A changed file was applied, but for these keys, which need a restart.
    pub fn applied(&self, config: &Config, needs_restart: &[&'static str], now: Timestamp) {
        self.0.store(good(config, needs_restart, now).into());
    }

    /// A changed file was refused.
    pub fn refused(&self, error: &str, now: Timestamp) {
        let refused = RefusedConfig { at: now, error: error.to_owned() };
        self.0.rcu(|state| ConfigState { refused: Some(refused.clone()), ..ConfigState::clone(state) });
    }

    /// How it stands.
    pub fn state(&self) -> ConfigState {
        ConfigState::clone(&self.0.load())
    }
}

fn good(config: &Config, needs_restart: &[&'static str], now: Timestamp) -> ConfigState {
    ConfigState {
        path: config.path.clone(),
        since: now,
        in_force: config.into(),
        refused: None,
        needs_restart: needs_restart.iter().map(|key| (*key).to_owned()).collect(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use super::*;

    /// A good configuration with one agent that has a secret.
    pub(crate) fn config(suspend: &str) -> Config {
        let text = format!(
            "backend: {{process: {{agents: [{{name: echo, command: [x, s3cret], port: 9101, env: {{KEY: s3cret}}}}]}}}}\n\
             suspend: {suspend}\n"
        );
        crate::config::parse(&text, Path::new("drowse.yaml")).unwrap()
    }

    #[test]
    fn a_refused_file_is_shown_until_a_good_one_comes_and_changes_nothing_in_force() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let board = ConfigBoard::new(&config("on"), at(1));
        board.refused("line 3: no", at(2));
        let state = board.state();
        assert_eq!((state.since, state.in_force.suspend), (at(1), true));
        assert_eq!(state.refused, Some(RefusedConfig { at: at(2), error: "line 3: no".to_owned() }));
        board.applied(&config("off"), &["nats"], at(4));
        let state = board.state();
        assert_eq!((state.since, state.in_force.suspend, state.refused), (at(4), false, None));
        assert_eq!(state.needs_restart, ["nats"]);
    }

    #[test]
    fn what_agents_are_started_with_is_not_shown() {
        let state = ConfigBoard::new(&config("on"), Timestamp::UNIX_EPOCH).state();
        assert_eq!(state.in_force.agents, 1);
        assert!(!serde_json::to_string(&state).unwrap().contains("s3cret"));
    }
}
