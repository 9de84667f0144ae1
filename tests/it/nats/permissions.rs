//! The users of `deploy/nats`: what they may do suffices, and nobody may do more.

use std::sync::Arc;

use async_nats::{Client, ConnectOptions, Event};
use drowse::nats::credentials::CredentialsSource;
use drowse::nats::leaf::link::{self, LinkEvent};
use drowse::nats::leaf::wanted::{Registration, Wanted};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::replicas::endpoint;
use super::servers::{NEWEST, Servers, VERSIONS, password};
use super::world::{QUICK, SHORT, World, talker};
use crate::support::{Agent, Drowse, eventually};

const ACCOUNTS: &str = include_str!("../../../deploy/nats/accounts.conf");

async fn servers(version: &str) -> Servers {
    let accounts: Vec<_> = ACCOUNTS.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    Servers::start(version, 1, &accounts.join("\n")).await
}

/// Somebody who is connected, and what the server has objected to.
struct Guest {
    client: Client,
    objections: Arc<Mutex<Vec<String>>>,
}

async fn guest(servers: &Servers, user: &str, inbox: &str) -> Guest {
    let objections = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&objections);
    let client = ConnectOptions::with_user_and_password(user.to_owned(), password(user))
        .custom_inbox_prefix(inbox)
        .event_callback(move |event| {
            if let Event::ServerError(error) = event {
                noted.lock().push(error.to_string());
            }
            async {}
        })
        .connect(servers.urls())
        .await
        .unwrap();
    Guest { client, objections }
}

impl Guest {
    async fn objected(&self, to: &str) {
        eventually(&format!("an objection to {to}"), async || {
            self.objections
                .lock()
                .iter()
                .any(|objection| objection.to_lowercase().contains(&format!("\"{to}")))
        })
        .await;
    }
}

fn password_file(dir: &tempfile::TempDir, user: &str) -> String {
    let file = dir.path().join(user);
    std::fs::write(&file, password(user)).unwrap();
    file.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_users_of_deploy_a_caller_wakes_an_agent_and_nobody_reaches_what_is_not_theirs() {
    let servers = servers(NEWEST).await;
    let dir = tempfile::TempDir::new().unwrap();
    let sign_in = format!(
        "{QUICK}  client: {{user: drowse, password_file: {}}}\n  leaf: {{user: drowse-leaf, password_file: {}}}\n",
        password_file(&dir, "drowse"),
        password_file(&dir, "drowse-leaf")
    );
    let host = servers.urls().replace("nats://", "");
    let url = format!("nats://team-a-echo:{}@{host}", password("team-a-echo"));
    let mut agent = Agent::demo("echo").with(&["--nats", &url]);
    agent.namespace = Some("team-a".to_owned());
    let defaults = "messages: subject\nidle_timeout: 1s\nmin_running: 0s";
    let drowse = Drowse::start_with(&[agent], defaults, servers.section(&sign_in)).await;
    eventually("the message door is open", async || drowse.log().contains("the message door is open")).await;
    assert!(drowse.log().contains("waiting messages are also kept in JetStream"), "{}", drowse.log());

    let caller = guest(&servers, "caller", "_INBOX.caller").await;
    for starts in ["\"starts\":1", "\"starts\":2"] {
        let answer = caller.client.request("agents.team-a.echo.echo", "hello".into()).await.unwrap();
        let answer = String::from_utf8_lossy(&answer.payload).into_owned();
        assert!(answer.contains(starts) && answer.contains("hello"), "{answer}");
        let asleep = async || {
            let status = caller.client.request("drowse.status.team-a.echo", "".into()).await.unwrap();
            String::from_utf8_lossy(&status.payload).contains("Suspended")
        };
        eventually("it sleeps again", asleep).await;
    }
    // Neither for what it asks the servers, nor for the streams that it makes.
    let log = drowse.log().to_lowercase();
    assert!(!log.contains("violation") && !log.contains("cannot be kept in jetstream"), "{log}");

    let echo = guest(&servers, "team-a-echo", "_INBOX.team-a.echo").await;
    let lease = echo.client.request("drowse.lease.team-a.echo", "".into()).await.unwrap();
    assert!(lease.headers.is_none_or(|headers| headers.get("Nats-Service-Error").is_none()), "its own lease");
    for (subject, queue) in [
        ("agents.team-a.other.>", Some("q")),
        ("agents.team-a.echo.>", None),
        ("_inbox.caller.>", None),
        ("drowse.lease.>", None),
        ("drowse.replica.activity.*", None),
    ] {
        let wanted = subject.replace("_inbox", "_INBOX");
        match queue {
            Some(queue) => _ = echo.client.queue_subscribe(wanted, queue.to_owned()).await.unwrap(),
            None => _ = echo.client.subscribe(wanted).await.unwrap(),
        }
        echo.objected(subject).await;
    }
    for subject in [
        "drowse.lease.team-a.other",
        "drowse.activity.team-b.echo",
        "drowse.replica.activity.uid",
        "$sys.req.account.ping.connz",
    ] {
        let wanted = subject.replace("$sys.req.account.ping.connz", "$SYS.REQ.ACCOUNT.PING.CONNZ");
        echo.client.publish(wanted, "".into()).await.unwrap();
        echo.objected(subject).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leaf_sees_managed_subjects_alone_and_lives_with_what_it_is_denied() {
    for version in [VERSIONS[0], NEWEST] {
        let servers = servers(version).await;
        let dir = tempfile::TempDir::new().unwrap();
        // Somebody is interested in what is none of its business.
        let drowse = guest(&servers, "drowse", "_INBOX").await;
        let _leases = drowse.client.subscribe("drowse.lease.>").await.unwrap();
        let echo = guest(&servers, "team-a-echo", "_INBOX.team-a.echo").await;
        let _own = echo.client.queue_subscribe("agents.team-a.echo.>", "q".to_owned()).await.unwrap();
        drowse.client.flush().await.unwrap();
        echo.client.flush().await.unwrap();
        let (cancel, user) = (CancellationToken::new(), "drowse-leaf".to_owned());
        let credentials = CredentialsSource::Password { file: password_file(&dir, &user).into(), user };
        let endpoint = endpoint(servers.nodes[0].leaf, "test", credentials);
        let wanted = Arc::new(Wanted::default());
        wanted.add(Registration { subject: "agents.team-a.echo.>".into(), queue: Some("q".into()) });
        wanted.add(Registration { subject: "secret.literal".into(), queue: None });
        let mut events = link::start(endpoint, Arc::clone(&wanted), cancel.clone());
        let mut interests = Vec::new();
        let (mut denied, mut is_up) = (false, false);
        while !(denied && is_up && interests.iter().any(|subject| subject == "agents.team-a.echo.>")) {
            let event =
                tokio::time::timeout(crate::support::PATIENCE, events.recv()).await.expect("more").unwrap();
            match event {
                LinkEvent::Down(reason) => {
                    assert!(reason.contains("secret.literal") || denied, "{reason}");
                    (denied, is_up) = (true, false);
                }
                LinkEvent::Up(_) => is_up = true,
                LinkEvent::Interest(interest, true) => {
                    interests.push(String::from_utf8(interest.subject.to_vec()).unwrap());
                }
                LinkEvent::Interest(_, false) | LinkEvent::Message(..) => {}
            }
        }
        let strange =
            |subject: &&String| subject.starts_with("drowse.lease") || subject.starts_with("_INBOX");
        assert_eq!(interests.iter().find(strange), None, "{version}: {interests:?}");
        cancel.cancel();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_hear_each_other_and_nobody_else_speaks_or_listens_there() {
    let servers = servers(NEWEST).await;
    let drowse = guest(&servers, "drowse", "_INBOX").await;
    let mut heard = drowse.client.subscribe("drowse.replica.activity.*").await.unwrap();
    drowse.client.publish("drowse.replica.activity.uid", "news".into()).await.unwrap();
    let news =
        tokio::time::timeout(crate::support::PATIENCE, futures_util::StreamExt::next(&mut heard)).await;
    assert_eq!(&*news.expect("it is let through").unwrap().payload, b"news");
    let caller = guest(&servers, "caller", "_INBOX.caller").await;
    caller.client.publish("drowse.replica.activity.uid", "lies".into()).await.unwrap();
    caller.objected("drowse.replica.activity.uid").await;
    let _ears = caller.client.subscribe("drowse.replica.activity.*").await.unwrap();
    caller.objected("drowse.replica.activity.*").await;
    assert_eq!(*drowse.objections.lock(), [""; 0]);
}

/// Everybody may do everything, but for what Drowse may not send to one subject.
const NO_SECRETS: &str = r#"
no_auth_user: guest
accounts { A { jetstream: enabled, users: [
  {user: guest, password: guest}
  {user: link, password: "secret-of-link"}
  {user: drowse, password: "secret-of-drowse", permissions: {publish: {allow: [">"], deny: ["agents.default.echo.secret"]}}}
] } }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_does_not_let_drowse_send_on_is_not_delivered_and_its_sender_is_told() {
    let servers = Servers::start(NEWEST, 1, NO_SECRETS).await;
    let dir = tempfile::TempDir::new().unwrap();
    let sign_in = format!(
        "{QUICK}  client: {{user: drowse, password_file: {}}}\n  leaf: {{user: link, password_file: {}}}\n",
        password_file(&dir, "drowse"),
        password_file(&dir, "link")
    );
    let world = World::with(servers, &[talker("echo")], SHORT, &sign_in).await;
    for _ in 0..5 {
        let answer = world.client(&["request", "--subject", "agents.default.echo.secret"]).await;
        assert!(answer.contains("Nats-Service-Error-Code:[502]"), "{answer}");
        world.drowse.wait_for_phase("echo", "Suspended").await;
    }
    let delivered = world.drowse.metric("drowse_messages_total", "delivered").await;
    assert!(delivered < 0.5, "{delivered}");
    assert!(world.request("echo").await.starts_with("0: r:0 "), "its other subjects are as ever");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_that_was_denied_is_tried_again_with_the_next_connection() {
    let allowed = |more: &str| {
        let accounts = ACCOUNTS.replace("\"drowse.mark.>\"", &format!("\"drowse.mark.>\"{more}"));
        let lines: Vec<_> = accounts.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
        lines.join("\n")
    };
    let mut servers = Servers::start(NEWEST, 1, &allowed("")).await;
    let dir = tempfile::TempDir::new().unwrap();
    let (cancel, user) = (CancellationToken::new(), "drowse-leaf".to_owned());
    let credentials = CredentialsSource::Password { file: password_file(&dir, &user).into(), user };
    let wanted = Arc::new(Wanted::default());
    wanted.add(Registration { subject: "secret.literal".into(), queue: None });
    let endpoint = endpoint(servers.nodes[0].leaf, "test", credentials);
    let mut events = link::start(endpoint, Arc::clone(&wanted), cancel.clone());
    let mut up = async || loop {
        let event =
            tokio::time::timeout(crate::support::PATIENCE, events.recv()).await.expect("more").unwrap();
        if matches!(event, LinkEvent::Up(_)) && wanted.version() <= *wanted.confirmed().borrow() {
            return wanted.is_denied("secret.literal");
        }
    };
    while !up().await {}
    servers.kill(0).await;
    servers.configure(0, &allowed(", \"secret.literal\""));
    servers.restart(0).await;
    assert!(!up().await, "the server lets it now");
    cancel.cancel();
}
