//! Bodies that come bit by bit, made only as fast as the caller reads them, and the checksum of one that comes in.

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _, TryStream, TryStreamExt as _};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;

/// The body of an answer. Fails only when it is made from the body of a request or from a file that fails.
pub(super) type Body = UnsyncBoxBody<Bytes, BodyError>;
pub(super) type BodyError = Box<dyn Error + Send + Sync>;

/// As many bytes as make a chunk that begins and ends with the pattern.
const CHUNK: usize = PATTERN as usize * 256;
/// The byte at offset `n` is `n` modulo this: a prime, so that a lost or doubled block shows.
const PATTERN: u8 = 251;

/// A body that is there at once.
pub(super) fn full(content: impl Into<Bytes>) -> Body {
    Full::new(content.into()).map_err(never).boxed_unsync()
}

/// A body of unknown length.
pub(super) fn streamed(chunks: impl Stream<Item = Bytes> + Send + 'static) -> Body {
    fallible(chunks.map(Ok::<_, Infallible>))
}

/// A body that may break off.
pub(super) fn fallible<S>(chunks: S) -> Body
where
    S: TryStream<Ok = Bytes, Error: Into<BodyError>> + Send + 'static,
{
    StreamBody::new(chunks.map_ok(Frame::data).map_err(Into::into)).boxed_unsync()
}

fn never(never: Infallible) -> BodyError {
    match never {}
}

/// A line at once, then one each `every`, and `done` after `length`.
pub(super) fn slow(length: Duration, every: Duration) -> impl Stream<Item = Bytes> + Send + 'static {
    let end = tokio::time::sleep(length);
    let first = stream::iter([Bytes::from_static(b"line 1\n")]);
    let lines = ticks(every).map(|n| Bytes::from(format!("line {}\n", n + 1)));
    first.chain(lines.take_until(end)).chain(stream::iter([Bytes::from_static(b"done\n")]))
}

/// What a stream of server-sent events is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EventKind {
    Events,
    /// Comments, as an agent sends them only to keep the connection open.
    Comments,
    /// Events of which the second half comes as late as the next event.
    Halves,
}

/// Server-sent events: the first at once, then one each `every`, `count` in all.
pub(super) fn events(
    every: Duration,
    count: u32,
    kind: EventKind,
) -> impl Stream<Item = Bytes> + Send + 'static {
    let parts = stream::iter([0]).chain(ticks(every)).map(move |n| {
        Bytes::from(match kind {
            EventKind::Events => format!("id: {n}\nevent: tick\ndata: {{\"n\":{n}}}\n\n"),
            EventKind::Comments => ": still here\n\n".to_owned(),
            EventKind::Halves if n % 2 == 0 => format!("id: {n}\ndata: first half\n"),
            EventKind::Halves => "data: second half\n\n".to_owned(),
        })
    });
    parts.take(count as usize)
}

/// 1, 2, 3, … each after a pause. Pauses while nobody reads, so that lines do not pile up.
fn ticks(every: Duration) -> impl Stream<Item = u64> + Send + 'static {
    stream::unfold(1_u64, move |n| async move {
        tokio::time::sleep(every).await;
        Some((n, n + 1))
    })
}

/// This many bytes of the pattern. The chunks share one allocation.
pub(super) fn pattern(length: u64) -> impl Stream<Item = Bytes> + Send + 'static {
    let chunk: Bytes = (0..PATTERN).cycle().take(CHUNK).collect();
    stream::unfold(length, move |left| {
        let size = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
        let chunk = chunk.slice(..size);
        async move { (size > 0).then(|| (chunk, left - size as u64)) }
    })
}

/// The length and the 64-bit FNV-1a hash of what was fed to it. Enough to see damage, not to stop an attacker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checksum {
    pub(super) bytes: u64,
    pub(super) hash: u64,
}

impl Checksum {
    /// Of nothing.
    pub(super) const EMPTY: Self = Self { bytes: 0, hash: 0xcbf2_9ce4_8422_2325 };

    pub(super) fn update(&mut self, data: &[u8]) {
        self.bytes += data.len() as u64;
        self.hash = data
            .iter()
            .fold(self.hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn text(chunks: impl Stream<Item = Bytes>) -> Vec<String> {
        chunks.map(|chunk| String::from_utf8(chunk.to_vec()).unwrap()).collect().await
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_begins_at_once_and_ends_with_done_after_its_time() {
        let clock = crate::time::Clock::start();
        let lines = text(slow(Duration::from_millis(2_500), Duration::from_secs(1))).await;
        assert_eq!(lines, ["line 1\n", "line 2\n", "line 3\n", "done\n"]);
        let took = clock.now().since(crate::time::Moment::START).as_millis();
        assert!((2_500..2_600).contains(&took), "{took} ms");
        let none = text(slow(Duration::ZERO, Duration::from_secs(1))).await;
        assert_eq!(none, ["line 1\n", "done\n"]);
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_events_come_as_were_asked_for() {
        let of = |kind, count| text(events(Duration::from_secs(1), count, kind));
        let events = of(EventKind::Events, 3).await;
        assert_eq!(events.len(), 3);
        assert_eq!(events[2], "id: 2\nevent: tick\ndata: {\"n\":2}\n\n");
        assert!(of(EventKind::Events, 0).await.is_empty());
        assert_eq!(of(EventKind::Comments, 2).await, [": still here\n\n"; 2]);
        let halves = ["id: 0\ndata: first half\n", "data: second half\n\n", "id: 2\ndata: first half\n"];
        assert_eq!(of(EventKind::Halves, 3).await, halves);
    }

    #[tokio::test]
    async fn bytes_come_in_chunks_and_follow_the_pattern_across_them() {
        let chunks: Vec<_> = pattern(2 * CHUNK as u64 + 5).collect().await;
        assert_eq!(chunks.iter().map(Bytes::len).collect::<Vec<_>>(), [CHUNK, CHUNK, 5]);
        let bytes = chunks.concat();
        assert!(bytes.iter().enumerate().all(|(n, byte)| n % 251 == usize::from(*byte)));
        assert_eq!(pattern(0).count().await, 0);
    }

    #[test]
    fn a_checksum_is_that_of_fnv_1a_however_the_data_is_cut() {
        let mut sum = Checksum::EMPTY;
        sum.update(b"foo");
        sum.update(b"");
        sum.update(b"bar");
        assert_eq!((sum.bytes, sum.hash), (6, 0x8594_4171_f739_67e8), "as published with the algorithm");
    }
}
