//! Replicas that tell each other over a real NATS server what they see: each shows the activity of all, and lists, renews and ends
//! the leases of all.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use drowse::agent::AgentKey;
use drowse::coordination::exchange::Exchange;
use drowse::engine::snapshot::{AgentDetail, LeaseView};
use drowse::engine::{LeaseAction, LeaseOrder, Other, Peers, Seen};
use drowse::lifecycle::DrainQuestion;
use drowse::policy::Policy;
use futures_util::StreamExt as _;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::world::{Start, Toy, World, key};
use crate::nats::servers::{NEWEST, Servers};
use crate::support::{PATIENCE, eventually};

const HOST: &str = "echo.default.agents.localhost";
const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 2\n\nok";

/// Nobody is suspended here, so nobody is asked.
struct Nobody;

impl Peers for Nobody {
    fn ask(&self, _: &AgentKey, _: DrainQuestion) {}
}

/// A replica of Drowse, without the cluster that would tell it who else there is.
struct Replica {
    world: World,
    id: &'static str,
    speaking: Option<DropGuard>,
}

impl Replica {
    /// One whose agent is at this port, and that does not speak yet.
    async fn new(id: &'static str, port: u16) -> Self {
        let policy =
            Policy { route: true, manage: true, idle_timeout: Duration::from_hours(1), ..Policy::default() };
        let world = World::start(port, Start { policy, asleep: true, ..Start::default() }).await;
        world.engine.set_peers(Arc::new(Nobody));
        world.engine.set_takes_part();
        let others = ["a", "b"].into_iter().filter(|other| *other != id);
        let others = others.map(|id| Other { id: id.into(), pod: format!("drowse-{id}").into() }).collect();
        world.engine.note_replicas(Seen { others, ..Seen::default() });
        Self { world, id, speaking: None }
    }

    async fn speak(&mut self, servers: &Servers) {
        let nats = async_nats::connect(servers.urls()).await.unwrap();
        let leaving = CancellationToken::new();
        let exchange = Exchange::new(nats, self.id.into(), Arc::clone(&self.world.engine));
        tokio::spawn(exchange.run(leaving.clone()));
        self.speaking = Some(leaving.drop_guard());
    }

    async fn speaking(id: &'static str, port: u16, servers: &Servers) -> Self {
        let mut replica = Self::new(id, port).await;
        replica.speak(servers).await;
        replica
    }

    fn detail(&self) -> AgentDetail {
        self.world.engine.detail(&key()).unwrap()
    }

    async fn get(&self) {
        let request = format!("GET / HTTP/1.1\nHost: {HOST}\nConnection: close\n\n");
        let answer = self.world.ask(&request).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\n"), "{answer}");
    }

    fn order(&self, action: LeaseAction, id: &str) -> Vec<LeaseView> {
        let order = LeaseOrder::read(br#"{"ttl": "1h"}"#).unwrap();
        let order = LeaseOrder { action, id: Some(id.to_owned()), ..order };
        self.world.engine.lease(&key(), &order).unwrap().leases
    }

    fn leases(&self) -> Vec<String> {
        self.order(LeaseAction::List, "all").into_iter().map(|lease| lease.id).collect()
    }

    async fn lists(&self, leases: &[&str]) {
        eventually(&format!("{leases:?} at {}", self.id), async || self.leases() == leases).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_at_one_replica_is_shown_at_the_other_with_its_pod_and_so_is_its_end() {
    let servers = Servers::single(NEWEST).await;
    let mut toy = Toy::new().await;
    let a = Replica::speaking("a", toy.port, &servers).await;
    let b = Replica::speaking("b", Toy::answering(OK).await, &servers).await;
    b.get().await;
    let mut caller = a.world.caller().await;
    caller.send(&format!("GET / HTTP/1.1\nHost: {HOST}\n\n")).await;
    let mut played = toy.accept().await;
    played.head().await;
    eventually("the call is shown at b", async || b.detail().agent.in_flight == 1).await;
    let detail = b.detail();
    assert_eq!(detail.agent.reason, "1 request in flight at drowse-a");
    assert_eq!((detail.elsewhere[0].replica.as_str(), detail.elsewhere[0].in_flight), ("drowse-a", 1));
    let before = detail.agent.last_activity.unwrap();

    played.caller.send(OK).await;
    caller.read_until("ok").await;
    eventually("its end is shown at b", async || b.detail().agent.in_flight == 0).await;
    let detail = b.detail();
    assert!(detail.agent.last_activity.unwrap() > before, "{detail:?}");
    assert_eq!(detail.elsewhere[0].source.as_deref(), Some("requests"));
    let seen = async || a.detail().elsewhere.iter().any(|other| other.replica == "drowse-b");
    eventually("what b saw is shown at a", seen).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_is_told_what_was_before_it_came() {
    let servers = Servers::single(NEWEST).await;
    let a = Replica::speaking("a", Toy::answering(OK).await, &servers).await;
    let mut b = Replica::new("b", Toy::answering(OK).await).await;
    a.get().await;
    a.order(LeaseAction::Take, "job");
    // Told already, to nobody; and nothing of it changes any more.
    let ears = async_nats::connect(servers.urls()).await.unwrap();
    let mut heard = ears.subscribe("drowse.replica.activity.a").await.unwrap();
    ears.flush().await.unwrap();
    next_with(&mut heard, |news| news["agents"].is_null()).await;
    assert_eq!(b.detail().elsewhere, []);
    b.get().await;
    b.speak(&servers).await;
    eventually("b knows of it", async || b.detail().elsewhere.len() == 1).await;
    b.lists(&["job"]).await;
}

async fn next_with(
    heard: &mut async_nats::Subscriber,
    wanted: impl Fn(&serde_json::Value) -> bool,
) -> serde_json::Value {
    let looking = async {
        loop {
            let news = serde_json::from_slice(&heard.next().await.unwrap().payload).unwrap();
            if wanted(&news) {
                return news;
            }
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.expect("it is said")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_taken_at_one_replica_is_listed_renewed_and_ended_at_another() {
    let servers = Servers::single(NEWEST).await;
    let port = Toy::answering(OK).await;
    let (a, b) = (Replica::speaking("a", port, &servers).await, Replica::speaking("b", port, &servers).await);
    let taken = a.order(LeaseAction::Take, "job");
    b.lists(&["job"]).await;
    let renewed = b.order(LeaseAction::Renew, "job");
    // Its begin is told as a length of time, to the millisecond.
    let apart = taken[0].since.duration_since(renewed[0].since).unsigned_abs();
    assert!(apart < Duration::from_secs(5), "{apart:?}");
    eventually("a knows of the renewal", async || {
        a.order(LeaseAction::List, "job")[0].until > taken[0].until
    })
    .await;
    b.order(LeaseAction::End, "job");
    a.lists(&[]).await;
    a.order(LeaseAction::Take, "job");
    b.lists(&["job"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_while_nats_was_away_is_made_up_for() {
    let mut servers = Servers::single(NEWEST).await;
    let port = Toy::answering(OK).await;
    let (a, b) = (Replica::speaking("a", port, &servers).await, Replica::speaking("b", port, &servers).await);
    a.order(LeaseAction::Take, "before");
    b.lists(&["before"]).await;
    servers.kill(0).await;
    a.order(LeaseAction::Take, "meanwhile");
    a.order(LeaseAction::End, "before");
    servers.restart(0).await;
    b.lists(&["meanwhile"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_misses_a_message_asks_for_everything_and_nonsense_is_counted() {
    let servers = Servers::single(NEWEST).await;
    let mut b = Replica::new("b", Toy::answering(OK).await).await;
    let a: Client = async_nats::connect(servers.urls()).await.unwrap();
    let mut heard = a.subscribe("drowse.replica.activity.b").await.unwrap();
    a.flush().await.unwrap();
    let say =
        async |text: &str| a.publish("drowse.replica.activity.a", text.to_owned().into()).await.unwrap();
    b.speak(&servers).await;
    next_with(&mut heard, |news| news["hello"] == true).await;
    say(r#"{"run": "x", "number": 0, "key": "of a later version"}"#).await;
    say(r#"{"run": "x", "number": 2}"#).await;
    next_with(&mut heard, |news| news["hello"] == true).await;
    for nonsense in ["", "nonsense", "[]", "{}", r#"{"run": "x", "number": -1}"#, &"9".repeat(300 << 10)] {
        say(nonsense).await;
    }
    let line = "drowse_replica_reports_total{outcome=\"malformed\"} 6";
    eventually("nonsense is counted", async || b.world.metrics.render().contains(line)).await;
    // And it goes on hearing.
    say(r#"{"run": "x", "number": 3, "agents": [{"agent": "default/echo", "held": 1}]}"#).await;
    eventually("it still hears", async || b.detail().agent.held == 1).await;
}
