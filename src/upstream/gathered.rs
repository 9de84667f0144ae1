//! Small writes of several pieces become one piece. hyper keeps the head and the body of a message apart and writes them by
//! `writev`, which for a few hundred bytes costs more than to copy them and use `send`.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is copied, in bytes. More is written from where it is.
const MAX_COPIED: usize = 2048;

/// Writes all pieces at once, as `poll_write_vectored` does.
pub fn poll_write_pieces<S: AsyncWrite + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    pieces: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let stream = Pin::new(stream);
    if let [only] = pieces {
        return stream.poll_write(cx, only);
    }
    let mut copied = [0; MAX_COPIED];
    let mut length = 0;
    for piece in pieces {
        let Some(room) = copied.get_mut(length..length + piece.len()) else {
            return stream.poll_write_vectored(cx, pieces);
        };
        room.copy_from_slice(piece);
        length += piece.len();
    }
    stream.poll_write(cx, &copied[..length])
}

/// A stream whose small writes are gathered.
#[derive(Debug)]
pub(super) struct Gathered<S>(pub(super) S);

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        poll_write_pieces(&mut self.0, cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// Notes how it is written to, and takes three bytes at a time at most.
    #[derive(Default)]
    struct Noted(Vec<(usize, Vec<u8>)>);

    impl AsyncWrite for Noted {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            pieces: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
            self.0.push((pieces.len(), all));
            Poll::Ready(Ok(3))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    async fn write(pieces: &[&[u8]]) -> (usize, Vec<u8>) {
        let mut stream = Gathered(Noted::default());
        let pieces: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        assert_eq!(stream.write_vectored(&pieces).await.unwrap(), 3, "what the stream has taken is said");
        assert_eq!(stream.0.0.len(), 1);
        stream.0.0.remove(0)
    }

    #[tokio::test]
    async fn small_pieces_are_written_as_one_and_large_ones_from_where_they_are() {
        assert_eq!(write(&[b"head"]).await, (1, b"head".to_vec()));
        assert_eq!(write(&[b"head", b"", b"body"]).await, (1, b"headbody".to_vec()));
        let large = vec![b'x'; MAX_COPIED];
        assert_eq!(write(&[&large[1..], b"y"]).await, (1, [&large[1..], b"y"].concat()));
        assert_eq!(write(&[&large, b"y"]).await, (2, [&large, &b"y"[..]].concat()));
    }
}
