//! Bodies of the admin API, as both its ends write and read them.

use serde::{Deserialize, Serialize};

/// The body of a suspend command; an empty body is the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Suspend {
    /// Traffic does not wake it.
    pub(crate) stay: bool,
}

/// The answer to `resume-all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ResumeAll {
    /// How many agents are wanted up.
    pub(crate) agents: usize,
}

/// The log filter, as it is read and written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogLevel {
    /// For example `info,drowse::proxy=debug`.
    pub(crate) filter: String,
}
