//! Several replicas of Drowse at one cluster of servers: each message comes to one of them, and none takes the other for an agent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use drowse::nats::address::ServerAddress;
use drowse::nats::credentials::CredentialsSource;
use drowse::nats::leaf::link::{self, LinkEvent};
use drowse::nats::leaf::login::Identity;
use drowse::nats::leaf::session::Endpoint;
use drowse::nats::leaf::wanted::{Registration, Wanted};
use tokio::sync::mpsc;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_util::sync::CancellationToken;

use super::servers::{NEWEST, OLDEST_CLUSTER, Servers};
use super::world::{QUICK, SHORT, World, talker};
use crate::support::{PATIENCE, eventually};

const SUBJECT: &str = "agents.default.echo.note";
const COUNT: usize = 1_000;

/// How a replica of Drowse attaches to the server at this port.
pub(super) fn endpoint(port: u16, name: &str, credentials: CredentialsSource) -> Endpoint {
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let tls = tls.with_safe_default_protocol_versions().unwrap();
    Endpoint {
        addresses: vec![ServerAddress { host: "127.0.0.1".to_owned(), port, tls: false, tls_first: false }],
        credentials,
        tls: Arc::new(tls.with_root_certificates(RootCertStore::empty()).with_no_client_auth()),
        identity: Identity { id: name.to_owned(), name: name.to_owned(), cluster: "drowse".to_owned() },
    }
}

/// One replica's link.
struct Replica {
    events: mpsc::Receiver<LinkEvent>,
    cancel: CancellationToken,
}

impl Replica {
    async fn attach(port: u16, name: &str) -> Self {
        let (wanted, cancel) = (Arc::new(Wanted::default()), CancellationToken::new());
        wanted.add(Registration { subject: SUBJECT.into(), queue: Some("q".into()) });
        let mut events = link::start(endpoint(port, name, CredentialsSource::None), wanted, cancel.clone());
        loop {
            let event = tokio::time::timeout(PATIENCE, events.recv()).await.expect("a link").unwrap();
            if matches!(event, LinkEvent::Up(_)) {
                return Self { events, cancel };
            }
        }
    }

    /// The messages that come until none does any more, and whether it was told of somebody's interest.
    async fn take(&mut self) -> (usize, bool) {
        let (messages, told) = self.take_all().await;
        (messages.len(), told)
    }

    async fn take_all(&mut self) -> (Vec<Bytes>, bool) {
        let (mut messages, mut told) = (Vec::new(), false);
        loop {
            // Of inboxes it is told all the time.
            let next = async {
                loop {
                    match self.events.recv().await.expect("a link") {
                        LinkEvent::Message(message, _) => return message,
                        LinkEvent::Interest(interest, present) => {
                            told |= present && interest.subject == SUBJECT
                        }
                        other => panic!("{other:?}"),
                    }
                }
            };
            let Ok(message) = tokio::time::timeout(Duration::from_secs(1), next).await else {
                return (messages, told);
            };
            assert_eq!(&message.queues[..], ["q"]);
            messages.push(message.payload);
        }
    }
}

async fn publish(client: &async_nats::Client) {
    for _ in 0..COUNT {
        client.publish(SUBJECT, "".into()).await.unwrap();
    }
    client.flush().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_comes_to_one_replica_and_to_none_while_the_agent_is_up() {
    for version in [OLDEST_CLUSTER, NEWEST] {
        let servers = Servers::cluster(version).await;
        let mut one = Replica::attach(servers.nodes[0].leaf, "one").await;
        let mut two = Replica::attach(servers.nodes[1].leaf, "two").await;
        let caller =
            async_nats::connect(format!("nats://127.0.0.1:{}", servers.nodes[2].client)).await.unwrap();
        // The third server learns a moment later that anybody is interested.
        eventually("the replicas are known everywhere", async || {
            let asked = caller
                .send_request(SUBJECT, async_nats::Request::new().timeout(Some(Duration::from_millis(50))));
            asked.await.is_err_and(|error| error.kind() == async_nats::RequestErrorKind::TimedOut)
        })
        .await;
        tokio::join!(one.take(), two.take());
        publish(&caller).await;
        let ((first, told_one), (second, told_two)) = tokio::join!(one.take(), two.take());
        assert_eq!(first + second, COUNT, "{version}");
        assert!(!told_one && !told_two, "{version}: a replica is no agent to the other");

        let agent =
            async_nats::connect(format!("nats://127.0.0.1:{}", servers.nodes[2].client)).await.unwrap();
        let _subscribed = agent.queue_subscribe(SUBJECT, "q".to_owned()).await.unwrap();
        agent.flush().await.unwrap();
        let ((_, told_one), (_, told_two)) = tokio::join!(one.take(), two.take());
        assert!(told_one && told_two, "{version}: both are told of the agent");
        publish(&caller).await;
        let ((first, _), (second, _)) = tokio::join!(one.take(), two.take());
        assert_eq!((first, second), (0, 0), "{version}: the agent has them all");
        one.cancel.cancel();
        two.cancel.cancel();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_when_a_replica_ends_goes_to_another() {
    let late = [talker("echo").with(&["--delay", "1h"])];
    let memory = format!("{QUICK}  hold: {{store: memory}}\n");
    let mut world = World::with(Servers::single(NEWEST).await, &late, SHORT, &memory).await;
    let mut other = Replica::attach(world.servers.nodes[0].leaf, "other").await;
    let client = async_nats::connect(world.servers.urls()).await.unwrap();
    publish(&client).await;
    let (first, _) = other.take().await;
    let held = world.drowse.metric("drowse_held_messages", "").await;
    assert!((first as f64 + held - COUNT as f64).abs() < 0.5, "each waits at one of them: {first} + {held}");
    assert!(held > 100.0);
    // Of another Drowse, its client answers that it is there.
    let mut asked = client.subscribe("drowse.replica.all").await.unwrap();
    client.flush().await.unwrap();
    let answering = tokio::spawn(async move {
        let question = futures_util::StreamExt::next(&mut asked).await.unwrap();
        client.publish(question.reply.unwrap(), "other".into()).await.unwrap();
        client.flush().await.unwrap();
    });
    assert_eq!(world.drowse.terminate().await, 0);
    let (second, _) = other.take().await;
    assert_eq!(first + second, COUNT);
    answering.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_replica_holds_is_nothing_that_the_agent_owes() {
    const REQUESTS: usize = 40;
    let silent = [talker("echo").with(&["--delay", "3s", "--work", "1h"])];
    let defaults = "messages: subject\nidle_timeout: 300ms\nmin_running: 0s\nbusy_cap: 1s";
    let world = World::with(Servers::single(NEWEST).await, &silent, defaults, QUICK).await;
    let mut other = Replica::attach(world.servers.nodes[0].leaf, "other").await;
    let client = async_nats::connect(world.servers.urls()).await.unwrap();
    let (text, code) = world.drowse.command(&["resume", "default/echo"]).await;
    assert_eq!(code, 0, "{text}");
    world.drowse.wait_for_phase("echo", "Resuming").await;
    let _inbox = client.subscribe("_INBOX.caller.*").await.unwrap();
    for number in 0..REQUESTS {
        let inbox = format!("_INBOX.caller.{number}");
        client.publish_with_reply(SUBJECT, inbox, format!("r:{number}").into()).await.unwrap();
    }
    client.flush().await.unwrap();
    let (at_other, _) = other.take_all().await;
    let own = REQUESTS - at_other.len();
    assert!(own > 0 && own < REQUESTS, "some are here and some are there: {own}");
    // What the agent got and does not answer is sent once more to its next life.
    let received = world.received_all("echo", 2 * own).await;
    for request in &at_other {
        let request = String::from_utf8_lossy(request);
        for mark in ["", " 1"] {
            assert_eq!(received.get(format!("{request}{mark}").trim()), None, "{received:?}");
        }
    }
    assert_eq!(received.len(), 2 * own, "each once, and once marked: {received:?}");
}
