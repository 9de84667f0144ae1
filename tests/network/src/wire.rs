//! How the parts of the world talk: a number goes over the simulated network, and what it stands for lies ready in memory. So
//! links delay, hold and lose it, and nothing has to be spelled out in bytes.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::agent::{AgentKey, AgentUid, Generation, Life, Revision};
use crate::engine::Word;
use crate::lifecycle::{AgentSeen, Mode, SuspendedBy, WriteError};
use crate::net::{TcpListener, TcpStream};

/// What is said.
#[derive(Clone, Debug)]
pub enum Message {
    Suspend {
        key: AgentKey,
        uid: AgentUid,
        revision: Revision,
        by: SuspendedBy,
    },
    Resume {
        key: AgentKey,
        uid: AgentUid,
        generation: Generation,
        from: Mode,
    },
    Read {
        key: AgentKey,
    },
    Seen(Result<AgentSeen, WriteError>),
    Attest {
        key: AgentKey,
        life: Life,
        at: SocketAddr,
    },
    Attested(bool),
    /// The replica of this number wants to lead.
    Lead(usize),
    /// For so long from when it asked.
    LeadsFor(Option<Duration>),
    Ask {
        key: AgentKey,
        uid: AgentUid,
        revision: Revision,
        ordered: bool,
    },
    Said(Word),
}

/// What was said so far.
#[derive(Default)]
pub struct Said(Mutex<Vec<Message>>);

impl Said {
    fn put(&self, message: Message) -> u64 {
        let mut all = self.0.lock();
        all.push(message);
        all.len() as u64 - 1
    }

    fn get(&self, number: u64) -> Option<Message> {
        self.0.lock().get(usize::try_from(number).ok()?).cloned()
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Silence {
    /// It was not said.
    NotSent,
    /// It may have been heard.
    NoAnswer,
}

/// Says something, and waits for the answer.
pub async fn ask(said: &Said, to: SocketAddr, message: Message, limit: Duration) -> Result<Message, Silence> {
    let mut connected = false;
    let exchange = async {
        let mut stream = TcpStream::connect(to).await?;
        connected = true;
        stream.write_u64(said.put(message)).await?;
        stream.read_u64().await
    };
    let heard = tokio::time::timeout(limit, exchange).await;
    match heard {
        Ok(Ok(number)) => said.get(number).ok_or(Silence::NoAnswer),
        _ if connected => Err(Silence::NoAnswer),
        _ => Err(Silence::NotSent),
    }
}

/// Hears something on a connection that was accepted.
pub async fn hear(said: &Said, stream: &mut TcpStream) -> io::Result<Message> {
    let number = stream.read_u64().await?;
    said.get(number).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Answers it.
pub async fn answer(said: &Said, stream: &mut TcpStream, message: Message) -> io::Result<()> {
    stream.write_u64(said.put(message)).await
}

/// Takes connections for ever, each in a task of its own.
pub async fn serve<F>(port: u16, serve: impl Fn(TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind(crate::net::anywhere(port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(serve(stream));
    }
}
