//! A request that a life got as a message and did not answer is sent again by the leader, also by one that became it since.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Subscriber;
use drowse::agent::AgentKey;
use drowse::engine::Peers;
use drowse::lifecycle::DrainQuestion;
use drowse::nats::address::ServerAddress;
use drowse::nats::credentials::CredentialsSource;
use drowse::nats::door::{self, MessageDoorHandle};
use drowse::nats::settings::{HoldSettings, HoldStore, Settings, TlsFiles};
use drowse::policy::Policy;
use drowse::policy::messages::{Messages, Preset};
use drowse::policy::rules::{Layer, RuleSet};
use drowse::time::Moment;
use futures_util::StreamExt as _;

use super::world::{PATIENCE, Start, Toy, World, key};
use crate::nats::servers::{NEWEST, Servers};
use crate::support::eventually;

const ALL: &str = "agents.default.echo.>";

/// There are others, who are never asked.
struct Others;

impl Peers for Others {
    fn ask(&self, _agent: &AgentKey, _question: DrainQuestion) {}
}

fn settings(servers: &Servers) -> Settings {
    let at = |port| vec![ServerAddress { host: "127.0.0.1".to_owned(), port, tls: false, tls_first: false }];
    Settings {
        servers: at(servers.nodes[0].client),
        leaf_servers: at(servers.nodes[0].leaf),
        client: CredentialsSource::None,
        leaf: CredentialsSource::None,
        tls: TlsFiles::default(),
        hold: HoldSettings {
            store: HoldStore::Memory,
            stream: "DROWSE_HOLD".to_owned(),
            replicas: 1,
            timeout: PATIENCE,
            max_bytes: 1 << 20,
        },
        // What is not seen message by message does not count here.
        poll_every: Duration::from_hours(1),
        watch_below: 1_000,
        wakes_per_minute: 600,
    }
}

/// An agent that answers the front door, and whose messages are taken by a client of the test.
struct Scene {
    _servers: Servers,
    world: World,
    door: MessageDoorHandle,
    agent: async_nats::Client,
    /// What the agent's connection sends may be taken for answers, so that callers have one of their own.
    caller: async_nats::Client,
    /// What the caller sends to itself.
    echo: Subscriber,
    asked: usize,
}

impl Scene {
    /// The agent is up. With `peers`, another one leads.
    async fn start(peers: Option<Arc<dyn Peers>>) -> Self {
        let servers = Servers::single(NEWEST).await;
        let messages = Arc::new(Messages { preset: Preset::Subject, ..Messages::default() });
        let port = Toy::answering("HTTP/1.1 200 OK\nContent-Length: 2\n\nok").await;
        let policy = Policy {
            route: true,
            manage: true,
            resume_user_suspended: true,
            messages,
            port: Some(port),
            ..Policy::default()
        };
        let world =
            World::start(port, Start { policy: policy.clone(), asleep: true, ..Start::default() }).await;
        if let Some(peers) = peers {
            world.engine.set_peers(peers);
            world.engine.set_takes_part();
        }
        let (engine, metrics) = (Arc::clone(&world.engine), Arc::clone(&world.metrics));
        let door = door::start(settings(&servers), engine, metrics).await.unwrap();
        // The agent was known before there was a door.
        world
            .engine
            .reconfigure(RuleSet::new(policy, Layer::default(), Vec::new()), &Start::default().limits);
        let agent = async_nats::connect(servers.urls()).await.unwrap();
        let caller = async_nats::connect(servers.urls()).await.unwrap();
        let echo = caller.subscribe("echo").await.unwrap();
        let scene = Self { _servers: servers, world, door, agent, caller, echo, asked: 0 };
        scene.resume().await;
        scene
    }

    async fn resume(&self) {
        eventually("it is resumed", async || {
            self.caller.request("drowse.resume.default.echo", "".into()).await.is_ok()
        })
        .await;
        self.world.until_running().await;
    }

    async fn subscribe(&self) -> Subscriber {
        let messages = self.agent.queue_subscribe(ALL, "q".to_owned()).await.unwrap();
        // A round trip: by then the server has taken note.
        self.agent.request("drowse.status.default.echo", "".into()).await.unwrap();
        messages
    }

    /// A request that the agent has received. Drowse may yet see it.
    async fn ask(&mut self, received: &mut Subscriber) {
        self.asked += 1;
        let reply = format!("_INBOX.caller.{}", self.asked);
        self.caller.publish_with_reply("agents.default.echo.ask", reply, "?".into()).await.unwrap();
        self.caller.publish("echo", "".into()).await.unwrap();
        next(received).await;
        // By then the server has done with the request, so the copy for Drowse is on its way.
        next(&mut self.echo).await;
    }

    /// From then on Drowse sees all that the agent gets.
    async fn until_it_is_watched(&self, received: &mut Subscriber) {
        let activity = self.world.engine.slot(&key()).unwrap().activity();
        let mut last = activity.message();
        // The first may be what was sent again, seen before the agent was not watched any more.
        for _ in 0..2 {
            let seen = async {
                while activity.message() == last {
                    self.caller.publish("agents.default.echo.note", "".into()).await.unwrap();
                    next(received).await;
                }
            };
            tokio::time::timeout(PATIENCE, seen).await.expect("the agent is watched");
            last = activity.message();
        }
    }

    fn owes(&self) -> bool {
        let signals = self.world.engine.detail(&key()).unwrap().signals;
        signals.iter().any(|signal| signal.source == "unanswered" && signal.active)
    }
}

async fn next(messages: &mut Subscriber) -> async_nats::Message {
    tokio::time::timeout(PATIENCE, messages.next()).await.expect("no message comes").unwrap()
}

/// Whether it is marked as one that the agent may have received before.
fn is_again(message: &async_nats::Message) -> bool {
    message.headers.as_ref().is_some_and(|headers| headers.get("Drowse-Redelivered").is_some())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_answered_is_sent_again_by_whoever_leads() {
    let mut scene = Scene::start(Some(Arc::new(Others))).await;
    // Told when the door has done what a phase asks for.
    let mut events = scene.caller.subscribe("drowse.events.default.echo").await.unwrap();
    scene.caller.flush().await.unwrap();
    let mut received = scene.subscribe().await;
    scene.until_it_is_watched(&mut received).await;
    scene.ask(&mut received).await;
    eventually("the agent owes an answer", async || scene.owes()).await;

    scene.world.backend.suspend_by_person();
    drop(received);
    let asleep = async {
        while !String::from_utf8_lossy(&events.next().await.unwrap().payload).contains("Suspended") {}
    };
    tokio::time::timeout(PATIENCE, asleep).await.expect("it sleeps");
    let world = &scene.world;
    assert_eq!((world.view().messages_waiting, world.backend.resumes()), (0, 1), "another one leads");

    let mut received = scene.subscribe().await;
    world.engine.set_leads_until(Moment::from_micros(u64::MAX));
    let again = next(&mut received).await;
    assert_eq!((&*again.payload, is_again(&again)), (&b"?"[..], true));
    assert_eq!(world.backend.resumes(), 2);
    scene.door.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_got_in_the_moment_it_fell_asleep_is_sent_again() {
    let mut scene = Scene::start(None).await;
    let mut received = scene.subscribe().await;
    for round in 0..50 {
        scene.until_it_is_watched(&mut received).await;
        scene.ask(&mut received).await;
        // Drowse learns at once of this request and that the life which got it is over, in whichever order.
        scene.world.backend.suspend_by_person();
        let again = next(&mut received).await;
        assert!(is_again(&again), "round {round}: {again:?}");
        // Where it subscribes, it may have got that before anybody was woken.
        scene.resume().await;
    }
    scene.door.end().await;
}
