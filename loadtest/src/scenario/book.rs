//! What became of the calls of one part: counted in all, and since the last look, which is a second ago.

use std::time::Duration;

use ::drowse::time::Moment;
use parking_lot::Mutex;

use crate::stats::Recorder;
use crate::tally::Tally;

/// How one call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Answered as it must be.
    Answered {
        /// Its agent had to be woken for somebody.
        woken: bool,
        /// What counts: the last byte, or the first event of a stream.
        at: Moment,
    },
    /// Its caller left before the answer, as it was told to.
    HungUp,
    /// Whatever else happened, in a few words.
    Failed(String),
}

/// One part's.
#[derive(Debug)]
pub(super) struct Book(Mutex<Page>);

/// All that is counted.
#[derive(Debug)]
pub(super) struct Page {
    /// Calls that should have been made so far.
    pub(super) due: u64,
    pub(super) hung_up: u64,
    pub(super) failures: Tally,
    /// Latencies from when the call should have been made.
    pub(super) warm: Recorder,
    pub(super) woken: Recorder,
    /// How late calls were begun, since the generator had other things to do. Latencies have it in them.
    pub(super) late: Recorder,
    lately: Lately,
    lately_took: Recorder,
}

/// What happened since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Lately {
    pub(super) due: u64,
    pub(super) answered: u64,
    pub(super) hung_up: u64,
    pub(super) failed: u64,
    /// Of those that were answered.
    pub(super) p99_ms: Option<f64>,
}

impl Book {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self(Mutex::new(Page {
            due: 0,
            hung_up: 0,
            failures: Tally::default(),
            warm: Recorder::new()?,
            woken: Recorder::new()?,
            late: Recorder::new()?,
            lately: Lately::default(),
            lately_took: Recorder::new()?,
        })))
    }

    /// A call is due, and has been for a while.
    pub(super) fn due(&self, late: Duration) {
        let mut page = self.0.lock();
        page.late.record(late);
        page.due += 1;
        page.lately.due += 1;
    }

    /// A call that should have been made at a moment has ended.
    pub(super) fn ended(&self, intended: Moment, end: End) {
        let mut page = self.0.lock();
        let page = &mut *page;
        match end {
            End::Answered { woken, at } => {
                let took: Duration = at.since(intended);
                if woken { &mut page.woken } else { &mut page.warm }.record(took);
                page.lately_took.record(took);
                page.lately.answered += 1;
            }
            End::HungUp => {
                page.hung_up += 1;
                page.lately.hung_up += 1;
            }
            End::Failed(word) => {
                page.failures.count(word, 1);
                page.lately.failed += 1;
            }
        }
    }

    /// What happened since the last time that this was asked.
    pub(super) fn take_lately(&self) -> Lately {
        let mut page = self.0.lock();
        let answered = page.lately_took.count() > 0;
        let p99_ms = answered.then(|| page.lately_took.at(0.99));
        page.lately_took.reset();
        Lately { p99_ms, ..std::mem::take(&mut page.lately) }
    }

    /// Reads all of it.
    pub(super) fn read<T>(&self, reader: impl FnOnce(&Page) -> T) -> T {
        reader(&self.0.lock())
    }
}

impl Page {
    pub(super) fn answered(&self) -> u64 {
        self.warm.count() + self.woken.count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_micros(millis * 1000)
    }

    #[test]
    fn latencies_count_from_when_the_call_should_have_been_made() {
        let book = Book::new().unwrap();
        book.ended(at(100), End::Answered { woken: false, at: at(105) });
        // Sent late, since nobody came to it: the wait counts.
        book.ended(at(100), End::Answered { woken: true, at: at(900) });
        book.read(|page| {
            assert!((page.warm.at(1.0) - 5.0).abs() < 0.1, "{page:?}");
            assert!((page.woken.at(1.0) - 800.0).abs() < 1.0, "{page:?}");
            assert_eq!(page.answered(), 2);
        });
    }

    #[test]
    fn what_happened_lately_is_told_once() {
        let book = Book::new().unwrap();
        book.due(Duration::ZERO);
        book.due(Duration::from_millis(3));
        book.ended(at(0), End::HungUp);
        book.ended(at(0), End::Failed("503".to_owned()));
        book.ended(at(0), End::Answered { woken: false, at: at(7) });
        let lately = book.take_lately();
        assert_eq!((lately.due, lately.answered, lately.hung_up, lately.failed), (2, 1, 1, 1));
        assert!((lately.p99_ms.unwrap() - 7.0).abs() < 0.1);
        assert_eq!(book.take_lately(), Lately::default());
        book.read(|page| {
            assert!((page.late.at(1.0) - 3.0).abs() < 0.1, "{page:?}");
            assert_eq!((page.due, page.hung_up, page.failures.text().as_str()), (2, 1, "503: 1"));
        });
    }
}
