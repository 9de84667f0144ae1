//! Keep-alive connections to the front door: a caller takes one, or opens one, or waits for one if there are as many as
//! may be. Who waits is served in order.

use std::time::Duration;

use ::drowse::time::{Clock, Moment};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::client::{ClientError, Connection};
use crate::loopback::Loopback;

/// Half of what Drowse leaves a connection without a request: it must not close one just as a request is sent.
const MAX_IDLE: Duration = Duration::from_mins(1);

/// The connections of one part.
#[derive(Debug)]
pub(super) struct Pool {
    to: Loopback,
    clock: Clock,
    places: Semaphore,
    /// The one that was used last is last, and is used first.
    idle: Mutex<Vec<(Connection, Moment)>>,
}

/// A connection that somebody uses. Closed when dropped, which is how one hangs up.
#[derive(Debug)]
pub(super) struct Lent<'a> {
    pub(super) connection: Connection,
    pool: &'a Pool,
    _place: SemaphorePermit<'a>,
}

impl Pool {
    pub(super) fn new(to: Loopback, clock: Clock, connections: u32) -> Self {
        Self { to, clock, places: Semaphore::new(connections as usize), idle: Mutex::new(Vec::new()) }
    }

    pub(super) async fn take(&self) -> Result<Lent<'_>, ClientError> {
        let place = self.places.acquire().await.map_err(std::io::Error::other)?;
        while let Some(mut connection) = self.pop() {
            if connection.is_ready().await {
                return Ok(Lent { connection, pool: self, _place: place });
            }
        }
        Ok(Lent { connection: Connection::open(self.to).await?, pool: self, _place: place })
    }

    /// One that was used a short while ago. All others are closed if that one is too old, for they are older.
    fn pop(&self) -> Option<Connection> {
        let mut idle = self.idle.lock();
        let (connection, since) = idle.pop()?;
        if self.clock.now().since(since) < MAX_IDLE {
            return Some(connection);
        }
        idle.clear();
        None
    }
}

impl Lent<'_> {
    /// The answer was read to its end: somebody else may have it.
    pub(super) fn give_back(self) {
        let Self { connection, pool, .. } = self;
        pool.idle.lock().push((connection, pool.clock.now()));
    }
}
