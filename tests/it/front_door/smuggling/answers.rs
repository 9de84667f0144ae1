//! Answers of agents in which two readers might see different ones, to callers with HTTP/2: never two, and never a part that is
//! told as the whole.

use std::time::Duration;

use drowse::policy::Policy;
use http_body_util::BodyExt as _;
use hyper::{Method, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::super::world::{LOCAL, Start, World, until};
use super::http2::wire::{self, End};
use super::{HOST, marked};
use crate::support::http2::{Http2, empty, uri};

const NAME: &str = "echo.default.agents.localhost";
const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";

/// What an agent answers, in the marks of the requests' rows.
struct Row {
    what: &'static str,
    rule: &'static str,
    method: &'static str,
    sent: &'static str,
    /// It closes behind that.
    closes: bool,
    status: u16,
    body: &'static str,
    end: End,
}

/// One that is whole to everybody.
const fn whole(what: &'static str, rule: &'static str, sent: &'static str, body: &'static str) -> Row {
    Row { what, rule, method: "GET", sent, closes: false, status: 200, body, end: End::Whole }
}

/// One that breaks off.
const fn cut(what: &'static str, rule: &'static str, sent: &'static str, body: &'static str) -> Row {
    Row { closes: true, end: End::Reset, ..whole(what, rule, sent, body) }
}

/// One that nobody can be told.
const fn bad(what: &'static str, rule: &'static str, sent: &'static str) -> Row {
    Row { status: 502, ..whole(what, rule, sent, "") }
}

const ENDS: &[Row] = &[
    whole("a length", "RFC 9112 §6.3", OK, "ok"),
    whole("chunks", "RFC 9112 §6.3", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nok\n0\n\n", "ok"),
    Row {
        closes: true,
        ..whole("neither, up to the end", "RFC 9112 §6.3", "HTTP/1.1 200 OK\n\nhello", "hello")
    },
    Row { closes: true, ..whole("of HTTP/1.0", "RFC 9112 §6.3", "HTTP/1.0 200 OK\n\nhello", "hello") },
    whole(
        "equal lengths",
        "RFC 9110 §8.6",
        "HTTP/1.1 200 OK\nContent-Length: 2\nContent-Length: 2\n\nok",
        "ok",
    ),
    whole("in a list", "RFC 9110 §8.6", "HTTP/1.1 200 OK\nContent-Length: 2, 2\n\nok", "ok"),
    whole("with zeros in front", "RFC 9110 §8.6", "HTTP/1.1 200 OK\nContent-Length: 002\n\nok", "ok"),
    whole(
        "chunks, whatever the length",
        "RFC 9112 §6.3",
        "HTTP/1.1 200 OK\nContent-Length: 40\nTransfer-Encoding: chunked\n\n2\nok\n0\n\nHTTP/1.1 200 OK\nContent-Length: 4\n\nevil",
        "ok",
    ),
    whole(
        "chunks and a length behind them",
        "RFC 9112 §6.3",
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nContent-Length: 1\n\n2\nok\n0\n\n",
        "ok",
    ),
    bad("different lengths", "RFC 9110 §8.6", "HTTP/1.1 200 OK\nContent-Length: 2\nContent-Length: 40\n\nok"),
    bad("in a list", "RFC 9110 §8.6", "HTTP/1.1 200 OK\nContent-Length: 2, 40\n\nok"),
    bad("a plus", "RFC 9110 §8.6", "HTTP/1.1 200 OK\nContent-Length: +2\n\nok"),
    bad("no number", "RFC 9110 §8.6", "HTTP/1.1 200 OK\nContent-Length: x\n\nok"),
    bad("no digit", "RFC 9110 §8.6", "HTTP/1.1 200 OK\nContent-Length:\n\nok"),
    bad("2^64 + 2", "RFC 9110 §8.6", "HTTP/1.1 200 OK\nContent-Length: 18446744073709551618\n\nok"),
    bad("another coding", "RFC 9112 §6.1", "HTTP/1.1 200 OK\nTransfer-Encoding: gzip\n\nok"),
    bad(
        "another coding in chunks",
        "RFC 9112 §6.1",
        "HTTP/1.1 200 OK\nTransfer-Encoding: gzip, chunked\n\n2\nok\n0\n\n",
    ),
    bad(
        "chunks that are not last",
        "RFC 9112 §6.1",
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked, gzip\n\n2\nok\n0\n\n",
    ),
    bad(
        "chunks in chunks",
        "RFC 9112 §6.1",
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked, chunked\n\n2\nok\n0\n\n",
    ),
    bad(
        "chunks in two fields",
        "RFC 9112 §6.1",
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n2\nok\n0\n\n",
    ),
    bad("identity", "RFC 9112 §6.1", "HTTP/1.1 200 OK\nTransfer-Encoding: identity\nContent-Length: 2\n\nok"),
    bad(
        "a coding that is none",
        "RFC 9112 §6.1",
        "HTTP/1.1 200 OK\nTransfer-Encoding:\nContent-Length: 2\n\nok",
    ),
    bad("chunks of HTTP/1.0", "RFC 9112 §6.1", "HTTP/1.0 200 OK\nTransfer-Encoding: chunked\n\n2\nok\n0\n\n"),
    cut("less than its length", "RFC 9112 §8", "HTTP/1.1 200 OK\nContent-Length: 5\n\nhe", "he"),
    cut("nothing of its length", "RFC 9112 §8", "HTTP/1.1 200 OK\nContent-Length: 5\n\n", ""),
    cut("half a chunk", "RFC 9112 §8", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\nhe", "he"),
    cut("no last chunk", "RFC 9112 §8", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nhe\n", "he"),
    cut(
        "half a last chunk",
        "RFC 9112 §8",
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nhe\n0\n",
        "he",
    ),
    cut(
        "a chunk longer than its size",
        "RFC 9112 §7.1",
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nhello\n0\n\n",
        "he",
    ),
    cut(
        "a chunk without a size",
        "RFC 9112 §7.1",
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nhe\nx\nllo\n0\n\n",
        "he",
    ),
    cut(
        "a size of 2^64",
        "RFC 9112 §7.1",
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nhe\n10000000000000000\nllo\n0\n\n",
        "he",
    ),
    cut(
        "LF alone behind a size",
        "RFC 9112 §7.1",
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nhe\n3␊llo\n0\n\n",
        "he",
    ),
];

const HEADS: &[Row] = &[
    whole("lines may end in LF alone", "RFC 9112 §2.2", "HTTP/1.1 200 OK␊Content-Length: 2␊␊ok", "ok"),
    whole("no reason", "RFC 9112 §4", "HTTP/1.1 200\nContent-Length: 2\n\nok", "ok"),
    bad("a folded value", "RFC 9112 §5.2", "HTTP/1.1 200 OK\nX: a\n b\nContent-Length: 2\n\nok"),
    bad("a folded length", "RFC 9112 §5.2", "HTTP/1.1 200 OK\nContent-Length: 2\n 0\n\nok"),
    bad("CR in a value", "RFC 9112 §2.2", "HTTP/1.1 200 OK\nX: a␍b\nContent-Length: 2\n\nok"),
    bad("NUL in a value", "RFC 9110 §5.5", "HTTP/1.1 200 OK\nX: a␀b\nContent-Length: 2\n\nok"),
    bad("a space before a colon", "RFC 9112 §5.1", "HTTP/1.1 200 OK\nContent-Length : 2\n\nok"),
    bad("a space before a name", "RFC 9112 §5.1", "HTTP/1.1 200 OK\n Content-Length: 2\n\nok"),
    bad("no name", "RFC 9112 §5", "HTTP/1.1 200 OK\n: 2\nContent-Length: 2\n\nok"),
    bad("no colon", "RFC 9112 §5", "HTTP/1.1 200 OK\nX\nContent-Length: 2\n\nok"),
    bad("a pseudo-field", "RFC 9113 §8.3", "HTTP/1.1 200 OK\n:status: 204\nContent-Length: 2\n\nok"),
    bad("no status", "RFC 9112 §4", "HTTP/1.1 OK\nContent-Length: 2\n\nok"),
    bad("a status of two digits", "RFC 9112 §4", "HTTP/1.1 20 OK\nContent-Length: 2\n\nok"),
    bad("of HTTP/2", "RFC 9112 §4", "HTTP/2 200 OK\nContent-Length: 2\n\nok"),
    bad("of another protocol", "RFC 9112 §4", "ICY 200 OK\nContent-Length: 2\n\nok"),
    bad("HTTP/0.9", "RFC 9112 §4", "hello\n\n"),
    Row { closes: true, ..bad("half a head", "RFC 9112 §8", "HTTP/1.1 200 OK\nContent-Le") },
    Row { closes: true, ..bad("nothing", "RFC 9112 §8", "") },
];

const ONE: &[Row] = &[
    whole(
        "a second answer behind the first is nobody's",
        "RFC 9112 §9.2",
        "HTTP/1.1 200 OK\nContent-Length: 2\n\nokHTTP/1.1 200 OK\nContent-Length: 4\n\nevil",
        "ok",
    ),
    whole(
        "nor is one behind chunks",
        "RFC 9112 §9.2",
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nok\n0\n\nHTTP/1.1 200 OK\nContent-Length: 4\n\nevil",
        "ok",
    ),
    Row {
        status: 204,
        ..whole(
            "204 has no body, and what follows is nobody's",
            "RFC 9112 §6.3",
            "HTTP/1.1 204 No Content\nContent-Length: 36\n\nHTTP/1.1 200 OK\nContent-Length: 4\n\nevil",
            "",
        )
    },
    Row {
        status: 304,
        ..whole(
            "304 has none",
            "RFC 9112 §6.3",
            "HTTP/1.1 304 Not Modified\nContent-Length: 5\n\nHTTP/1.1 200 OK\nContent-Length: 4\n\nevil",
            "",
        )
    },
    Row {
        method: "HEAD",
        ..whole(
            "HEAD has none",
            "RFC 9112 §6.3",
            "HTTP/1.1 200 OK\nContent-Length: 36\n\nHTTP/1.1 200 OK\nContent-Length: 4\n\nevil",
            "",
        )
    },
    Row {
        method: "HEAD",
        ..whole("HEAD has no chunks", "RFC 9112 §6.3", "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", "")
    },
    whole(
        "interim answers",
        "RFC 9110 §15.2",
        "HTTP/1.1 100 Continue\n\nHTTP/1.1 103 Early Hints\nLink: </x>\n\nHTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        "ok",
    ),
    whole(
        "one with a length has no body all the same",
        "RFC 9112 §6.3",
        "HTTP/1.1 103 Early Hints\nContent-Length: 38\n\nHTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        "ok",
    ),
    bad(
        "a switch that nobody has asked for",
        "RFC 9110 §15.2.2",
        "HTTP/1.1 101 Switching Protocols\nConnection: Upgrade\nUpgrade: x\n\nHTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    ),
    Row { closes: true, ..bad("an interim answer alone", "RFC 9110 §15.2", "HTTP/1.1 100 Continue\n\n") },
];

/// An agent that answers `/<n>` as row n says, and everything else by [`OK`].
async fn agent(rows: &'static [Row]) -> u16 {
    let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(play(stream, rows));
        }
    });
    port
}

async fn play(mut stream: TcpStream, rows: &[Row]) {
    let mut head = Vec::new();
    while let Ok(byte) = stream.read_u8().await {
        head.push(byte);
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let text = String::from_utf8(std::mem::take(&mut head)).unwrap();
        let target = text.split(' ').nth(1).unwrap_or_default();
        let row = target[1..].parse::<usize>().ok().map(|number| &rows[number]);
        let sent = row.map_or(OK, |row| row.sent).replace('\n', "\r\n");
        let gone = stream.write_all(marked(&sent).as_bytes()).await.is_err();
        if gone || row.is_some_and(|row| row.closes) {
            break;
        }
    }
}

/// Sends a request for each, once byte by byte and once by a client that checks what it gets, and then one that must get its own
/// answer.
async fn check(rows: &'static [Row]) {
    let world = World::awake(agent(rows).await).await;
    let client = Http2::connect(world.address).await;
    let mut wrong = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let head = format!(":method={}\n:scheme=http\n:path=/{number}\n:authority={NAME}", row.method);
        let mut answer = wire::ask(world.address, &head, &[]).await;
        if row.status == 502 {
            // The words are ours.
            answer.body.clear();
        }
        let request = Request::builder().method(Method::from_bytes(row.method.as_bytes()).unwrap());
        let request = request.uri(uri(NAME, &format!("/{number}"))).body(empty()).unwrap();
        let body = match client.send(request).await {
            Ok(response) => response.into_body().collect().await.is_ok(),
            Err(_) => false,
        };
        let after = world.ask(&format!("GET /after HTTP/1.1\n{HOST}\nConnection: close\n\n")).await;
        if answer.statuses != [row.status]
            || (&*answer.body, answer.end) != (row.body, row.end)
            || body != (row.end == End::Whole)
            || !after.ends_with("\n\nok")
        {
            wrong.push(format!(
                "{} ({}): {:?}\n  {answer:?} instead of {} {:?} {:?}; whole to a client: {body}; after it: {after:?}",
                row.what, row.rule, row.sent, row.status, row.body, row.end
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[tokio::test]
async fn an_answer_ends_where_everybody_sees_its_end() {
    check(ENDS).await;
}

#[tokio::test]
async fn the_head_of_an_answer_is_plain_lines() {
    check(HEADS).await;
}

#[tokio::test]
async fn a_request_gets_one_answer() {
    check(ONE).await;
}

#[tokio::test]
async fn an_agent_that_never_ends_to_promise_an_answer_is_given_up() {
    let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut first = [0];
                if stream.read(&mut first).await.is_ok_and(|count| count > 0) {
                    while stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").await.is_ok() {}
                }
            });
        }
    });
    let policy = Policy { busy_cap: Duration::from_millis(300), ..Start::default().policy };
    let world = World::start(port, Start { policy, ..Start::default() }).await;
    world.until_running().await;
    let head = format!(":method=GET\n:scheme=http\n:path=/\n:authority={NAME}");
    let answer = wire::ask(world.address, &head, &[]).await;
    assert_eq!((answer.statuses, answer.end), (vec![504], End::Whole));
    until(|| world.in_flight() == 0).await;
}
