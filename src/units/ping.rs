//! Where an agent is asked whether it is at work, as rules name it: `/ping`, `:9000/ping`, or `off`.

use std::fmt;
use std::sync::Arc;

use super::{Port, Written, written};

const FORM: &str = "write a path such as /ping, with a port before it such as :9000/ping, or off";

/// Whether an agent is asked before it is suspended, and where.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Ping {
    /// It is not.
    #[default]
    Off,
    /// It is.
    At(PingTarget),
}

/// Where an agent is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PingTarget {
    /// The port; `None` is the one of a request that names none.
    pub port: Option<Port>,
    /// The path, with its query if it has one. Begins with a slash.
    pub path: Arc<str>,
}

impl Ping {
    /// Where, if anywhere.
    pub const fn target(&self) -> Option<&PingTarget> {
        match self {
            Self::Off => None,
            Self::At(target) => Some(target),
        }
    }
}

impl Written for Ping {
    fn read(text: &str) -> Result<Self, String> {
        if matches!(text, "off" | "none") {
            return Ok(Self::Off);
        }
        let (port, path) = match text.strip_prefix(':').and_then(|rest| rest.split_once('/')) {
            Some((port, path)) => (Some(Port::read(port)?), format!("/{path}")),
            None => (None, text.to_owned()),
        };
        let parsed = path.parse::<http::uri::PathAndQuery>();
        if !path.starts_with('/') || !parsed.is_ok_and(|parsed| parsed.as_str() == path) {
            return Err(format!("{text:?} does not say where the agent is asked; {FORM}"));
        }
        Ok(Self::At(PingTarget { port, path: path.into() }))
    }
}

impl fmt::Display for PingTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        f.write_str(&self.path)
    }
}

impl fmt::Display for Ping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(target) => target.fmt(f),
        }
    }
}

written!(Ping, "Ping", {
    "type": "string",
    "title": "path, or off",
    "pattern": r"^(off|(:[0-9]{1,5})?/[^#\s]*)$",
    "examples": ["/ping", ":9000/ping", "off"],
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_a_port_with_a_path_and_off_are_read_and_printed_as_they_are_written() {
        for (text, port, path) in [
            ("/ping", None, "/ping"),
            (":9000/ping", Port::new(9000), "/ping"),
            ("/a/b?c=d", None, "/a/b?c=d"),
        ] {
            let ping = Ping::read(text).unwrap();
            assert_eq!(ping.to_string(), text);
            assert_eq!(ping, Ping::At(PingTarget { port, path: path.into() }));
        }
        assert_eq!(Ping::read("off"), Ok(Ping::Off));
        assert_eq!(Ping::read(&Ping::Off.to_string()), Ok(Ping::Off));
    }

    #[test]
    fn what_is_no_path_is_answered_with_what_to_write() {
        for wrong in ["ping", "", "on", "true", ":9000", "9000/ping", "/a b", "/a#b", "http://x/ping", "*"] {
            let refused = Ping::read(wrong).unwrap_err();
            assert!(refused.ends_with(FORM), "{wrong}: {refused}");
        }
        assert!(Ping::read(":0/ping").unwrap_err().contains("write a whole number from 1 to 65535"));
    }
}
