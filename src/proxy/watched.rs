//! A caller's stream, whose reads and writes leave marks in its [`Activity`].

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::upstream::gathered::poll_write_pieces;

use super::activity::Activity;
use super::chatter::{Chatter, Flood};
use super::connection::LINGER;
use super::transport::Transport;

/// What is read and ignored of a connection of HTTP/2 that has ended, in bytes. A caller who heeds its end has little on its way;
/// one who floods it would be read at full speed.
const MAX_IGNORED: usize = 1024 * 1024;

/// How soon a caller has to stop sending that was told that it breaks the rules of HTTP/2: one that floods us has always sent more.
const HEED_WITHIN: Duration = Duration::from_millis(250);

/// A caller's stream, whose reads and writes leave marks.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) stream: Transport,
    /// What was read to see which version of HTTP it is.
    pub(super) early: Bytes,
    pub(super) activity: Arc<Activity>,
    /// With HTTP/2.
    pub(super) chatter: Option<Box<Chatter>>,
    /// Bytes that were read and ignored after its shutdown.
    ignored: usize,
    /// For how long it is still listened to at its end.
    lingering: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    pub(super) const fn new(stream: Transport, activity: Arc<Activity>) -> Self {
        Self { stream, early: Bytes::new(), activity, chatter: None, ignored: 0, lingering: None }
    }

    /// Reads and forgets what the caller still sends, until it closes its side too, for a while.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let over = self.lingering.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        let mut ignored = [0; 4096];
        while self.ignored < MAX_IGNORED && over.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut ignored);
            let read = std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
            self.ignored += buffer.filled().len();
        }
        Poll::Ready(())
    }

    /// Whether a caller that was told that it breaks the rules sends on all the same.
    fn poll_goes_on(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let Poll::Ready(more) = self.stream.poll_peek(cx) else {
            let over = self.lingering.get_or_insert_with(|| Box::pin(tokio::time::sleep(HEED_WITHIN)));
            return over.as_mut().poll(cx).map(|()| false);
        };
        Poll::Ready(more.unwrap_or(false))
    }

    /// Tells the caller that its connection ends because it floods it, as far as that can be said at once.
    fn tell_to_calm(&mut self, flood: Flood, cx: &mut Context<'_>) -> io::Error {
        if self.chatter.as_ref().is_some_and(|chatter| chatter.is_between_frames()) {
            let stream = &mut self.stream;
            let written = Pin::new(&mut *stream).poll_write(cx, &flood.goaway());
            // A caller who takes nothing does not listen, either.
            let _told = written.map(|_| Pin::new(stream).poll_flush(cx));
        }
        self.give_up();
        io::Error::other(flood)
    }

    /// The caller is left with its connection for a while, and not listened to any more.
    fn give_up(&self) {
        self.activity.misuse();
        if let Err(error) = self.stream.deafen() {
            tracing::debug!(%error, "a caller that floods us cannot be shut out");
        }
    }

    fn wrote(&mut self, polled: &Poll<io::Result<usize>>, slices: &[io::IoSlice<'_>], cx: &Context<'_>) {
        self.activity.written(polled.is_pending());
        let Poll::Ready(Ok(count)) = polled else { return };
        match &mut self.chatter {
            None => self.activity.took_bytes(*count, cx),
            Some(chatter) => {
                let mut left = *count;
                for slice in slices {
                    let here = left.min(slice.len());
                    chatter.written(&slice[..here]);
                    left -= here;
                }
            }
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.early.is_empty() {
            let count = self.early.len().min(buffer.remaining());
            buffer.put_slice(&self.early[..count]);
            self.early.advance(count);
            // With what follows at once: before each read hyper makes room for 8 KiB more.
            if buffer.remaining() > 0 {
                // Whatever it says now it will say again.
                let _more = self.as_mut().poll_read(cx, buffer);
            }
            return Poll::Ready(Ok(()));
        }
        if let Some(chatter) = &mut self.chatter
            && chatter.has_had_its_turn(cx.waker())
        {
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.activity.read();
        } else if polled.is_pending() {
            self.activity.listen();
        }
        let Some(chatter) = &mut self.chatter else { return polled };
        if !matches!(polled, Poll::Ready(Ok(()))) {
            chatter.waits();
        } else if let Err(flood) = chatter.read(&buffer.filled()[before..]) {
            return Poll::Ready(Err(self.tell_to_calm(flood, cx)));
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(&polled, &[io::IoSlice::new(bytes)], cx);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = poll_write_pieces(&mut self.stream, cx, slices);
        self.wrote(&polled, slices, cx);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper does so at the end of each turn, when it has read what it wants to.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.activity.is_unheard() && self.stream.has_left() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the caller has left")));
        }
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        // TLS takes what is written, and may find only here that it has to wait.
        if matches!(self.stream, Transport::Tls(_)) {
            self.activity.written(polled.is_pending());
        }
        polled
    }

    /// The last thing that hyper does with a stream. With HTTP/2 it does not give it back, so that lingering has its place here.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.chatter.as_ref().is_some_and(|chatter| chatter.has_told_off()) {
            if std::task::ready!(self.poll_goes_on(cx)) {
                self.give_up();
                return Poll::Ready(Ok(()));
            }
            return Pin::new(&mut self.stream).poll_shutdown(cx);
        }
        if self.lingering.is_none() {
            std::task::ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        }
        if self.activity.is_multiplexed() {
            std::task::ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::metrics::Metrics;
    use crate::time::Clock;

    /// The caller's side of a connection, and what reads ours as one of HTTP/2.
    async fn multiplexed() -> (TcpStream, Watched) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let caller = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, clock) = (Transport::Tcp(listener.accept().await.unwrap().0), Clock::start());
        let chatter = Some(Box::new(Chatter::new(clock, Arc::new(Metrics::new()), 0)));
        let activity = Arc::new(Activity::new(clock));
        (caller, Watched { chatter, ..Watched::new(stream, activity) })
    }

    #[tokio::test]
    async fn what_was_read_early_comes_with_what_follows() {
        let (mut caller, mut watched) = multiplexed().await;
        watched.chatter = None;
        watched.early = Bytes::from_static(b"GET / HT");
        caller.write_all(b"TP/1.1").await.unwrap();
        let Transport::Tcp(stream) = &watched.stream else { panic!("TLS") };
        stream.readable().await.unwrap();
        let mut bytes = [0; 100];
        assert_eq!(watched.read(&mut bytes).await.unwrap(), 14);
        watched.early = Bytes::from_static(b"GET / HT");
        assert_eq!(watched.read(&mut bytes).await.unwrap(), 8, "it does not wait for more");
        watched.early = Bytes::from_static(b"GET / HT");
        assert_eq!(watched.read(&mut bytes[..4]).await.unwrap(), 4);
        assert_eq!(&watched.early[..], b"/ HT".as_slice());
    }

    #[tokio::test]
    async fn a_caller_with_http_2_who_always_sends_is_read_in_turns() {
        let (mut caller, mut watched) = multiplexed().await;
        // Heads without an end, so that nothing is counted but bytes and frames.
        let sending = tokio::spawn(async move { while caller.write_all(&[1; 8 * 1024]).await.is_ok() {} });
        let mut most = 0;
        for _ in 0..20 {
            let mut turn = 0;
            std::future::poll_fn(|cx| {
                let mut bytes = [0; 8192];
                let mut buffer = ReadBuf::new(&mut bytes);
                while Pin::new(&mut watched).poll_read(cx, &mut buffer).is_ready() {
                    turn += buffer.filled().len();
                    buffer.clear();
                }
                Poll::Ready(())
            })
            .await;
            most = turn.max(most);
            tokio::task::yield_now().await;
        }
        sending.abort();
        assert!((1..=40 * 1024).contains(&most), "{most} bytes at once");
    }

    #[tokio::test]
    async fn a_caller_who_sends_on_after_the_end_is_not_read_at_full_speed_for_long() {
        let (mut caller, mut watched) = multiplexed().await;
        watched.activity.multiplex();
        let sending = tokio::spawn(async move { while caller.write_all(&[1; 8 * 1024]).await.is_ok() {} });
        watched.shutdown().await.unwrap();
        let ignored = watched.ignored;
        drop(watched);
        sending.await.unwrap();
        assert!((MAX_IGNORED..MAX_IGNORED + 4096).contains(&ignored), "{ignored} bytes");
    }

    #[tokio::test]
    async fn a_caller_with_http_2_who_only_chatters_is_cut_off() {
        let (mut caller, mut watched) = multiplexed().await;
        let ping = b"\0\0\x08\x06\0\0\0\0\0pingping";
        let sending = tokio::spawn(async move { while caller.write_all(&ping.repeat(100)).await.is_ok() {} });
        let mut bytes = vec![0; 8192];
        let end = loop {
            match watched.read(&mut bytes).await {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(end.to_string().contains("move no request ahead"), "{end}");
        assert!(watched.activity.was_misused());
        drop(watched);
        sending.await.unwrap();
    }

    #[tokio::test]
    async fn a_caller_is_told_to_calm_down_unless_a_frame_is_half_written() {
        for written in [&b""[..], b"\0\0\x08\x06\0\0\0\0\0pong"] {
            let (mut caller, mut watched) = multiplexed().await;
            watched.write_all(written).await.unwrap();
            std::future::poll_fn(|cx| Poll::Ready(watched.tell_to_calm(Flood, cx))).await;
            drop(watched);
            let mut got = Vec::new();
            let end = caller.read_to_end(&mut got).await;
            assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
            let word = if written.is_empty() { Flood.goaway() } else { written.to_vec() };
            assert_eq!(got, word);
        }
    }

    #[tokio::test]
    async fn whoever_stops_breaking_the_rules_is_hung_up_on() {
        let (mut caller, mut watched) = multiplexed().await;
        watched.activity.multiplex();
        watched.write_all(&Flood.goaway()).await.unwrap();
        watched.shutdown().await.unwrap();
        assert!(!watched.activity.was_misused());
        let mut word = Vec::new();
        caller.read_to_end(&mut word).await.unwrap();
        assert_eq!(word, Flood.goaway());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_one_sends_who_is_given_up_arrives_nowhere_and_its_end_is_a_reset() {
        let (caller, watched) = multiplexed().await;
        watched.give_up();
        caller.writable().await.unwrap();
        // By loopback it would be there at once.
        assert_eq!(caller.try_write(b"more").unwrap(), 4);
        let Transport::Tcp(stream) = &watched.stream else { panic!("TLS") };
        let arrived = socket2::SockRef::from(stream).peek(&mut [std::mem::MaybeUninit::uninit()]);
        assert_eq!(arrived.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(watched);
        caller.readable().await.unwrap();
        assert_eq!(caller.try_read(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn whoever_goes_on_breaking_the_rules_is_neither_read_nor_hung_up_on() {
        let (mut caller, mut watched) = multiplexed().await;
        watched.activity.multiplex();
        caller.write_all(b"more").await.unwrap();
        watched.write_all(&Flood.goaway()).await.unwrap();
        watched.shutdown().await.unwrap();
        assert!(watched.activity.was_misused());
        assert_eq!((watched.ignored, watched.lingering.is_some()), (0, false));
        let mut word = vec![0; Flood.goaway().len()];
        caller.read_exact(&mut word).await.unwrap();
        assert_eq!(caller.try_read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
