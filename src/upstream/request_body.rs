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
#[derive(Debug)]
pub struct RequestBody {
    incoming: Incoming,
    ahead: VecDeque<Ahead>,
    ahead_bytes: u64,
    /// Everything that the caller sends was read.
    ended: bool,
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
        let ended = incoming.is_end_stream();
        let progress = (!ended).then(|| {
            Arc::new(Progress {
                open: AtomicBool::new(!expects),
                finished: AtomicBool::new(false),
                opened: AtomicWaker::new(),
            })
        });
        Self { incoming, ahead: VecDeque::new(), ahead_bytes: 0, ended, progress }
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
        while !self.ended && self.ahead_bytes < appetite.limit {
            if let Some(progress) = &self.progress
                && !progress.poll_open(cx)
            {
                return Poll::Pending;
            }
            let step = self.incoming.size_hint().exact().unwrap_or(STEP).clamp(1, STEP);
            let Some(reserved) = (appetite.reserve)(step) else { return Poll::Ready(Ok(())) };
            let frame = std::task::ready!(Pin::new(&mut self.incoming).poll_frame(cx)).transpose()?;
            if let Some(frame) = frame {
                self.keep(frame, reserved, step, appetite);
            } else {
                self.ended = true;
            }
            self.ended |= self.incoming.is_end_stream();
        }
        Poll::Ready(Ok(()))
    }

    fn keep(&mut self, frame: Frame<Bytes>, reserved: Reservation, step: u64, appetite: &mut Appetite<'_>) {
        let size = frame.data_ref().map_or(0, |data| data.len() as u64);
        self.ahead_bytes += size;
        let mut reserved = vec![reserved];
        if size > step {
            // hyper gave more than a step. It is in memory already: if the budget has no place for it, the next
            // step finds that out.
            reserved.extend((appetite.reserve)(size - step));
        }
        self.ahead.push_back(Ahead { frame, _reserved: reserved });
    }

    fn next_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        if let Some(ahead) = self.ahead.pop_front() {
            self.ahead_bytes -= ahead.frame.data_ref().map_or(0, |data| data.len() as u64);
            return Poll::Ready(Some(Ok(ahead.frame)));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = std::task::ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        self.ended = frame.is_none() || self.incoming.is_end_stream();
        Poll::Ready(frame)
    }
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
        let frame = std::task::ready!(self.next_frame(cx));
        if self.is_end_stream()
            && let Some(progress) = &self.progress
        {
            progress.finished.store(true, Ordering::Release);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.ahead.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self.incoming.size_hint().exact() {
            Some(rest) => SizeHint::with_exact(rest + self.ahead_bytes),
            None => SizeHint::default(),
        }
    }
}
