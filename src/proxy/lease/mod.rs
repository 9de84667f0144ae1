//! Busy leases over HTTP: at host `drowse.<domain>` an agent says that it is at work. What is asked here is answered by
//! Drowse itself; it reaches no agent, and wakes none.
//!
//! `holder` tells who may do that for which agent, `order` reads what is wanted.

mod holder;
mod order;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, request};
use hyper::body::Incoming;

use super::Caller;
use super::error::{Fault, Form, LeaseDenial};
use super::request::Failure;
use crate::engine::LeaseFault;
use crate::engine::snapshot::LeaseAnswer;

pub use holder::LeaseHolders;

/// The one resource.
const PATH: &str = "/v1/leases";

/// Carries out the order in this request. Who it is comes first: a stranger is told nothing about leases or agents, and
/// its body is not read.
pub(super) async fn answer(
    caller: &Caller,
    parts: &request::Parts,
    body: Incoming,
) -> Result<Response<Bytes>, Failure> {
    let fail = |fault: Fault| Failure::new(fault, Form::Problem, None);
    check_resource(parts).map_err(|denial| fail(denial.into()))?;
    let holder = caller.door.lease_holders.identify(caller, &parts.headers).await.map_err(fail)?;
    let time_limit = caller.door.settings.load().head_timeout;
    let order = order::read(&parts.headers, body, time_limit).await.map_err(fail)?;

    let engine = &caller.door.engine;
    let agent = holder.agent(order.agent.as_ref());
    let fail = |denial: LeaseDenial| Failure::new(denial.into(), Form::Problem, agent.clone());
    let agent = agent.as_ref().ok_or_else(|| fail(LeaseDenial::NoAgent))?;
    holder.check(engine, agent).map_err(fail)?;
    let answer = engine.lease(agent, &order).map_err(|fault: LeaseFault| fail(fault.into()))?;
    Ok(json(&answer))
}

fn check_resource(parts: &request::Parts) -> Result<(), LeaseDenial> {
    if parts.uri.path() != PATH {
        return Err(LeaseDenial::NoResource);
    }
    if parts.method == Method::POST { Ok(()) } else { Err(LeaseDenial::Method) }
}

fn json(answer: &LeaseAnswer) -> Response<Bytes> {
    // Texts and times always make JSON.
    let mut response = Response::new(Bytes::from(serde_json::to_vec(answer).unwrap_or_default()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
