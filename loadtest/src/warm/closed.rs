//! Closed loop: every connection sends its next request when the last is answered. Tells how much goes through.

use ::drowse::time::{Clock, Moment};
use tokio::task::JoinSet;

use crate::client::{Call, Connection};
use crate::tally::Tally;

/// Loads all connections until a moment. A connection that breaks is not opened again.
pub(super) async fn load(clock: Clock, connections: Vec<Connection>, call: &Call, until: Moment) -> Tally {
    let mut loops = JoinSet::new();
    for connection in connections {
        loops.spawn(keep_busy(clock, connection, call.clone(), until));
    }
    let mut all = Tally::default();
    for tally in loops.join_all().await {
        all.merge(tally);
    }
    all
}

async fn keep_busy(clock: Clock, mut connection: Connection, call: Call, until: Moment) -> Tally {
    let mut tally = Tally::default();
    let mut good = 0;
    while clock.now() < until {
        match connection.send(&call).await {
            // By far most: counted without a look into the map.
            Ok(answer) if answer.status == http::StatusCode::OK => good += 1,
            end => {
                tally.add(&end);
                if end.is_err() {
                    break;
                }
            }
        }
    }
    tally.count(http::StatusCode::OK.as_str().to_owned(), good);
    tally
}
