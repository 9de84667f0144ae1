//! Calls to a stub of a front door on loopback.

use super::*;
use crate::loopback::Loopback;
use crate::scenario::file::{Arrivals, HangUp, Kind, Part, PartGoals, Popularity};
use http::{HeaderValue, Method, Uri};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Answers every request on a connection by what its path says, and a mark for each that was answered.
async fn serve(mut stream: TcpStream) {
    let mut buffer = vec![0; 4096];
    loop {
        let length = stream.read(&mut buffer).await.unwrap_or_default();
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let Some(path) = text.split(' ').nth(1) else { return };
        let answer = match path {
            "/warm" => "HTTP/1.1 200 OK\r\ndrowse-start: warm\r\ncontent-length: 0\r\n\r\n",
            "/cold" => "HTTP/1.1 200 OK\r\ndrowse-start: cold\r\ncontent-length: 0\r\n\r\n",
            "/full" => "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n",
            "/broken" => return,
            "/silent" => {
                // Nothing, until the caller leaves.
                let _ = stream.read(&mut buffer).await;
                return;
            }
            "/events" => "HTTP/1.1 200 OK\r\ncontent-length: 18\r\n\r\ndata: 1\n\ndata: 2\n\n",
            other => panic!("{other}"),
        };
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn front_door() -> Loopback {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = Loopback::try_from(listener.local_addr().unwrap()).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    to
}

fn calls(to: Loopback, paths: &[&'static str]) -> Vec<Call> {
    let host = HeaderValue::from_static("x");
    let call = |path: &&'static str| Call::new(Method::GET, to, host.clone(), Uri::from_static(path));
    paths.iter().map(call).collect()
}

fn part(arrivals: Arrivals) -> Part {
    Part {
        name: "a".to_owned(),
        kind: Kind::Request,
        takes: Duration::ZERO.into(),
        every: None,
        arrivals,
        popularity: Some(Popularity::RoundRobin),
        hang_up: None,
        connections: 1,
        goals: PartGoals::default(),
        trace: None,
    }
}

/// Makes the calls of a part for two seconds, to agents in turn.
async fn run(part: &Part, way: Way, agents: u32) -> Arc<Caller> {
    let clock = Clock::start();
    let book = Book::new().unwrap();
    let hang_up_after = part.hang_up.map_or(Duration::ZERO, |hang_up| hang_up.after.get());
    let caller = Arc::new(Caller { clock, way, hang_up_after, patience: Duration::from_secs(20), book });
    let plan = Plan::new(part, agents, Duration::from_secs(2), 1);
    Arc::clone(&caller).send(plan, clock.now()).await.unwrap();
    caller
}

#[tokio::test]
async fn every_call_is_counted_by_how_it_ended() {
    let to = front_door().await;
    let calls = calls(to, &["/warm", "/cold", "/full", "/broken", "/warm"]);
    let way = Way::Request { pool: Pool::new(to, Clock::start(), 16), calls };
    let caller = run(&part(Arrivals::Constant { rate: 200.0 }), way, 5).await;
    caller.book.read(|page| {
        assert_eq!((page.due, page.answered(), page.hung_up), (400, 240, 0));
        assert_eq!((page.warm.count(), page.woken.count()), (160, 80));
        assert_eq!(page.failures.text(), "429: 80, closed without an answer: 80");
    });
}

#[tokio::test]
async fn who_hangs_up_is_counted_apart_and_gives_the_place_free() {
    let to = front_door().await;
    let mut part = part(Arrivals::Burst { callers: 40, at: Duration::ZERO.into() });
    part.hang_up = Some(HangUp { share: 1.0, after: Duration::from_millis(20).into() });
    // More than one round, since who waits for a connection leaves in time, too.
    let way = Way::Request { pool: Pool::new(to, Clock::start(), 10), calls: calls(to, &["/silent"]) };
    let caller = run(&part, way, 1).await;
    caller.book.read(|page| {
        assert_eq!((page.due, page.hung_up, page.answered()), (40, 40, 0));
        assert_eq!(page.failures.total(), 0, "{}", page.failures.text());
    });
}

#[tokio::test]
async fn a_stream_that_ends_early_has_failed() {
    let to = front_door().await;
    for (events, answered, failed) in [(2, 10, "none"), (3, 0, "stream cut short: 10")] {
        let pool = Pool::new(to, Clock::start(), 4);
        let way = Way::Stream { pool, calls: calls(to, &["/events"]), events };
        let caller = run(&part(Arrivals::Burst { callers: 10, at: Duration::ZERO.into() }), way, 1).await;
        caller.book.read(|page| {
            assert_eq!((page.answered(), page.failures.text().as_str()), (answered, failed));
        });
    }
}

#[tokio::test]
async fn the_wait_for_a_connection_counts() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = Loopback::try_from(listener.local_addr().unwrap()).unwrap();
    let stall = Duration::from_millis(400);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 4096];
        let mut first = true;
        while stream.read(&mut buffer).await.is_ok_and(|length| length > 0) {
            tokio::time::sleep(if std::mem::take(&mut first) { stall } else { Duration::ZERO }).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    });
    let way = Way::Request { pool: Pool::new(to, Clock::start(), 1), calls: calls(to, &["/warm"]) };
    // All of them are due while the first one waits.
    let caller = run(&part(Arrivals::Burst { callers: 20, at: Duration::ZERO.into() }), way, 1).await;
    caller.book.read(|page| {
        assert_eq!(page.answered(), 20, "{}", page.failures.text());
        assert!(page.warm.at(0.0) >= stall.as_secs_f64() * 1000.0 * 0.999, "{:?}", page.warm.quantiles());
    });
}

#[test]
fn events_are_counted_however_they_are_cut() {
    let whole = b"id: 1\ndata: x\n\n\nid: 2\ndata: y\n\n";
    for size in 1..whole.len() {
        let mut events = Events::default();
        whole.chunks(size).for_each(|piece| events.see(piece));
        assert_eq!(events.seen, 2, "{size}");
    }
}
