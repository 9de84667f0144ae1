//! What is told while an API server, played by the test, behaves in every way that it may.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::Frame;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use kube::{Client, Config};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::backend::kubernetes::claim::SandboxClaim;
use crate::backend::kubernetes::facts;

const PATIENCE: Duration = Duration::from_secs(20);

/// One answer of the API server.
enum Answer {
    /// A status, and an object.
    Object(u16, Value),
    /// The lines of a watch, which then ends...
    Lines(Vec<Value>),
    /// ...or goes on without another word.
    Silence(Vec<Value>),
}

/// An API server that gives these answers in turn, and notes what it was asked; and the reports of a watch on it.
async fn play(answers: Vec<Answer>) -> (mpsc::Receiver<Told>, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let answers = Arc::new(Mutex::new(answers.into_iter()));
    let noted = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (answers, noted) = (Arc::clone(&answers), Arc::clone(&noted));
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                noted.lock().push(request.uri().query().unwrap_or_default().to_owned());
                let answer = answers.lock().next();
                async move {
                    match answer {
                        Some(answer) => Ok(respond(answer)),
                        // The script is over.
                        None => std::future::pending::<Result<_, Infallible>>().await,
                    }
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    let mut config = Config::new(format!("http://{address}").parse().unwrap());
    config.default_retry = false;
    let client = Client::try_from(config).unwrap();
    let (reports, told) = mpsc::channel(100);
    let watch = Watch {
        api: Api::<SandboxClaim>::all(client),
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

#[tokio::test]
async fn everything_is_listed_page_by_page_and_then_watched_from_there() {
    let watching = Answer::Silence(vec![
        event("ADDED", claim("c", 11)),
        event("MODIFIED", claim("a", 12)),
        event("DELETED", claim("b", 13)),
    ]);
    let (mut told, asked) = play(vec![list(&["a"], 10, "more"), list(&["b"], 10, ""), watching]).await;
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

#[tokio::test]
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
    let (mut told, _) = play(answers).await;
    assert_eq!(next(&mut told, 4).await, ["a seen in 1", "b seen in 1", "listed 1 at 10", "live"]);
    assert_eq!(next(&mut told, 3).await, ["broken", "b seen in 2", "listed 2 at 20"]);
    assert_eq!(next(&mut told, 2).await, ["broken", "listed 3 at 30"]);
}

#[tokio::test]
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
    let (mut told, asked) = play(answers).await;
    assert_eq!(next(&mut told, 3).await, ["listed 1 at 10", "live", "a seen in 1"]);
    assert_eq!(next(&mut told, 1).await, ["broken"], "it ended as soon as it had begun");
    assert_eq!(next(&mut told, 2).await, ["broken", "broken"]);
    assert_eq!(next(&mut told, 2).await, ["live", "b seen in 1"], "not listed anew");
    assert!(asked.lock()[4].contains("resourceVersion=15"), "{asked:?}");
}

#[tokio::test]
async fn a_list_that_breaks_off_is_begun_anew_as_another_listing() {
    let answers = vec![list(&["a"], 10, "more"), Answer::Object(500, failure(500)), list(&["b"], 12, "")];
    let (mut told, _) = play(answers).await;
    let all = next(&mut told, 4).await;
    assert_eq!(all, ["a seen in 1", "broken", "b seen in 2", "listed 2 at 12"], "so a is swept");
}

#[tokio::test]
async fn a_cluster_without_the_kind_has_none_of_it() {
    let (mut told, _) = play(vec![Answer::Object(404, failure(404))]).await;
    assert_eq!(next(&mut told, 2).await, ["listed 1 at 0", "live"]);
}

#[tokio::test]
async fn a_watch_ends_when_nobody_listens() {
    let (told, asked) = play(vec![Answer::Object(500, failure(500)), list(&[], 10, "")]).await;
    drop(told);
    // Had it gone on, it would have asked for the list again and again.
    tokio::task::yield_now().await;
    assert!(asked.lock().len() <= 1);
}
