//! The Lease of the replicas, kept by an API server that the test plays: who leads by it, and what follows when it is gone or cannot
//! be reached.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::Client as Nats;
use bytes::Bytes;
use drowse::backend::kubernetes::OwnPod;
use drowse::coordination::{Coordination, Options};
use drowse::engine::CommandError;
use drowse::telemetry::{Format, build};
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, Response};
use kube::Client;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::world::{Toy, World, key};
use crate::nats::servers::{NEWEST, Servers};
use crate::support::eventually;

const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";

/// The Lease, and the pods of all replicas, which are called as their uids are.
#[derive(Default)]
struct Api {
    lease: Mutex<Option<Value>>,
    writes: Mutex<u64>,
    is_away: AtomicBool,
}

impl Api {
    /// Somebody has led by the Lease and left.
    fn with_lease() -> Arc<Self> {
        let api = Self::default();
        api.write(json!({"spec": {"leaseTransitions": 1}}));
        Arc::new(api)
    }

    fn client(self: &Arc<Self>) -> Client {
        let api = Arc::clone(self);
        // Not over a socket: time is paused.
        let server = tower::service_fn(move |request: Request<kube::client::Body>| {
            let api = Arc::clone(&api);
            async move {
                if api.is_away.load(Ordering::SeqCst) {
                    std::future::pending::<()>().await;
                }
                let (head, body) = request.into_parts();
                let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap();
                let (status, object) = api.answer(&head.method, head.uri.path(), &body);
                let body = Full::new(Bytes::from(object.to_string()));
                Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
            }
        });
        Client::new(server, "drowse-system")
    }

    fn answer(&self, method: &Method, url: &str, body: &[u8]) -> (u16, Value) {
        let place = url.rsplit_once("/namespaces/drowse-system/").map_or("", |(_, place)| place);
        let lease = self.lease.lock().clone();
        match (method.as_str(), place, lease) {
            ("GET", "pods", _) => {
                (200, json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": []}))
            }
            ("GET", "leases/drowse", Some(lease)) => (200, lease),
            ("POST", "leases", None) => (201, self.write(serde_json::from_slice(body).unwrap())),
            ("PATCH", "leases/drowse", Some(mut lease)) => {
                let patch: Value = serde_json::from_slice(body).unwrap();
                let seen = &patch["metadata"]["resourceVersion"];
                if !seen.is_null() && *seen != lease["metadata"]["resourceVersion"] {
                    return (409, failure(409));
                }
                json_patch::merge(&mut lease, &patch);
                (200, self.write(lease))
            }
            ("GET", place, _) if place.starts_with("pods/") => {
                let name = &place["pods/".len()..];
                let metadata = json!({"name": name, "uid": name});
                (
                    200,
                    json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata}),
                )
            }
            _ => (404, failure(404)),
        }
    }

    fn write(&self, mut lease: Value) -> Value {
        let mut writes = self.writes.lock();
        *writes += 1;
        lease["metadata"]["name"] = "drowse".into();
        lease["metadata"]["resourceVersion"] = writes.to_string().into();
        *self.lease.lock() = Some(lease.clone());
        lease
    }

    /// Another replica, `b`, that has no pod.
    fn add_member(&self, says: &str) {
        let members = json!({"metadata": {"annotations": {"drowse.dev/replica-b": says}}});
        json_patch::merge(self.lease.lock().as_mut().unwrap(), &members);
    }

    fn has_member(&self) -> bool {
        let lease = self.lease.lock();
        lease
            .as_ref()
            .is_some_and(|lease| lease["metadata"]["annotations"]["drowse.dev/replica-b"].is_string())
    }

    fn transitions(&self) -> Option<i64> {
        let lease = self.lease.lock();
        lease.as_ref().map(|lease| lease["spec"]["leaseTransitions"].as_i64().unwrap_or_default())
    }
}

fn failure(code: u16) -> Value {
    let reason = if code == 404 { "NotFound" } else { "Conflict" };
    json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason, "message": "x", "code": code})
}

fn take_part(world: &World, api: &Arc<Api>, nats: Option<Nats>) -> Coordination {
    let own = OwnPod { namespace: "drowse-system".to_owned(), name: "me".to_owned() };
    let options = Options { candidate: true, fence_after: Duration::from_mins(10) };
    Coordination::start(&own, api.client(), nats, &world.engine, options)
}

/// The only replica, which leads. From here on time stands still unless the test lets it pass.
async fn leader(api: &Arc<Api>) -> (World, Coordination) {
    let world = World::awake(Toy::answering(OK).await).await;
    tokio::time::pause();
    let coordination = take_part(&world, api, None);
    passing("it leads", || world.engine.leads()).await;
    assert_eq!(gauge(&world, "drowse_leader"), 1);
    (world, coordination)
}

fn gauge(world: &World, name: &str) -> u64 {
    let metrics = world.metrics.render();
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().parse().unwrap()
}

/// Lets so many minutes pass.
async fn minutes(number: u32) {
    for _ in 0..60 * number {
        tokio::time::advance(Duration::from_secs(1)).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

/// Lets time pass until something is so, a little at a time: whatever is due has its turn before the next.
async fn passing(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..600 {
        if condition() {
            return;
        }
        tokio::time::advance(Duration::from_millis(100)).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
    panic!("it did not come about within a minute: {what}");
}

#[tokio::test]
async fn who_led_by_a_lease_that_somebody_deleted_suspends_nobody_before_the_others_may_stand_in_the_new_one()
{
    let api = Api::with_lease();
    let (world, _coordination) = leader(&api).await;
    *api.lease.lock() = None;
    let takes_part = || gauge(&world, "drowse_replicas_can_agree") == 1;
    passing("it makes another", || api.transitions() == Some(0) && takes_part()).await;
    assert!(!world.engine.leads(), "although its term was not over");
    // Nobody else stands there yet, and who did in the old one is not known.
    let refused = world.engine.suspend(&key(), false).await;
    assert!(matches!(refused, Err(CommandError::Refused { .. })), "{refused:?}");
    passing("it leads again", || world.engine.leads()).await;
    assert_eq!(api.transitions(), Some(1));
    world.engine.suspend(&key(), false).await.unwrap();
}

#[tokio::test]
async fn a_leader_that_is_cut_off_leads_no_more_and_says_so() {
    let api = Api::with_lease();
    let (world, _coordination) = leader(&api).await;
    api.is_away.store(true, Ordering::SeqCst);
    passing("its term is over", || !world.engine.leads()).await;
    passing("it says so", || gauge(&world, "drowse_leader") == 0).await;
    api.is_away.store(false, Ordering::SeqCst);
    passing("it leads again", || gauge(&world, "drowse_leader") == 1).await;
}

#[tokio::test]
async fn a_replica_whose_pod_vanished_counts_until_it_has_fenced_itself_by_its_own_configuration() {
    let api = Api::with_lease();
    let (_world, _coordination) = leader(&api).await;
    // That of who leads says ten.
    api.add_member("drowse-b 1200");
    minutes(20).await;
    assert!(api.has_member(), "it may still route to somebody");
    minutes(2).await;
    assert!(!api.has_member());
}

/// A log that the test reads.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn lines(&self, with: &str) -> usize {
        String::from_utf8_lossy(&self.0.lock()).lines().filter(|line| line.contains(with)).count()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_replica_that_never_answers_is_named_as_what_keeps_all_agents_up_until_it_does() {
    let log = Log::default();
    let writer = log.clone();
    let (subscriber, _control) = build(Format::Text, "info", false, move || writer.clone()).unwrap();
    // While there is but one, tracing asks that of the thread which comes to a line first, and another thread has none.
    let _another = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let _logged = tracing::subscriber::set_default(subscriber);
    let servers = Servers::single(NEWEST).await;
    let nats = async_nats::connect(servers.urls()).await.unwrap();
    let world = World::awake(Toy::answering(OK).await).await;
    let api = Api::with_lease();
    api.add_member("drowse-b 600");
    let _coordination = take_part(&world, &api, Some(nats.clone()));
    let agrees = || gauge(&world, "drowse_replicas_can_agree") == 1;
    eventually("it takes part", async || agrees()).await;
    let refused = world.engine.suspend(&key(), false).await.unwrap_err().to_string();
    assert!(refused.contains("given up"), "a no as any other, so far: {refused}");

    let why = "no answer from drowse-b: before a suspension every replica is asked";
    eventually("it is told", async || !agrees()).await;
    assert_eq!(world.view().reason, format!("up; {why}"));
    let overview = world.engine.overview(&drowse::engine::overview::Query::default());
    assert!(overview.notices.contains(&format!("Nobody is suspended: {why}.")), "{:?}", overview.notices);
    let refused = world.engine.suspend(&key(), false).await.unwrap_err();
    assert_eq!(refused, CommandError::Refused { detail: why.to_owned() }, "nothing is tried any more");

    let mut questions = nats.subscribe("drowse.replica.drain.b").await.unwrap();
    let voice = nats.clone();
    let speaking = tokio::spawn(async move {
        while let Some(question) = questions.next().await {
            voice.publish(question.reply.unwrap(), r#"{"agreed": true}"#.into()).await.unwrap();
        }
    });
    eventually("it answers", async || agrees()).await;
    world.engine.suspend(&key(), false).await.unwrap();
    assert_eq!((log.lines(why), log.lines("can be asked again")), (1, 1));
    speaking.abort();
}
