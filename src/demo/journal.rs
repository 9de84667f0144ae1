//! Each request that arrives, a line each, in a file that outlives the agent: what tests count by which request was served how
//! often, and by whom.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use http::Uri;

/// The file. Several processes may write to it: each line is one write to its end.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
}

/// Why it cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum JournalError {
    #[error("failed to open the journal {}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("failed to write to the journal {}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

impl Journal {
    /// Opens the file, which is made if there is none.
    pub(super) fn open(path: &Path) -> Result<Self, JournalError> {
        let file = File::options().create(true).append(true).open(path);
        let file = file.map_err(|source| JournalError::Open { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Writes down a target.
    pub(super) fn write(&self, target: &Uri) -> Result<(), JournalError> {
        let written = (&self.file).write_all(format!("{target}\n").as_bytes());
        written.map_err(|source| JournalError::Write { path: self.path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn every_target_is_a_line_also_of_the_process_after() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("journal");
        for target in ["/?id=1", "/slow?for=1s&id=2"] {
            Journal::open(&path).unwrap().write(&target.parse().unwrap()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "/?id=1\n/slow?for=1s&id=2\n");
    }
}
