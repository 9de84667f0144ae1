//! Pure: what an agent is spoken to in.

use std::fmt;

use crate::units::{Written, written};

use super::messages::words;

/// The version of HTTP that an agent gets its requests in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    /// HTTP/1.1; HTTP/2 for gRPC, which is defined for nothing else.
    #[default]
    Http1,
    /// HTTP/2 without TLS, begun with its preface (RFC 9113 §3.3), for all but upgrades.
    H2c,
}

words!(Protocol, "Protocol", { "type": "string", "enum": ["http1", "h2c"] }, Http1 = "http1", H2c = "h2c");
