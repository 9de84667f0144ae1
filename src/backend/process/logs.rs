//! The log file of an agent: where it is, how large it may grow, and its end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::agent::AgentKey;

/// At a start, a log larger than this is moved aside; so an agent's two files stay near twice this and what one
/// life of it logs.
const ROTATE_BYTES: u64 = 10 << 20;
/// How much of the end is read for people.
const TAIL_BYTES: u64 = 8 << 10;
const TAIL_LINES: usize = 10;

pub(super) fn path(state_dir: &Path, key: &AgentKey) -> PathBuf {
    state_dir.join(key.namespace()).join(key.name()).join("agent.log")
}

/// Opens for appending.
pub(super) fn open(path: &Path) -> io::Result<File> {
    if std::fs::metadata(path).is_ok_and(|file| file.len() > ROTATE_BYTES) {
        std::fs::rename(path, path.with_extension("log.1"))?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

/// The last lines, oldest first; none if there is no log.
pub(super) fn last_lines(path: &Path) -> Vec<String> {
    let tail = tail(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&tail);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].iter().map(|line| (*line).to_owned()).collect()
}

fn tail(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut tail = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut tail)?;
    Ok(tail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn only_the_last_lines_are_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.log");
        assert!(last_lines(&path).is_empty());
        let mut file = open(&path).unwrap();
        for n in 0..5_000 {
            writeln!(file, "line {n}").unwrap();
        }
        let lines = last_lines(&path);
        assert_eq!((lines.len(), lines[0].as_str(), lines[9].as_str()), (10, "line 4990", "line 4999"));
    }

    #[test]
    fn a_large_log_is_moved_aside_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.log");
        open(&path).unwrap().set_len(ROTATE_BYTES + 1).unwrap();
        assert_eq!(open(&path).unwrap().metadata().unwrap().len(), 0);
        assert_eq!(std::fs::metadata(dir.path().join("agent.log.1")).unwrap().len(), ROTATE_BYTES + 1);
    }
}
