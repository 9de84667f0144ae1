//! Asks about each token once: callers that come with the same token at once share one question, and its answer is
//! remembered for a while.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{self, BoxFuture, Shared};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::memory::{Key, Memory, key_of};
use super::{Authenticator, Unavailable, Verdict};
use crate::metrics::{Bound, Metrics};
use crate::time::Clock;

/// One question, its wait for a turn included. Callers wait meanwhile.
const LIMIT: Duration = Duration::from_secs(5);

/// Questions at once at most: the API server has others to answer, and a flood of bad tokens must not reach it as one.
const MAX_AT_ONCE: usize = 32;

type Answer = Result<Verdict, Unavailable>;

/// Puts a memory before another authenticator.
pub struct Remembering {
    inner: Arc<Inner>,
}

struct Inner {
    asked: Arc<dyn Authenticator>,
    state: Mutex<State>,
    turns: Semaphore,
    /// The last question had no answer.
    failing: AtomicBool,
    clock: Clock,
    metrics: Arc<Metrics>,
}

struct State {
    memory: Memory,
    under_way: HashMap<Key, Question>,
    next_id: u64,
}

/// A question under way. It ends when the last of those who wait for it leaves.
struct Question {
    id: u64,
    callers: usize,
    answer: Shared<BoxFuture<'static, Answer>>,
}

/// One caller's part in a question.
struct Seat {
    inner: Arc<Inner>,
    key: Key,
    id: u64,
}

impl Remembering {
    /// Asks `asked`, and lets in whoever is let in for `allowed_for` without asking again.
    pub fn new(
        asked: Arc<dyn Authenticator>,
        allowed_for: Duration,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Self {
        let state = State { memory: Memory::new(allowed_for), under_way: HashMap::new(), next_id: 0 };
        let inner = Inner {
            asked,
            state: Mutex::new(state),
            turns: Semaphore::new(MAX_AT_ONCE),
            failing: AtomicBool::new(false),
            clock,
            metrics,
        };
        Self { inner: Arc::new(inner) }
    }
}

impl Authenticator for Remembering {
    fn authenticate(&self, token: &str) -> BoxFuture<'static, Answer> {
        let key = key_of(token);
        let mut state = self.inner.state.lock();
        if let Some(verdict) = state.memory.recall(&key, self.inner.clock.now()) {
            return future::ready(Ok(verdict)).boxed();
        }
        let id = state.next_id;
        state.next_id += 1;
        let question = state.under_way.entry(key).or_insert_with(|| Question {
            id,
            callers: 0,
            answer: Arc::clone(&self.inner).ask(key, id, token.to_owned()).boxed().shared(),
        });
        question.callers += 1;
        let answer = question.answer.clone();
        let seat = Seat { inner: Arc::clone(&self.inner), key, id: question.id };
        async move {
            let answer = answer.await;
            drop(seat);
            answer
        }
        .boxed()
    }
}

impl Inner {
    async fn ask(self: Arc<Self>, key: Key, id: u64, token: String) -> Answer {
        let asked = tokio::time::timeout(LIMIT, self.ask_in_turn(&token)).await;
        let answer = asked.unwrap_or_else(|_| Err(Unavailable::new(format!("no answer within {LIMIT:?}"))));
        self.note(answer.as_ref().err());
        let mut state = self.state.lock();
        // A failure is not kept: the next caller tries again.
        if let Ok(verdict) = &answer {
            state.memory.keep(key, verdict.clone(), self.clock.now());
        }
        let ended = state.end(&key, id);
        drop(state);
        drop(ended);
        answer
    }

    async fn ask_in_turn(&self, token: &str) -> Answer {
        let turn = match self.turns.try_acquire() {
            Ok(turn) => Some(turn),
            Err(_) => {
                self.metrics.bound_hit(Bound::TokenReviews);
                // Never closed.
                self.turns.acquire().await.ok()
            }
        };
        let answer = self.asked.authenticate(token).await;
        drop(turn);
        answer
    }

    /// Says once that questions have no answers, and once that they have again: a log line for each caller would help
    /// nobody.
    fn note(&self, failure: Option<&Unavailable>) {
        let was_failing = self.failing.swap(failure.is_some(), Ordering::AcqRel);
        match failure {
            Some(error) if !was_failing => tracing::warn!(
                %error,
                "tokens of callers cannot be reviewed; callers get 503 meanwhile"
            ),
            None if was_failing => tracing::info!("tokens of callers can be reviewed again"),
            _ => {}
        }
    }
}

impl State {
    /// Takes out a question, to be dropped without the lock. Another about the same token stays.
    fn end(&mut self, key: &Key, id: u64) -> Option<Question> {
        self.under_way
            .get(key)
            .is_some_and(|question| question.id == id)
            .then(|| self.under_way.remove(key))?
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.inner.state.lock();
        let Some(question) = state.under_way.get_mut(&self.key).filter(|question| question.id == self.id)
        else {
            return;
        };
        question.callers -= 1;
        let abandoned = if question.callers == 0 { state.end(&self.key, self.id) } else { None };
        drop(state);
        drop(abandoned);
    }
}

#[cfg(test)]
mod tests;
