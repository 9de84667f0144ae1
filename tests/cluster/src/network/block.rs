//! The addresses of a cluster: one /16 of the private network 10/8 that no route of the machine overlaps.

use std::fs;
use std::net::Ipv4Addr;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// The second bytes that clusters may use: 10.64/16 to 10.127/16.
const FIRST: u8 = 64;
const COUNT: u8 = 64;

/// The addresses of one cluster, all in `10.N/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Block(u8);

impl Block {
    /// The first free one, beginning at a place that follows from the cluster's id.
    pub(crate) fn choose(seed: u8) -> Result<Self> {
        let text = fs::read_to_string("/proc/net/route").context("failed to read the machine's routes")?;
        let routes = routes(&text);
        let free = |block: &Self| !routes.iter().any(|route| overlap(*route, (block.at(0, 0), 16)));
        let mut all = (0..COUNT).map(|nth| Self(FIRST + seed.wrapping_add(nth) % COUNT));
        match all.find(free) {
            Some(block) => Ok(block),
            None => bail!("each of 10.64/16 to 10.127/16 has a route; end a cluster, or a VPN, to free one"),
        }
    }

    fn at(self, third: u8, fourth: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, self.0, third, fourth)
    }

    /// All of it, for the host's route to it.
    pub(crate) fn all(self) -> String {
        format!("{}/16", self.at(0, 0))
    }

    /// The network of the pods.
    pub(crate) fn pods(self) -> String {
        format!("{}/20", self.at(0, 0))
    }

    /// The pods' way out.
    pub(crate) fn gateway(self) -> Ipv4Addr {
        self.at(0, 1)
    }

    /// The first and last address that is handed to pods in turn.
    pub(crate) fn pod_range(self) -> (Ipv4Addr, Ipv4Addr) {
        (self.at(0, 10), self.at(14, 255))
    }

    /// The address that all pods of the runtime class `one-address` share, one at a time.
    pub(crate) fn one_address(self) -> Ipv4Addr {
        self.at(15, 250)
    }

    /// The network of the Services; its first address is the API server's.
    pub(crate) fn services(self) -> String {
        format!("{}/20", self.at(32, 0))
    }

    /// The Service `kubernetes`.
    pub(crate) fn first_service(self) -> Ipv4Addr {
        self.at(32, 1)
    }

    /// The network of the pods that do not exist.
    pub(crate) fn fake_pods(self) -> String {
        format!("{}/17", self.at(128, 0))
    }

    /// The machine, as the cluster sees it.
    pub(crate) fn host(self) -> Ipv4Addr {
        self.at(48, 1)
    }

    /// The node, as the machine sees it.
    pub(crate) fn node(self) -> Ipv4Addr {
        self.at(48, 2)
    }
}

type Prefix = (Ipv4Addr, u32);

fn overlap((a, a_bits): Prefix, (b, b_bits): Prefix) -> bool {
    let bits = a_bits.min(b_bits);
    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
    u32::from(a) & mask == u32::from(b) & mask
}

/// The destinations in `/proc/net/route`, without the default. Numbers there are hexadecimal, in the machine's order
/// of bytes.
fn routes(text: &str) -> Vec<Prefix> {
    let prefix = |line: &str| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let number = |at: usize| u32::from_str_radix(fields.get(at)?, 16).ok();
        let (destination, mask) = (number(1)?, number(7)?);
        (mask != 0).then(|| (Ipv4Addr::from(destination.to_ne_bytes()), mask.count_ones()))
    };
    text.lines().skip(1).filter_map(prefix).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_read_and_the_default_left_out() {
        let text = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                    eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                    eth0\t0000400A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        assert_eq!(routes(text), [(Ipv4Addr::new(10, 64, 0, 0), 16)]);
    }

    #[test]
    fn a_wider_and_a_narrower_route_overlap() {
        let block = (Block(64).at(0, 0), 16);
        assert!(overlap((Ipv4Addr::new(10, 0, 0, 0), 8), block));
        assert!(overlap((Ipv4Addr::new(10, 64, 3, 0), 24), block));
        assert!(!overlap((Ipv4Addr::new(10, 65, 0, 0), 16), block));
        assert!(overlap((Ipv4Addr::new(1, 2, 3, 4), 0), block));
    }

    #[test]
    fn the_parts_of_a_block_are_apart() {
        let block = Block(70);
        assert_eq!((block.pods(), block.services()), ("10.70.0.0/20".to_owned(), "10.70.32.0/20".to_owned()));
        assert!(block.pod_range().1 < block.one_address());
        assert!(block.one_address() < block.first_service());
        assert!(block.first_service() < block.host());
    }
}
