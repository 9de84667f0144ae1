//! The body of a request on its way to an agent: what was read ahead while the request was held, then the rest
//! as it comes.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::engine::budget::Reservation;

/// The body of a request. One without a body costs nothing.
#[derive(Debug, Default)]
pub struct RequestBody {
    /// `None` once everything that the caller sends was read.
    incoming: Option<Incoming>,
    ahead: VecDeque<Ahead>,
    ahead_bytes: u64,
    progress: Option<Arc<Progress>>,
}

/// A frame that was read ahead, and its place in the budget, which is given back when it is sent.
#[derive(Debug)]
struct Ahead {
    frame: Frame<Bytes>,
    _reserved: Vec<Reservation>,
}

/// What others need to know of, and decide about, a body that hyper owns.
#[derive(Debug)]
pub struct Progress {
    open: AtomicBool,
    finished: AtomicBool,
    opened: AtomicWaker,
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

/// A place for this much is reserved before a frame is read, because its size is not known before.
const STEP: u64 = 16 * 1024;

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
        });
        Self { incoming: Some(incoming), progress: Some(progress), ..Self::default() }
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
    ) -> Poll<hyper::Result<()>> {
        while self.ahead_bytes < appetite.limit {
            let Some(incoming) = &mut self.incoming else { return Poll::Ready(Ok(())) };
            if let Some(progress) = &self.progress
                && !progress.poll_open(cx)
            {
                return Poll::Pending;
            }
            let step = incoming.size_hint().exact().unwrap_or(STEP).clamp(1, STEP);
            let Some(reserved) = (appetite.reserve)(step) else { return Poll::Ready(Ok(())) };
            let frame = std::task::ready!(self.poll_incoming(cx)).transpose()?;
            if let Some(frame) = frame {
                self.keep(frame, reserved, step, appetite);
            }
        }
        Poll::Ready(Ok(()))
    }

    fn keep(&mut self, frame: Frame<Bytes>, reserved: Reservation, step: u64, appetite: &mut Appetite<'_>) {
        let size = size_of_data(&frame);
        self.ahead_bytes += size;
        let mut reserved = vec![reserved];
        if size > step {
            // hyper gave more than a step. It is in memory already: if the budget has no place for it, the next
            // step finds that out.
            reserved.extend((appetite.reserve)(size - step));
        }
        self.ahead.push_back(Ahead { frame, _reserved: reserved });
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        if let Some(ahead) = self.ahead.pop_front() {
            self.ahead_bytes -= size_of_data(&ahead.frame);
            return Poll::Ready(Some(Ok(ahead.frame)));
        }
        self.poll_incoming(cx)
    }

    /// The next frame that the caller sends. Lets go of hyper's end of the body as soon as it is known to be over.
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let frame = std::task::ready!(Pin::new(&mut *incoming).poll_frame(cx));
        if frame.is_none() || incoming.is_end_stream() {
            self.incoming = None;
        }
        Poll::Ready(frame)
    }
}

fn size_of_data(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, |data| data.len() as u64)
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        if let Some(progress) = &self.progress
            && !progress.poll_open(cx)
        {
            return Poll::Pending;
        }
        let frame = std::task::ready!(self.poll_next(cx));
        if self.is_end_stream()
            && let Some(progress) = &self.progress
        {
            progress.finished.store(true, Ordering::Release);
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
            Some(rest) => SizeHint::with_exact(rest + self.ahead_bytes),
            None => SizeHint::default(),
        }
    }
}
