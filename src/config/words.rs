//! Words that only the configuration file uses: addresses, names, domains.
//!
//! Each refuses what cannot work, with what to write instead, so that the rest of the program need not ask again.

use std::fmt;
use std::net::SocketAddr;

use crate::agent::is_dns_label;
use crate::units::{Written, written};

/// An address to listen on: `127.0.0.1:8080`. Port 0 lets the system choose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Listen(pub(crate) SocketAddr);

/// `on` or `off`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Switch(pub(crate) bool);

/// A name that fits into a host name: a DNS label.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Label(pub(crate) String);

/// A domain: DNS labels joined by dots.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Domain(pub(crate) String);

/// The beginning of a path: `/agents`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PathPrefix(pub(crate) String);

/// The path of a readiness probe, with its query if it has one: `/healthz`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ProbePath(pub(crate) String);

/// What to log: `info`, `warn,drowse=debug`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LogFilter(pub(crate) String);

impl Written for Listen {
    fn read(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self(address));
        }
        let port = text.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
        let advice = match (port, text.split(':').next()) {
            (Some(port), Some("" | "*")) => {
                format!("write 0.0.0.0:{port} for every interface, or 127.0.0.1:{port}")
            }
            (Some(port), _) => format!("write an IP address and a port, such as 127.0.0.1:{port}"),
            (None, _) => "write an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080".to_owned(),
        };
        Err(format!("{text:?} is no address to listen on; {advice}"))
    }
}

impl Written for Switch {
    fn read(text: &str) -> Result<Self, String> {
        bool::read(text).map(Self).map_err(|_| format!("{text:?} is neither on nor off; write on or off"))
    }
}

impl Written for Label {
    fn read(text: &str) -> Result<Self, String> {
        if is_dns_label(text) {
            return Ok(Self(text.to_owned()));
        }
        let mut meant: String = text.to_lowercase().replace(['_', '.', ' ', '/'], "-");
        meant.retain(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        meant.truncate(63);
        let meant = meant.trim_matches('-');
        let example = if meant.is_empty() { "echo" } else { meant };
        Err(format!(
            "{text:?} does not fit into a host name; write at most 63 lower-case letters, digits and -, such as {example}"
        ))
    }
}

impl Written for Domain {
    fn read(text: &str) -> Result<Self, String> {
        let domain = text.to_lowercase();
        if domain.len() <= 253 && domain.split('.').all(is_dns_label) {
            return Ok(Self(domain));
        }
        Err(format!("{text:?} is no domain; write one such as agents.localhost, without a dot at either end"))
    }
}

impl Written for PathPrefix {
    fn read(text: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '~');
        let fits = text.len() > 1 && text.starts_with('/') && text.chars().all(plain);
        if !fits || text.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
            return Err(format!(
                "{text:?} is no prefix of a path; write one such as /agents, without a slash at its end"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl Written for ProbePath {
    fn read(text: &str) -> Result<Self, String> {
        let path = text.parse::<http::uri::PathAndQuery>();
        if text.starts_with('/') && path.is_ok_and(|path| path.as_str() == text) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("{text:?} is no path of a request; write one such as /healthz"))
    }
}

impl Written for LogFilter {
    fn read(text: &str) -> Result<Self, String> {
        if crate::telemetry::check_filter(text).is_err() {
            let levels = "write error, warn, info, debug or trace, or for parts such as warn,drowse=debug";
            return Err(format!("{text:?} does not say what to log; {levels}"));
        }
        Ok(Self(text.to_owned()))
    }
}

macro_rules! printed_as_inner {
    ($($type:ty),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}
printed_as_inner!(Listen, Label, Domain, PathPrefix, ProbePath, LogFilter);

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 { "on" } else { "off" })
    }
}

written!(Listen, "Listen", {
    "type": "string", "title": "address", "pattern": r"^.+:[0-9]{1,5}$",
    "examples": ["127.0.0.1:8080", "0.0.0.0:8080", "[::1]:8080"]
});
written!(Switch, "Switch", { "title": "on or off", "enum": ["on", "off", true, false] });
written!(Label, "Label", {
    "type": "string", "title": "name", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
});
written!(Domain, "Domain", {
    "type": "string", "title": "domain", "pattern": r"^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$"
});
written!(PathPrefix, "PathPrefix", {
    "type": "string", "title": "path", "pattern": "^/[^?#]*[^/?#]$", "examples": ["/agents"]
});
written!(ProbePath, "ProbePath", {
    "type": "string", "title": "path", "pattern": "^/[^#]*$", "examples": ["/healthz"]
});
written!(LogFilter, "LogFilter", {
    "type": "string", "title": "log filter", "examples": ["info", "warn,drowse=debug"]
});

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal<T: Written + fmt::Debug>(text: &str) -> String {
        T::read(text).unwrap_err()
    }

    #[test]
    fn addresses_need_an_ip_and_a_port() {
        for good in ["127.0.0.1:0", "0.0.0.0:80", "[::1]:8080"] {
            assert_eq!(Listen::read(good).unwrap().to_string(), good);
        }
        assert!(refusal::<Listen>(":8080").contains("write 0.0.0.0:8080"));
        assert!(refusal::<Listen>("localhost:9").contains("such as 127.0.0.1:9"));
        assert!(refusal::<Listen>("8080").contains("such as 127.0.0.1:8080"));
        assert!(refusal::<Listen>("127.0.0.1:99999").contains("127.0.0.1:8080"));
    }

    #[test]
    fn names_that_fit_no_host_name_are_refused_with_one_that_does() {
        assert!(Label::read("a-1").is_ok());
        assert!(refusal::<Label>("My_Agent").ends_with("such as my-agent"));
        assert!(refusal::<Label>("-").ends_with("such as echo"));
        assert!(refusal::<Label>("é").ends_with("such as echo"));
    }

    #[test]
    fn domains_are_folded_to_lower_case() {
        assert_eq!(Domain::read("Agents.Localhost").unwrap().0, "agents.localhost");
        for bad in ["", ".", "a.", ".a", "a..b", "a b", &"a.".repeat(200)] {
            assert!(refusal::<Domain>(bad).contains("agents.localhost"));
        }
    }

    #[test]
    fn prefixes_begin_with_a_slash_and_end_with_none() {
        assert!(PathPrefix::read("/a/b").is_ok());
        for bad in ["", "/", "a", "/a/", "//a", "/a/../b", "/a?b", "/a b"] {
            assert!(refusal::<PathPrefix>(bad).contains("such as /agents"), "{bad}");
        }
    }

    #[test]
    fn a_probe_asks_for_a_path_that_a_request_can_name() {
        for good in ["/", "/healthz", "/ready?deep=1"] {
            assert_eq!(ProbePath::read(good).unwrap().to_string(), good);
        }
        for bad in ["", "*", "healthz", "http://x/", "/a b", "/a#b", "/\u{7f}"] {
            assert!(refusal::<ProbePath>(bad).ends_with("such as /healthz"), "{bad}");
        }
    }

    #[test]
    fn a_filter_that_would_log_nothing_is_refused() {
        for good in ["info", "warn,drowse=debug", "off", "drowse[span]=trace"] {
            assert!(LogFilter::read(good).is_ok(), "{good}");
        }
        for bad in ["", "loud", "inof", "drowse=loud", "info,drowse"] {
            assert!(refusal::<LogFilter>(bad).contains("; write error, warn"), "{bad}");
        }
    }

    #[test]
    fn a_switch_is_on_or_off() {
        assert!(!Switch::read("OFF").unwrap().0);
        assert_eq!(Switch(true).to_string(), "on");
        assert!(refusal::<Switch>("maybe").ends_with("write on or off"));
    }
}
