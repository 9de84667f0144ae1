//! What the demo agent remembers across restarts: one small JSON file.
//!
//! Written to a second file that then takes the place of the first, so that a kill at any moment leaves the old
//! state or the new. Not synced: it survives the end of the process, not a power cut.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The content of the state file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// How often it was started, failed starts included.
    pub(super) starts: u64,
    /// How often `GET /` was called.
    pub(super) visits: u64,
}

/// The state file. One process at a time may have it open.
#[derive(Debug)]
pub(super) struct StateFile {
    path: PathBuf,
    state: State,
}

/// Why the state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateError {
    #[error("failed to read the state file {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the state file {} is broken; delete it to begin anew", path.display())]
    Broken { path: PathBuf, source: serde_json::Error },
    #[error("failed to write the state file {}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl StateFile {
    /// Reads the file. One that does not exist is all zeros.
    pub(super) fn open(path: &Path) -> Result<Self, StateError> {
        let path = path.to_owned();
        match fs::read(&path) {
            Ok(text) => match serde_json::from_slice(&text) {
                Ok(state) => Ok(Self { path, state }),
                Err(source) => Err(StateError::Broken { path, source }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(Self { path, state: State::default() })
            }
            Err(source) => Err(StateError::Read { path, source }),
        }
    }

    /// What it holds.
    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Changes the state, on disk and then here. After an error it is as before.
    pub(super) fn update(&mut self, change: impl FnOnce(&mut State)) -> Result<State, StateError> {
        let mut state = self.state;
        change(&mut state);
        self.write(state).map_err(|source| StateError::Write { path: self.path.clone(), source })?;
        self.state = state;
        Ok(state)
    }

    fn write(&self, state: State) -> io::Result<()> {
        let mut fresh = self.path.clone().into_os_string();
        fresh.push(".new");
        fs::write(&fresh, serde_json::to_vec(&state)?)?;
        fs::rename(&fresh, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn state_survives_and_no_second_file_is_left() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("state.json");
        for start in 1..=3 {
            let mut file = StateFile::open(&path).unwrap();
            assert_eq!(file.update(|state| state.starts += 1).unwrap(), State { starts: start, visits: 0 });
        }
        assert_eq!(StateFile::open(&path).unwrap().state(), State { starts: 3, visits: 0 });
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_write_that_was_cut_short_costs_nothing() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("state.json");
        StateFile::open(&path).unwrap().update(|state| state.visits = 7).unwrap();
        fs::write(dir.path().join("state.json.new"), "{\"sta").unwrap();
        let mut file = StateFile::open(&path).unwrap();
        assert_eq!(file.state().visits, 7);
        assert_eq!(file.update(|state| state.visits += 1).unwrap().visits, 8);
    }

    #[test]
    fn the_file_is_replaced_and_never_rewritten_in_place() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("state.json");
        let mut file = StateFile::open(&path).unwrap();
        file.update(|state| state.visits = 1).unwrap();
        let old = fs::File::open(&path).unwrap();
        file.update(|state| state.visits = 2).unwrap();
        let seen: State = serde_json::from_reader(old).unwrap();
        assert_eq!(seen.visits, 1, "a reader that opened the file before still sees a whole state");
    }

    #[test]
    fn a_failed_write_changes_nothing() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("missing/state.json");
        let mut file = StateFile::open(&path).unwrap();
        let error = file.update(|state| state.starts = 9).unwrap_err();
        assert!(error.to_string().starts_with("failed to write the state file"), "{error}");
        assert_eq!(file.state(), State::default());
    }

    #[test]
    fn a_broken_file_is_reported_and_kept() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("state.json");
        fs::write(&path, "starts: 1").unwrap();
        let error = StateFile::open(&path).unwrap_err();
        assert!(error.to_string().ends_with("is broken; delete it to begin anew"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "starts: 1");
    }
}
