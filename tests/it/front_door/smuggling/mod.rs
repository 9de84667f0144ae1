//! Request smuggling: what could be read in two ways is refused, and what an agent gets is whole requests, one after the other.

mod answers;
mod http2;
mod rows;

use super::recorder::{Heard, Recorder};
use super::world::{PATIENCE, World};
use rows::Row;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const HOST: &str = "Host: echo.default.agents.localhost";

/// The statuses of everything that comes back until the front door closes.
async fn answers(world: &World, sent: &str) -> Vec<u16> {
    let mut stream = world.caller().await.stream;
    let sent = marked(&sent.replace("{H}", HOST).replace('\n', "\r\n"));
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    // A reset behind the last answer is an end, too.
    let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut read)).await;
    let read = String::from_utf8_lossy(&read);
    let _closed = end.unwrap_or_else(|_| panic!("the connection stays open after {sent:?}: {read}"));
    read.split("HTTP/1.").skip(1).map(|answer| answer[2..5].parse().unwrap()).collect()
}

/// The bytes that the marks in a row stand for.
fn marked(text: &str) -> String {
    let marks = [('␊', "\n"), ('␍', "\r"), ('␀', "\0"), ('␋', "\u{b}")];
    marks.iter().fold(text.to_owned(), |text, (mark, byte)| text.replace(*mark, byte))
}

/// As the rows have it.
fn short(heard: &Heard) -> String {
    let first = heard.first.trim_end_matches(" HTTP/1.1");
    let fields: Vec<_> = heard.fields.iter().filter(|field| !field.starts_with("host: ")).cloned().collect();
    let body = heard.body.replace("\r\n", "\n");
    let rest: Vec<_> = std::iter::once(body).chain(heard.trailers.iter().cloned()).collect();
    format!("{first} [{}] {}", fields.join(", "), rest.join(" "))
}

/// Sends them one by one, each followed by a good request over a connection of its own.
async fn check(rows: &[Row]) {
    let (recorder, port) = Recorder::listen().await;
    let world = World::awake(port).await;
    let mut wrong = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let answers = answers(&world, row.sent).await;
        let after = format!("/after/{number}");
        let good = world.ask(&format!("GET {after} HTTP/1.1\n{HOST}\nConnection: close\n\n")).await;
        let (heard, odd) = recorder.up_to(&after).await;
        let heard: Vec<_> = heard.iter().map(short).collect();
        let expected: Vec<_> =
            row.heard.iter().map(|it| (*it).to_owned()).chain([format!("GET {after} [] ")]).collect();
        // The beginning of a request whose caller was refused for how it went on.
        let is_cut = |odd: &String| odd.starts_with("a part of a request: \"POST /a HTTP/1.1\\r\\n");
        let odd: Vec<_> = odd.iter().filter(|odd| row.answers != [400] || !is_cut(odd)).collect();
        if answers != row.answers
            || heard != expected
            || !odd.is_empty()
            || !good.starts_with("HTTP/1.1 200 ")
        {
            wrong.push(format!(
                "{}: {:?}\n  answers {answers:?}, heard {heard:?}, odd {odd:?}",
                row.what, row.sent
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[tokio::test]
async fn a_length_is_one_plain_number() {
    check(rows::LENGTHS).await;
}

#[tokio::test]
async fn a_transfer_coding_is_chunked_given_once() {
    check(rows::CODINGS).await;
}

#[tokio::test]
async fn chunks_are_plain_and_trailers_decide_nothing() {
    check(rows::CHUNKED).await;
}

#[tokio::test]
async fn a_head_is_plain_lines() {
    check(rows::HEADS).await;
}

#[tokio::test]
async fn what_follows_is_a_request_only_where_the_one_before_has_surely_ended() {
    check(rows::NEXT).await;
}
