//! The way to one life of one agent: its address, and its pool of connections, which dies with it.

pub mod connect;
pub mod connection;
pub mod gathered;
mod h2c;
mod http1;
mod muffler;
mod pace;
pub mod ping;
pub mod pool;
pub mod probe;
mod read_ahead;
pub mod ready;
pub mod request_body;
#[cfg(test)]
mod testing;

use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use crate::agent::Life;
use crate::time::Moment;
use pool::Pool;

pub use connection::{Connection, SendError};
pub use request_body::RequestBody;

/// One life of an agent as something to send requests to. Never reused for another life (invariant 3).
#[derive(Debug)]
pub struct Upstream {
    /// Whose it is.
    pub life: Life,
    /// Where its pod is.
    pub address: IpAddr,
    /// The port that answered first.
    pub ready_port: u16,
    /// When it answered.
    pub ready_at: Moment,
    /// How long the read took that said who answers there (guard IDENT).
    pub attest: Duration,
    /// Idle connections. Closed by the engine when this life ends.
    pub pool: Pool,
    /// Places for dials of the ready port at the same time, see [`Upstream::place_to_dial`].
    pub dials: Semaphore,
    /// Cancelled when this life ends: what has become of connections that left the pool for good.
    pub ended: CancellationToken,
}

impl Upstream {
    /// This life is over: nothing new is sent to it, and no connection to it outlives it without a request.
    pub fn retire(&self) {
        self.pool.close();
        self.ended.cancel();
    }

    /// Waits for a place to dial: a usual agent has room for 128 connections that it has not accepted yet, and one
    /// that finds no room is tried again by the kernel only a second later. A port that a caller chose needs no
    /// place, so that one that swallows packets delays nobody else.
    pub async fn place_to_dial(&self, port: u16) -> Option<SemaphorePermit<'_>> {
        if port == self.ready_port { self.dials.acquire().await.ok() } else { None }
    }
}

/// Dials to one life at the same time at most.
pub const MAX_DIALS: usize = 64;
