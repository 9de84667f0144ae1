//! A connection that carries no HTTP any more: bytes between a caller and one life of its agent, until either side
//! ends, the life is over, or Drowse ends. What one side does not take is not read from the other.

use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::engine::OpenConnection;
use crate::net::{self, TcpStream};

use super::Door;
use super::frames::Frames;
use super::stage::Stage;

/// Bytes on their way in one direction at most: two of these are what an open tunnel costs.
const CHUNK: usize = 8 * 1024;

/// How long a caller may take for what is still under way to it and for our close frame.
const FAREWELL: Duration = Duration::from_secs(1);

/// An unmasked close frame with status 1001, going away (RFC 6455 §5.5.1 and §7.4.1).
const GOING_AWAY: [u8; 4] = [0x88, 2, 0x03, 0xe9];

/// An agent that has switched protocols, waiting for its caller's stream.
pub(super) struct Tunnel {
    agent: TcpStream,
    /// What it has sent right behind its head.
    first: Bytes,
    is_websocket: bool,
    open: OpenConnection,
}

/// How a tunnel came to its end.
enum End {
    /// By the two sides, or because one broke off.
    Sides,
    /// The agent falls asleep or is gone, or Drowse ends.
    GoingAway,
}

impl Tunnel {
    pub(super) const fn new(
        agent: TcpStream,
        first: Bytes,
        is_websocket: bool,
        open: OpenConnection,
    ) -> Self {
        Self { agent, first, is_websocket, open }
    }

    /// Passes bytes until the end. `early` is what the caller has sent before it had its answer; `patience` is how long
    /// a side may take none of what it is sent, or leave the other one half closed in silence.
    pub(super) async fn run(
        mut self,
        caller: &mut (impl AsyncRead + AsyncWrite + Unpin + Send),
        early: Bytes,
        patience: Duration,
        door: &Door,
    ) {
        let (from_caller, to_caller) = tokio::io::split(caller);
        let (from_agent, to_agent) = net::halves(&mut self.agent);
        let frames = || self.is_websocket.then(Frames::default);
        let ends = Ends { from: from_caller, to: to_agent, admits: true, patience, open: &self.open };
        let mut up = Pipe::new(ends, early, frames());
        let ends = Ends { from: from_agent, to: to_caller, admits: false, patience, open: &self.open };
        let mut down = Pipe::new(ends, self.first, frames());
        let end = tokio::select! {
            biased;
            () = door.stages.reached(Stage::LastWords) => End::GoingAway,
            () = self.open.ended() => End::GoingAway,
            end = both(&mut up, &mut down) => end,
        };
        // A caller who does not take it learns of the end by the end.
        let _told = match end {
            End::GoingAway => tokio::time::timeout(FAREWELL, down.farewell()).await.is_ok(),
            End::Sides => tokio::time::timeout(FAREWELL, down.shut()).await.is_ok(),
        };
    }
}

/// Both directions, until both are over or one breaks.
async fn both<R, W>(
    up: &mut Pipe<'_, impl AsyncRead + Unpin, impl AsyncWrite + Unpin>,
    down: &mut Pipe<'_, R, W>,
) -> End
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let up_first = {
        let (mut going_up, mut going_down) = (pin!(up.run()), pin!(down.run()));
        tokio::select! {
            ended = &mut going_up => ended.map(|()| true),
            ended = &mut going_down => ended.map(|()| false),
        }
    };
    let rest = async {
        if up_first? {
            up.shut().await?;
            down.run_out().await
        } else if down.ends.open.is_going() {
            Ok(())
        } else {
            down.shut().await?;
            up.run_out().await
        }
    };
    if let Err(error) = rest.await {
        tracing::debug!(%error, "a tunnel broke off");
    }
    // An agent that is being put to sleep may close before we hear that it is.
    if down.ends.open.is_going() { End::GoingAway } else { End::Sides }
}

/// Where the bytes of one direction come from and go to.
struct Ends<'a, R, W> {
    from: R,
    to: W,
    /// Nothing is sent while the agent's gate is closed.
    admits: bool,
    patience: Duration,
    open: &'a OpenConnection,
}

/// One direction. Its futures may be dropped at any moment: what was read and not yet written stays in the buffer.
struct Pipe<'a, R, W> {
    ends: Ends<'a, R, W>,
    buffer: BytesMut,
    frames: Option<Frames>,
}

impl<'a, R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Pipe<'a, R, W> {
    fn new(ends: Ends<'a, R, W>, first: Bytes, frames: Option<Frames>) -> Self {
        let mut pipe = Self { ends, buffer: BytesMut::from(first), frames };
        pipe.look();
        pipe
    }

    /// Until the source ends.
    async fn run(&mut self) -> io::Result<()> {
        while self.step().await? {}
        Ok(())
    }

    /// The same when the other direction is over: with no chunk for this long, nobody is there any more.
    async fn run_out(&mut self) -> io::Result<()> {
        while tokio::time::timeout(self.ends.patience, self.step()).await.map_err(|_| late())?? {}
        self.shut().await
    }

    /// Passes one chunk on; false at the end of the source.
    async fn step(&mut self) -> io::Result<bool> {
        if self.buffer.is_empty() {
            self.buffer.reserve(CHUNK);
            if self.ends.from.read_buf(&mut (&mut self.buffer).limit(CHUNK)).await? == 0 {
                return Ok(false);
            }
            self.look();
        }
        self.send().await?;
        Ok(true)
    }

    async fn send(&mut self) -> io::Result<()> {
        while !self.buffer.is_empty() {
            if self.ends.admits {
                self.ends.open.until_admitted().await;
            }
            let writing = self.ends.to.write(&self.buffer);
            match tokio::time::timeout(self.ends.patience, writing).await.map_err(|_| late())?? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => self.buffer.advance(written),
            }
        }
        // TLS may still have some of it.
        tokio::time::timeout(self.ends.patience, self.ends.to.flush()).await.map_err(|_| late())?
    }

    /// Notes what has just been read, before any of it is sent.
    fn look(&mut self) {
        let data = match &mut self.frames {
            Some(frames) => frames.pass(&self.buffer),
            None => !self.buffer.is_empty(),
        };
        if data {
            self.ends.open.moved();
        }
    }

    async fn shut(&mut self) -> io::Result<()> {
        // With TLS, or on a stream of HTTP/2, the end has to be taken like any byte.
        tokio::time::timeout(self.ends.patience, self.ends.to.shutdown()).await.map_err(|_| late())?
    }

    /// The last bytes to a caller: those under way, and a close frame where one may stand.
    async fn farewell(&mut self) -> io::Result<()> {
        self.send().await?;
        if self.frames.as_ref().is_some_and(|frames| frames.is_between() && !frames.is_closed()) {
            self.ends.to.write_all(&GOING_AWAY).await?;
        }
        self.shut().await
    }
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "one side is silent or takes nothing")
}
