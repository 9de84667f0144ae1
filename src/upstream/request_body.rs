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

/// The body of a request. One without a body costs nothing, and each is small: a connection of hyper has room for many requests.
#[derive(Debug, Default)]
pub struct RequestBody(Option<Box<Present>>);

/// That of a request which has one.
#[derive(Debug)]
struct Present {
    /// `None` once everything that the caller sends was read.
    incoming: Option<Incoming>,
    ahead: ReadAhead,
    progress: Arc<Progress>,
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
        let progress = Progress {
            open: AtomicBool::new(!expects),
            finished: AtomicBool::new(false),
            opened: AtomicWaker::new(),
            taken: AtomicU64::new(0),
            broken: OnceLock::new(),
        };
        Self(Some(Box::new(Present {
            incoming: Some(incoming),
            ahead: ReadAhead::default(),
            progress: Arc::new(progress),
            announced: None,
            by_http2: false,
        })))
    }

    /// It comes on a stream of HTTP/2, which says where its bodies end.
    #[must_use]
    pub fn by_http2(mut self, by_http2: bool) -> Self {
        if let Some(present) = &mut self.0 {
            present.by_http2 = by_http2;
        }
        self
    }

    /// Lets only those trailers pass that the head has announced, as HTTP/1.1 has it: what comes late must not say what was
    /// checked in the head.
    pub(super) fn announce(&mut self, head: &HeaderMap) {
        let Some(present) = &mut self.0 else { return };
        let lists = head.get_all(TRAILER).iter().filter_map(|list| list.to_str().ok());
        let names = lists.flat_map(|list| list.split(','));
        present.announced = Some(names.filter_map(|name| name.trim().parse().ok()).collect());
    }

    /// `None` for a request without a body.
    pub fn progress(&self) -> Option<&Arc<Progress>> {
        self.0.as_ref().map(|present| &present.progress)
    }

    /// Reads ahead until everything is read, the appetite is satisfied, or the caller has nothing more to give
    /// now (pending). An error means that the caller left or sent nonsense.
    pub fn poll_read_ahead(
        &mut self,
        appetite: &mut Appetite<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), BrokenBody>> {
        match &mut self.0 {
            Some(present) => present.poll_read_ahead(appetite, cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl Present {
    fn poll_read_ahead(
        &mut self,
        appetite: &mut Appetite<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), BrokenBody>> {
        while self.ahead.bytes() < appetite.limit {
            let Some(incoming) = &mut self.incoming else { return Poll::Ready(Ok(())) };
            if !self.progress.poll_open(cx) {
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

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        if !self.progress.poll_open(cx) {
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
        self.progress.taken.fetch_add(1, Ordering::Relaxed);
        if let Some(Err(error)) = &frame {
            let _first = self.progress.broken.set(error.to_string());
        }
        if self.is_end_stream() {
            self.progress.finished.store(true, Ordering::Release);
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

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BrokenBody;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        self.0.as_mut().map_or(Poll::Ready(None), |present| present.poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|present| present.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or(SizeHint::default(), |present| present.size_hint())
    }
}

#[cfg(test)]
mod tests;
