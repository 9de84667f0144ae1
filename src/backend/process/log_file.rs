//! The log of an agent: whatever it writes to standard output and error, bounded in size and in reading.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A log that is larger makes room for a new one: when the agent starts, and at a look while it runs.
const ROTATE_BYTES: u64 = 10 * 1024 * 1024;
/// How much of the end is read at most when the last lines are wanted.
const TAIL_BYTES: u64 = 16 * 1024;
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Opens it for appending. A large one is renamed to `<path>.1`, which replaces an older one.
pub(super) fn open(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|meta| meta.len() > ROTATE_BYTES) {
        fs::rename(path, rotated(path))?;
    }
    File::options().create(true).append(true).open(path)
}

/// Looks after it while the agent runs, which has it open itself.
pub(super) async fn keep_small(path: &Path) -> Infallible {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        // A full disk, most likely: the next look may find room.
        let _ = make_room(path);
    }
}

/// Begins a large one anew, and puts its end aside. What is written meanwhile may be lost.
fn make_room(path: &Path) -> io::Result<()> {
    let mut log = File::options().read(true).write(true).open(path)?;
    let length = log.metadata()?.len();
    if length > ROTATE_BYTES {
        log.seek(SeekFrom::Start(length - ROTATE_BYTES))?;
        let aside = File::create(rotated(path));
        let copied = aside.and_then(|mut aside| io::copy(&mut (&log).take(ROTATE_BYTES), &mut aside));
        // Also without a copy, if there is no room for one. Who appends goes on at the new end.
        log.set_len(0)?;
        copied?;
    }
    Ok(())
}

fn rotated(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// The last lines, oldest first. Empty if there is no log.
pub(super) fn last_lines(path: &Path, count: usize) -> Vec<String> {
    let Ok((tail, whole)) = tail(path) else { return Vec::new() };
    let text = String::from_utf8_lossy(&tail);
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    // The first line of a part of the file may itself be a part; but better that than nothing.
    let skipped = lines.len().saturating_sub(count).max(usize::from(!whole && lines.len() > 1));
    lines.drain(..skipped);
    lines
}

/// The end of the file, and whether that is all of it.
fn tail(path: &Path) -> io::Result<(Vec<u8>, bool)> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut tail = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut tail)?;
    Ok((tail, length <= TAIL_BYTES))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use tempfile::TempDir;

    use super::*;

    fn log_of(text: &[u8]) -> (TempDir, PathBuf) {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("agent.log");
        fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn the_last_lines_come_oldest_first_and_no_more_than_asked_for() {
        for (text, expected) in [
            ("", vec![]),
            ("one", vec!["one"]),
            ("one\ntwo\n", vec!["one", "two"]),
            ("one\ntwo\nthree\nfour", vec!["two", "three", "four"]),
        ] {
            let (_dir, path) = log_of(text.as_bytes());
            assert_eq!(last_lines(&path, 3), expected, "{text:?}");
        }
    }

    #[test]
    fn an_absent_log_has_no_lines() {
        assert!(last_lines(Path::new("/nonexistent/agent.log"), 10).is_empty());
    }

    #[test]
    fn reading_is_bounded_and_begins_with_a_whole_line() {
        let text = "0123456789\n".repeat(10_000);
        let (_dir, path) = log_of(text.as_bytes());
        let lines = last_lines(&path, 10_000);
        assert!(lines.iter().all(|line| line == "0123456789"));
        assert_eq!(lines.len() as u64, TAIL_BYTES / 11);

        let (_dir, path) = log_of("x".repeat(100_000).as_bytes());
        let lines = last_lines(&path, 10);
        assert_eq!((lines.len(), lines[0].len() as u64), (1, TAIL_BYTES));
    }

    #[test]
    fn what_is_not_text_is_shown_as_far_as_it_is() {
        let (_dir, path) = log_of(b"good \xff bad\n");
        assert_eq!(last_lines(&path, 10), ["good \u{fffd} bad"]);
    }

    #[test]
    fn a_large_log_is_put_aside_and_a_small_one_is_continued() {
        let (dir, path) = log_of(b"old\n");
        writeln!(open(&path).unwrap(), "new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old\nnew\n");

        File::options().write(true).open(&path).unwrap().set_len(ROTATE_BYTES + 1).unwrap();
        writeln!(open(&path).unwrap(), "newest").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "newest\n");
        assert_eq!(fs::metadata(dir.path().join("agent.log.1")).unwrap().len(), ROTATE_BYTES + 1);
    }

    #[test]
    fn a_log_that_grows_while_the_agent_has_it_open_makes_room() {
        let (dir, path) = log_of(b"old\n");
        let mut agents = open(&path).unwrap();
        make_room(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old\n");

        File::options().write(true).open(&path).unwrap().set_len(3 * ROTATE_BYTES).unwrap();
        writeln!(agents, "last").unwrap();
        make_room(&path).unwrap();
        writeln!(agents, "new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
        let aside = fs::read(dir.path().join("agent.log.1")).unwrap();
        assert!(aside.len() as u64 == ROTATE_BYTES && aside.ends_with(b"last\n"));
    }
}
