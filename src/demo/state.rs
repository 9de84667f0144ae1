//! What the demo agent remembers from one life to the next: one small file, replaced as a whole.

use std::fs;
use std::io;
use std::path::PathBuf;

use anyhow::Context as _;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// What is remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// How often the agent was started, failed starts included.
    pub(super) starts: u64,
    /// How often it was greeted.
    pub(super) visits: u64,
}

/// The file.
pub(super) struct Store {
    path: PathBuf,
    state: Mutex<State>,
}

impl Store {
    /// Reads the file, if there is one.
    pub(super) fn open(path: PathBuf) -> anyhow::Result<Self> {
        let state = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).with_context(|| {
                format!("{} is not the state of a demo agent; remove it or name another --state-file", path.display())
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => State::default(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        Ok(Self { path, state: Mutex::new(state) })
    }

    /// Remembers one more start, and says how many there were with it.
    pub(super) fn count_start(&self) -> anyhow::Result<u64> {
        self.change(|state| state.starts += 1).map(|state| state.starts)
    }

    /// Remembers one more visit.
    pub(super) fn count_visit(&self) -> anyhow::Result<State> {
        self.change(|state| state.visits += 1)
    }

    /// Under the lock until it is written, so that an older state never replaces a newer one.
    fn change(&self, change: impl FnOnce(&mut State)) -> anyhow::Result<State> {
        let mut state = self.state.lock();
        change(&mut state);
        let mut new = self.path.clone().into_os_string();
        new.push(".new");
        serde_json::to_vec(&*state)
            .map_err(io::Error::from)
            .and_then(|text| fs::write(&new, text))
            .and_then(|()| fs::rename(&new, &self.path))
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        Ok(*state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_remembered_is_there_when_it_is_opened_again() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("state.json");
        let first = Store::open(path.clone()).unwrap();
        assert_eq!(first.count_start().unwrap(), 1);
        assert_eq!(first.count_visit().unwrap(), State { starts: 1, visits: 1 });
        let second = Store::open(path).unwrap();
        assert_eq!(second.count_start().unwrap(), 2);
        assert_eq!(second.count_visit().unwrap(), State { starts: 2, visits: 2 });
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left there");
    }

    #[test]
    fn a_file_of_somebody_else_is_refused_and_not_replaced() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("state.json");
        fs::write(&path, "precious").unwrap();
        let error = Store::open(path.clone()).err().unwrap().to_string();
        assert!(error.contains("--state-file"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }
}
