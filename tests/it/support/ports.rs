//! Ports for agents and listeners of tests: each is given once, and none is one that the system gives to anybody else.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that the system gives to outgoing connections and to whoever asks for any, and apart from those of the
/// test cluster: an agent that sleeps holds its port with nothing.
const FIRST: u16 = 12_000;
const COUNT: u16 = 8_000;

/// A port of 127.0.0.1 that nothing listens on, and that is given to nobody else in this process.
pub(crate) fn free_port() -> u16 {
    // Two test programs at once begin at different places.
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    let next =
        NEXT.get_or_init(|| AtomicU16::new(u16::try_from(std::process::id() % u32::from(COUNT)).unwrap()));
    let ports = std::iter::repeat_with(|| FIRST + next.fetch_add(1, Ordering::Relaxed) % COUNT);
    let mut free =
        ports.take(COUNT.into()).filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    free.next().expect("a free port")
}

/// The same as an address.
pub(crate) fn free_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()))
}
