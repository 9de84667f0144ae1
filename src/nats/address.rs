//! Addresses of servers, as `nats.servers` and `nats.leaf_servers` have them.

use std::fmt;

/// Where a server listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServerAddress {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// TLS is a must (`tls://`), whatever the server says about itself.
    pub tls: bool,
    /// TLS begins at once, before the server has said anything (`handshake_first` of nats-server).
    pub tls_first: bool,
}

/// Schemes that a server's address may have, and whether they ask for TLS.
const SCHEMES: [(&str, bool); 4] =
    [("nats://", false), ("tls://", true), ("nats-leaf://", false), ("leaf://", false)];

impl ServerAddress {
    /// Reads `nats://host:port` or `tls://host:port`; the port may be left out.
    pub fn parse(text: &str, default_port: u16) -> Result<Self, String> {
        let advice = "write nats://host:port, or tls://host:port";
        let scheme = SCHEMES.iter().find_map(|(scheme, tls)| Some((text.strip_prefix(scheme)?, *tls)));
        let (rest, tls) = match scheme {
            Some(found) => found,
            None if text.contains("://") => return Err(format!("{text:?} has an unknown scheme; {advice}")),
            None => (text, false),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('@') {
            return Err("a secret does not belong into an address; write user and password_file".to_owned());
        }
        let (host, port) = split_port(rest).ok_or_else(|| format!("{text:?} is not an address; {advice}"))?;
        let port = match port {
            None => default_port,
            Some(port) => match port.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(format!("{port:?} is not a port; write a number from 1 to 65535")),
            },
        };
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':' | '%');
        if host.is_empty() || !host.chars().all(good) {
            return Err(format!("{text:?} names no host; {advice}"));
        }
        Ok(Self { host: host.to_owned(), port, tls, tls_first: false })
    }

    /// As async-nats takes it.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "tls" } else { "nats" };
        format!("{scheme}://{self}")
    }
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn split_port(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return match rest {
            "" => Some((host, None)),
            _ => Some((host, Some(rest.strip_prefix(':')?))),
        };
    }
    match text.split_once(':') {
        None => Some((text, None)),
        Some((_, port)) if port.contains(':') => None,
        Some((host, port)) => Some((host, Some(port))),
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, shown, tls) in [
            ("nats://127.0.0.1:4333", "127.0.0.1:4333", false),
            ("nats://nats.nats.svc", "nats.nats.svc:4222", false),
            ("tls://nats.example.org:4222/", "nats.example.org:4222", true),
            ("localhost", "localhost:4222", false),
            ("nats://[::1]:4333", "[::1]:4333", false),
            ("nats-leaf://[::1]", "[::1]:4222", false),
        ] {
            let read = ServerAddress::parse(text, 4222).unwrap();
            assert_eq!((read.to_string().as_str(), read.tls), (shown, tls), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_advice() {
        for (text, words) in [
            ("http://a:1", "unknown scheme"),
            ("nats://u:p@a:1", "password_file"),
            ("nats://", "names no host"),
            ("nats://a:0", "not a port"),
            ("nats://a:b", "not a port"),
            ("nats://a b", "names no host"),
            ("::1", "not an address"),
            ("nats://[::1", "not an address"),
        ] {
            let error = ServerAddress::parse(text, 4222).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
