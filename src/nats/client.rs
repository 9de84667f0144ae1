//! The ordinary connection to NATS, beside the leaf-node link: messages are sent on over it, and everything is asked by it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Auth, AuthError, Client, ClientError, ConnectOptions, Event, HeaderMap, ServerError};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_rustls::rustls::ClientConfig;

use super::advice::advise;
use super::credentials::{Credentials, CredentialsSource};
use super::headers::{self, HOLD_ID, REDELIVERED};
use super::leaf::codec::Message;
use super::settings::Settings;

/// How long a server may take to answer a question of ours.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How our connections begin to call themselves.
pub(super) const NAME: &str = "drowse-";
/// How the library says that a name could not be resolved.
const DNS: &str = "DNS error";
/// How often we make sure that the server is there: well below the two minutes of the library's default.
const PING_EVERY: Duration = Duration::from_secs(10);

/// How the ordinary connection is.
#[derive(Clone, Copy, Default)]
pub(super) struct Health {
    /// It stands.
    pub(super) stands: bool,
    /// How often it has broken.
    pub(super) breaks: u64,
    /// How many messages came faster than they were taken, and were dropped.
    pub(super) missed: u64,
}

/// Subjects that are remembered as refused at most, until they are taken.
const MAX_REFUSED: usize = 1_024;

/// Subjects to which the server did not let us publish. It says so later than the call that publishes returns.
#[derive(Default)]
pub(super) struct Refused(Mutex<HashSet<Box<str>>>);

impl Refused {
    /// The server objects to something. Whether it is this, and that is new.
    fn note(&self, error: &str) -> bool {
        let Some(subject) = refused_subject(error) else { return false };
        let mut subjects = self.0.lock();
        subjects.len() < MAX_REFUSED && subjects.insert(subject.into())
    }

    /// Those that came since.
    pub(super) fn take(&self) -> HashSet<Box<str>> {
        std::mem::take(&mut *self.0.lock())
    }
}

/// The subject in `Permissions Violation for Publish to "subject"`.
fn refused_subject(error: &str) -> Option<&str> {
    let rest = error.strip_prefix("Permissions Violation for Publish to \"")?;
    rest.split('"').next()
}

/// Connects, sooner or later: until then, and whenever the connection breaks, what is sent waits.
///
/// `health` tells how it is.
pub(super) async fn connect(
    settings: Settings,
    tls: ClientConfig,
    name: String,
    health: watch::Sender<Health>,
    refused: Arc<Refused>,
) -> Result<Client, String> {
    let source = settings.client;
    let options = ConnectOptions::with_auth_callback(move |nonce| {
        let source = source.clone();
        async move { sign_in(&source, &nonce).map_err(AuthError::new) }
    });
    let trouble = Arc::new(Trouble::default());
    let (told, tried) = (Arc::clone(&trouble), trouble);
    let options =
        if settings.servers.iter().any(|server| server.tls_first) { options.tls_first() } else { options };
    let urls: Vec<_> = settings.servers.iter().map(super::address::ServerAddress::url).collect();
    options
        .name(name)
        .tls_client_config(tls)
        .retry_on_initial_connect()
        .ping_interval(PING_EVERY)
        .request_timeout(Some(ANSWER_WITHIN))
        // Called before each attempt, with what has become of the ones before it.
        .reconnect_to_server_callback(move |servers, _| {
            tried.note(servers.into_iter().filter_map(|server| server.last_error));
            async { None }
        })
        .event_callback(move |event| {
            let (health, told, refused) = (health.clone(), Arc::clone(&told), Arc::clone(&refused));
            async move {
                match event {
                    Event::Connected => {
                        told.end();
                        tracing::info!("connected to NATS");
                        health.send_modify(|health| health.stands = true);
                    }
                    Event::Disconnected => {
                        tracing::warn!("the connection to NATS is lost; it is made anew");
                        health.send_modify(|health| {
                            health.stands = false;
                            health.breaks += 1;
                        });
                    }
                    // One for every message that was dropped.
                    Event::SlowConsumer(_) => health.send_modify(|health| health.missed += 1),
                    // One for every attempt to connect. What they are is told above, but for this one.
                    Event::ClientError(ClientError::Other(error)) if error == DNS => {
                        told.note([format!("{error}: a name in nats.servers is not known")].into_iter());
                    }
                    Event::ClientError(error) => tracing::debug!("NATS: {error}"),
                    Event::ServerError(ServerError::Other(error)) if refused_subject(&error).is_some() => {
                        if refused.note(&error) {
                            tracing::error!(
                                "NATS: {error}: the `publish` permission of Drowse's user does not allow it"
                            );
                        }
                    }
                    other => tracing::warn!("NATS: {other}"),
                }
            }
        })
        .connect(urls)
        .await
        .map_err(|error| error.to_string())
}

/// Why there is no connection, told once and not at every attempt.
#[derive(Default)]
struct Trouble(Mutex<String>);

impl Trouble {
    /// Attempts have ended like this.
    fn note(&self, errors: impl Iterator<Item = String>) {
        let errors: Vec<_> = errors.collect();
        let reason = errors.join("; ");
        // Some texts have the time in them.
        let words: String = reason.chars().filter(|c| !c.is_ascii_digit()).collect();
        let mut told = self.0.lock();
        if !words.is_empty() && *told != words {
            *told = words;
            tracing::warn!(reason = advise(&reason), "no connection to NATS yet; it is tried again");
        }
    }

    /// There is a connection.
    fn end(&self) {
        self.0.lock().clear();
    }
}

fn sign_in(source: &CredentialsSource, nonce: &[u8]) -> Result<Auth, String> {
    let mut auth = Auth::new();
    match source.load().map_err(|error| error.to_string())? {
        Credentials::None => {}
        Credentials::Password { user, password } => {
            auth.username = Some(user);
            auth.password = Some(password);
        }
        Credentials::Token(token) => auth.token = Some(token),
        Credentials::Key { key, jwt } => {
            auth.signature = Some(key.sign(nonce).map_err(|error| error.to_string())?);
            match jwt {
                Some(jwt) => auth.jwt = Some(jwt),
                None => auth.nkey = Some(key.public_key()),
            }
        }
    }
    Ok(auth)
}

/// What is added to a message that is sent on, in bytes at most.
pub(super) const ADDED: usize = 128;

/// Sends a held message on, as it came; with the name by which we know it again, if it is to be known again.
pub(super) async fn send_on(
    client: &Client,
    message: &Message,
    hold_id: Option<&str>,
    redelivered: bool,
) -> Result<(), String> {
    let headers = message.headers.as_deref().map(headers::parse).transpose();
    let mut headers = headers.map_err(|error| error.to_string())?.unwrap_or_default();
    if let Some(hold_id) = hold_id {
        headers.insert(HOLD_ID, hold_id);
    }
    if redelivered {
        headers.insert(REDELIVERED, "1");
    }
    let subject = text(&message.subject).ok_or("its subject is no text")?;
    let payload = message.payload.clone();
    let sent = match message.reply.as_ref().and_then(text) {
        Some(reply) => client.publish_with_reply_and_headers(subject, reply, headers, payload).await,
        None => client.publish_with_headers(subject, headers, payload).await,
    };
    sent.map_err(|error| error.to_string())
}

/// Tells whoever waits for a reply that none will come, and why.
pub(super) async fn send_error(client: &Client, reply: &Bytes, code: u16, why: &str) {
    let Some(reply) = text(reply) else { return };
    let mut headers = HeaderMap::new();
    headers.insert(headers::ERROR, why);
    headers.insert(headers::ERROR_CODE, code.to_string());
    let _lost_with_the_connection =
        client.publish_with_headers(reply, headers, Bytes::from(why.to_owned())).await;
}

/// Sends something of our own.
pub(super) async fn send(client: &Client, subject: &str, payload: Bytes) {
    // Whoever waits for it has a deadline of its own.
    let _ = client.publish(subject.to_owned(), payload).await;
}

/// What a server says itself when nobody subscribes (ADR-4, status 503).
pub(super) async fn send_no_responders(client: &Client, reply: &Bytes) {
    // The library sends no status line, so the code stands where NATS services have theirs.
    send_error(client, reply, 503, "no responders: the agent is up, and does not subscribe to this subject")
        .await;
}

/// Tells a caller of the Synadia Agent Protocol (v0.3, "status" chunks) that it is still waited for.
pub(super) async fn send_keep_alive(client: &Client, reply: &Bytes) {
    if let Some(reply) = text(reply) {
        send(client, &reply, Bytes::from_static(br#"{"type":"status","data":"ack"}"#)).await;
    }
}

/// Subjects are UTF-8 by the rules of NATS; what is not is nobody's.
pub(super) fn text(bytes: &Bytes) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_be_published_is_remembered_once_until_it_is_taken() {
        let refused = Refused::default();
        let error = "Permissions Violation for Publish to \"agents.a.In\"";
        assert!(refused.note(error) && !refused.note(error));
        assert!(!refused.note("Permissions Violation for Subscription to \"agents.b\""));
        assert_eq!(refused.take().into_iter().collect::<Vec<_>>(), ["agents.a.In".into()]);
        assert!(refused.take().is_empty());
        for number in 0..=MAX_REFUSED {
            refused.note(&format!("Permissions Violation for Publish to \"a.{number}\""));
        }
        assert_eq!(refused.take().len(), MAX_REFUSED);
    }
}
