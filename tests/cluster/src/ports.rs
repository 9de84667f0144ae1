//! The ports of a cluster: the usual ones in a network namespace of its own, free ones on loopback without.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Below the ports that the system gives to outgoing connections, so that none of those takes one while a
/// component is restarted.
const FREE: std::ops::Range<u16> = 20_000..32_000;

/// Where each component listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ports {
    pub(crate) apiserver: u16,
    pub(crate) etcd: u16,
    pub(crate) etcd_peer: u16,
    pub(crate) controller_manager: u16,
    pub(crate) scheduler: u16,
    pub(crate) sandbox_metrics: u16,
    pub(crate) sandbox_health: u16,
    pub(crate) kwok: u16,
}

impl Ports {
    pub(crate) const fn fixed() -> Self {
        Self {
            apiserver: 6443,
            etcd: 2379,
            etcd_peer: 2380,
            controller_manager: 10_257,
            scheduler: 10_259,
            sandbox_metrics: 9080,
            sandbox_health: 9081,
            kwok: 10_247,
        }
    }

    /// Eight that nobody listens at, searched from a place that follows from the cluster's id.
    pub(crate) fn free(seed: u8) -> Result<Self> {
        let begin = u16::from(seed) * 40;
        let mut ports = (FREE.start + begin..FREE.end)
            .chain(FREE.start..FREE.start + begin)
            .filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
        let mut next = || ports.next().context("no port from 20000 to 32000 is free on 127.0.0.1");
        Ok(Self {
            apiserver: next()?,
            etcd: next()?,
            etcd_peer: next()?,
            controller_manager: next()?,
            scheduler: next()?,
            sandbox_metrics: next()?,
            sandbox_health: next()?,
            kwok: next()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_passed_over() {
        let first = Ports::free(255).unwrap();
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, first.apiserver)).unwrap();
        assert_ne!(Ports::free(255).unwrap().apiserver, first.apiserver);
    }
}
