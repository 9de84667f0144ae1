//! One connection of a leaf-node link, from the dial to its end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::either::Either;

use super::codec::{self, Decoder, Malformed, Op};
use super::login::{Identity, Introduction, ServerInfo};
use crate::nats::address::ServerAddress;
use crate::nats::advice::{self, advise};
use crate::nats::credentials::{CredentialsError, CredentialsSource};

/// How long a server may take to accept a connection, and then to greet us; and how long one write may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is taken of a message before the server has said how large one may be.
const GREETING: usize = 4096;
/// No server allows more (`max_payload` of nats-server, 64 MB).
const LARGEST_MESSAGE: usize = 64 << 20;
/// How much is read at once at least.
const READ_SIZE: usize = 64 * 1024;

/// What a link needs to connect.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Servers of one cluster; each connection is to one of them.
    pub addresses: Vec<ServerAddress>,
    /// How to sign in.
    pub credentials: CredentialsSource,
    /// How to speak TLS to those that want it.
    pub tls: Arc<ClientConfig>,
    /// Who we are.
    pub identity: Identity,
}

/// Why a connection could not be made, or has ended.
#[derive(Debug, thiserror::Error)]
pub enum LeafError {
    /// The network, or TLS.
    #[error("{}", advise(&.0.to_string()))]
    Io(#[from] io::Error),
    /// The server closed it.
    #[error("the server closed the connection")]
    Closed,
    /// Silence.
    #[error("no answer within {0:?}")]
    Silent(Duration),
    /// The server objects.
    #[error("the server says: {}", advise(.0))]
    Refused(String),
    /// It is no leaf-node port, or there is a bug on one of the sides.
    #[error("{0}; is this the port of `leafnodes` and not the one for clients?")]
    Malformed(#[from] Malformed),
    /// The first line is not what a server says.
    #[error("the server does not introduce itself as a leaf-node port does: {0}")]
    Greeting(String),
    /// It gives leaf nodes what is not for them.
    #[error(
        "nats-server {0} in a cluster gives leaf nodes messages that agents are there to take; the servers of a cluster must be \
         2.10.23 or newer"
    )]
    TooOld(String),
    /// The credentials cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The credentials do not fit the server.
    #[error("{0}")]
    SignIn(String),
}

/// One connection. Operations come out of it; bytes of ours go in.
pub(super) struct Session {
    stream: Either<TcpStream, TlsStream<TcpStream>>,
    buffer: BytesMut,
    decoder: Decoder,
    /// The server, as it introduced itself.
    pub(super) server: ServerInfo,
}

impl Session {
    /// Connects, and introduces us. What the server thinks of that comes with the first operations.
    pub(super) async fn open(address: &ServerAddress, endpoint: &Endpoint) -> Result<Self, LeafError> {
        tokio::time::timeout(PATIENCE, Self::greet(address, endpoint))
            .await
            .map_err(|_| LeafError::Silent(PATIENCE))?
    }

    async fn greet(address: &ServerAddress, endpoint: &Endpoint) -> Result<Self, LeafError> {
        let credentials = endpoint.credentials.load()?;
        let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
        stream.set_nodelay(true)?;
        let mut this = Self {
            stream: Either::Left(stream),
            buffer: BytesMut::with_capacity(READ_SIZE),
            decoder: Decoder::new(GREETING),
            server: ServerInfo::default(),
        };
        if address.tls_first {
            this = this.upgrade(address, endpoint).await?;
        }
        match this.next().await {
            Ok(Op::Info(_)) => {}
            Ok(Op::Err(error)) => return Err(LeafError::Refused(error)),
            Ok(other) => return Err(LeafError::Greeting(format!("it begins with {other:?}"))),
            Err(LeafError::Closed) => {
                return Err(LeafError::Greeting(format!("it closes the connection; {}", advice::SILENT)));
            }
            Err(error) => return Err(error),
        }
        if !address.tls_first && (this.server.tls_required || address.tls) {
            this = this.upgrade(address, endpoint).await?;
        }
        if this.server.is_cluster_too_old() {
            return Err(LeafError::TooOld(this.server.version));
        }
        let introduction = Introduction::new(&endpoint.identity, &credentials, &this.server);
        let introduction = introduction.map_err(LeafError::SignIn)?;
        let line = codec::connect(&introduction).map_err(|error| LeafError::SignIn(error.to_string()))?;
        this.send(line.as_bytes()).await?;
        Ok(this)
    }

    async fn upgrade(self, address: &ServerAddress, endpoint: &Endpoint) -> Result<Self, LeafError> {
        let Self { stream, buffer, decoder, server } = self;
        let (Either::Left(plain), true) = (stream, buffer.is_empty()) else {
            return Err(LeafError::Greeting("it goes on in the clear where TLS should begin".to_owned()));
        };
        let name = ServerName::try_from(address.host.clone());
        let name = name.map_err(|error| LeafError::SignIn(format!("{}: {error}", address.host)))?;
        let stream = TlsConnector::from(Arc::clone(&endpoint.tls)).connect(name, plain).await?;
        Ok(Self { stream: Either::Right(stream), buffer, decoder, server })
    }

    fn note_info(&mut self, json: &[u8]) -> Result<(), LeafError> {
        let info: ServerInfo =
            serde_json::from_slice(json).map_err(|error| LeafError::Greeting(error.to_string()))?;
        if info.max_payload > 0 {
            self.decoder.set_max_message(info.max_payload.min(LARGEST_MESSAGE));
        }
        self.server = info;
        Ok(())
    }

    /// The next operation.
    pub(super) async fn next(&mut self) -> Result<Op, LeafError> {
        loop {
            if let Some(op) = self.ready()? {
                return Ok(op);
            }
            self.buffer.reserve(READ_SIZE);
            // Cancelled before it has read anything, it has read nothing.
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(LeafError::Closed);
            }
        }
    }

    /// An operation that has come already. `INFO` is taken note of, and returned as well.
    pub(super) fn ready(&mut self) -> Result<Option<Op>, LeafError> {
        let op = self.decoder.next(&mut self.buffer)?;
        if let Some(Op::Info(json)) = &op {
            self.note_info(json)?;
        }
        Ok(op)
    }

    /// Writes bytes, all of them.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), LeafError> {
        let writing = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        let written =
            tokio::time::timeout(PATIENCE, writing).await.map_err(|_| LeafError::Silent(PATIENCE))?;
        match written {
            Ok(()) => Ok(()),
            Err(error) => Err(self.last_words().await.unwrap_or(LeafError::Io(error))),
        }
    }

    /// Why the server has closed the connection, if it has said so before.
    async fn last_words(&mut self) -> Option<LeafError> {
        let listening = async {
            loop {
                match self.next().await {
                    Ok(Op::Err(error)) => return Some(LeafError::Refused(error)),
                    Ok(_) => {}
                    Err(LeafError::Closed) => return None,
                    Err(error) => return Some(error),
                }
            }
        };
        tokio::time::timeout(PATIENCE, listening).await.ok().flatten()
    }
}
