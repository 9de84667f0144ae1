//! Which configuration is in force, and what was wrong with the last file that was refused.

use std::path::{Path, PathBuf};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What `/api/v1/config` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigState {
    /// Which file is watched.
    pub path: PathBuf,
    /// Since when what is in force is in force.
    pub since: Timestamp,
    /// The configuration in force. The configuration names files with secrets, and holds none.
    pub in_force: serde_json::Value,
    /// The file on disk, if it was refused; what is in force is then the one before.
    pub refused: Option<RefusedConfig>,
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
    pub fn new(path: &Path, now: Timestamp, in_force: serde_json::Value) -> Self {
        Self(ArcSwap::from_pointee(ConfigState {
            path: path.to_owned(),
            since: now,
            in_force,
            refused: None,
        }))
    }

    /// A changed file was applied.
    pub fn applied(&self, now: Timestamp, in_force: &serde_json::Value) {
        self.0.rcu(|state| ConfigState {
            path: state.path.clone(),
            since: now,
            in_force: in_force.clone(),
            refused: None,
        });
    }

    /// A changed file was refused.
    pub fn refused(&self, now: Timestamp, error: &str) {
        self.0.rcu(|state| ConfigState {
            refused: Some(RefusedConfig { at: now, error: error.to_owned() }),
            ..ConfigState::clone(state)
        });
    }

    /// How it stands.
    pub fn state(&self) -> ConfigState {
        ConfigState::clone(&self.0.load())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refused_file_is_shown_until_a_good_one_comes_and_changes_nothing_in_force() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let board = ConfigBoard::new(Path::new("drowse.yaml"), at(1), json!({"n": 1}));
        board.refused(at(2), "line 3: no");
        let state = board.state();
        assert_eq!((state.since, &state.in_force), (at(1), &json!({"n": 1})));
        assert_eq!(state.refused, Some(RefusedConfig { at: at(2), error: "line 3: no".to_owned() }));
        board.applied(at(4), &json!({"n": 2}));
        let state = board.state();
        assert_eq!((state.since, state.in_force, state.refused), (at(4), json!({"n": 2}), None));
    }
}
