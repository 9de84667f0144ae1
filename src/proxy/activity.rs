//! What a caller's connection is doing, and since when. `watched` is the stream that notes it.
//!
//! hyper has a timer for request heads that is made anew for every request, and none for idle connections. Here
//! one lazy timer per connection looks at these marks instead, so that a warm request touches no timer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use http::Version;

use crate::time::{Clock, Moment};

use super::settings::Settings;
use super::silence::Silence;

/// What waits of an answer of HTTP/1.1 before more of it is taken from the agent, in bytes. hyper itself waits for 64 KiB,
/// and a caller that hardly reads costs all of it: less than what is read of an answer at once, so that only one such part waits.
const MAX_UNWRITTEN: usize = 4 * 1024;

/// How often it is looked whether a caller is still there of whom hyper reads nothing: nobody is told when it leaves.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The marks of one connection. With HTTP/1.1 all are made by the one task that serves it.
#[derive(Debug)]
pub(super) struct Activity {
    clock: Clock,
    /// Requests that are being served.
    busy: AtomicU32,
    idle_since: AtomicU64,
    head_since: Mark,
    stalled_since: Mark,
    /// It carries several requests at once (HTTP/2), each served by a task of its own.
    multiplexed: AtomicBool,
    /// There was a request on it.
    asked: AtomicBool,
    /// There was one of HTTP/1.0.
    by_http10: AtomicBool,
    /// Bytes of an answer of HTTP/1.1 that the stream below has not taken.
    unwritten: AtomicUsize,
    /// More of that answer is not asked for until it takes some.
    behind: AtomicBool,
    /// What it needs for requests was given back.
    resting: AtomicBool,
    /// Part of the last request's body may not be read yet: what comes next is not the next request.
    unread: AtomicBool,
    /// hyper reads, and waits for more: so it is told of the end of what its caller sends.
    listens: AtomicBool,
    /// Since when it does not, or when it was looked last whether its caller is still there.
    unheard_since: Mark,
    /// Its caller was told that it breaks the rules (HTTP/2).
    misused: AtomicBool,
    /// Who looks at [`Self::due`], to be woken when one of several requests changes what it says.
    looking: AtomicWaker,
    /// Of the request that is being served.
    pub(super) silence: Arc<Silence>,
}

/// A moment, or none.
#[derive(Debug)]
struct Mark(AtomicU64);

/// What a connection has been doing for too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Overdue {
    /// Sending a request head.
    Head,
    /// Nothing.
    Idle,
    /// Keeping what it needs for requests, though there are none: it is to rest.
    Rest,
    /// Not taking what we write.
    Stalled,
    /// Waiting for an agent, with no byte in either direction: its request has to end.
    Silent,
    /// Serving a request without listening to its caller: it is to be polled, which looks whether that one is still there.
    Unheard,
}

impl Activity {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            busy: AtomicU32::new(0),
            idle_since: AtomicU64::new(clock.now().as_micros()),
            head_since: Mark::none(),
            stalled_since: Mark::none(),
            multiplexed: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            by_http10: AtomicBool::new(false),
            unwritten: AtomicUsize::new(0),
            behind: AtomicBool::new(false),
            resting: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            listens: AtomicBool::new(false),
            unheard_since: Mark::none(),
            misused: AtomicBool::new(false),
            looking: AtomicWaker::new(),
            silence: Arc::new(Silence::new()),
        }
    }

    /// From here on it carries several requests at once. What comes is not always part of a head then, so that only
    /// whole heads count.
    pub(super) fn multiplex(&self) {
        self.multiplexed.store(true, Ordering::Relaxed);
        self.head_since.take();
    }

    pub(super) fn is_multiplexed(&self) -> bool {
        self.multiplexed.load(Ordering::Relaxed)
    }

    /// A request has come.
    pub(super) fn ask(&self, version: Version) {
        if !self.was_asked() {
            self.asked.store(true, Ordering::Relaxed);
        }
        if version == Version::HTTP_10 {
            self.by_http10.store(true, Ordering::Relaxed);
        }
    }

    /// Whether an answer may have no end but that of its connection (RFC 9112 §6.3).
    pub(super) fn ends_answers(&self) -> bool {
        self.by_http10.load(Ordering::Relaxed)
    }

    /// Whether one ever has.
    pub(super) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// It ends because its caller breaks the rules, and was told so.
    pub(super) fn misuse(&self) {
        self.misused.store(true, Ordering::Relaxed);
    }

    pub(super) fn was_misused(&self) -> bool {
        self.misused.load(Ordering::Relaxed)
    }

    /// Part of a request's head has come.
    pub(super) fn is_being_asked(&self) -> bool {
        self.head_since.get().is_some()
    }

    /// Something is being served.
    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire) > 0
    }

    /// A request is being served; gives the moment at which its head began to arrive.
    pub(super) fn begin(&self, has_body: bool) -> Moment {
        self.busy.fetch_add(1, Ordering::Relaxed);
        self.unwritten.store(0, Ordering::Relaxed);
        self.unread.store(has_body, Ordering::Relaxed);
        self.head_since.take().unwrap_or_else(|| self.clock.now())
    }

    /// It was served, or its caller has left.
    pub(super) fn end(&self, now: Moment) {
        self.silence.end();
        self.idle_since.store(now.as_micros(), Ordering::Relaxed);
        self.busy.fetch_sub(1, Ordering::Release);
        if self.is_multiplexed() {
            self.looking.wake();
        }
    }

    /// When it will have taken too long over what it does now. A request that is being served may take as long
    /// as it wants, unless it is silent.
    pub(super) fn due(&self, settings: &Settings) -> Option<(Moment, Overdue)> {
        if let Some(since) = self.stalled_since.get() {
            return Some((since + settings.idle_connection_timeout, Overdue::Stalled));
        }
        if self.busy.load(Ordering::Acquire) > 0 {
            // Those of a connection with several see to that themselves.
            let silent = self.silence.due().map(|at| (at, Overdue::Silent));
            let look = self.next_look().map(|at| (at, Overdue::Unheard));
            return silent.into_iter().chain(look).min_by_key(|(at, _)| *at);
        }
        if let Some(since) = self.head_since.get() {
            return Some((since + settings.head_timeout, Overdue::Head));
        }
        let since = Moment::from_micros(self.idle_since.load(Ordering::Relaxed));
        let may_rest = self.was_asked()
            && !self.is_multiplexed()
            && !self.resting.load(Ordering::Relaxed)
            && !self.unread.load(Ordering::Relaxed);
        if may_rest && settings.rest_after < settings.idle_connection_timeout {
            return Some((since + settings.rest_after, Overdue::Rest));
        }
        Some((since + settings.idle_connection_timeout, Overdue::Idle))
    }

    /// All of a request's body was read. If it was not by the end of the request, hyper reads the rest, or closes the connection.
    pub(super) fn all_read(&self) {
        self.unread.store(false, Ordering::Relaxed);
    }

    /// The connection is about to be polled.
    pub(super) fn turn(&self) {
        self.listens.store(false, Ordering::Relaxed);
    }

    /// hyper waits for what the caller sends.
    pub(super) fn listen(&self) {
        self.listens.store(true, Ordering::Relaxed);
    }

    /// Whether a request is served while nothing is read, so that nobody would notice if its caller left: its body is left in the
    /// socket, or hyper has bytes of the next request already. HTTP/2 has windows instead.
    pub(super) fn is_unheard(&self) -> bool {
        !self.listens.load(Ordering::Relaxed) && self.is_busy() && !self.is_multiplexed()
    }

    /// When it is to be looked whether its caller is still there, if nothing else shows that.
    fn next_look(&self) -> Option<Moment> {
        if !self.is_unheard() {
            self.looked();
            return None;
        }
        let since = self.unheard_since.get().unwrap_or_else(|| {
            let now = self.clock.now();
            self.unheard_since.set(now);
            now
        });
        Some(since + LOOK_EVERY)
    }

    /// It was looked.
    pub(super) fn looked(&self) {
        self.unheard_since.take();
    }

    /// It begins to rest, or is over with it.
    pub(super) fn rest(&self, rests: bool) {
        self.resting.store(rests, Ordering::Relaxed);
    }

    /// To be woken when [`Self::due`] may say something else than the last time. With HTTP/1.1 nobody else changes it.
    pub(super) fn look(&self, waker: &Waker) {
        if self.is_multiplexed() {
            self.looking.register(waker);
        }
    }

    /// Bytes have come.
    pub(super) fn read(&self) {
        self.moved();
        if self.busy.load(Ordering::Relaxed) == 0 && !self.is_multiplexed() && self.head_since.get().is_none()
        {
            self.head_since.set(self.clock.now());
        }
    }

    fn moved(&self) {
        if self.silence.is_watched() {
            self.silence.broken(self.clock.now());
        }
    }

    /// A write was taken, or has to wait.
    pub(super) fn written(&self, waits: bool) {
        if !waits {
            self.moved();
        }
        match (waits, self.stalled_since.get()) {
            (true, None) => self.stalled_since.set(self.clock.now()),
            (false, Some(_)) => {
                self.stalled_since.take();
            }
            _ => {}
        }
    }

    /// Part of an answer was given to hyper, which keeps more of it than is worth its memory.
    pub(super) fn gave(&self, count: usize) {
        if !self.is_multiplexed() {
            self.unwritten.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Whether what was given is enough until some of it is written, when the task is woken.
    pub(super) fn is_behind(&self) -> bool {
        let behind = self.unwritten.load(Ordering::Relaxed) >= MAX_UNWRITTEN;
        if behind {
            self.behind.store(true, Ordering::Relaxed);
        }
        behind
    }

    /// So much was taken of what was written.
    pub(super) fn took_bytes(&self, count: usize, cx: &Context<'_>) {
        let unwritten = self.unwritten.load(Ordering::Relaxed);
        if unwritten > 0 {
            // Heads and the frames of chunks count, too, so that it is never more than there is.
            self.unwritten.store(unwritten.saturating_sub(count), Ordering::Relaxed);
            if self.behind.swap(false, Ordering::Relaxed) {
                cx.waker().wake_by_ref();
            }
        }
    }
}

/// A use of a connection that is no request any more.
pub(super) struct Busy<'a>(&'a Activity);

impl<'a> Busy<'a> {
    pub(super) fn begin(activity: &'a Activity) -> Self {
        activity.begin(false);
        Self(activity)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.end(self.0.clock.now());
    }
}

impl Mark {
    const NONE: u64 = u64::MAX;

    const fn none() -> Self {
        Self(AtomicU64::new(Self::NONE))
    }

    fn set(&self, moment: Moment) {
        self.0.store(moment.as_micros(), Ordering::Relaxed);
    }

    fn get(&self) -> Option<Moment> {
        Self::read(self.0.load(Ordering::Relaxed))
    }

    /// Not an atomic exchange: only one task makes marks.
    fn take(&self) -> Option<Moment> {
        let mark = self.get();
        if mark.is_some() {
            self.0.store(Self::NONE, Ordering::Relaxed);
        }
        mark
    }

    fn read(word: u64) -> Option<Moment> {
        (word != Self::NONE).then(|| Moment::from_micros(word))
    }
}

#[cfg(test)]
mod tests;
