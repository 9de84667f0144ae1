//! A caller with a connection of HTTP/2 and several requests at once on it, until it is told to go (GOAWAY, RFC 9113 §6.8). What it
//! could not send, and what by the other side's word reached nobody (§8.7), it asks on the next one.

use std::sync::Arc;

use hyper::Request;
use tokio_util::task::TaskTracker;

use super::{Callers, Kind, finish, within};
use crate::support::http::Failure;
use crate::support::http2::{Body, Http2, empty, uri};

/// Tries of one request. More would mean that every connection is told to go before it has asked.
const TRIES: usize = 4;

pub(super) async fn run(callers: Arc<Callers>, tasks: TaskTracker) {
    let mut pace = callers.pace(callers.plan.connections);
    let mut connection = Arc::new(Http2::connect(callers.plan.to).await);
    while callers.goes_on(&mut pace).await {
        if connection.sender.clone().ready().await.is_err() {
            callers.report.did(Kind::Http2Closed);
            connection = Arc::new(Http2::connect(callers.plan.to).await);
        }
        let (callers, connection) = (Arc::clone(&callers), Arc::clone(&connection));
        tasks.spawn(async move {
            let asked = within(ask(&callers, connection)).await;
            callers.report.note(Kind::Http2, asked);
        });
    }
}

async fn ask(callers: &Callers, mut connection: Arc<Http2>) -> Result<(), Failure> {
    // Long enough to be there when others are told to go.
    let mut request = request(callers);
    for _ in 0..TRIES {
        let mut sender = connection.sender.clone();
        if sender.ready().await.is_ok() {
            match sender.try_send_request(request).await {
                Ok(response) => return finish(response).await.map(drop),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None if is_unprocessed(error.error()) => {
                        callers.report.did(Kind::Http2Unprocessed);
                        request = self::request(callers);
                    }
                    None => return Err(error.into_error().into()),
                },
            }
        }
        connection = Arc::new(Http2::connect(callers.plan.to).await);
    }
    Err("every connection was told to go before it had asked".into())
}

fn request(callers: &Callers) -> Request<Body> {
    Request::get(uri(&callers.plan.awake, "/slow?for=300ms&every=100ms")).body(empty()).unwrap()
}

/// Whether the request reached nobody, so that it may be sent again whatever it is.
fn is_unprocessed(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
    source.is_some_and(|error| {
        let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        error.is_remote() && (refused || error.is_go_away())
    })
}
