//! How a command fails, and the exit code for each way.

use std::fmt;
use std::process::ExitCode;

/// `EX_CONFIG` of sysexits.h: a supervisor that sees it need not try again.
const BAD_CONFIGURATION: u8 = 78;
const USAGE: u8 = 2;

/// Why a command was not carried out.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was tried, and failed.
    Runtime(anyhow::Error),
    /// The command line asks for what cannot be.
    Usage(String),
    /// The configuration cannot be used.
    Config(anyhow::Error),
}

impl Failure {
    pub(super) fn runtime(error: impl Into<anyhow::Error>) -> Self {
        Self::Runtime(error.into())
    }

    pub(super) fn config(error: impl Into<anyhow::Error>) -> Self {
        Self::Config(error.into())
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Runtime(_) => ExitCode::FAILURE,
            Self::Usage(_) => ExitCode::from(USAGE),
            Self::Config(_) => ExitCode::from(BAD_CONFIGURATION),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // With the causes, on one line.
            Self::Runtime(error) => write!(f, "{error:#}"),
            Self::Usage(message) => f.write_str(message),
            Self::Config(error) => write!(f, "the configuration cannot be used\n{error:#}"),
        }
    }
}
