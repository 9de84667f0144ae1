//! A pod's address is given to a pod of another Sandbox, again and again. No answer comes from the wrong one.
//!
//! The API server and the controller are real. The part of the kubelet is played by the test, because a real one takes
//! a second to make a pod, and never gives an address away as fast: the pods are never scheduled, and what answers at
//! the address is a server here that says in whose name it speaks, also on connections from before.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::runtime::conditions::is_deleted;
use kube::runtime::wait::await_condition;
use parking_lot::Mutex;
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::{Agent, World, eventually, http};

/// How often the address changes hands.
const TRIALS: usize = 1000;
/// From giving an address to a pod until something in that pod listens, a node does the rest of its sandbox, makes a
/// container and starts it: where it was measured, 113 ms at the median for the sandbox, 11 and 50 ms for the others.
const START_OF_A_POD: Duration = Duration::from_millis(100);

/// Between two calls of one caller.
const PACE: Duration = Duration::from_millis(2);

/// Who speaks at the address now, by the uid of a pod.
type Speaker = Arc<Mutex<String>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_changes_hands_a_thousand_times_leads_nobody_to_the_wrong_agent() {
    let world = Arc::new(World::new("reuse", "idle_timeout: 1h\nmin_running: 0s\nhold_timeout: 55s").await);
    let speaker = Speaker::default();
    let address = serve(Arc::clone(&speaker)).await;
    // Which agent each pod belongs to.
    let pods: Arc<Mutex<HashMap<String, String>>> = Arc::default();
    let tally = Arc::new(Tally::default());
    let done = Arc::new(AtomicBool::new(false));

    for name in ["one", "two"] {
        let unscheduled = Agent::new(name)
            .pod("schedulerName", json!("nobody"))
            .container("ports", json!([{"containerPort": address.port()}]));
        let object = crate::support::world::from(unscheduled.json());
        world.sandboxes().create(&crate::support::world::post(), &object).await.unwrap();
    }
    give(&world, "one", address, &speaker, &pods).await;
    world.wait_for_phase("one", "Running").await;

    let callers: Vec<_> = ["one", "two"]
        .into_iter()
        .flat_map(|name| [name; 2])
        .map(|name| {
            let (world, pods, tally, done) =
                (Arc::clone(&world), Arc::clone(&pods), Arc::clone(&tally), Arc::clone(&done));
            tokio::spawn(async move { call(&world, name, &pods, &tally, &done).await })
        })
        .collect();

    let mut holder = "one";
    for trial in 0..TRIALS {
        let served = tally.of(holder).load(Ordering::Relaxed);
        // By connections of both kinds.
        eventually("its owner is served there", async || {
            tally.of(holder).load(Ordering::Relaxed) >= served + 4
        })
        .await;
        let (loser, winner) = if holder == "one" { ("one", "two") } else { ("two", "one") };
        // It dies by itself: gone from the API at once.
        let uid = world.pod_uid(loser).await.unwrap();
        let gone = tokio::spawn({
            let (pods, uid) = (world.pods(), uid.clone());
            async move { await_condition(pods, loser, is_deleted(&uid)).await }
        });
        world.pods().delete(loser, &DeleteParams::default().grace_period(0)).await.unwrap();
        // A node learns by a watch, too, that there is something to start: late, where the machine is overloaded.
        gone.await.unwrap().unwrap();
        tokio::time::sleep(START_OF_A_POD).await;
        give(&world, winner, address, &speaker, &pods).await;
        eventually("the controller has made it another pod", async || {
            world.pod_uid(loser).await.is_some_and(|now| now != uid)
        })
        .await;
        holder = winner;
        if trial % 100 == 99 {
            eprintln!("{} changes of hands: {tally:?}", trial + 1);
        }
    }
    done.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.abort();
    }
    assert_eq!(tally.wrong.load(Ordering::Relaxed), 0, "{tally:?}");
    for count in [&tally.one, &tally.two] {
        assert!(count.load(Ordering::Relaxed) >= TRIALS as u64 / 2, "{tally:?}");
    }
    // Both kinds of connections were there.
    assert!(tally.pooled.load(Ordering::Relaxed) > 0 && tally.fresh.load(Ordering::Relaxed) > 0, "{tally:?}");
}

#[derive(Debug, Default)]
struct Tally {
    one: AtomicU64,
    two: AtomicU64,
    wrong: AtomicU64,
    /// Answers that came over a connection that had been used before, and over a new one.
    pooled: AtomicU64,
    fresh: AtomicU64,
    failed: AtomicU64,
}

impl Tally {
    fn of(&self, agent: &str) -> &AtomicU64 {
        if agent == "one" { &self.one } else { &self.two }
    }
}

/// Calls one agent again and again, and looks who answers. Every other time the agent closes the connection, so
/// that the next one is new.
async fn call(
    world: &World,
    agent: &str,
    pods: &Mutex<HashMap<String, String>>,
    tally: &Tally,
    done: &AtomicBool,
) {
    let mut round = 0_u64;
    while !done.load(Ordering::Relaxed) {
        round += 1;
        let path = if round.is_multiple_of(2) { "/close" } else { "/keep" };
        let host = format!("{agent}.{}.agents.localhost", world.namespace);
        // At a pace, so that there is time for something to change.
        tokio::time::sleep(PACE).await;
        let Ok(answer) = http::get(world.drowse.front, &host, path).await else { continue };
        if answer.status != 200 {
            tally.failed.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let answer = answer.json();
        let (uid, nth) = (answer["uid"].as_str().unwrap(), answer["nth"].as_u64().unwrap());
        let owner = pods.lock().get(uid).cloned();
        if owner.as_deref() == Some(agent) {
            tally.of(agent).fetch_add(1, Ordering::Relaxed);
        } else {
            eprintln!("{agent} was answered by {uid} of {owner:?}");
            tally.wrong.fetch_add(1, Ordering::Relaxed);
        }
        let kind = if nth > 1 { &tally.pooled } else { &tally.fresh };
        kind.fetch_add(1, Ordering::Relaxed);
    }
}

/// The agent's newest pod gets the address, and answers there from now on.
async fn give(
    world: &World,
    agent: &str,
    address: SocketAddr,
    speaker: &Speaker,
    pods: &Mutex<HashMap<String, String>>,
) {
    let mut uid = String::new();
    eventually("the agent has a pod", async || {
        let pod = world.pods().get_opt(agent).await.unwrap();
        uid = pod.and_then(|pod| pod.uid()).unwrap_or_default();
        !uid.is_empty()
    })
    .await;
    pods.lock().insert(uid.clone(), agent.to_owned());
    // It listens before the kubelet says so.
    *speaker.lock() = uid;
    let ip = address.ip().to_string();
    let status = json!({"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}});
    world.pods().patch_status(agent, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
}

/// Answers at an address of this machine that no other test uses, in the name of whoever has it.
async fn serve(speaker: Speaker) -> SocketAddr {
    let ip = Ipv4Addr::new(127, 77, fastrand::u8(1..255), fastrand::u8(1..255));
    let listener = TcpListener::bind((ip, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (speaker, count) = (Arc::clone(&speaker), Arc::new(AtomicU64::new(0)));
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let nth = count.fetch_add(1, Ordering::Relaxed) + 1;
                let body = json!({"uid": *speaker.lock(), "nth": nth}).to_string();
                let mut response = Response::new(Full::new(Bytes::from(body)));
                if request.uri().path() == "/close" {
                    response.headers_mut().insert("connection", "close".parse().unwrap());
                }
                async move { Ok::<_, Infallible>(response) }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    address
}
