//! A request that a life got as a message and did not answer is sent again by the leader, also by one that became it since.

use std::sync::Arc;
use std::time::Duration;

use drowse::agent::AgentKey;
use drowse::engine::Peers;
use drowse::lifecycle::DrainQuestion;
use drowse::nats::address::ServerAddress;
use drowse::nats::credentials::CredentialsSource;
use drowse::nats::door;
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
        poll_every: Duration::from_secs(1),
        watch_below: 1_000,
        wakes_per_minute: 600,
    }
}

fn owes(world: &World) -> bool {
    let signals = world.engine.detail(&key()).unwrap().signals;
    signals.iter().any(|signal| signal.source == "unanswered" && signal.active)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_answered_is_sent_again_by_whoever_leads() {
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
    let world = World::start(port, Start { policy: policy.clone(), asleep: true, ..Start::default() }).await;
    world.engine.set_peers(Arc::new(Others));
    world.engine.set_takes_part();
    let (engine, metrics) = (Arc::clone(&world.engine), Arc::clone(&world.metrics));
    let door = door::start(settings(&servers), engine, metrics).await.unwrap();
    // The agent was known before there was a door.
    world.engine.reconfigure(RuleSet::new(policy, Layer::default(), Vec::new()), &Start::default().limits);
    // What the agent's connection sends may be taken for answers, so that callers have one of their own.
    let client = async_nats::connect(servers.urls()).await.unwrap();
    let caller = async_nats::connect(servers.urls()).await.unwrap();
    // Told when the door has done what a phase asks for.
    let mut events = client.subscribe("drowse.events.default.echo").await.unwrap();
    let agent = client.queue_subscribe(ALL, "q".to_owned()).await.unwrap();
    client.flush().await.unwrap();
    eventually("it is resumed", async || {
        caller.request("drowse.resume.default.echo", "".into()).await.is_ok()
    })
    .await;
    world.until_running().await;
    eventually("the agent owes an answer", async || {
        caller.publish_with_reply("agents.default.echo.ask", "_INBOX.caller.1", "?".into()).await.unwrap();
        caller.flush().await.unwrap();
        owes(&world)
    })
    .await;

    world.backend.suspend_by_person();
    drop(agent);
    client.flush().await.unwrap();
    let asleep = async {
        while !String::from_utf8_lossy(&events.next().await.unwrap().payload).contains("Suspended") {}
    };
    tokio::time::timeout(PATIENCE, asleep).await.expect("it sleeps");
    assert_eq!((world.view().messages_waiting, world.backend.resumes()), (0, 1), "another one leads");

    let mut agent = client.queue_subscribe(ALL, "q".to_owned()).await.unwrap();
    client.flush().await.unwrap();
    world.engine.set_leads_until(Moment::from_micros(u64::MAX));
    let again = tokio::time::timeout(PATIENCE, agent.next()).await.expect("it is sent again").unwrap();
    let headers = again.headers.unwrap();
    assert_eq!((&*again.payload, headers.get("Drowse-Redelivered").is_some()), (&b"?"[..], true));
    assert_eq!(world.backend.resumes(), 2);
    door.end().await;
}
