//! Getting in: at once if the agent is up, else by waiting for it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use crate::engine::{Hold, Permit, Slot};
use crate::metrics::Bound;
use crate::upstream::RequestBody;
use crate::upstream::request_body::Appetite;

use super::Door;
use super::error::Fault;

/// A place among the requests in flight. While a caller waits for one its body is read ahead, because only then
/// does hyper notice that the caller has left; what it sends beyond that stays in the socket.
pub(super) async fn admit(
    door: &Door,
    slot: &Arc<Slot>,
    hold: Hold,
    body: &mut RequestBody,
) -> Result<Permit, Fault> {
    let ticket = door.engine.hold(slot, hold).map_err(Fault::Refused)?;
    read_ahead_while(door, body, ticket).await?.map_err(Fault::Refused)
}

/// Waits for something that has to happen before the request can be sent, and reads its body ahead meanwhile.
/// Fails when that shows that the caller left in the middle of its body.
pub(super) async fn read_ahead_while<F: Future>(
    door: &Door,
    body: &mut RequestBody,
    wait: F,
) -> Result<F::Output, Fault> {
    let budget = door.engine.held_bytes();
    let mut reserve = |bytes| {
        let reserved = budget.reserve(bytes);
        if reserved.is_none() {
            door.metrics.bound_hit(Bound::HeldBytes);
        }
        reserved
    };
    let limit = door.settings.load().held_body_bytes;
    let mut appetite = Appetite { limit, reserve: &mut reserve };
    let mut wait = pin!(wait);
    let mut hungry = true;
    std::future::poll_fn(|cx| {
        if let Poll::Ready(output) = wait.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        if hungry {
            match body.poll_read_ahead(&mut appetite, cx) {
                Poll::Ready(Ok(())) => hungry = false,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(broken_body(&error))),
                Poll::Pending => {}
            }
        }
        Poll::Pending
    })
    .await
}

/// The caller left, or what it sent is no body.
pub(super) fn broken_body(error: &dyn std::fmt::Display) -> Fault {
    Fault::Bad(format!("the request body ended early or is malformed: {error}"))
}
