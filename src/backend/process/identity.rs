//! Who listens at an address: the guard IDENT for processes, read from /proc.
//!
//! A port says nothing about who has it: a forgotten process from yesterday answers just as well.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The state `LISTEN` in /proc/net/tcp (`TCP_LISTEN` in the kernel).
const LISTEN: &str = "0A";

/// Whether what listens at this address belongs to the process group that `pid` leads. If nobody's descriptor can be
/// found (another owner's processes may not be looked into), the agent's being alive must do.
pub(super) fn listener_belongs_to(at: SocketAddr, pid: u32) -> bool {
    let inodes = listening_inodes(at);
    let owners: Vec<u32> = processes().filter(|process| holds_any(*process, &inodes)).collect();
    if owners.is_empty() {
        return is_alive(pid);
    }
    let foreign = owners.iter().find(|owner| group_of(**owner) != Some(pid));
    if let Some(owner) = foreign {
        let name = fs::read_to_string(format!("/proc/{owner}/comm")).unwrap_or_default();
        tracing::warn!(%at, owner, name = name.trim(), "the port is held by a process that is not this agent");
    }
    foreign.is_none()
}

fn listening_inodes(at: SocketAddr) -> Vec<u64> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| inodes_in(&table, at))
        .collect()
}

/// The sockets of a table in the format of /proc/net/tcp (see proc(5)) that accept connections to this address.
fn inodes_in(table: &str, at: SocketAddr) -> Vec<u64> {
    let listens_here = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let local = fields.nth(1)?;
        let state = fields.nth(1)?;
        let inode = fields.nth(5)?.parse().ok()?;
        let (address, port) = local.split_once(':')?;
        let same_port = u16::from_str_radix(port, 16).ok()? == at.port();
        let address = parse_address(address)?;
        let same_address = address.is_unspecified() || address.to_canonical() == at.ip();
        (state == LISTEN && same_port && same_address).then_some(inode)
    };
    table.lines().skip(1).filter_map(listens_here).collect()
}

/// Words of 32 bits in the host's byte order, in hexadecimal.
fn parse_address(text: &str) -> Option<IpAddr> {
    let words: Option<Vec<[u8; 4]>> = (0..text.len() / 8)
        .map(|n| u32::from_str_radix(text.get(n * 8..n * 8 + 8)?, 16).ok().map(u32::to_ne_bytes))
        .collect();
    let bytes = words?.concat();
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(|bytes| Ipv4Addr::from(bytes).into()),
        16 => <[u8; 16]>::try_from(bytes).ok().map(|bytes| Ipv6Addr::from(bytes).into()),
        _ => None,
    }
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn holds_any(pid: u32, inodes: &[u64]) -> bool {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    links.filter_map(|link| fs::read_link(link.path()).ok()).any(|target| {
        let inode =
            target.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
        inode.is_some_and(|inode: u64| inodes.contains(&inode))
    })
}

/// The fields of /proc/pid/stat after the name, which is in parentheses and may contain anything.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.split_ascii_whitespace().map(ToOwned::to_owned).collect())
}

fn group_of(pid: u32) -> Option<u32> {
    stat(pid)?.get(2)?.parse().ok()
}

fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|fields| fields.first().is_some_and(|state| state != "Z"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0 100 0 0 10 0
   1: 00000000:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 222 1 0 100 0 0 10 0
   2: 0100007F:1F90 0100007F:D431 01 00000000:00000000 00:00000000 00000000     0        0 333 1 0 100 0 0 10 0
";

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_listener_is_found_by_its_address_or_as_one_for_all_addresses() {
        assert_eq!(inodes_in(TABLE, at("127.0.0.1:8080")), [111]);
        assert_eq!(inodes_in(TABLE, at("127.0.0.1:8081")), [222]);
        assert!(inodes_in(TABLE, at("127.0.0.2:8080")).is_empty());
        assert!(inodes_in(TABLE, at("127.0.0.1:9")).is_empty());
        assert!(inodes_in("header\ngarbage\n", at("127.0.0.1:8080")).is_empty());
    }

    #[test]
    fn an_ipv6_socket_for_all_addresses_accepts_ipv4_too() {
        let line = "  sl\n 0: 00000000000000000000000000000000:1F90 0:0 0A 0:0 0:0 0 0 0 444 1\n";
        assert_eq!(inodes_in(line, at("127.0.0.1:8080")), [444]);
        assert_eq!(
            parse_address("0000000000000000FFFF00000100007F").unwrap().to_canonical(),
            at("127.0.0.1:1").ip()
        );
    }

    #[test]
    fn a_listener_of_another_group_does_not_pass_for_the_agent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap();
        let group = group_of(std::process::id()).unwrap();
        assert!(listener_belongs_to(own, group));
        assert!(!listener_belongs_to(own, group + 1));
    }
}
