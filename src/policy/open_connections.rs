//! Pure: what a connection that is open without a request means for its agent: one that was upgraded (a WebSocket, for
//! example), or a stream of server-sent events.

use std::fmt;

use crate::units::{Written, written};

use super::messages::words;

/// Whether an open connection keeps its agent up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OpenConnections {
    /// While data moves on it: the idle timeout runs from the last byte.
    #[default]
    Traffic,
    /// For as long as it is open, and without data for `busy_cap` at most.
    Keep,
    /// Not at all.
    Ignore,
}

words!(OpenConnections, "OpenConnections", { "type": "string", "enum": ["traffic", "keep", "ignore"] },
    Traffic = "traffic", Keep = "keep", Ignore = "ignore");
