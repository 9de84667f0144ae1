//! The one line that a guard tells Drowse: how the start of the agent went.

use std::fmt;
use std::io;

use rustix::io::Errno;

use crate::lifecycle::{Failure, FailureClass};

/// How the start went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::backend::process) enum Report {
    /// The process id of the agent, which is also the id of its process group.
    Started(i32),
    /// There is no agent.
    Refused(Refused),
}

/// Why the agent could not be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::backend::process) struct Refused {
    pub(in crate::backend::process) kind: Kind,
    /// One sentence for people.
    pub(in crate::backend::process) detail: String,
}

/// What was at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backend::process) enum Kind {
    Program,
    Folder,
    System,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Program, Self::Folder, Self::System];

    const fn word(self) -> &'static str {
        match self {
            Self::Program => "program",
            Self::Folder => "folder",
            Self::System => "system",
        }
    }

    const fn class(self) -> FailureClass {
        match self {
            Self::Program => FailureClass::Image,
            Self::Folder => FailureClass::Volume,
            // Processes, memory or open files are used up.
            Self::System => FailureClass::Quota,
        }
    }
}

impl Refused {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }

    /// The operating system does not let the guard do its work.
    pub(super) fn by_system(error: &io::Error) -> Self {
        Self::new(Kind::System, format!("the agent's guard process cannot work: {error}"))
    }

    /// The program could not be executed.
    pub(super) fn to_execute(program: &str, error: &io::Error) -> Self {
        let used_up = [Errno::AGAIN, Errno::NOMEM, Errno::MFILE, Errno::NFILE];
        if Errno::from_io_error(error).is_some_and(|errno| used_up.contains(&errno)) {
            return Self::new(Kind::System, format!("no process for {program:?} to be had: {error}"));
        }
        let detail = match error.kind() {
            io::ErrorKind::NotFound => format!("the program {program:?} was not found"),
            io::ErrorKind::PermissionDenied => format!("the program {program:?} is not executable"),
            _ => format!("the program {program:?} could not be executed: {error}"),
        };
        Self::new(Kind::Program, detail)
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::new(refused.kind.class(), refused.detail)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started(pid) => write!(f, "started {pid}"),
            Self::Refused(Refused { kind, detail }) => {
                write!(f, "failed {} {}", kind.word(), detail.replace('\n', " "))
            }
        }
    }
}

impl Report {
    /// Reads the line. `None` if it is none of a guard's.
    pub(in crate::backend::process) fn parse(line: &str) -> Option<Self> {
        let (verb, rest) = line.trim_end().split_once(' ')?;
        match verb {
            "started" => rest.parse().ok().filter(|pid| *pid > 1).map(Self::Started),
            "failed" => {
                let (word, detail) = rest.split_once(' ')?;
                let kind = Kind::ALL.into_iter().find(|kind| kind.word() == word)?;
                Some(Self::Refused(Refused::new(kind, detail)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guard_tells_is_read_back() {
        for report in [
            Report::Started(4242),
            Report::Refused(Refused::new(Kind::Program, "the program \"x\" was not found")),
            Report::Refused(Refused::new(Kind::Folder, "cannot make /x: no")),
            Report::Refused(Refused::new(Kind::System, "two words")),
        ] {
            assert_eq!(Report::parse(&format!("{report}\n")), Some(report));
        }
    }

    #[test]
    fn what_is_not_a_guards_line_is_not_believed() {
        for line in [
            "",
            "started",
            "started x",
            "started 0",
            "started 1",
            "started -5",
            "failed",
            "failed x",
            "failed odd y",
        ] {
            assert_eq!(Report::parse(line), None, "{line:?}");
        }
    }

    #[test]
    fn a_detail_of_several_lines_stays_one_report() {
        let report = Report::Refused(Refused::new(Kind::System, "one\ntwo"));
        assert_eq!(report.to_string(), "failed system one two");
    }

    #[test]
    fn what_the_system_says_decides_the_class() {
        let class = |errno: Errno| Failure::from(Refused::to_execute("x", &errno.into())).class;
        for (errno, expected) in [
            (Errno::NOENT, FailureClass::Image),
            (Errno::ACCESS, FailureClass::Image),
            (Errno::NOEXEC, FailureClass::Image),
            (Errno::AGAIN, FailureClass::Quota),
            (Errno::NOMEM, FailureClass::Quota),
        ] {
            assert_eq!(class(errno), expected, "{errno:?}");
        }
    }
}
