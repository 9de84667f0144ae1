//! A thread of its own for the library, which has several tasks for a connection. Here they run one after the other, in the order in
//! which they have something to do, so that it is known what one has done when another tells of what came later.

use std::io;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The thread. It ends when this is dropped, and all that runs on it.
pub(super) struct Thread {
    runtime: Handle,
    _end: DropGuard,
}

impl Thread {
    /// # Errors
    /// If the system has no thread or no file left for it.
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (handle, end) = (runtime.handle().clone(), CancellationToken::new());
        let ended = end.clone();
        let run = move || runtime.block_on(ended.cancelled());
        std::thread::Builder::new().name("nats".to_owned()).spawn(run)?;
        Ok(Self { runtime: handle, _end: end.drop_guard() })
    }

    /// Where its tasks are spawned.
    pub(super) const fn runtime(&self) -> &Handle {
        &self.runtime
    }
}
