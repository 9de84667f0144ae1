//! One request, from its head to its answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryFutureExt as _;
use futures_util::future::BoxFuture;
use http::header::{CONNECTION, CONTENT_TYPE, EXPECT, HOST, SEC_WEBSOCKET_KEY};
use http::uri::Uri;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, request};
use http_body::Body;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::agent::AgentKey;
use crate::engine::{Hold, Slot};
use crate::metrics::{AuthOutcome, Metrics, RequestOutcome};
use crate::policy::{self, Policy};
use crate::upstream::RequestBody;

use super::activity::Busy;
use super::auth::{self, Authenticator, BoundPod, Verdict};
use super::body::{AnswerBody, Content, InFlight, Record};
use super::error::{Fault, Form};
use super::forward::{Answer, Call, forward};
use super::grpc;
use super::headers::{self, Wants};
use super::route::{self, Found, Head, Route};
use super::settings::Style;
use super::stage::Stage;
use super::switched::Switched;
use super::tunnel::Tunnel;
use super::upgrade::{self, Protocol};
use super::{Caller, lease, timing};

/// Answers one request. Dropping the future is the caller leaving.
///
/// What can be done at once is done before there is a future, so that the future keeps no room for what a request is made of: each
/// waiting caller has such a future, and there may be thousands.
pub(super) fn serve(
    caller: Arc<Caller>,
    request: Request<Incoming>,
) -> impl Future<Output = Response<AnswerBody>> + Send {
    let has_body = !request.body().is_end_stream();
    let is_grpc = grpc::is_call(request.version(), request.headers());
    let mut in_flight = InFlight::begin(caller, has_body);
    let begun = begin(&mut in_flight, request, is_grpc);
    async move {
        let answered = match begun {
            Ok(step) => finish(step, &mut in_flight, is_grpc).await,
            Err(failure) => Err(failure),
        };
        let mut response = match answered {
            Ok(response) => response,
            Err(failure) => failure.answer(&in_flight, is_grpc, has_body).map(ours),
        };
        ask_to_leave(in_flight.caller(), &mut response);
        response.map(|content| AnswerBody::new(content, in_flight))
    }
}

/// From the moment at which Drowse is told to end, a caller is to connect anew for what it wants next (RFC 9112 §9.6), and will
/// find another replica. HTTP/2 has a frame for that.
fn ask_to_leave(caller: &Caller, response: &mut Response<Content>) {
    let may_stay = caller.door.stages.now() == Stage::Serving || caller.activity.is_multiplexed();
    if !may_stay && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// A request that we answer ourselves.
pub(super) struct Failure {
    fault: Fault,
    form: Form,
    agent: Option<AgentKey>,
    waited: Option<Duration>,
}

impl Failure {
    pub(super) fn new(fault: Fault, form: Form, agent: Option<AgentKey>) -> Self {
        Self { fault, form, agent, waited: None }
    }

    fn answer(self, in_flight: &InFlight, is_grpc: bool, has_body: bool) -> Response<Bytes> {
        in_flight.caller().door.metrics.request_refused(self.fault.as_str());
        let mut response = self.fault.answer(self.form, self.agent.as_ref());
        if is_grpc {
            response = grpc::refusal(response.status(), &self.fault.detail(self.agent.as_ref()));
        }
        if let Some(waited) = self.waited {
            timing::tell_hold(response.headers_mut(), waited);
        }
        if in_flight.caller().activity.is_multiplexed() {
            // Only this stream of the connection is over.
            response.headers_mut().remove(CONNECTION);
        } else if has_body {
            // The rest of the body is not read, so nothing else can follow on this connection.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// How a request goes on when its head has been read.
enum Step {
    /// It asks how Drowse is.
    Health,
    /// Drowse itself is asked about busy leases.
    Lease(BoxFuture<'static, Result<Response<Content>, Failure>>),
    /// Its caller must be let in first.
    Authenticate(BoxFuture<'static, Result<Routed, Failure>>),
    /// It is on its way.
    Forward(Forwarding),
}

/// A request of which is known where it goes.
struct Routed {
    parts: request::Parts,
    incoming: Incoming,
    /// Of HTTP/2, if it is to become something else.
    stream: Option<OnUpgrade>,
    route: Route,
    checked: headers::Checked,
}

impl Routed {
    const fn form(&self) -> Form {
        Form::of(self.route.style.is_of_the_router())
    }
}

/// A request on its way to an agent.
struct Forwarding {
    agent: AgentKey,
    form: Form,
    stream: Option<OnUpgrade>,
    answer: BoxFuture<'static, Result<Answer, Fault>>,
}

fn begin(in_flight: &mut InFlight, mut request: Request<Incoming>, is_grpc: bool) -> Result<Step, Failure> {
    let caller = Arc::clone(in_flight.caller());
    let stream = (*request.method() == Method::CONNECT).then(|| hyper::upgrade::on(&mut request));
    let (parts, incoming) = request.into_parts();
    let (route, checked) = match find(&caller, &parts)? {
        Goal::Agent(route, checked) => (route, checked),
        Goal::Health => return Ok(Step::Health),
        Goal::Lease => {
            let answer = async move { lease::answer(&caller, &parts, incoming).await };
            return Ok(Step::Lease(Box::pin(answer.map_ok(|answer| answer.map(ours)))));
        }
    };
    let routed = Routed { parts, incoming, stream, route, checked };
    if let Some(authenticator) = caller.door.authenticator.clone() {
        return Ok(Step::Authenticate(Box::pin(let_in(caller, authenticator, routed))));
    }
    prepare(in_flight, routed, is_grpc).map(Step::Forward)
}

/// Gives the request back if its caller may make it.
async fn let_in(
    caller: Arc<Caller>,
    authenticator: Arc<dyn Authenticator>,
    routed: Routed,
) -> Result<Routed, Failure> {
    let metrics = &caller.door.metrics;
    match authenticate(authenticator.as_ref(), metrics, &routed.parts.headers).await {
        Ok(_pod) => Ok(routed),
        Err(fault) => Err(Failure::new(fault, routed.form(), Some(routed.route.agent))),
    }
}

/// Makes it what its agent is to get, if there is such an agent.
fn prepare(in_flight: &mut InFlight, routed: Routed, is_grpc: bool) -> Result<Forwarding, Failure> {
    let caller = Arc::clone(in_flight.caller());
    let form = routed.form();
    let Routed { parts, incoming, stream, route, checked } = routed;
    let fail = |fault| Failure::new(fault, form, Some(route.agent.clone()));
    let slot = caller.door.engine.slot(&route.agent).ok_or_else(|| fail(unknown(&caller)))?;
    let policy = slot.policy_now();
    if !policy.route {
        return Err(fail(Fault::UnknownAgent));
    }
    // Read only for a caller that names one: this takes the agent's lock.
    if route.uid.is_some() && slot.uid().is_some_and(|uid| Some(uid) != route.uid) {
        return Err(fail(Fault::AnotherUid));
    }
    in_flight.record = Some(Record { outcome: RequestOutcome::Abandoned, cold: false });
    let wants = WantsOfHttp {
        expects: expects_continue(&parts, &incoming),
        is_grpc,
        timeout: if is_grpc { grpc::timeout(&parts.headers) } else { None },
        streams: parts.method == Method::GET,
        upgrade: upgrade::asked(&parts, !incoming.is_end_stream()).map_err(|bad| fail(Fault::Bad(bad)))?,
    };
    let by_http2 = parts.version > Version::HTTP_11;
    let body = RequestBody::new(incoming, wants.expects).by_http2(by_http2);
    in_flight.uploads(&body);
    let call = call(in_flight, slot, &policy, &route, wants).map_err(fail)?;
    let request = outgoing(&caller, parts, checked, body, &route, call.upgrade.as_ref());
    let answer = Box::pin(forward(Arc::clone(&caller.door), call, request));
    Ok(Forwarding { agent: route.agent, form, stream, answer })
}

async fn finish(step: Step, in_flight: &mut InFlight, is_grpc: bool) -> Result<Response<Content>, Failure> {
    let Forwarding { agent, form, stream, answer } = match step {
        Step::Health => return Ok(healthy().map(ours)),
        Step::Lease(answer) => return answer.await,
        Step::Authenticate(letting_in) => prepare(in_flight, letting_in.await?, is_grpc)?,
        Step::Forward(forwarding) => forwarding,
    };
    match answer.await {
        Ok(Answer::Switched(Switched { head, tunnel, cold })) => {
            in_flight.record = Some(Record { outcome: RequestOutcome::Answered, cold });
            let caller = in_flight.caller();
            match stream {
                Some(stream) => carry(Arc::clone(caller), stream, tunnel),
                None => *caller.tunnel.lock() = Some(tunnel),
            }
            Ok(head.map(|()| Content::Ours(None)))
        }
        Ok(Answer::Http(response)) => {
            let cold = response.body().was_cold();
            in_flight.record = Some(Record { outcome: RequestOutcome::Answered, cold });
            Ok(response.map(Content::Agent))
        }
        Err(fault) => {
            let outcome = match &fault {
                Fault::Refused(_) => RequestOutcome::Refused,
                Fault::Bad(_) => RequestOutcome::Abandoned,
                _ => RequestOutcome::Failed,
            };
            in_flight.record = Some(Record { outcome, cold: false });
            // Only who was refused has waited for the agent, and not for its answer.
            let now = in_flight.caller().door.engine.clock().now();
            let waited = matches!(fault, Fault::Refused(_)).then(|| now.since(in_flight.arrived));
            Err(Failure { waited, ..Failure::new(fault, form, Some(agent)) })
        }
    }
}

/// Why an agent is not known.
fn unknown(caller: &Caller) -> Fault {
    if caller.door.engine.is_ready() { Fault::UnknownAgent } else { Fault::Starting }
}

/// Passes bytes on one stream of HTTP/2, once its caller has its answer.
fn carry(caller: Arc<Caller>, stream: OnUpgrade, tunnel: Box<Tunnel>) {
    let tasks = caller.door.tasks.clone();
    tasks.spawn(async move {
        let _busy = Busy::begin(&caller.activity);
        let door = &caller.door;
        // An error means that the caller has left.
        if let Ok(stream) = stream.await {
            let patience = door.settings.load().idle_connection_timeout;
            tunnel.run(&mut TokioIo::new(stream), Bytes::new(), patience, door).await;
        }
    });
}

/// What a request wants.
enum Goal {
    Agent(Route, headers::Checked),
    Health,
    /// Something about busy leases.
    Lease,
}

fn find(caller: &Caller, parts: &request::Parts) -> Result<Goal, Failure> {
    let settings = caller.door.settings.load();
    let head =
        Head { method: &parts.method, uri: &parts.uri, version: parts.version, headers: &parts.headers };
    if parts.method == Method::CONNECT {
        match upgrade::names_protocol(parts) {
            Some("websocket") => {}
            Some(_) => return Err(Failure::new(Fault::Protocol, Form::Problem, None)),
            None => return Err(Failure::new(Fault::Method, Form::Problem, None)),
        }
    }
    let checked = headers::check(&parts.headers, parts.version)
        .map_err(|detail| Failure::new(Fault::Bad(detail), Form::Problem, None))?;
    let found = route::find(&settings, head).map_err(|bad| {
        let form = Form::of(bad.by_router);
        Failure::new(bad.into(), form, None)
    })?;
    match found {
        Found::Agent(route) => Ok(Goal::Agent(route, checked)),
        Found::Ourselves | Found::Nobody if is_health_check(parts) => Ok(Goal::Health),
        Found::Ourselves => Ok(Goal::Lease),
        Found::Nobody if settings.is_only_the_router() => {
            // Nothing but the router's own ways: nothing but its answer.
            Err(Failure::new(Fault::Bad(route::NO_ID.to_owned()), Form::Detail, None))
        }
        Found::Nobody => {
            let fault = Fault::NoRoute { domain: settings.domain.clone() };
            Err(Failure::new(fault, Form::Problem, None))
        }
    }
}

/// Before the agent is looked up: a stranger is not told which there are. The pod that calls, if its token says so.
pub(super) async fn authenticate(
    authenticator: &dyn Authenticator,
    metrics: &Metrics,
    headers: &HeaderMap,
) -> Result<Option<Arc<BoundPod>>, Fault> {
    let judged = match auth::bearer(headers) {
        Some(token) => authenticator.authenticate(token).await,
        None => Ok(Verdict::Unauthenticated),
    };
    let (outcome, judged) = match judged {
        Ok(Verdict::Allowed) => (AuthOutcome::Allowed, Ok(None)),
        Ok(Verdict::AllowedPod(pod)) => (AuthOutcome::Allowed, Ok(Some(pod))),
        Ok(Verdict::Unauthenticated) => (AuthOutcome::Unauthenticated, Err(Fault::Unauthenticated)),
        Ok(Verdict::Forbidden) => (AuthOutcome::Forbidden, Err(Fault::Forbidden)),
        Err(_) => (AuthOutcome::Unreviewed, Err(Fault::Unreviewed)),
    };
    metrics.caller_authenticated(outcome);
    judged
}

fn is_health_check(parts: &request::Parts) -> bool {
    [Method::GET, Method::HEAD].contains(&parts.method) && parts.uri.path() == "/healthz"
}

/// What a request wants of the protocol itself.
struct WantsOfHttp {
    /// To be asked for its body.
    expects: bool,
    /// To get what it asks for, which may have no end.
    streams: bool,
    /// To leave HTTP behind.
    upgrade: Option<Protocol>,
    is_grpc: bool,
    /// To be answered within so long, if it is a call of gRPC.
    timeout: Option<Duration>,
}

fn call(
    in_flight: &InFlight,
    slot: Arc<Slot>,
    policy: &Policy,
    route: &Route,
    wants: WantsOfHttp,
) -> Result<Call, Fault> {
    let profile = slot.profile_now();
    let own = policy.port.or(profile.port);
    let port = route.port_or(own);
    if profile.only_port && profile.port != Some(port) {
        let error =
            "this agent has no other port than its own, since all agents of this machine share an address";
        return Err(Fault::Unreachable { port, error: error.to_owned() });
    }
    let own_limits = [route.patience, wants.timeout];
    let patience = own_limits.into_iter().flatten().fold(policy.hold_timeout, Duration::min);
    let protocol = match policy.protocol {
        // There is no upgrade to it from HTTP/2 that agents would know.
        _ if wants.upgrade.is_some() => policy::Protocol::Http1,
        _ if wants.is_grpc => policy::Protocol::H2c,
        protocol => protocol,
    };
    Ok(Call {
        slot,
        port,
        protocol,
        hold: Hold {
            port: route.port_to_probe(own),
            wakes: !policy.must_not_wake(route.target.path()),
            deadline: in_flight.arrived + patience,
        },
        uid: route.uid.clone(),
        rewrites_host: route.style.is_of_the_router(),
        expects: wants.expects,
        upgrade: wants.upgrade,
        streams: wants.streams,
        silence: Arc::clone(in_flight.silence()),
        busy_cap: policy.busy_cap,
    })
}

/// The request as the agent gets it.
fn outgoing(
    caller: &Caller,
    parts: request::Parts,
    checked: headers::Checked,
    body: RequestBody,
    route: &Route,
    upgrade: Option<&Protocol>,
) -> Request<RequestBody> {
    let mut request = Request::new(body);
    let by_http2 = parts.version > Version::HTTP_11;
    *request.method_mut() = if upgrade.is_some() { Method::GET } else { parts.method };
    *request.version_mut() = Version::HTTP_11;
    let mut headers = parts.headers;
    // HTTP/1.0 may leave it out, HTTP/2 says it elsewhere, and HTTP/1.1 without one was refused (`route::authority`).
    if parts.version != Version::HTTP_11 && !headers.contains_key(HOST) {
        insert_host(&mut headers, &parts.uri, route);
    }
    // A token that we check is one for the API server, which no agent may have.
    let drop_authorization = route.style.is_of_the_router() || caller.door.authenticator.is_some();
    let wants = Wants {
        body: !request.body().is_end_stream(),
        drop_authorization,
        by_http2,
        keep_routing: route.style == Style::Header,
    };
    headers::for_agent(&mut headers, &caller.peer, wants, checked);
    if let Some(protocol) = upgrade {
        headers::switch_to(&mut headers, protocol.value());
        if let Some(key) = protocol.own_key() {
            headers.insert(SEC_WEBSOCKET_KEY, key.clone());
        }
    }
    *request.headers_mut() = headers;
    *request.uri_mut() = Uri::from(route.target.clone());
    request
}

fn insert_host(headers: &mut HeaderMap, uri: &Uri, route: &Route) {
    let named = uri.authority().map(ToString::to_string);
    let host = named.unwrap_or_else(|| format!("{}.{}", route.agent.name(), route.agent.namespace()));
    if let Ok(host) = HeaderValue::try_from(host) {
        headers.insert(HOST, host);
    }
}

/// Only then does hyper wait with the body, too.
fn expects_continue(parts: &request::Parts, incoming: &Incoming) -> bool {
    let wants = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    parts.version == Version::HTTP_11
        && !incoming.is_end_stream()
        && parts.headers.get(EXPECT).is_some_and(wants)
}

fn healthy() -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(b"{\"status\":\"ok\"}"));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn ours(text: Bytes) -> Content {
    // Without one, the head says that nothing follows.
    Content::Ours((!text.is_empty()).then_some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, B, F: Future>(_: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// Each waiting caller has one, and there may be thousands. The rest of it is in `forward`.
    #[test]
    fn the_future_of_a_request_stays_small() {
        let size = size(serve);
        assert!(size <= 384, "{size} bytes");
    }
}
