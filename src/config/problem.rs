//! What is wrong with a configuration file: every problem with its place, what is wrong, and what to write instead.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

/// Longer source lines are cut, so that a log line stays one.
const SHOWN_COLUMNS: usize = 120;

/// A place in the file. Both count from 1; columns count characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Position {
    /// The first character of a file.
    pub const START: Self = Self { line: 1, column: 1 };
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Where.
    pub at: Position,
    /// The key that it is about, such as `front_door.listen`; empty where it is about the file as a whole.
    pub key: String,
    /// What is wrong; and what to write instead.
    pub message: String,
    /// The source line, for people to see.
    pub source_line: String,
}

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read at all.
    #[error("{}: cannot be read: {reason}; write the path of a file that can, after --config", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// It was read, and is wrong.
    #[error("{}", Listing { path, problems })]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it, in the order of the file. Never empty.
        problems: Vec<Problem>,
    },
}

impl ConfigError {
    /// What is wrong, place by place; empty if the file cannot be read at all.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Read { .. } => &[],
            Self::Invalid { problems, .. } => problems,
        }
    }
}

/// Problems one below the other, as compilers print them.
struct Listing<'a> {
    path: &'a Path,
    problems: &'a [Problem],
}

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_char('\n')?;
            }
            let Position { line, column } = problem.at;
            write!(f, "{}:{line}:{column}: ", self.path.display())?;
            if !problem.key.is_empty() {
                write!(f, "{}: ", problem.key)?;
            }
            write!(f, "{}", problem.message)?;
            write_excerpt(f, problem)?;
        }
        Ok(())
    }
}

/// The source line with a mark below the place.
fn write_excerpt(f: &mut fmt::Formatter<'_>, problem: &Problem) -> fmt::Result {
    let Position { line, column } = problem.at;
    if problem.source_line.trim().is_empty() || column > SHOWN_COLUMNS {
        return Ok(());
    }
    // Tabs and control characters would move the mark, or a terminal.
    let shown = problem.source_line.chars().take(SHOWN_COLUMNS);
    let shown: String = shown.map(|c| if c.is_control() { ' ' } else { c }).collect();
    write!(f, "\n{line:>5} | {}\n      | {:>column$}", shown.trim_end(), '^')
}

/// Collects problems while a file is read.
#[derive(Debug)]
pub(crate) struct Problems<'a> {
    lines: Vec<&'a str>,
    found: Vec<Problem>,
}

impl<'a> Problems<'a> {
    /// More than these help nobody.
    pub(crate) const MOST: usize = 50;

    pub(crate) fn new(text: &'a str) -> Self {
        Self { lines: lines(text).collect(), found: Vec::new() }
    }

    /// Adds a problem, unless it is known already.
    pub(crate) fn add(&mut self, at: Position, key: impl Into<String>, message: impl Into<String>) {
        let source_line = self.lines.get(at.line.saturating_sub(1)).copied().unwrap_or_default().to_owned();
        let (key, message) = (visible(key.into()), visible(message.into()));
        let problem = Problem { at, key, message, source_line };
        if !self.is_full() && !self.found.contains(&problem) {
            self.found.push(problem);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.found.len() >= Self::MOST
    }

    /// What was found, in the order of the file.
    pub(crate) fn into_error(mut self, path: &Path) -> ConfigError {
        self.found.sort_by_key(|problem| problem.at);
        ConfigError::Invalid { path: path.to_owned(), problems: self.found }
    }
}

/// The lines of a file as YAML counts them: a CR alone ends one, too.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

/// A file may have characters that move a terminal's cursor, and messages quote it.
fn visible(text: String) -> String {
    if text.contains(char::is_control) {
        let shown = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
        text.chars().map(shown).collect()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(text: &str, problems: &[(usize, usize, &str, &str)]) -> String {
        let mut found = Problems::new(text);
        for (line, column, key, message) in problems {
            found.add(Position { line: *line, column: *column }, *key, *message);
        }
        found.into_error(Path::new("drowse.yaml")).to_string()
    }

    #[test]
    fn problems_are_listed_in_order_with_line_and_mark() {
        let text = "limits:\n\theld: 0\nfront_dor: {}\n";
        let found =
            [(3, 1, "", "front_dor is not known; write front_door"), (2, 8, "limits.held", "bad; write 1")];
        assert_eq!(
            print(text, &found),
            "drowse.yaml:2:8: limits.held: bad; write 1\n    2 |  held: 0\n      |        ^\n\
             drowse.yaml:3:1: front_dor is not known; write front_door\n    3 | front_dor: {}\n      | ^"
        );
    }

    #[test]
    fn a_place_that_cannot_be_shown_is_only_named() {
        assert_eq!(print("", &[(1, 1, "", "empty")]), "drowse.yaml:1:1: empty");
        assert_eq!(print("a", &[(9, 9, "", "gone")]), "drowse.yaml:9:9: gone");
        assert_eq!(print(&"x".repeat(500), &[(1, 400, "", "far")]), "drowse.yaml:1:400: far");
    }

    #[test]
    fn control_characters_of_a_file_are_shown_and_do_nothing() {
        assert_eq!(
            print("a\u{1b}:1", &[(1, 1, "k\u{7}", "a\u{1b}[2J\n:1")]),
            "drowse.yaml:1:1: k\\u{7}: a\\u{1b}[2J\\n:1\n    1 | a :1\n      | ^"
        );
    }

    #[test]
    fn lines_are_counted_as_the_parser_of_the_file_counts_them() {
        assert_eq!(lines("a\r\nb\nc\rd\r\r\ne").collect::<Vec<_>>(), ["a", "b", "c", "d", "", "e"]);
        let file = "backend: {process: {}}\radmin: {listn: x}\r";
        let error = crate::config::parse(file, Path::new("x")).unwrap_err();
        let problem = &error.problems()[0];
        assert_eq!((problem.at.line, problem.source_line.as_str()), (2, "admin: {listn: x}"));
    }

    #[test]
    fn a_flood_of_problems_is_cut() {
        let mut found = Problems::new("");
        for line in 1..1_000 {
            found.add(Position { line, column: 1 }, "", "bad");
        }
        assert_eq!(found.into_error(Path::new("x")).problems().len(), Problems::MOST);
    }
}
