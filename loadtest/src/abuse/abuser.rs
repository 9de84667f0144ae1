//! The process that abuses the front door: apart from the one that measures, so that its CPU time can be given to whoever
//! else wants it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::floods::Flood;
use super::modes::Mode;
use super::slow;
use crate::args;
use crate::loopback::Loopback;
use crate::open_files;

/// Connections that are opened in a second, as slowhttptest does with `-r 200`.
const OPENED_A_SECOND: u32 = 200;
/// Before a connection that was ended is opened again.
const PAUSE: Duration = Duration::from_millis(100);

/// What it did, written to its output at its end.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Done {
    /// Connections that were opened.
    pub(super) opened: u64,
    /// Of those, how many were open at once.
    pub(super) peak: u64,
    /// Of those, how many the front door ended.
    pub(super) ended: u64,
    /// Frames that were written, of a flood.
    pub(super) frames: u64,
}

/// Counts while it happens.
#[derive(Debug, Default)]
pub(super) struct Counts {
    opened: AtomicU64,
    open: AtomicU64,
    peak: AtomicU64,
    ended: AtomicU64,
    frames: AtomicU64,
}

impl Counts {
    fn begin(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        self.peak.fetch_max(open, Ordering::Relaxed);
    }

    fn end(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    fn done(&self) -> Done {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Done {
            opened: get(&self.opened),
            peak: get(&self.peak),
            ended: get(&self.ended),
            frames: get(&self.frames),
        }
    }
}

/// Abuses for as long as it is told, and says what it did.
pub(crate) async fn run(options: &args::Abuser) -> anyhow::Result<()> {
    open_files::allow(options.connections.into())?;
    let to = Loopback::local(options.port);
    let counts = Arc::new(Counts::default());
    let mut all = JoinSet::new();
    for nth in 0..options.connections {
        let (mode, host, counts) = (options.mode, options.host.clone(), Arc::clone(&counts));
        all.spawn(async move {
            if mode.is_slow() {
                tokio::time::sleep(Duration::from_secs(1) * nth / OPENED_A_SECOND).await;
            }
            keep_at_it(mode, to, &host, &counts).await;
        });
    }
    // None of them ever ends by itself.
    tokio::time::sleep(Duration::from_secs(options.secs)).await;
    println!("{}", serde_json::to_string(&counts.done()).context("failed to say what was done")?);
    Ok(())
}

/// One connection, opened again whenever it was ended.
async fn keep_at_it(mode: Mode, to: Loopback, host: &str, counts: &Counts) {
    loop {
        if let Ok(stream) = open(mode, to).await {
            counts.begin();
            // Whether it was closed or reset makes no difference.
            let _ended = if mode.is_slow() {
                slow::hold(mode, stream, host).await
            } else {
                flood(Flood::new(mode, host), stream, counts).await
            };
            counts.end();
        }
        tokio::time::sleep(if mode.is_slow() { slow::PAUSE } else { PAUSE }).await;
    }
}

async fn open(mode: Mode, to: Loopback) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if mode == Mode::SlowRead {
        socket.set_recv_buffer_size(slow::WINDOW_BYTES)?;
    }
    socket.connect(to.address()).await
}

/// Writes as fast as it gets rid of it, and reads what comes back so that nobody has to wait for that.
async fn flood(mut flood: Flood, stream: TcpStream, counts: &Counts) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = stream.into_split();
    let writing = async {
        writer.write_all(&flood.opening()).await?;
        loop {
            let (block, frames) = flood.block();
            writer.write_all(&block).await?;
            counts.frames.fetch_add(frames, Ordering::Relaxed);
        }
    };
    let reading = async {
        let mut ignored = vec![0; 64 * 1024];
        while reader.read(&mut ignored).await? > 0 {}
        Ok(())
    };
    tokio::select! {
        end = writing => end,
        end = reading => end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_at_once_is_counted() {
        let counts = Counts::default();
        counts.begin();
        counts.begin();
        counts.end();
        counts.begin();
        assert_eq!(counts.done(), Done { opened: 3, peak: 2, ended: 1, frames: 0 });
    }

    #[tokio::test]
    async fn a_flood_ends_when_the_other_side_closes() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = Loopback::try_from(listener.local_addr().unwrap()).unwrap();
        let stream = open(Mode::RapidReset, to).await.unwrap();
        let counts = Counts::default();
        let closing = async {
            let (mut other, _) = listener.accept().await.unwrap();
            let mut some = vec![0; 100_000];
            other.read_exact(&mut some).await.unwrap();
        };
        let (_end, ()) = tokio::join!(flood(Flood::new(Mode::RapidReset, "a"), stream, &counts), closing);
        assert!(counts.done().frames > 0);
    }
}
