//! A new connection to an agent that is up, on which something may be said to it: for a request, and for a question.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::SemaphorePermit;

use crate::policy::Protocol;
use crate::upstream::{Connection, Upstream, connect};

use super::{Engine, Slot};

/// One dial. A pod whose node is gone does not even refuse.
const DIAL_LIMIT: Duration = Duration::from_secs(2);

/// Why nothing may be said there.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No connection can be made.
    #[error("{0}")]
    Unreachable(String),
    /// It cannot be told that it is still our agent who answers there.
    #[error("cannot tell who answers there: {0}")]
    Unconfirmed(String),
}

impl Engine {
    /// Dials this port of this life in its place ([`Upstream::place_to_dial`]), makes sure that it is the agent who answers there
    /// (guard IDENT), and speaks this to it. Takes 2 seconds at most, and a read of the API where the watch is broken.
    pub async fn dial(
        &self,
        slot: &Slot,
        upstream: &Upstream,
        port: u16,
        protocol: Protocol,
        place: Option<SemaphorePermit<'_>>,
    ) -> Result<Connection, DialError> {
        let dialled = connect::connect(upstream.address, port, DIAL_LIMIT).await;
        drop(place);
        let stream = dialled.map_err(|error| DialError::Unreachable(error.to_string()))?;
        match self.vouch(slot, &upstream.life, SocketAddr::new(upstream.address, port)).await {
            Ok(true) => {}
            Ok(false) => return Err(DialError::Unconfirmed("its pod is not there any more".to_owned())),
            Err(error) => return Err(DialError::Unconfirmed(error)),
        }
        let connection = Connection::speaking(protocol, stream).await;
        connection.ok_or_else(|| DialError::Unreachable("no connection can be made".to_owned()))
    }
}
