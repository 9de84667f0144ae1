//! The listening sockets of this machine, from `/proc/net/tcp` and `/proc/net/tcp6`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// As long as a row. A larger buffer would have the kernel look for more rows to fill it with, and it goes through
/// the whole hash table of connections for that: milliseconds, also where there are hardly any.
const ROW_BYTES: usize = 150;
/// The state LISTEN as these tables write it.
const LISTEN: &str = "0A";

/// What names a socket in `/proc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::backend::process) struct Inode(u64);

impl Inode {
    /// `socket:[4242]`, as the links in `/proc/<pid>/fd` read.
    pub(super) fn parse_link(link: &str) -> Option<Self> {
        link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok().map(Self)
    }
}

/// The sockets that a connection to this address would reach; several if they share the port. Empty if there is none,
/// or it cannot be told.
pub(in crate::backend::process) fn listening_at(address: SocketAddr) -> Vec<Inode> {
    let v4 = || table("/proc/net/tcp").map(|table| reached(table, address)).unwrap_or_default();
    let v6 = || table("/proc/net/tcp6").map(|table| reached(table, address)).unwrap_or_default();
    // A socket of IPv6 gets a connection over IPv4 only where no socket of IPv4 wants it.
    let found = if address.is_ipv4() { v4() } else { Vec::new() };
    if found.is_empty() { v6() } else { found }
}

fn table(path: &str) -> Option<impl BufRead> {
    Some(BufReader::with_capacity(ROW_BYTES, File::open(path).ok()?))
}

/// One table's sockets for this address: those bound to it, else those bound to any address.
fn reached(table: impl BufRead, address: SocketAddr) -> Vec<Inode> {
    let (mut exact, mut any) = (Vec::new(), Vec::new());
    for line in table.lines().skip(1).map_while(Result::ok) {
        let Some(row) = Row::parse(&line) else { continue };
        let listens = row.state == LISTEN;
        if listens && row.local == address {
            exact.push(row.inode);
        } else if !exact.is_empty() || (!listens && !any.is_empty()) {
            // Linux lists those that listen first, and sockets that share an address one after another.
            break;
        } else if listens && row.local.port() == address.port() && row.local.ip().is_unspecified() {
            any.push(row.inode);
        }
    }
    if exact.is_empty() { any } else { exact }
}

struct Row<'a> {
    local: SocketAddr,
    state: &'a str,
    inode: Inode,
}

impl<'a> Row<'a> {
    /// `sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode …`
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace();
        let local = parse_address(fields.nth(1)?)?;
        let state = fields.nth(1)?;
        let inode = Inode(fields.nth(5)?.parse().ok()?);
        Some(Self { local, state, inode })
    }
}

/// `0100007F:1F90`: the address in words of 32 bits, each in the byte order of the machine, and the port.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip: IpAddr = match address.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let bytes = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    // As a little-endian machine writes them.
    const HEAD: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    fn row(local: &str, state: &str, inode: u64) -> String {
        format!(
            "   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1 0 100 0\n"
        )
    }

    fn found(rows: &[String], address: &str) -> Vec<u64> {
        let table = HEAD.to_owned() + &rows.concat();
        reached(table.as_bytes(), address.parse().unwrap()).into_iter().map(|inode| inode.0).collect()
    }

    #[test]
    fn an_address_is_read_in_the_byte_order_of_the_machine() {
        for (text, expected) in [
            ("0100007F:1F90", "127.0.0.1:8080"),
            ("00000000:0050", "0.0.0.0:80"),
            ("00000000000000000000000001000000:0001", "[::1]:1"),
            ("00000000000000000000000000000000:FFFF", "[::]:65535"),
            ("0000000000000000FFFF00000100007F:1F90", "127.0.0.1:8080"),
        ] {
            assert_eq!(parse_address(text), Some(expected.parse().unwrap()), "{text}");
        }
        for bad in ["", ":", "0100007F", "0100007F:", "0100007:1F90", "0100007G:1F90", "é100007F:1F90"] {
            assert_eq!(parse_address(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn only_sockets_that_listen_on_the_port_count() {
        let rows = [
            row("0100007F:1F90", "0A", 11),
            row("0100007F:1F91", "0A", 12),
            row("0200007F:1F90", "0A", 13),
            row("0100007F:1F90", "01", 14),
        ];
        assert_eq!(found(&rows, "127.0.0.1:8080"), [11]);
        assert!(found(&rows[1..], "127.0.0.1:8080").is_empty());
        assert!(found(&[], "127.0.0.1:8080").is_empty());
    }

    #[test]
    fn the_socket_bound_to_the_address_goes_before_one_bound_to_any() {
        let rows = [row("00000000:1F90", "0A", 11), row("0100007F:1F90", "0A", 12)];
        assert_eq!(found(&rows, "127.0.0.1:8080"), [12]);
        assert_eq!(found(&rows, "127.0.0.2:8080"), [11]);
    }

    #[test]
    fn sockets_that_share_a_port_are_all_found() {
        let rows = [row("0100007F:1F90", "0A", 11), row("0100007F:1F90", "0A", 12)];
        assert_eq!(found(&rows, "127.0.0.1:8080"), [11, 12]);
    }

    #[test]
    fn connections_before_the_sockets_that_listen_do_not_hide_them() {
        let rows = [row("0100007F:1F90", "06", 0), row("0100007F:1F90", "0A", 12)];
        assert_eq!(found(&rows, "127.0.0.1:8080"), [12]);
    }

    #[test]
    fn rows_that_cannot_be_read_are_passed_over() {
        let rows = ["nonsense\n".to_owned(), "\n".to_owned(), row("0100007F:1F90", "0A", 12)];
        assert_eq!(found(&rows, "127.0.0.1:8080"), [12]);
    }

    #[test]
    fn only_links_to_sockets_name_one() {
        assert_eq!(Inode::parse_link("socket:[4242]"), Some(Inode(4242)));
        for link in ["pipe:[4242]", "/dev/null", "socket:[]", "socket:[x]", "socket:[1"] {
            assert_eq!(Inode::parse_link(link), None, "{link}");
        }
    }
}
