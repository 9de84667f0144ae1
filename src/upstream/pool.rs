//! The idle connections to one life of an agent. There is no pool over all agents: what belongs to one life
//! can not be given to another, even when a pod's address is (invariant 3).

use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::net::{Home, TcpStream};
use parking_lot::Mutex;

use super::Connection;
use crate::policy::Protocol;

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
    /// Who is told when something arrives on it.
    home: Home,
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

    /// The connection to this port that speaks this and was used last, if there is one that works and whose home is here or
    /// nobody's: between two workers each of its requests would wake both.
    pub fn take(&self, port: u16, protocol: Protocol) -> Option<Connection> {
        let here = Home::here();
        loop {
            // What turns out to be closed is dropped here, outside the lock.
            let Idle { mut connection, home, .. } = {
                let mut stock = self.stock.lock();
                let last = |wanted| {
                    stock.idle.iter().rposition(|idle| {
                        idle.port == port && idle.home == wanted && idle.connection.protocol() == protocol
                    })
                };
                let last = last(here).or_else(|| last(Home::COMMON))?;
                stock.idle.remove(last)
            };
            if !connection.is_usable() {
                continue;
            }
            if home == here {
                return Some(connection);
            }
            if let Some(connection) = connection.bring_home() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next request. Drops it if it is not idle, or the pool is full or closed.
    pub fn put(&self, port: u16, connection: Connection) {
        if !connection.is_idle() {
            return;
        }
        // Whoever brought it here keeps it: it was made by this thread, or came here before it was used.
        let home = Home::here();
        let mut stock = self.stock.lock();
        if stock.closed || stock.idle.len() >= MAX_IDLE {
            drop(stock);
            return;
        }
        stock.idle.push(Idle { port, home, seen_by_sweep: false, connection });
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

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::upstream::testing::{connection, get, streams, until};

    /// A connection that a request may be sent on, and the agent's end.
    async fn usable() -> (Connection, TcpStream) {
        let (mut connection, agent) = connection().await;
        assert!(connection.is_usable());
        (connection, agent)
    }

    async fn is_closed(mut agent: TcpStream) -> bool {
        matches!(agent.read(&mut [0]).await, Ok(0))
    }

    #[tokio::test]
    async fn the_connection_used_last_is_taken_first_and_only_for_its_port() {
        let (stream, _first) = streams().await;
        let pool = Pool::with_first(80, stream);
        let (second, mut agent) = usable().await;
        pool.put(80, second);
        assert!(pool.take(81, Protocol::Http1).is_none());
        let mut taken = pool.take(80, Protocol::Http1).unwrap();
        let (_sent, byte) =
            tokio::join!(tokio::time::timeout(Duration::from_millis(50), taken.send(get())), agent.read_u8());
        assert_eq!(byte.unwrap(), b'G');
        assert!(pool.take(80, Protocol::Http1).is_some());
        assert!(pool.take(80, Protocol::Http1).is_none());
    }

    #[tokio::test]
    async fn connections_that_the_agent_has_closed_are_skipped() {
        let pool = Pool::default();
        let (good, _agent) = usable().await;
        let (closed, agent) = usable().await;
        pool.put(80, good);
        pool.put(80, closed);
        drop(agent);
        until(|| {
            // The one on top is taken and put back until its end has seen the close.
            if pool.idle() == 2
                && let Some(connection) = pool.take(80, Protocol::Http1)
            {
                pool.put(80, connection);
            }
            pool.idle() == 1
        })
        .await;
        assert!(pool.take(80, Protocol::Http1).is_some());
    }

    #[tokio::test]
    async fn a_closed_pool_closes_what_is_idle_and_what_comes_back() {
        let pool = Pool::default();
        let (idle, idle_agent) = usable().await;
        let (busy, busy_agent) = usable().await;
        pool.put(80, idle);
        pool.close();
        assert!(is_closed(idle_agent).await);
        pool.put(80, busy);
        assert!(is_closed(busy_agent).await);
        assert_eq!(pool.idle(), 0);
    }

    #[tokio::test]
    async fn a_connection_in_the_middle_of_an_exchange_is_not_kept() {
        let pool = Pool::default();
        let (mut connection, mut agent) = usable().await;
        let _cut = tokio::time::timeout(Duration::ZERO, connection.send(get())).await;
        pool.put(80, connection);
        assert_eq!(pool.idle(), 0);
        let mut sent = Vec::new();
        agent.read_to_end(&mut sent).await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_is_taken_by_its_own_worker_and_one_of_nobodys_by_any() {
        let pool = Pool::default();
        let (connection, mut agent) = usable().await;
        pool.put(80, connection);
        let runtimes = [1, 2]
            .map(|_| tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"));
        let work = |worker: usize, work: fn(&Pool) -> bool| {
            let run = || {
                Home::settle(worker);
                runtimes[worker - 1].block_on(async { work(&pool) })
            };
            std::thread::scope(|scope| scope.spawn(run).join().unwrap())
        };
        let take_and_put = |pool: &Pool| {
            let Some(mut connection) = pool.take(80, Protocol::Http1) else { return false };
            assert!(connection.is_usable());
            pool.put(80, connection);
            true
        };
        assert!(work(1, take_and_put), "nobody's is anybody's");
        assert!(!work(2, take_and_put), "but the first to use it keeps it");
        assert!(pool.take(80, Protocol::Http1).is_none());
        assert!(work(1, take_and_put));
        pool.close();
        assert_eq!(agent.read(&mut [0]).await.unwrap(), 0);
        // Not here: a runtime may not end within another.
        std::thread::spawn(|| drop(runtimes)).join().unwrap();
    }

    #[tokio::test]
    async fn the_pool_has_a_bound() {
        let pool = Pool::default();
        let mut agents = Vec::new();
        for _ in 0..MAX_IDLE + 3 {
            let (connection, agent) = usable().await;
            pool.put(80, connection);
            agents.push(agent);
        }
        assert!(pool.idle() <= MAX_IDLE);
        assert!(is_closed(agents.pop().unwrap()).await);
    }

    #[tokio::test]
    async fn what_was_idle_for_a_whole_round_is_swept_and_what_was_used_is_not() {
        let (old, _old) = usable().await;
        let (new, _new) = usable().await;
        let mut stock = Stock { sweeping: true, ..Stock::default() };
        let idle = |connection| Idle { port: 80, home: Home::COMMON, seen_by_sweep: false, connection };
        stock.idle.push(idle(old));
        let (stale, done) = stock.sweep();
        assert!(stale.is_empty() && !done);
        stock.idle.push(idle(new));
        let (stale, done) = stock.sweep();
        assert_eq!((stale.len(), stock.idle.len(), done), (1, 1, false));
        let (stale, done) = stock.sweep();
        assert_eq!((stale.len(), done, stock.sweeping), (1, true, false));
    }
}
