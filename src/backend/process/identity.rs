//! Whose socket answers at an address (guard IDENT): the agent's, or that of a process that took its port.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use super::guarded::Pids;
use super::procfs::{self, Process, belongs};
use crate::lifecycle::{Failure, FailureClass};

/// Who listens at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Listener {
    /// The agent, or a process that it started.
    Agent,
    /// Somebody else, for certain.
    Stranger(Stranger),
    /// It cannot be told: nobody whose open files can be seen.
    Unknown,
}

/// Somebody else's process that holds the port of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stranger {
    port: u16,
    pid: i32,
    name: String,
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { port, pid, name } = self;
        write!(f, "port {port} is held by process {pid} ({name}), which is not this agent")
    }
}

/// Makes sure that nobody listens on a port yet. Whoever does so later than this is found by [`who_listens`].
pub(super) async fn check_free(port: u16) -> Result<(), Failure> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let Err(error) = TcpListener::bind(address) else { return Ok(()) };
    let holder = tokio::task::spawn_blocking(move || holder_of(address)).await.ok().flatten();
    let detail = match holder {
        Some(stranger) => stranger.to_string(),
        None => format!("port {port} cannot be had: {error}; `ss -ltnp` may show who holds it"),
    };
    Err(Failure::new(FailureClass::Scheduling, detail))
}

fn holder_of(address: SocketAddr) -> Option<Stranger> {
    let sockets = procfs::sockets::listening_at(address);
    let holds = |process: &Process| !procfs::sockets_of(process.pid, &sockets).is_empty();
    let Process { pid, name, .. } = procfs::processes().into_iter().find(holds)?;
    Some(Stranger { port: address.port(), pid, name })
}

/// Reads `/proc`: a fraction of a millisecond when it is the agent itself.
pub(super) fn who_listens(at: SocketAddr, pids: Pids) -> Listener {
    let sockets = procfs::sockets::listening_at(at);
    if sockets.is_empty() {
        return Listener::Unknown;
    }
    let (guard, agent) = (pids.guard.as_raw_nonzero().get(), pids.agent.as_raw_nonzero().get());
    let own = procfs::sockets_of(agent, &sockets);
    // By far the most frequent case, and the cheapest.
    if sockets.iter().all(|socket| own.contains(socket)) {
        return Listener::Agent;
    }
    let all = procfs::processes();
    let holdings: Vec<(&Process, Vec<_>)> =
        all.iter().map(|process| (process, procfs::sockets_of(process.pid, &sockets))).collect();
    let mut answer = Listener::Agent;
    for socket in sockets {
        let mut holders =
            holdings.iter().filter(|(_, held)| held.contains(&socket)).map(|(process, _)| *process);
        let Some(first) = holders.next() else {
            answer = Listener::Unknown;
            continue;
        };
        if !belongs(first, agent, guard, &all) && !holders.any(|other| belongs(other, agent, guard, &all)) {
            return Listener::Stranger(Stranger {
                port: at.port(),
                pid: first.pid,
                name: first.name.clone(),
            });
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use rustix::process::{Pid, getpid, getppid};

    use super::*;

    /// A process that is neither this one nor one of its ancestors.
    fn unrelated() -> std::process::Child {
        std::process::Command::new("sleep").arg("1000").spawn().unwrap()
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_port_is_free_until_somebody_listens_who_is_then_named() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let held = check_free(port).await.unwrap_err();
        let holder = format!("port {port} is held by process {} (", std::process::id());
        assert!(held.detail.starts_with(&holder), "{}", held.detail);
        drop(socket);
        assert_eq!(check_free(port).await, Ok(()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_listener_is_the_agent_its_descendant_a_stranger_or_unknown() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = socket.local_addr().unwrap();
        let me = getpid();
        let mut child = unrelated();
        let other = Pid::from_child(&child);

        assert_eq!(who_listens(at, Pids { guard: other, agent: me }), Listener::Agent);
        let parent = getppid().unwrap();
        assert_eq!(who_listens(at, Pids { guard: parent, agent: other }), Listener::Agent);
        let Listener::Stranger(stranger) = who_listens(at, Pids { guard: other, agent: other }) else {
            panic!("this process is a stranger to that one");
        };
        let text = stranger.to_string();
        assert!(text.starts_with(&format!("port {} is held by process {me} (", at.port())), "{text}");

        drop(socket);
        assert_eq!(who_listens(at, Pids { guard: other, agent: other }), Listener::Unknown);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
