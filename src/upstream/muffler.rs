//! Keeps a task from waking itself. hyper's body of an answer wakes the connection's driver whenever somebody asks for more of it; here
//! that one polls the driver next anyway, and to be woken for it would be to poll everything once more for nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// What a driver is given to wake. It passes that on, but for what happens in [`Muffler::muffled`].
pub(super) struct Muffler {
    inner: Arc<Inner>,
    /// Wakes by way of `inner`.
    waker: Waker,
}

#[derive(Default)]
struct Inner {
    /// Who polls the driver.
    task: AtomicWaker,
    muffled: AtomicBool,
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

    /// Does something that would wake this task now. Whatever else would wake it meanwhile is not heard either, so nobody may
    /// wait afterwards without another [`Muffler::poll`].
    pub(super) fn muffled<T>(&self, act: impl FnOnce() -> Poll<T>) -> Poll<T> {
        self.inner.muffled.store(true, Ordering::Relaxed);
        let acted = act();
        self.inner.muffled.store(false, Ordering::Relaxed);
        acted
    }
}

impl Wake for Inner {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.muffled.load(Ordering::Relaxed) {
            self.task.wake();
        }
    }
}
