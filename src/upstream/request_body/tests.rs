//! Bodies of requests, read ahead and as they come.

use futures_util::FutureExt;
use http_body_util::BodyExt;
use proptest::prelude::*;
use tokio::io::AsyncWriteExt;

use super::*;
use crate::engine::budget::Budget;
use crate::upstream::testing::{incoming, until};

async fn read_ahead(body: &mut RequestBody, limit: u64, budget: &Arc<Budget>) -> Result<(), BrokenBody> {
    std::future::poll_fn(|cx| {
        let mut reserve = |bytes| budget.reserve(bytes);
        body.poll_read_ahead(&mut Appetite { limit, reserve: &mut reserve }, cx)
    })
    .await
}

#[tokio::test]
async fn what_was_read_ahead_comes_first_and_gives_its_budget_back_as_it_leaves() {
    let budget = Budget::new(1000);
    let (incoming, mut caller) = incoming("POST / HTTP/1.1\nHost: a\nContent-Length: 6\n\nabc").await;
    let mut body = RequestBody::new(incoming, false);
    read_ahead(&mut body, 3, &budget).await.unwrap();
    assert!(budget.used() >= 3);
    assert_eq!(body.size_hint().exact(), Some(6));
    caller.write_all(b"def").await.unwrap();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
    assert_eq!(budget.used(), 0);
    let progress = Arc::clone(body.progress().unwrap());
    assert!(!progress.is_finished());
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "def");
    assert!(progress.is_finished() && body.is_end_stream());
}

#[tokio::test]
async fn reading_ahead_waits_for_more_and_ends_with_the_body() {
    let budget = Budget::new(1000);
    let (incoming, mut caller) = incoming("POST / HTTP/1.1\nHost: a\nContent-Length: 6\n\nabc").await;
    let mut body = RequestBody::new(incoming, false);
    assert!(read_ahead(&mut body, 100, &budget).now_or_never().is_none(), "three bytes are to come");
    caller.write_all(b"def").await.unwrap();
    read_ahead(&mut body, 100, &budget).await.unwrap();
    assert!(!body.is_end_stream());
    assert_eq!(body.collect().await.unwrap().to_bytes(), "abcdef");
    assert_eq!(budget.used(), 0);
}

#[tokio::test]
async fn a_used_up_budget_stops_the_reading_and_loses_nothing() {
    let budget = Budget::new(2);
    let (incoming, _caller) = incoming("POST / HTTP/1.1\nHost: a\nContent-Length: 3\n\nabc").await;
    let mut body = RequestBody::new(incoming, false);
    read_ahead(&mut body, 100, &budget).await.unwrap();
    assert_eq!((body.0.as_ref().unwrap().ahead.bytes(), budget.used()), (0, 0));
    assert_eq!(body.collect().await.unwrap().to_bytes(), "abc");
}

#[tokio::test]
async fn small_frames_are_no_more_to_the_budget_than_they_are() {
    let budget = Budget::new(1 << 20);
    let head = "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n";
    let (incoming, mut caller) = incoming(head).await;
    for _ in 0..4000 {
        caller.write_all(b"5\r\nabcde\r\n").await.unwrap();
    }
    caller.write_all(b"0\r\n\r\n").await.unwrap();
    let mut body = RequestBody::new(incoming, false);
    read_ahead(&mut body, 1 << 20, &budget).await.unwrap();
    assert_eq!(budget.used(), 2 * BLOCK, "20000 bytes");
    assert_eq!(body.collect().await.unwrap().to_bytes(), b"abcde".repeat(4000));
    assert_eq!(budget.used(), 0);
}

#[tokio::test]
async fn a_dropped_body_gives_its_budget_back() {
    let budget = Budget::new(1000);
    let (incoming, _caller) = incoming("POST / HTTP/1.1\nHost: a\nContent-Length: 3\n\nabc").await;
    let mut body = RequestBody::new(incoming, false);
    read_ahead(&mut body, 100, &budget).await.unwrap();
    assert_eq!(budget.used(), 3);
    drop(body);
    assert_eq!(budget.used(), 0);
}

#[tokio::test]
async fn a_caller_that_leaves_in_the_middle_is_noticed() {
    let budget = Budget::new(1000);
    let (incoming, caller) = incoming("POST / HTTP/1.1\nHost: a\nContent-Length: 6\n\nabc").await;
    let mut body = RequestBody::new(incoming, false);
    drop(caller);
    assert!(read_ahead(&mut body, 100, &budget).await.is_err());
}

#[tokio::test]
async fn a_body_behind_an_expectation_is_not_touched_until_it_is_opened() {
    let budget = Budget::new(1000);
    let head = "POST / HTTP/1.1\nHost: a\nContent-Length: 3\nExpect: 100-continue\n\n";
    let (incoming, mut caller) = incoming(head).await;
    let mut body = RequestBody::new(incoming, true);
    assert!(read_ahead(&mut body, 100, &budget).now_or_never().is_none());
    assert!(body.frame().now_or_never().is_none());
    let progress = Arc::clone(body.progress().unwrap());
    let reading = tokio::spawn(async move { body.collect().await.unwrap().to_bytes() });
    progress.open();
    caller.write_all(b"abc").await.unwrap();
    assert_eq!(reading.await.unwrap(), "abc");
    until(|| progress.is_finished()).await;
}

#[tokio::test]
async fn trailers_are_read_ahead_with_the_rest() {
    let budget = Budget::new(100_000);
    let head = "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\nTrailer: X\n\n3\nabc\n0\nX: 1\n\n";
    let (incoming, _caller) = incoming(head).await;
    let mut body = RequestBody::new(incoming, false);
    read_ahead(&mut body, 100, &budget).await.unwrap();
    assert_eq!(body.size_hint().exact(), None, "it leaves in chunks, as it came");
    let all = body.collect().await.unwrap();
    assert_eq!(all.trailers().unwrap()["x"], "1");
    assert_eq!(all.to_bytes(), "abc");
}

#[test]
fn a_request_without_a_body_has_nothing_to_wait_for() {
    let body = RequestBody::default();
    assert!(body.is_end_stream() && body.progress().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However it is cut up, however much of it is read ahead, and whatever the budget.
    #[test]
    fn a_body_arrives_as_it_was_sent(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..10),
        limit in 0..500_u64,
        budget in 0..500_u64,
        chunked: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let budget = Budget::new(budget);
            let all = chunks.concat();
            let framing =
                if chunked { "Transfer-Encoding: chunked".into() } else { format!("Content-Length: {}", all.len()) };
            let (incoming, mut caller) = incoming(&format!("POST / HTTP/1.1\nHost: a\n{framing}\n\n")).await;
            for chunk in &chunks {
                if chunked {
                    caller.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await.unwrap();
                }
                caller.write_all(chunk).await.unwrap();
                if chunked {
                    caller.write_all(b"\r\n").await.unwrap();
                }
            }
            if chunked {
                caller.write_all(b"0\r\n\r\n").await.unwrap();
            }
            let mut body = RequestBody::new(incoming, false);
            read_ahead(&mut body, limit, &budget).await.unwrap();
            assert_eq!(body.collect().await.unwrap().to_bytes(), all);
            assert_eq!(budget.used(), 0);
        });
    }
}
