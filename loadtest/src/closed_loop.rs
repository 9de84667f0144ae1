//! Closed loop: every connection sends its next request when the last is answered. Tells how much goes through.

use ::drowse::time::{Clock, Moment};
use http::StatusCode;
use tokio::task::JoinSet;

use crate::exchange::Exchange;
use crate::tally::Tally;

/// Loads all connections until a moment. A connection that breaks is not opened again.
pub(crate) async fn load<E: Exchange>(clock: Clock, connections: Vec<E>, until: Moment) -> Tally {
    let mut loops = JoinSet::new();
    for connection in connections {
        loops.spawn(keep_busy(clock, connection, until));
    }
    let mut all = Tally::default();
    for tally in loops.join_all().await {
        all.merge(tally);
    }
    all
}

async fn keep_busy<E: Exchange>(clock: Clock, mut connection: E, until: Moment) -> Tally {
    let mut tally = Tally::default();
    let mut good = 0;
    while clock.now() < until {
        match connection.exchange().await {
            // By far most: counted without a look into the map.
            Ok(StatusCode::OK) => good += 1,
            Ok(status) => tally.count(status.as_str().to_owned(), 1),
            Err(word) => {
                tally.count(word, 1);
                break;
            }
        }
    }
    tally.count(StatusCode::OK.as_str().to_owned(), good);
    tally
}
