//! Sending a request to its agent, and making what comes back the caller's answer.
//!
//! A request is sent again only when no byte of it was written (RFC 9110 §9.2.2): its connection was refused, or
//! was closed before. If the agent's gate has moved meanwhile, it queues up again, within the same time.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::header::HOST;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;

use crate::agent::AgentUid;
use crate::engine::{DialError, Hold, Outcome, Permit, Slot};
use crate::lifecycle::Refusal;
use crate::metrics::Bound;
use crate::policy;
use crate::time::Moment;
use crate::upstream::connection::with_causes;
use crate::upstream::request_body::Progress;
use crate::upstream::{Connection, RequestBody, SendError};

use super::Door;
use super::activate::{admit, broken_body, read_ahead_while};
use super::body::{AgentBody, Held};
use super::error::Fault;
use super::silence::Silence;
use super::stream::{self, EventStream};
use super::switched::Switched;
use super::upgrade::Protocol;
use super::{headers, timing};

/// An agent may answer on one port before it listens on another: for this long after it came up, a refused port
/// is tried until the hold deadline.
const YOUNG: Duration = Duration::from_secs(10);
/// How long a refused port of an older agent is tried.
const OLD_PATIENCE: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_millis(100);

/// The body of a request with `Expect: 100-continue` is sent after this long even if the agent does not ask for
/// it: it may not know the field (RFC 9110 §10.1.1).
const CONTINUE_AFTER: Duration = Duration::from_secs(1);

/// A request on its way to an agent, apart from its content.
pub(super) struct Call {
    pub(super) slot: Arc<Slot>,
    /// Where it goes.
    pub(super) port: u16,
    /// How it waits, if it has to.
    pub(super) hold: Hold,
    /// The object that the request is for; `None` if whatever has the name will do.
    pub(super) uid: Option<AgentUid>,
    /// What the agent is spoken to in.
    pub(super) protocol: policy::Protocol,
    /// `Host` is replaced by the agent's address, as agent-sandbox's router does.
    pub(super) rewrites_host: bool,
    /// It waits for `100 Continue` before it sends its body.
    pub(super) expects: bool,
    /// What it wants to switch its connection to.
    pub(super) upgrade: Option<Protocol>,
    /// Its answer may be a stream of events.
    pub(super) streams: bool,
    /// Where it is noted that it is in flight and nothing moves.
    pub(super) silence: Arc<Silence>,
    /// For how long it may be.
    pub(super) busy_cap: Duration,
}

/// What an agent gives back.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are the large one, and an allocation for each would cost more"
)]
pub(super) enum Answer {
    Http(Response<AgentBody>),
    /// From here on its connection carries something else.
    Switched(Switched),
}

enum Attempt {
    Answered(Answer),
    /// Nothing was sent, and the agent is not where it was.
    Moved(Request<RequestBody>),
}

/// Gets the request in, sends it, and gives the head of the answer.
#[expect(
    clippy::manual_async_fn,
    reason = "an async fn keeps room for its arguments twice (rust-lang/rust#62958)"
)]
pub(super) fn forward(
    door: Arc<Door>,
    call: Call,
    mut request: Request<RequestBody>,
) -> impl Future<Output = Result<Answer, Fault>> + Send {
    async move {
        let mut waited = None;
        loop {
            let mut permit = match call.slot.enter(&door.engine) {
                Some(permit) => permit,
                // In a box, so that the future of a warm request stays small.
                None => Box::pin(admit(&door, &call.slot, call.hold, request.body_mut())).await?,
            };
            // What has the name now may have come while the caller waited.
            if call.uid.as_ref().is_some_and(|uid| *uid != permit.upstream().life.agent) {
                return Err(Fault::AnotherUid);
            }
            permit.has_waited(waited);
            waited = permit.waited();
            // In a box, so that the future of whoever waits stays small.
            match Box::pin(attempt(&door, &call, permit, request)).await? {
                Attempt::Answered(answer) => return Ok(answer),
                Attempt::Moved(unsent) => request = unsent,
            }
        }
    }
}

#[expect(clippy::manual_async_fn, reason = "as for `forward`")]
fn attempt(
    door: &Arc<Door>,
    call: &Call,
    mut permit: Permit,
    mut request: Request<RequestBody>,
) -> impl Future<Output = Result<Attempt, Fault>> + Send {
    async move {
        if call.rewrites_host {
            let authority = std::net::SocketAddr::new(permit.upstream().address, call.port).to_string();
            if let Ok(authority) = HeaderValue::try_from(authority) {
                request.headers_mut().insert(HOST, authority);
            }
        }
        let progress = request.body().progress().filter(|_| !request.body().is_end_stream()).cloned();
        // Most requests need none.
        let mut patience = None;
        loop {
            let (mut connection, fresh) = match permit.upstream().pool.take(call.port, call.protocol) {
                Some(connection) => (connection, false),
                None => {
                    let patience = patience.get_or_insert_with(|| Patience::new(door, call, &permit));
                    match Box::pin(dial(door, call, &permit, patience, request.body_mut())).await? {
                        Some(dialled) => dialled,
                        None => return Ok(Attempt::Moved(request)),
                    }
                }
            };
            // A caller that leaves from here on leaves an agent that may be at work.
            let left = if call.hold.wakes { Outcome::Answered } else { Outcome::NoActivity };
            permit.expect(left);
            call.silence.begin(door.engine.clock().now(), call.busy_cap);
            let sent = {
                let sending = pin!(send(call, &mut connection, request, progress.as_ref()));
                call.silence.bound(sending).await
            };
            let Some(sent) = sent else { return Err(silent(door, call)) };
            permit.expect(Outcome::NoActivity);
            match sent {
                Ok(response) => {
                    let uploads = progress.is_some_and(|progress| !progress.is_finished());
                    if uploads {
                        connection.drive_in_background();
                    }
                    let streams = call.streams && !uploads && stream::streams(&response);
                    return answer(door, call, response, connection, permit, streams).map(Attempt::Answered);
                }
                Err(SendError::Unsent(unsent)) => request = *unsent,
                Err(SendError::Failed(error)) => {
                    let Some(why) = progress.as_deref().and_then(Progress::broken) else {
                        return Err(Fault::Broken { error: with_causes(&error) });
                    };
                    // It left in the middle of its body.
                    permit.expect(left);
                    return Err(broken_body(&why));
                }
                Err(SendError::Bad(error)) => return Err(Fault::BadAnswer { error }),
            }
            if !permit.is_current() {
                return Ok(Attempt::Moved(request));
            }
            if fresh && let Some(patience) = &mut patience {
                patience.wait(door, "it closes connections at once, or speaks before it is asked").await?;
            }
        }
    }
}

/// A connection, and whether it is a new one; `None` when the agent has moved.
async fn dial(
    door: &Door,
    call: &Call,
    permit: &Permit,
    patience: &mut Patience,
    body: &mut RequestBody,
) -> Result<Option<(Connection, bool)>, Fault> {
    let dialling = async {
        loop {
            let upstream = permit.upstream();
            let place = patience.bound(door, upstream.place_to_dial(call.port)).await?;
            if !permit.is_current() {
                return Ok(None);
            }
            // Many may have waited for a place, and those before have been served since.
            if let Some(connection) = upstream.pool.take(call.port, call.protocol) {
                return Ok(Some((connection, false)));
            }
            let dialled = door.engine.dial(&call.slot, upstream, call.port, call.protocol, place).await;
            let error = match dialled {
                Ok(connection) if permit.is_current() => return Ok(Some((connection, true))),
                // Whoever answers there by now may be somebody else.
                Ok(_) => return Ok(None),
                // That is known by now: it queues up for the next one.
                Err(_) if !permit.is_current() => return Ok(None),
                Err(DialError::Unconfirmed(error)) => return Err(Fault::Unconfirmed { error }),
                Err(DialError::Unreachable(error)) => error,
            };
            patience.wait(door, &error).await?;
        }
    };
    read_ahead_while(door, body, dialling).await?
}

/// How long a port that does not take connections is tried. Fails the request, never the agent.
struct Patience {
    port: u16,
    until: Moment,
    /// The caller is held until then, whatever it waits for.
    is_held: bool,
    pause: Duration,
}

impl Patience {
    fn new(door: &Door, call: &Call, permit: &Permit) -> Self {
        let now = door.engine.clock().now();
        let young = now.since(permit.upstream().ready_at) < YOUNG;
        let is_held = young || permit.waited().is_some();
        let until = if is_held { call.hold.deadline } else { now + OLD_PATIENCE };
        Self { port: call.port, until, is_held, pause: FIRST_PAUSE }
    }

    /// Waits for something else than the port, and no longer than for the port itself.
    async fn bound<T>(&self, door: &Door, wait: impl Future<Output = T>) -> Result<T, Fault> {
        let until = door.engine.clock().instant(self.until);
        tokio::time::timeout_at(until, wait).await.map_err(|_| {
            if self.is_held {
                let waiting_for = "waiting for its turn among many connections to the agent".into();
                return Fault::Refused(Refusal::HoldTimedOut { waiting_for });
            }
            let error = "too many other connections to it are being made".to_owned();
            Fault::Unreachable { port: self.port, error }
        })
    }

    async fn wait(&mut self, door: &Door, error: &str) -> Result<(), Fault> {
        if door.engine.clock().now() + self.pause >= self.until {
            return Err(Fault::Unreachable { port: self.port, error: error.to_owned() });
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 3 / 2).min(LAST_PAUSE);
        Ok(())
    }
}

fn send(
    call: &Call,
    connection: &mut Connection,
    request: Request<RequestBody>,
    progress: Option<&Arc<Progress>>,
) -> impl Future<Output = Result<Response<Incoming>, SendError>> + Send {
    match progress.filter(|_| call.expects) {
        Some(progress) => Box::pin(send_expecting(connection, request, progress)).right_future(),
        None => connection.send(request).left_future(),
    }
}

/// Sends the head, and lets the body be read only when the agent asks for it or says nothing for a while: reading
/// it is what sends the caller its `100 Continue`. A final answer that comes first leaves it unread.
async fn send_expecting(
    connection: &mut Connection,
    mut request: Request<RequestBody>,
    progress: &Arc<Progress>,
) -> Result<Response<Incoming>, SendError> {
    let wanted = Arc::clone(progress);
    hyper::ext::on_informational(&mut request, move |response| {
        if response.status() == StatusCode::CONTINUE {
            wanted.open();
        }
    });
    let mut sent = pin!(connection.send(request));
    tokio::select! {
        biased;
        response = &mut sent => return response,
        () = tokio::time::sleep(CONTINUE_AFTER) => progress.open(),
    }
    sent.await
}

/// It was in flight for so long without a byte that it must not keep its agent up any more.
fn silent(door: &Door, call: &Call) -> Fault {
    let cap = call.busy_cap;
    door.metrics.bound_hit(Bound::Silence);
    tracing::warn!(agent = %call.slot.key(), ?cap, "a request got no byte of an answer within busy_cap; giving it up");
    Fault::Silent { cap }
}

fn answer(
    door: &Arc<Door>,
    call: &Call,
    mut response: Response<Incoming>,
    connection: Connection,
    mut permit: Permit,
    streams: bool,
) -> Result<Answer, Fault> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let protocol = call.upgrade.as_ref();
        return Switched::of(response, protocol, call.hold.wakes, connection, permit).map(Answer::Switched);
    }
    if call.upgrade.as_ref().is_some_and(|upgrade| upgrade.own_key().is_some())
        && response.status().is_success()
    {
        // To a caller with HTTP/2 this would say that it has switched.
        let error = "it says yes to a WebSocket handshake without switching protocols".to_owned();
        return Err(Fault::BadAnswer { error });
    }
    if !headers::answer_is_plain(response.version(), response.headers()) {
        let error = "it has a Transfer-Encoding that is not chunked, given once".to_owned();
        return Err(Fault::BadAnswer { error });
    }
    if streams {
        return Ok(Answer::Http(streaming(door, call, response, connection, permit)));
    }
    // The version is the hop's, not the answer's.
    *response.version_mut() = Version::HTTP_11;
    headers::for_caller(&mut response);
    timing::tell(response.headers_mut(), permit.waited());
    let counts = !response.status().is_server_error() && call.hold.wakes;
    let outcome = if counts { Outcome::Answered } else { Outcome::NoActivity };
    permit.expect(outcome);
    let held = Held::Request(permit);
    Ok(Answer::Http(response.map(|incoming| AgentBody::new(incoming, connection, call.port, held))))
}

/// From here on it is no request in flight but an open connection.
fn streaming(
    door: &Arc<Door>,
    call: &Call,
    mut response: Response<Incoming>,
    connection: Connection,
    permit: Permit,
) -> Response<AgentBody> {
    let waited = permit.waited();
    let by_http2 = connection.protocol() == policy::Protocol::H2c;
    let stream = EventStream::open(response.headers(), by_http2, call.hold.wakes, permit, door);
    call.silence.end();
    *response.version_mut() = Version::HTTP_11;
    headers::for_caller(&mut response);
    timing::tell(response.headers_mut(), waited);
    let held = Held::Stream(Box::new(stream));
    response.map(|incoming| AgentBody::new(incoming, connection, call.port, held))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, B, C, F: Future>(_: impl Fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    /// Each waiting caller has one, and there may be thousands.
    #[test]
    fn the_future_of_a_request_on_its_way_stays_small() {
        let size = size(forward);
        assert!(size <= 704, "{size} bytes");
    }
}
