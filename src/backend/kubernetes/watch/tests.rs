//! What is told while an API server, played by the test, behaves in every way that it may.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::Frame;
use hyper::{Request, Response};
use kube::Client;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;
use crate::backend::kubernetes::claim::SandboxClaim;
use crate::backend::kubernetes::facts;

const PATIENCE: Duration = Duration::from_mins(2);

/// One answer of the API server.
enum Answer {
    /// A status, and an object.
    Object(u16, Value),
    /// The lines of a watch, which then ends...
    Lines(Vec<Value>),
    /// ...or goes on without another word.
    Silence(Vec<Value>),
    /// None at all.
    Never,
}

/// An API server that gives these answers in turn, and notes what it was asked; and the reports of a watch on it.
fn play(answers: Vec<Answer>) -> (mpsc::Receiver<Told>, Arc<Mutex<Vec<String>>>) {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let (noted, mut answers) = (Arc::clone(&asked), answers.into_iter());
    // Not over a socket: time is paused.
    let server = tower::service_fn(move |request: Request<kube::client::Body>| {
        noted.lock().push(request.uri().query().unwrap_or_default().to_owned());
        let answer = answers.next();
        async move {
            match answer {
                // The script is over.
                None | Some(Answer::Never) => std::future::pending::<Result<_, Infallible>>().await,
                Some(answer) => Ok(respond(answer)),
            }
        }
    });
    let (reports, told) = mpsc::channel(100);
    let watch = Watch {
        api: Api::<SandboxClaim>::all(Client::new(server, "x")),
        name: "claims".to_owned(),
        selector: None,
        source: 4,
        optional: true,
        facts: facts::claim,
        clock: Clock::start(),
        reports,
    };
    tokio::spawn(watch.run());
    (told, asked)
}

fn respond(answer: Answer) -> Response<BoxBody<Bytes, Infallible>> {
    let line = |line: &Value| Ok(Frame::data(Bytes::from(format!("{line}\n"))));
    let (status, body) = match answer {
        Answer::Object(status, object) => (status, Full::new(Bytes::from(object.to_string())).boxed()),
        Answer::Lines(lines) => {
            let lines: Vec<_> = lines.iter().map(line).collect();
            (200, BodyExt::boxed(StreamBody::new(stream::iter(lines))))
        }
        Answer::Silence(lines) => {
            let lines: Vec<_> = lines.iter().map(line).collect();
            let silence = futures_util::StreamExt::chain(stream::iter(lines), stream::pending());
            (200, BodyExt::boxed(StreamBody::new(silence)))
        }
        Answer::Never => unreachable!("it is not given"),
    };
    Response::builder().status(status).header("content-type", "application/json").body(body).unwrap()
}

fn claim(name: &str, revision: u64) -> Value {
    json!({
        "apiVersion": "extensions.agents.x-k8s.io/v1beta1", "kind": "SandboxClaim",
        "metadata": {"namespace": "x", "name": name, "resourceVersion": revision.to_string()},
        "spec": {"lifecycle": {"ttlSecondsAfterFinished": 1}},
    })
}

fn list(names: &[&str], revision: u64, more: &str) -> Answer {
    let items: Vec<_> = names.iter().map(|name| claim(name, revision)).collect();
    let metadata = json!({"resourceVersion": revision.to_string(), "continue": more});
    Answer::Object(200, json!({"apiVersion": "v1", "kind": "List", "metadata": metadata, "items": items}))
}

fn failure(code: u16) -> Value {
    json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "message": "as the test wants", "reason": "x", "code": code})
}

#[expect(clippy::needless_pass_by_value, reason = "it reads better")]
fn event(kind: &str, object: Value) -> Value {
    json!({"type": kind, "object": object})
}

/// As many reports as are expected, in a few words each.
async fn next(told: &mut mpsc::Receiver<Told>, count: usize) -> Vec<String> {
    let mut shown = Vec::new();
    for _ in 0..count {
        let (origin, report) = tokio::time::timeout(PATIENCE, told.recv()).await.expect("a report").unwrap();
        assert_eq!(origin.source, 4);
        let name = |object: &Object| match object {
            Object::Claim(key, _) => key.name().to_owned(),
            other => panic!("{other:?}"),
        };
        shown.push(match report {
            Report::Seen(object) => format!("{} seen in {}", name(&object), origin.listing),
            Report::Gone(object) => format!("{} gone", name(&object)),
            Report::Listed(revision) => format!("listed {} at {}", origin.listing, revision.0),
            Report::Live => "live".to_owned(),
            Report::Broken => "broken".to_owned(),
        });
    }
    shown
}

#[tokio::test(start_paused = true)]
async fn everything_is_listed_page_by_page_and_then_watched_from_there() {
    let watching = Answer::Silence(vec![
        event("ADDED", claim("c", 11)),
        event("MODIFIED", claim("a", 12)),
        event("DELETED", claim("b", 13)),
    ]);
    let (mut told, asked) = play(vec![list(&["a"], 10, "more"), list(&["b"], 10, ""), watching]);
    assert_eq!(next(&mut told, 4).await, ["a seen in 1", "b seen in 1", "listed 1 at 10", "live"]);
    assert_eq!(next(&mut told, 3).await, ["c seen in 1", "a seen in 1", "b gone"]);
    let asked = asked.lock().clone();
    assert!(asked[0].contains("limit=100") && asked[1].contains("continue=more"), "{asked:?}");
    assert!(asked[2].contains("watch=true") && asked[2].contains("resourceVersion=10"), "{asked:?}");
    assert!(
        asked[2].contains("allowWatchBookmarks=true") && asked[2].contains("timeoutSeconds=60"),
        "{asked:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_version_that_the_server_has_forgotten_is_listed_anew_and_until_then_all_is_stale() {
    let forgotten = || Answer::Lines(vec![event("ERROR", failure(410))]);
    let answers = vec![
        list(&["a", "b"], 10, ""),
        forgotten(),
        list(&["b"], 20, ""),
        // And told before the watch even began.
        Answer::Object(410, failure(410)),
        list(&[], 30, ""),
    ];
    let (mut told, _) = play(answers);
    assert_eq!(next(&mut told, 4).await, ["a seen in 1", "b seen in 1", "listed 1 at 10", "live"]);
    assert_eq!(next(&mut told, 3).await, ["broken", "b seen in 2", "listed 2 at 20"]);
    assert_eq!(next(&mut told, 2).await, ["broken", "listed 3 at 30"]);
}

#[tokio::test(start_paused = true)]
async fn a_broken_watch_says_so_and_goes_on_where_it_was() {
    let bookmark = json!({"kind": "SandboxClaim", "apiVersion": "x", "metadata": {"resourceVersion": "15", "annotations": {}}});
    let answers = vec![
        list(&[], 10, ""),
        Answer::Lines(vec![event("ADDED", claim("a", 11)), event("BOOKMARK", bookmark)]),
        Answer::Object(500, failure(500)),
        // From a cache that is behind.
        Answer::Object(504, failure(504)),
        Answer::Silence(vec![event("ADDED", claim("b", 16))]),
    ];
    let (mut told, asked) = play(answers);
    assert_eq!(next(&mut told, 3).await, ["listed 1 at 10", "live", "a seen in 1"]);
    assert_eq!(next(&mut told, 1).await, ["broken"], "it ended as soon as it had begun");
    assert_eq!(next(&mut told, 2).await, ["broken", "broken"]);
    assert_eq!(next(&mut told, 2).await, ["live", "b seen in 1"], "not listed anew");
    assert!(asked.lock()[4].contains("resourceVersion=15"), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_was_broken_for_long_lists_everything_before_it_says_that_it_is_live() {
    let mut answers = vec![list(&["a"], 10, ""), Answer::Lines(vec![event("ADDED", claim("b", 11))])];
    let tries = 4;
    assert_eq!(BEGIN_LIMIT * 4, LIST_ANEW_AFTER);
    answers.extend((0..tries).map(|_| Answer::Never));
    answers.extend([list(&["b"], 40, ""), Answer::Silence(Vec::new())]);
    let (mut told, asked) = play(answers);
    assert_eq!(next(&mut told, 4).await, ["a seen in 1", "listed 1 at 10", "live", "b seen in 1"]);
    assert_eq!(next(&mut told, 1 + tries).await, vec!["broken"; 1 + tries]);
    let back = next(&mut told, 3).await;
    assert_eq!(back, ["b seen in 2", "listed 2 at 40", "live"], "so a, which is gone since, is swept first");
    let asked = asked.lock().clone();
    let (before, anew) = asked[2..].split_at(tries);
    assert!(
        before.iter().all(|query| query.contains("resourceVersion=11")),
        "until then where it was: {asked:?}"
    );
    assert!(anew[0].contains("limit=100") && anew[1].contains("resourceVersion=40"), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_breaks_off_is_begun_anew_as_another_listing() {
    let answers = vec![list(&["a"], 10, "more"), Answer::Object(500, failure(500)), list(&["b"], 12, "")];
    let (mut told, _) = play(answers);
    let all = next(&mut told, 4).await;
    assert_eq!(all, ["a seen in 1", "broken", "b seen in 2", "listed 2 at 12"], "so a is swept");
}

#[tokio::test(start_paused = true)]
async fn a_cluster_without_the_kind_has_none_of_it() {
    let (mut told, _) = play(vec![Answer::Object(404, failure(404))]);
    assert_eq!(next(&mut told, 2).await, ["listed 1 at 0", "live"]);
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_uninstalled_is_no_more_missed_than_one_that_never_was_there() {
    let gone = || Answer::Object(404, failure(404));
    let (mut told, _) = play(vec![list(&["a"], 10, ""), gone(), gone(), list(&["b"], 30, "")]);
    assert_eq!(next(&mut told, 2).await, ["a seen in 1", "listed 1 at 10"]);
    assert_eq!(next(&mut told, 3).await, ["broken", "listed 2 at 0", "live"], "so a is swept");
    assert_eq!(
        next(&mut told, 2).await,
        ["b seen in 3", "listed 3 at 30"],
        "and looked for from time to time"
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_when_nobody_listens() {
    let (told, asked) = play(vec![Answer::Object(500, failure(500)), list(&[], 10, "")]);
    drop(told);
    // Had it gone on, it would have asked for the list again and again. Time is paused, and goes on when nobody has anything to do.
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert_eq!(asked.lock().len(), 1);
}
