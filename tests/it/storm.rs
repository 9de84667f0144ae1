//! Many callers at one sleeping agent: one start, and everybody gets what is theirs.

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::support::http::{self, Answer, Failure};
use crate::support::{Agent, Drowse, eventually, host};

const CALLERS: usize = 200;
const LONG: &str = "idle_timeout: 1h";

async fn all(drowse: &Drowse, callers: usize) -> Vec<Result<Answer, Failure>> {
    let front = drowse.front;
    let mut calls = JoinSet::new();
    for n in 0..callers {
        calls.spawn(async move { http::get(front, &host("echo"), &format!("/echo?n={n}")).await });
    }
    calls.join_all().await
}

fn good(answers: &[Result<Answer, Failure>]) -> usize {
    answers.iter().filter(|answer| answer.as_ref().is_ok_and(|answer| answer.status == 200)).count()
}

async fn starts(drowse: &Drowse) -> Option<u64> {
    drowse.get("echo", "/").await.json()["starts"].as_u64()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_callers_of_a_sleeping_agent_cost_one_start() {
    let drowse = Drowse::start(&[Agent::demo("echo").with(&["--start-delay", "500ms"])], LONG).await;
    let answers = all(&drowse, CALLERS).await;
    assert_eq!(
        good(&answers),
        CALLERS,
        "{:?}",
        answers.iter().find(|answer| !matches!(answer, Ok(a) if a.status == 200))
    );
    assert_eq!(starts(&drowse).await, Some(1));
    assert!((drowse.metric("drowse_resumes_total", "outcome=\"ok\"").await - 1.0).abs() < f64::EPSILON);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_hang_up_do_not_disturb_those_that_stay() {
    let drowse = Drowse::start(&[Agent::demo("echo").with(&["--start-delay", "1s"])], LONG).await;
    let front = drowse.front;
    let mut leaving = JoinSet::new();
    for _ in 0..60 {
        leaving.spawn(async move { http::get(front, &host("echo"), "/echo").await });
    }
    eventually("they all wait", async || drowse.agent("echo").await["held"] == 60).await;
    let staying = all(&drowse, CALLERS - 60);
    let hang_up = async {
        eventually("the others wait too", async || drowse.agent("echo").await["held"] == CALLERS).await;
        leaving.shutdown().await;
        eventually("their places are free", async || drowse.agent("echo").await["held"] == CALLERS - 60)
            .await;
    };
    let (answers, ()) = tokio::join!(staying, hang_up);
    assert_eq!(good(&answers), CALLERS - 60);
    assert_eq!(starts(&drowse).await, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_are_held_through_a_first_start_that_fails() {
    let drowse = Drowse::start(&[Agent::demo("echo").with(&["--fail-starts", "1"])], LONG).await;
    let answers = all(&drowse, CALLERS).await;
    assert_eq!(
        good(&answers),
        CALLERS,
        "{:?}",
        answers.iter().find(|answer| !matches!(answer, Ok(a) if a.status == 200))
    );
    assert_eq!(starts(&drowse).await, Some(2), "one that failed, one that serves");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_large_uploads_to_a_sleeping_agent_arrive_whole() {
    const SIZE: usize = 10 * 1024 * 1024;
    let drowse = Drowse::start(&[Agent::demo("echo").with(&["--start-delay", "500ms"])], LONG).await;
    let front = drowse.front;
    let body = Bytes::from((0..=250).cycle().take(SIZE).collect::<Vec<u8>>());
    let mut uploads = JoinSet::new();
    for _ in 0..CALLERS {
        let body = body.clone();
        uploads.spawn(async move { http::post(front, &host("echo"), "/checksum", body).await });
    }
    let answers = uploads.join_all().await;
    assert_eq!(good(&answers), CALLERS);
    let sums: std::collections::BTreeSet<_> =
        answers.iter().flatten().map(|answer| answer.json().to_string()).collect();
    assert_eq!(sums.len(), 1, "{sums:?}");
    assert!(sums.first().unwrap().contains(&SIZE.to_string()), "{sums:?}");
    assert_eq!(starts(&drowse).await, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_at_once_and_max_in_flight_lets_them_in_a_few_at_a_time() {
    let defaults = format!("{LONG}\nmax_held: 50\nmax_in_flight: 2");
    let drowse = Drowse::start(&[Agent::demo("echo").with(&["--start-delay", "500ms"])], &defaults).await;
    let answers = all(&drowse, 80).await;
    let refused = answers.iter().flatten().filter(|answer| answer.status == 429).count();
    assert_eq!((good(&answers), refused), (50, 30));
    let is_cold = |answer: &&Answer| answer.header("drowse-start") == "cold";
    let cold = answers.iter().flatten().filter(|answer| answer.status == 200).filter(is_cold).count();
    assert_eq!(cold, 50, "who had to wait for a turn as well has waited for the start all the same");
    assert!((drowse.metric("drowse_bounds_hit_total", "held_per_agent").await - 30.0).abs() < f64::EPSILON);
}
