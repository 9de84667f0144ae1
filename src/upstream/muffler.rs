//! Keeps a task from waking itself. Whoever takes a part of an answer from hyper wakes the driver of its connection; here the taker polls
//! the driver itself, and to be woken for it would be to poll everything once more for nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// Whoever is to be woken is.
const OPEN: u8 = 0;
/// Nobody is.
const MUFFLED: u8 = 1;
/// Somebody should have been.
const HEARD: u8 = 2;

/// What a driver is given to wake. It passes that on, but for what happens in [`Muffler::take`].
pub(super) struct Muffler {
    inner: Arc<Inner>,
    /// Wakes by way of `inner`.
    waker: Waker,
}

#[derive(Default)]
struct Inner {
    /// Who polls the driver.
    task: AtomicWaker,
    state: AtomicU8,
}

impl Muffler {
    pub(super) fn new() -> Self {
        let inner = Arc::<Inner>::default();
        Self { waker: Waker::from(Arc::clone(&inner)), inner }
    }

    /// Polls something that may wake this task later.
    pub(super) fn poll<T>(&self, cx: &Context<'_>, poll: impl FnOnce(&mut Context<'_>) -> T) -> T {
        self.inner.task.register(cx.waker());
        poll(&mut Context::from_waker(&self.waker))
    }

    /// Takes something, without waking this task for it: whoever gets something asks again before it waits for more of it, and while it
    /// waits for its own caller, the driver has nothing to tell it. If there is nothing, what was heard meanwhile counts.
    pub(super) fn take<T>(&self, take: impl FnOnce() -> Poll<T>) -> Poll<T> {
        self.inner.state.store(MUFFLED, Ordering::Release);
        let taken = take();
        let heard = self.inner.state.swap(OPEN, Ordering::AcqRel) == HEARD;
        if heard && taken.is_pending() {
            self.inner.task.wake();
        }
        taken
    }
}

impl Wake for Inner {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let noted = self.state.compare_exchange(MUFFLED, HEARD, Ordering::AcqRel, Ordering::Acquire);
        if noted == Err(OPEN) {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// How often it was woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_is_heard_while_something_is_taken_counts_only_if_there_is_nothing() {
        let (woken, muffler) = (Arc::<Woken>::default(), Muffler::new());
        let task = Waker::from(Arc::clone(&woken));
        let times = || woken.0.load(Ordering::Relaxed);
        let waker = muffler.poll(&Context::from_waker(&task), |cx| cx.waker().clone());
        let take = |taken: Poll<()>| {
            muffler.take(|| {
                waker.wake_by_ref();
                taken
            })
        };
        assert!(take(Poll::Ready(())).is_ready());
        assert_eq!(times(), 0, "it asks again");
        assert!(take(Poll::Pending).is_pending());
        assert_eq!(times(), 1, "it waits");
        muffler.poll(&Context::from_waker(&task), |cx| cx.waker().wake_by_ref());
        assert_eq!(times(), 2);
    }
}
