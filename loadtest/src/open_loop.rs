//! Open loop: requests are sent at a fixed pace, whatever the answers do. Tells what a caller waits.
//!
//! A request's latency counts from when it should have been sent. If all connections are busy then, it waits for one,
//! and the wait counts: a stall hits all who would have called in it, not just the one who did.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ::drowse::time::{Clock, Moment};
use http::StatusCode;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::exchange::Exchange;
use crate::stats::Recorder;
use crate::tally::Tally;
use crate::ticker::Ticker;

/// When which request should be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    period: Duration,
    total: u32,
}

impl Pace {
    /// So many a second, for so long. `rate` must be above zero.
    pub(crate) fn new(rate: u32, length: Duration) -> Self {
        let total = u64::from(rate) * length.as_secs();
        Self { period: Duration::from_secs(1) / rate, total: u32::try_from(total).unwrap_or(u32::MAX) }
    }

    /// When request `number`, from 0, should be sent.
    fn intended(&self, start: Moment, number: u32) -> Moment {
        start + self.period * (number + 1)
    }

    pub(crate) fn length(&self) -> Duration {
        self.period * self.total
    }
}

/// What came out of it.
#[derive(Debug)]
pub(crate) struct Latencies {
    pub(crate) answers: Tally,
    pub(crate) recorder: Recorder,
}

impl Latencies {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self { answers: Tally::default(), recorder: Recorder::new()? })
    }

    pub(crate) fn merge(&mut self, other: Self) -> anyhow::Result<()> {
        self.answers.merge(other.answers);
        self.recorder.merge(&other.recorder)
    }
}

/// The requests that are due, and which comes next.
#[derive(Debug)]
struct Due {
    tickets: Semaphore,
    next: AtomicU32,
}

/// Sends all requests of a pace. A connection that breaks is not opened again.
pub(crate) async fn load<E: Exchange>(
    clock: Clock,
    connections: Vec<E>,
    pace: Pace,
) -> anyhow::Result<Latencies> {
    let due = Arc::new(Due { tickets: Semaphore::new(0), next: AtomicU32::new(0) });
    let senders_count = connections.len();
    let start = clock.now();
    let ticker = Ticker::start(pace.period)?;
    let mut senders = JoinSet::new();
    for connection in connections {
        senders.spawn(send_due(clock, connection, pace, start, Arc::clone(&due)));
    }
    release(&ticker, &due.tickets, pace.total).await?;
    // One more for each, which tells it to go home.
    due.tickets.add_permits(senders_count);
    let mut all = Latencies::new()?;
    for sender in senders.join_all().await {
        all.merge(sender?)?;
    }
    let unsent = u64::from(pace.total).saturating_sub(all.answers.total());
    if unsent > 0 {
        all.answers.count("no connection left".to_owned(), unsent);
    }
    Ok(all)
}

/// Gives out a ticket a tick.
async fn release(ticker: &Ticker, tickets: &Semaphore, total: u32) -> anyhow::Result<()> {
    let mut left = total;
    while left > 0 {
        let ticks = u32::try_from(ticker.ticks().await?).unwrap_or(u32::MAX).min(left);
        tickets.add_permits(ticks as usize);
        left -= ticks;
    }
    Ok(())
}

/// Takes tickets, and sends a request for each, until all are sent.
async fn send_due<E: Exchange>(
    clock: Clock,
    mut connection: E,
    pace: Pace,
    start: Moment,
    due: Arc<Due>,
) -> anyhow::Result<Latencies> {
    let (mut own, mut good) = (Latencies::new()?, 0);
    loop {
        due.tickets.acquire().await?.forget();
        let number = due.next.fetch_add(1, Ordering::Relaxed);
        if number >= pace.total {
            break;
        }
        let end = connection.exchange().await;
        let took = clock.now().since(pace.intended(start, number));
        match end {
            Ok(StatusCode::OK) => {
                good += 1;
                own.recorder.record(took);
            }
            Ok(status) => own.answers.count(status.as_str().to_owned(), 1),
            Err(word) => {
                own.answers.count(word, 1);
                break;
            }
        }
    }
    own.answers.count(StatusCode::OK.as_str().to_owned(), good);
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::Call;
    use crate::exchange::Asking;
    use crate::loopback::Loopback;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    #[test]
    fn requests_are_spread_evenly_over_the_time() {
        let pace = Pace::new(2000, Duration::from_secs(5));
        assert_eq!((pace.total, pace.length()), (10_000, Duration::from_secs(5)));
        assert_eq!(pace.intended(Moment::from_micros(7), 0).as_micros(), 507);
        assert_eq!(pace.intended(Moment::from_micros(7), 9_999).as_micros(), 5_000_007);
    }

    /// Answers each request of one connection, the first after a while.
    async fn serve(mut stream: TcpStream, stall: Duration) {
        let mut buffer = [0; 4096];
        let mut stall = Some(stall);
        while stream.read(&mut buffer).await.is_ok_and(|length| length > 0) {
            tokio::time::sleep(stall.take().unwrap_or_default()).await;
            if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.is_err() {
                return;
            }
        }
    }

    #[tokio::test]
    async fn a_stall_counts_for_all_who_should_have_called_in_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = Loopback::try_from(listener.local_addr().unwrap()).unwrap();
        let stall = Duration::from_millis(500);
        tokio::spawn(async move { serve(listener.accept().await.unwrap().0, stall).await });
        let connections = Asking::open(&Call::get(to, "x", "/"), 1).await.unwrap();
        let pace = Pace { period: Duration::from_millis(5), total: 100 };
        let all = load(Clock::start(), connections, pace).await.unwrap();
        assert_eq!(all.answers.text(), "200: 100");
        // A closed loop would see one slow answer and 99 fast ones.
        let quantiles = all.recorder.quantiles();
        assert!(quantiles.p50_ms > 200.0 && quantiles.max_ms >= 500.0, "{quantiles:?}");
    }

    #[tokio::test]
    async fn what_no_connection_is_left_for_is_counted_too() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = Loopback::try_from(listener.local_addr().unwrap()).unwrap();
        let connections = Asking::open(&Call::get(to, "x", "/"), 1).await.unwrap();
        drop(listener);
        let pace = Pace { period: Duration::from_millis(1), total: 10 };
        let all = load(Clock::start(), connections, pace).await.unwrap();
        assert_eq!((all.answers.good(), all.answers.total()), (0, 10), "{}", all.answers.text());
    }
}
