//! A caller who keeps its connection of HTTP/1.1, until an answer says that it closes.

use std::sync::Arc;

use super::{Callers, Kind, connect, finish, get, within};
use crate::support::http::Failure;

pub(super) async fn run(callers: Arc<Callers>) {
    let mut pace = callers.pace(callers.plan.connections);
    loop {
        match one(&callers, &mut pace).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => callers.report.note(Kind::Kept, Err(error)),
        }
        if callers.stop.is_cancelled() {
            return;
        }
    }
}

/// One connection; false when the load is over.
async fn one(callers: &Callers, pace: &mut tokio::time::Interval) -> Result<bool, Failure> {
    let (mut sender, _driver) = within(connect(callers.plan.to)).await?;
    while callers.goes_on(pace).await {
        // Ready for the next request is what a connection remains unless the answer before said that it closes.
        sender.ready().await.map_err(|error| format!("closed without a word: {error}"))?;
        let closes = within(async {
            let response = sender.send_request(get(&callers.plan.awake, "/")).await?;
            let closes = response.headers().get("connection").is_some_and(|value| value == "close");
            finish(response).await?;
            Ok(closes)
        });
        let closes = closes.await?;
        callers.report.did(Kind::Kept);
        if closes {
            callers.report.did(Kind::KeptClosed);
            return Ok(true);
        }
    }
    Ok(false)
}
