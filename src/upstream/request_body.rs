//! The body of a request on its way to an agent: what was read ahead while the request was held, then the rest
//! as it comes.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::HeaderMap;
use http::header::{HeaderName, TRAILER};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::read_ahead::{BLOCK, ReadAhead};
use crate::engine::budget::Reservation;

/// The body of a request. One without a body costs nothing.
#[derive(Debug, Default)]
pub struct RequestBody {
    /// `None` once everything that the caller sends was read.
    incoming: Option<Incoming>,
    ahead: ReadAhead,
    progress: Option<Arc<Progress>>,
    /// The trailers that may pass; all, if there is no list.
    announced: Option<Box<[HeaderName]>>,
    /// It comes on a stream of HTTP/2.
    by_http2: bool,
}

/// Why a body is not whole.
#[derive(Debug, thiserror::Error)]
pub enum BrokenBody {
    /// The caller left, or sent nonsense.
    #[error(transparent)]
    Malformed(#[from] hyper::Error),
    /// Its stream was reset without an error (RFC 9113 §8.1), which hyper takes for its end.
    #[error("the caller took it back half way")]
    CutShort,
}

/// What others need to know of, and decide about, a body that hyper owns.
#[derive(Debug)]
pub struct Progress {
    open: AtomicBool,
    finished: AtomicBool,
    opened: AtomicWaker,
    /// Frames.
    taken: AtomicU64,
    /// Why the rest will not come.
    broken: OnceLock<String>,
}

impl Progress {
    /// Lets the body be read. Only a body behind `Expect: 100-continue` starts closed.
    pub fn open(&self) {
        self.open.store(true, Ordering::Release);
        self.opened.wake();
    }

    /// Whether hyper has taken all of it.
    pub fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    /// How much of it has been passed on, in a measure that only grows.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Why it is not whole, if whoever sends it was told so: then that is why there is no answer. With HTTP/2 hyper does not say it.
    pub fn broken(&self) -> Option<&str> {
        self.broken.get().map(String::as_str)
    }

    fn poll_open(&self, cx: &mut Context<'_>) -> bool {
        if self.open.load(Ordering::Acquire) {
            return true;
        }
        self.opened.register(cx.waker());
        self.open.load(Ordering::Acquire)
    }
}

/// How far to read ahead.
pub struct Appetite<'a> {
    /// Bytes of this body at most.
    pub limit: u64,
    /// Takes this much from the budget of all held bodies; `None` when it is used up.
    pub reserve: &'a mut (dyn FnMut(u64) -> Option<Reservation> + Send),
}

impl RequestBody {
    /// The body as it comes from the caller. `expects` closes it until [`Progress::open`] is called, because
    /// reading it would send the caller a `100 Continue`.
    pub fn new(incoming: Incoming, expects: bool) -> Self {
        if incoming.is_end_stream() {
            return Self::default();
        }
        let progress = Arc::new(Progress {
            open: AtomicBool::new(!expects),
            finished: AtomicBool::new(false),
            opened: AtomicWaker::new(),
            taken: AtomicU64::new(0),
            broken: OnceLock::new(),
        });
        Self { incoming: Some(incoming), progress: Some(progress), ..Self::default() }
    }

    /// It comes on a stream of HTTP/2, which says where its bodies end.
    #[must_use]
    pub const fn by_http2(mut self, by_http2: bool) -> Self {
        self.by_http2 = by_http2;
        self
    }

    /// Lets only those trailers pass that the head has announced, as HTTP/1.1 has it: what comes late must not say what was
    /// checked in the head.
    pub(super) fn announce(&mut self, head: &HeaderMap) {
        let lists = head.get_all(TRAILER).iter().filter_map(|list| list.to_str().ok());
        let names = lists.flat_map(|list| list.split(','));
        self.announced = Some(names.filter_map(|name| name.trim().parse().ok()).collect());
    }

    /// `None` for a request without a body.
    pub fn progress(&self) -> Option<&Arc<Progress>> {
        self.progress.as_ref()
    }

    /// Reads ahead until everything is read, the appetite is satisfied, or the caller has nothing more to give
    /// now (pending). An error means that the caller left or sent nonsense.
    pub fn poll_read_ahead(
        &mut self,
        appetite: &mut Appetite<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), BrokenBody>> {
        while self.ahead.bytes() < appetite.limit {
            let Some(incoming) = &mut self.incoming else { return Poll::Ready(Ok(())) };
            if let Some(progress) = &self.progress
                && !progress.poll_open(cx)
            {
                return Poll::Pending;
            }
            // The size of a frame is not known before it is read.
            let size = incoming.size_hint().exact().unwrap_or(BLOCK).clamp(1, BLOCK);
            let mut place = None;
            if self.ahead.room() == 0 {
                place = (appetite.reserve)(size);
                if place.is_none() {
                    return Poll::Ready(Ok(()));
                }
            }
            match std::task::ready!(self.poll_incoming(cx)).transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => self.ahead.keep(data, place, size, appetite.reserve),
                Some(Err(last)) => {
                    if let Ok(trailers) = last.into_trailers() {
                        self.ahead.keep_trailers(trailers, place);
                    }
                }
                None => {}
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        if let Some(ahead) = self.ahead.pop() {
            return Poll::Ready(Some(Ok(ahead)));
        }
        self.poll_incoming(cx)
    }

    /// The next frame that the caller sends. Lets go of hyper's end of the body as soon as it is known to be over.
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let frame = std::task::ready!(Pin::new(&mut *incoming).poll_frame(cx));
        if frame.is_none() && self.by_http2 && !incoming.is_end_stream() {
            return Poll::Ready(Some(Err(BrokenBody::CutShort)));
        }
        if frame.is_none() || incoming.is_end_stream() {
            self.incoming = None;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BrokenBody::from)))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BrokenBody;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        if let Some(progress) = &self.progress
            && !progress.poll_open(cx)
        {
            return Poll::Pending;
        }
        let mut frame = std::task::ready!(self.poll_next(cx));
        if let (Some(Ok(frame)), Some(announced)) = (&mut frame, &self.announced)
            && let Some(trailers) = frame.trailers_mut()
        {
            let all = std::mem::take(trailers);
            let named = |name: &HeaderName| announced.contains(name);
            let mut passes = false;
            // Only the first value of a field comes with its name.
            trailers.extend(all.into_iter().filter(|(name, _)| {
                passes = name.as_ref().map_or(passes, named);
                passes
            }));
        }
        if let Some(progress) = &self.progress {
            progress.taken.fetch_add(1, Ordering::Relaxed);
            if let Some(Err(error)) = &frame {
                let _first = progress.broken.set(error.to_string());
            }
            if self.is_end_stream() {
                progress.finished.store(true, Ordering::Release);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_none() && self.ahead.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        // What was read ahead of a body of unknown length stays one of unknown length: it was sent in chunks, may
        // end in trailers, and is passed on as it came.
        let rest = self.incoming.as_ref().map_or(SizeHint::default(), Body::size_hint);
        match rest.exact() {
            Some(rest) => SizeHint::with_exact(rest + self.ahead.bytes()),
            None => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use http_body_util::BodyExt;
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::engine::budget::Budget;
    use crate::upstream::testing::{incoming, until};

    async fn read_ahead(body: &mut RequestBody, limit: u64, budget: &Arc<Budget>) -> Result<(), BrokenBody> {
        std::future::poll_fn(|cx| {
            let mut reserve = |bytes| budget.reserve(bytes);
            body.poll_read_ahead(&mut Appetite { limit, reserve: &mut reserve }, cx)
        })
        .await
    }

    #[tokio::test]
    async fn what_was_read_ahead_comes_first_and_gives_its_budget_back_as_it_leaves() {
        let budget = Budget::new(1000);
        let (incoming, mut caller) = incoming("POST / HTTP/1.1\nHost: a\nContent-Length: 6\n\nabc").await;
        let mut body = RequestBody::new(incoming, false);
        read_ahead(&mut body, 3, &budget).await.unwrap();
        assert!(budget.used() >= 3);
        assert_eq!(body.size_hint().exact(), Some(6));
        caller.write_all(b"def").await.unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
        assert_eq!(budget.used(), 0);
        let progress = Arc::clone(body.progress().unwrap());
        assert!(!progress.is_finished());
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "def");
        assert!(progress.is_finished() && body.is_end_stream());
    }

    #[tokio::test]
    async fn reading_ahead_waits_for_more_and_ends_with_the_body() {
        let budget = Budget::new(1000);
        let (incoming, mut caller) = incoming("POST / HTTP/1.1\nHost: a\nContent-Length: 6\n\nabc").await;
        let mut body = RequestBody::new(incoming, false);
        assert!(read_ahead(&mut body, 100, &budget).now_or_never().is_none(), "three bytes are to come");
        caller.write_all(b"def").await.unwrap();
        read_ahead(&mut body, 100, &budget).await.unwrap();
        assert!(!body.is_end_stream());
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abcdef");
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn a_used_up_budget_stops_the_reading_and_loses_nothing() {
        let budget = Budget::new(2);
        let (incoming, _caller) = incoming("POST / HTTP/1.1\nHost: a\nContent-Length: 3\n\nabc").await;
        let mut body = RequestBody::new(incoming, false);
        read_ahead(&mut body, 100, &budget).await.unwrap();
        assert_eq!((body.ahead.bytes(), budget.used()), (0, 0));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abc");
    }

    #[tokio::test]
    async fn small_frames_are_no_more_to_the_budget_than_they_are() {
        let budget = Budget::new(1 << 20);
        let head = "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n";
        let (incoming, mut caller) = incoming(head).await;
        for _ in 0..4000 {
            caller.write_all(b"5\r\nabcde\r\n").await.unwrap();
        }
        caller.write_all(b"0\r\n\r\n").await.unwrap();
        let mut body = RequestBody::new(incoming, false);
        read_ahead(&mut body, 1 << 20, &budget).await.unwrap();
        assert_eq!(budget.used(), 2 * BLOCK, "20000 bytes");
        assert_eq!(body.collect().await.unwrap().to_bytes(), b"abcde".repeat(4000));
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn a_dropped_body_gives_its_budget_back() {
        let budget = Budget::new(1000);
        let (incoming, _caller) = incoming("POST / HTTP/1.1\nHost: a\nContent-Length: 3\n\nabc").await;
        let mut body = RequestBody::new(incoming, false);
        read_ahead(&mut body, 100, &budget).await.unwrap();
        assert_eq!(budget.used(), 3);
        drop(body);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test]
    async fn a_caller_that_leaves_in_the_middle_is_noticed() {
        let budget = Budget::new(1000);
        let (incoming, caller) = incoming("POST / HTTP/1.1\nHost: a\nContent-Length: 6\n\nabc").await;
        let mut body = RequestBody::new(incoming, false);
        drop(caller);
        assert!(read_ahead(&mut body, 100, &budget).await.is_err());
    }

    #[tokio::test]
    async fn a_body_behind_an_expectation_is_not_touched_until_it_is_opened() {
        let budget = Budget::new(1000);
        let head = "POST / HTTP/1.1\nHost: a\nContent-Length: 3\nExpect: 100-continue\n\n";
        let (incoming, mut caller) = incoming(head).await;
        let mut body = RequestBody::new(incoming, true);
        assert!(read_ahead(&mut body, 100, &budget).now_or_never().is_none());
        assert!(body.frame().now_or_never().is_none());
        let progress = Arc::clone(body.progress().unwrap());
        let reading = tokio::spawn(async move { body.collect().await.unwrap().to_bytes() });
        progress.open();
        caller.write_all(b"abc").await.unwrap();
        assert_eq!(reading.await.unwrap(), "abc");
        until(|| progress.is_finished()).await;
    }

    #[tokio::test]
    async fn trailers_are_read_ahead_with_the_rest() {
        let budget = Budget::new(100_000);
        let head = "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\nTrailer: X\n\n3\nabc\n0\nX: 1\n\n";
        let (incoming, _caller) = incoming(head).await;
        let mut body = RequestBody::new(incoming, false);
        read_ahead(&mut body, 100, &budget).await.unwrap();
        assert_eq!(body.size_hint().exact(), None, "it leaves in chunks, as it came");
        let all = body.collect().await.unwrap();
        assert_eq!(all.trailers().unwrap()["x"], "1");
        assert_eq!(all.to_bytes(), "abc");
    }

    #[test]
    fn a_request_without_a_body_has_nothing_to_wait_for() {
        let body = RequestBody::default();
        assert!(body.is_end_stream() && body.progress().is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// However it is cut up, however much of it is read ahead, and whatever the budget.
        #[test]
        fn a_body_arrives_as_it_was_sent(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..10),
            limit in 0..500_u64,
            budget in 0..500_u64,
            chunked: bool,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let budget = Budget::new(budget);
                let all = chunks.concat();
                let framing =
                    if chunked { "Transfer-Encoding: chunked".into() } else { format!("Content-Length: {}", all.len()) };
                let (incoming, mut caller) = incoming(&format!("POST / HTTP/1.1\nHost: a\n{framing}\n\n")).await;
                for chunk in &chunks {
                    if chunked {
                        caller.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await.unwrap();
                    }
                    caller.write_all(chunk).await.unwrap();
                    if chunked {
                        caller.write_all(b"\r\n").await.unwrap();
                    }
                }
                if chunked {
                    caller.write_all(b"0\r\n\r\n").await.unwrap();
                }
                let mut body = RequestBody::new(incoming, false);
                read_ahead(&mut body, limit, &budget).await.unwrap();
                assert_eq!(body.collect().await.unwrap().to_bytes(), all);
                assert_eq!(budget.used(), 0);
            });
        }
    }
}
