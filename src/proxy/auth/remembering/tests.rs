//! Against an authenticator that answers when the test says.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::*;
use crate::agent::PodUid;
use crate::proxy::auth::BoundPod;

/// Notes what it is asked, and answers by hand.
#[derive(Default)]
struct Script {
    asked: Mutex<VecDeque<(String, oneshot::Sender<Answer>)>>,
}

impl Authenticator for Script {
    fn authenticate(&self, token: &str) -> BoxFuture<'static, Answer> {
        let (sender, receiver) = oneshot::channel();
        self.asked.lock().push_back((token.to_owned(), sender));
        async move { receiver.await.unwrap() }.boxed()
    }
}

impl Script {
    /// The tokens of the questions that wait.
    fn waiting(&self) -> Vec<String> {
        self.asked.lock().iter().map(|(token, _)| token.clone()).collect()
    }

    fn answer(&self, answer: Answer) {
        let (_, question) = self.asked.lock().pop_front().expect("nothing was asked");
        let _caller_has_left = question.send(answer);
    }
}

struct World {
    script: Arc<Script>,
    remembering: Remembering,
    metrics: Arc<Metrics>,
}

fn world() -> World {
    let (script, metrics) = (Arc::new(Script::default()), Arc::new(Metrics::new()));
    let asked = Arc::clone(&script) as Arc<dyn Authenticator>;
    let allowed_for = Duration::from_secs(30);
    let remembering = Remembering::new(asked, allowed_for, Clock::start(), Arc::clone(&metrics));
    World { script, remembering, metrics }
}

impl World {
    /// A caller that has begun to wait.
    fn call(&self, token: &str) -> BoxFuture<'static, Answer> {
        let mut call = self.remembering.authenticate(token);
        assert!(call.as_mut().now_or_never().is_none(), "{token} was remembered");
        call
    }

    fn under_way(&self) -> usize {
        self.remembering.inner.state.lock().under_way.len()
    }
}

fn down() -> Answer {
    Err(Unavailable::new("it is down"))
}

#[tokio::test(start_paused = true)]
async fn callers_with_one_token_share_one_question() {
    let world = world();
    let calls: Vec<_> = (0..100).map(|_| world.call("a")).collect();
    let other = world.call("b");
    assert_eq!(world.script.waiting(), ["a", "b"]);
    world.script.answer(Ok(Verdict::Allowed));
    world.script.answer(Ok(Verdict::Forbidden));
    for answer in future::join_all(calls).await {
        assert_eq!(answer, Ok(Verdict::Allowed));
    }
    assert_eq!(other.await, Ok(Verdict::Forbidden));
    assert_eq!(world.under_way(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_verdict_is_remembered_for_its_time_and_asked_for_again_after_it() {
    let world = world();
    let pod = BoundPod { namespace: "a".into(), name: "b".into(), uid: PodUid("c".into()) };
    for (verdict, holds_for) in [
        (Verdict::Allowed, 30),
        (Verdict::AllowedPod(Arc::new(pod)), 30),
        (Verdict::Unauthenticated, 5),
        (Verdict::Forbidden, 5),
    ] {
        let call = world.call("a");
        world.script.answer(Ok(verdict.clone()));
        assert_eq!(call.await, Ok(verdict.clone()));
        tokio::time::advance(Duration::from_millis(holds_for * 1000 - 1)).await;
        assert_eq!(world.remembering.authenticate("a").now_or_never(), Some(Ok(verdict)));
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    drop(world.call("a"));
}

#[tokio::test(start_paused = true)]
async fn a_question_without_an_answer_is_asked_again_by_the_next_caller() {
    let world = world();
    let (one, two) = (world.call("a"), world.call("a"));
    world.script.answer(down());
    assert_eq!((one.await, two.await), (down(), down()));
    let call = world.call("a");
    world.script.answer(Ok(Verdict::Allowed));
    assert_eq!(call.await, Ok(Verdict::Allowed));
}

#[tokio::test(start_paused = true)]
async fn a_question_is_given_up_after_five_seconds() {
    let world = world();
    let began = world.remembering.inner.clock.now();
    let answer = world.call("a").await;
    assert_eq!(answer, Err(Unavailable::new("no answer within 5s")));
    assert_eq!(world.remembering.inner.clock.now().since(began), LIMIT);
    assert_eq!(world.under_way(), 0);
}

#[tokio::test(start_paused = true)]
async fn so_many_questions_are_asked_at_once_and_the_next_waits_for_its_turn() {
    let world = world();
    let mut calls: Vec<_> = (0..=MAX_AT_ONCE).map(|number| world.call(&number.to_string())).collect();
    assert_eq!(world.script.waiting().len(), MAX_AT_ONCE);
    assert!(world.metrics.render().contains("drowse_bounds_hit_total{bound=\"token_reviews\"} 1"));
    let mut last = calls.pop().unwrap();
    world.script.answer(Ok(Verdict::Allowed));
    calls.remove(0).await.unwrap();
    assert!(last.as_mut().now_or_never().is_none());
    assert_eq!(world.script.waiting().last().map(String::as_str), Some("32"));

    // Whoever gets no turn in time is told so.
    let late = world.call("late");
    assert!(late.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn who_leaves_takes_nothing_from_those_who_stay_and_the_last_ends_the_question() {
    let world = world();
    let (first, second) = (world.call("a"), world.call("a"));
    drop(first);
    world.script.answer(Ok(Verdict::Allowed));
    assert_eq!(second.await, Ok(Verdict::Allowed));

    let (first, second) = (world.call("b"), world.call("b"));
    drop((first, second));
    assert_eq!(world.under_way(), 0);
    assert!(world.script.asked.lock()[0].1.is_closed(), "nobody waits for this answer any more");
    assert_eq!(world.remembering.inner.turns.available_permits(), MAX_AT_ONCE);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_never_waits_leaves_nothing_behind() {
    let world = world();
    drop(world.remembering.authenticate("a"));
    assert_eq!(world.under_way(), 0);
    assert!(world.script.waiting().is_empty());
}
