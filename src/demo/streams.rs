//! Bodies of the demo agent that come piece by piece.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _};
use http_body::{Body as _, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;

/// Any body that the demo agent answers with.
pub(super) type Body = UnsyncBoxBody<Bytes, hyper::Error>;

/// How much of `/bytes/<n>` comes at once.
const PIECE: &[u8] = &[b'z'; 64 * 1024];

/// A body that is there already.
pub(super) fn whole(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// What came, as it comes, trailers included.
pub(super) fn echo(incoming: Incoming) -> Body {
    incoming.boxed_unsync()
}

/// Spread evenly over a time, the last piece at its end.
pub(super) fn slowly(over: Duration, pieces: u32) -> Body {
    let gap = over / pieces.max(1);
    let piece = move |n: u32| match n {
        n if n == pieces => format!("chunk {n} of {pieces}\ndone\n"),
        n => format!("chunk {n} of {pieces}\n"),
    };
    body_of(ticks(gap, pieces).map(piece))
}

/// Server-sent events, the first at once.
pub(super) fn events(every: Duration, count: u32) -> Body {
    let event = |n: u32| format!("id: {n}\nevent: tick\ndata: tick {n}\n\n");
    let rest = ticks(every, count.saturating_sub(1)).map(move |n| event(n + 1));
    body_of(stream::iter((count > 0).then(|| event(1))).chain(rest))
}

/// So many bytes, all alike.
pub(super) fn bytes(count: u64) -> Body {
    body_of(stream::unfold(count, |left| async move {
        let size = PIECE.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        (size > 0).then(|| (Bytes::from_static(&PIECE[..size]), left - size as u64))
    }))
}

/// Counts to `count`, with a gap before each number.
fn ticks(gap: Duration, count: u32) -> impl Stream<Item = u32> + Send + 'static {
    stream::iter(1..=count).then(move |n| async move {
        tokio::time::sleep(gap).await;
        n
    })
}

fn body_of<T: Into<Bytes>>(pieces: impl Stream<Item = T> + Send + 'static) -> Body {
    StreamBody::new(pieces.map(|piece| Ok(Frame::data(piece.into())))).boxed_unsync()
}

/// How many bytes came, and their FNV-1a hash of 64 bits. Reads all of the body and keeps none of it.
pub(super) async fn count(mut incoming: Incoming) -> Result<(u64, u64), hyper::Error> {
    let (mut count, mut hash) = (0, Fnv::default());
    while !incoming.is_end_stream() {
        let Some(frame) = incoming.frame().await else { break };
        if let Some(data) = frame?.data_ref() {
            count += data.len() as u64;
            hash.add(data);
        }
    }
    Ok((count, hash.0))
}

/// <http://www.isthe.com/chongo/tech/comp/fnv/>
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fnv {
    fn add(&mut self, data: &[u8]) {
        for byte in data {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(body: Body) -> Bytes {
        body.collect().await.unwrap().to_bytes()
    }

    #[test]
    fn the_hash_is_fnv_1a() {
        for (text, expected) in
            [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)]
        {
            let mut hash = Fnv::default();
            hash.add(text.as_bytes());
            assert_eq!(hash.0, expected, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_takes_its_time_and_says_when_it_is_done() {
        let clock = crate::time::Clock::start();
        let body = read(slowly(Duration::from_mins(3), 2)).await;
        assert_eq!(body, "chunk 1 of 2\nchunk 2 of 2\ndone\n");
        assert_eq!(clock.now().since(crate::time::Moment::START).as_secs(), 180);
    }

    #[tokio::test(start_paused = true)]
    async fn events_come_one_after_another_and_the_first_at_once() {
        let clock = crate::time::Clock::start();
        let body = read(events(Duration::from_secs(10), 3)).await;
        assert_eq!(body.split(|byte| *byte == b'\n').count(), 3 * 4 + 1);
        assert!(body.starts_with(b"id: 1\nevent: tick\ndata: tick 1\n\nid: 2\n"));
        assert_eq!(clock.now().since(crate::time::Moment::START).as_secs(), 20);
        assert!(read(events(Duration::ZERO, 0)).await.is_empty());
    }

    #[tokio::test]
    async fn as_many_bytes_come_as_were_asked_for() {
        for count in [0, 1, PIECE.len() as u64, 3 * PIECE.len() as u64 + 1] {
            assert_eq!(read(bytes(count)).await.len() as u64, count);
        }
    }
}
