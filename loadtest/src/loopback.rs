//! Load goes to this machine alone: a connection can be opened to a [`Loopback`] only.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// An address on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Loopback(SocketAddr);

/// The address is another machine's, or may be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no loopback address; load goes to this machine alone")]
pub(crate) struct NotLoopback(SocketAddr);

impl Loopback {
    /// A port of 127.0.0.1 that nothing listens on right now.
    pub(crate) fn free() -> std::io::Result<Self> {
        Ok(Self(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?))
    }

    /// A port of 127.0.0.1.
    pub(crate) fn local(port: u16) -> Self {
        Self(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    }

    /// As sockets want it.
    pub(crate) fn address(self) -> SocketAddr {
        self.0
    }
}

impl TryFrom<SocketAddr> for Loopback {
    type Error = NotLoopback;

    fn try_from(address: SocketAddr) -> Result<Self, NotLoopback> {
        // An IPv4 address dressed as IPv6 goes where the IPv4 address goes.
        if address.ip().to_canonical().is_loopback() { Ok(Self(address)) } else { Err(NotLoopback(address)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str) -> bool {
        Loopback::try_from(address.parse::<SocketAddr>().unwrap()).is_ok()
    }

    #[test]
    fn only_loopback_addresses_pass() {
        for good in ["127.0.0.1:80", "127.9.9.9:1", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
            assert!(check(good), "{good}");
        }
        for bad in ["0.0.0.0:80", "10.0.0.1:80", "128.0.0.1:80", "[::]:80", "[::ffff:10.0.0.1]:80"] {
            assert!(!check(bad), "{bad}");
        }
    }

    #[test]
    fn a_refusal_names_the_address() {
        let error = Loopback::try_from("192.0.2.1:80".parse::<SocketAddr>().unwrap()).unwrap_err();
        assert!(error.to_string().starts_with("192.0.2.1:80 is no loopback"), "{error}");
    }
}
