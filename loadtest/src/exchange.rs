//! What sends one request after another over one connection: what the loops of load drive.

use http::StatusCode;

use crate::client::{Call, ClientError, Connection};

/// A connection, and what is asked on it again and again.
pub(crate) trait Exchange: Send + 'static {
    /// Sends one request and reads all of its answer. An error ends the connection, and is a few words to count by.
    fn exchange(&mut self) -> impl Future<Output = Result<StatusCode, String>> + Send;
}

/// Asks the same by a full client of HTTP/1.1.
pub(crate) struct Asking {
    connection: Connection,
    call: Call,
}

impl Asking {
    /// Opens so many connections.
    pub(crate) async fn open(call: &Call, number: u16) -> Result<Vec<Self>, ClientError> {
        let mut all = Vec::with_capacity(number.into());
        for _ in 0..number {
            all.push(Self { connection: Connection::open(call.to).await?, call: call.clone() });
        }
        Ok(all)
    }
}

impl Exchange for Asking {
    async fn exchange(&mut self) -> Result<StatusCode, String> {
        let answer = self.connection.send(&self.call).await;
        answer.map(|answer| answer.status).map_err(|error| error.kind())
    }
}
