//! The idle connections to one life of an agent. There is no pool over all agents: what belongs to one life
//! can not be given to another, even when a pod's address is (invariant 3).

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpStream;

use super::Connection;

/// Idle connections kept for one life. One per request in flight is all that steady traffic needs.
const MAX_IDLE: usize = 128;

/// A connection that was idle for a whole round of this length is closed, so it is closed after one to two
/// rounds. Both are below the shortest keep-alive time that common agents use (2 s): we close first, and no
/// request is sent into a connection that the agent is about to close.
const SWEEP_EVERY: Duration = Duration::from_millis(900);

/// The idle connections of one life: last in, first out. Closed for good by [`Pool::close`].
#[derive(Debug, Default)]
pub struct Pool {
    stock: Arc<Mutex<Stock>>,
}

#[derive(Debug, Default)]
struct Stock {
    closed: bool,
    sweeping: bool,
    idle: Vec<Idle>,
}

#[derive(Debug)]
struct Idle {
    port: u16,
    /// It was already here when the last sweep came by.
    seen_by_sweep: bool,
    connection: Connection,
}

impl Pool {
    /// A pool with the connection by which the agent was found to answer: it carries the first request.
    pub fn with_first(port: u16, stream: TcpStream) -> Self {
        let pool = Self::default();
        if let Some(mut connection) = Connection::new(stream)
            && connection.is_usable()
        {
            pool.put(port, connection);
        }
        pool
    }

    /// The connection to this port that was used last, if there is one that works.
    pub fn take(&self, port: u16) -> Option<Connection> {
        loop {
            // What turns out to be closed is dropped here, outside the lock.
            let mut connection = {
                let mut stock = self.stock.lock();
                let last = stock.idle.iter().rposition(|idle| idle.port == port)?;
                stock.idle.remove(last).connection
            };
            if connection.is_usable() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next request. Drops it if it is not idle, or the pool is full or closed.
    pub fn put(&self, port: u16, connection: Connection) {
        if !connection.is_idle() {
            return;
        }
        let mut stock = self.stock.lock();
        if stock.closed || stock.idle.len() >= MAX_IDLE {
            drop(stock);
            return;
        }
        stock.idle.push(Idle { port, seen_by_sweep: false, connection });
        if !stock.sweeping {
            stock.sweeping = true;
            tokio::spawn(sweep(Arc::downgrade(&self.stock)));
        }
    }

    /// Closes the idle connections now, and those in use when they come back: this life has ended.
    pub fn close(&self) {
        let idle = {
            let mut stock = self.stock.lock();
            stock.closed = true;
            std::mem::take(&mut stock.idle)
        };
        drop(idle);
    }

    /// How many connections are idle.
    pub fn idle(&self) -> usize {
        self.stock.lock().idle.len()
    }
}

/// Runs while there is something to sweep, so that an agent without traffic costs no timer.
async fn sweep(stock: Weak<Mutex<Stock>>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let Some(stock) = stock.upgrade() else { return };
        let (stale, done) = stock.lock().sweep();
        drop(stale);
        if done {
            return;
        }
    }
}

impl Stock {
    /// Takes out what was idle for a whole round. True if nothing is left to sweep.
    fn sweep(&mut self) -> (Vec<Idle>, bool) {
        let stale = self.idle.extract_if(.., |idle| idle.seen_by_sweep).collect();
        for idle in &mut self.idle {
            idle.seen_by_sweep = true;
        }
        self.sweeping = !self.idle.is_empty();
        (stale, !self.sweeping)
    }
}
