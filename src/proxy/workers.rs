//! Threads that serve connections, each with a runtime of its own. A connection stays with its worker, and so do the connections to
//! agents that its requests use: a warm request wakes no other thread, and shares next to nothing with one.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::net::Home;

/// The threads. They end when this is dropped, and what they still serve is cut.
#[derive(Debug)]
pub struct Workers {
    runtimes: Vec<Handle>,
    turn: AtomicUsize,
    _end: DropGuard,
}

impl Workers {
    /// Starts so many, at least one.
    ///
    /// # Errors
    /// If the system has no thread or no file left for it.
    pub fn start(number: usize) -> io::Result<Self> {
        let end = CancellationToken::new();
        let runtimes = (0..number.max(1)).map(|nth| start(nth, end.clone())).collect::<io::Result<_>>()?;
        Ok(Self { runtimes, turn: AtomicUsize::new(0), _end: end.drop_guard() })
    }

    /// The next one, in turn: connections are alike more or less, and nobody knows which will have more to do.
    pub(super) fn next(&self) -> &Handle {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        &self.runtimes[turn % self.runtimes.len()]
    }
}

/// One of them, in a thread of its own.
fn start(nth: usize, end: CancellationToken) -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new().name(format!("worker-{nth}")).spawn(move || {
        Home::settle(nth);
        runtime.block_on(end.cancelled());
    })?;
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn they_take_turns_and_each_is_at_home_with_itself() {
        let workers = Workers::start(2).unwrap();
        let mut homes = Vec::new();
        for _ in 0..4 {
            homes.push(workers.next().spawn(async { Home::here() }).await.unwrap());
        }
        assert_eq!(homes[..2], homes[2..]);
        assert!(homes[0] != homes[1] && !homes.contains(&Home::here()), "{homes:?}");
    }

    #[tokio::test]
    async fn what_they_do_ends_with_them() {
        let workers = Workers::start(0).unwrap();
        let endless = workers.next().spawn(std::future::pending::<()>());
        drop(workers);
        assert!(endless.await.unwrap_err().is_cancelled());
    }
}
