//! One HTTP/1.1 connection to an agent, driven by the request that uses it.
//!
//! hyper splits a connection into a handle and a driver, and usually the driver gets a task of its own. Here the
//! request polls the driver itself, so that a warm request costs no task, no wake-up across tasks, and leaves
//! nothing behind when its caller leaves: dropping the [`Http1`] closes the socket.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use crate::net::{self, TcpStream};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response, Version};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Parts};
use hyper_util::rt::TokioIo;
use tokio_util::task::AbortOnDropHandle;

use super::RequestBody;
use super::connection::SendError;
use super::gathered::Gathered;
use super::muffler::Muffler;

/// What is read of an answer at once, in bytes, and so the size of its head at most. hyper would read up to 400 KiB while its
/// caller takes none.
pub(super) const MAX_READ_BYTES: usize = 16 * 1024;

type Driver = http1::Connection<TokioIo<Gathered<TcpStream>>, RequestBody>;

/// A connection of HTTP/1.1. Used by one request at a time.
pub struct Http1 {
    sender: http1::SendRequest<RequestBody>,
    driver: Drive,
    /// Between the driver and whoever polls it. In a box, as this is moved often.
    muffler: Box<Muffler>,
}

enum Drive {
    /// Polled by whoever uses the connection.
    Here(Box<Driver>),
    /// The same, and nobody uses it after that.
    Last(Box<Driver>),
    /// Has a task of its own, for as long as the connection lives.
    Task(#[expect(dead_code, reason = "held for its drop, which ends the task")] AbortOnDropHandle<()>),
    /// Nothing more will come by HTTP. The stream is still there, in case it goes on as something else.
    Ended(Option<Box<Driver>>),
}

impl Http1 {
    /// Speaks HTTP/1.1 on this stream. `None` only if hyper gives up before anything was sent.
    pub(super) fn new(stream: TcpStream) -> Option<Self> {
        // The handshake of HTTP/1 sends nothing: it is ready at once.
        let io = TokioIo::new(Gathered(stream));
        let handshake = http1::Builder::new().max_buf_size(MAX_READ_BYTES).handshake(io).now_or_never();
        let (sender, driver) = handshake?.ok()?;
        Some(Self { sender, driver: Drive::Here(Box::new(driver)), muffler: Box::new(Muffler::new()) })
    }

    /// The stream behind an answer 101, and what the agent has already sent after that answer's head.
    pub(super) fn into_stream(self) -> Option<(TcpStream, Bytes)> {
        let Drive::Ended(Some(driver)) = self.driver else { return None };
        let Parts { io, read_buf, .. } = driver.into_parts();
        Some((io.into_inner().0, read_buf))
    }

    /// Begins anew with the same stream, as a socket of this thread. Nothing may have come that was not asked for.
    pub(super) fn bring_home(self) -> Option<Self> {
        let Drive::Here(driver) = self.driver else { return None };
        let Parts { io, read_buf, .. } = driver.into_parts();
        if !read_buf.is_empty() {
            return None;
        }
        Self::new(net::bring_home(io.into_inner().0).ok()?)
    }

    /// Whether another request can be sent on it. Notices a close that has arrived since it was last used.
    pub(super) fn is_usable(&mut self) -> bool {
        self.driver.poll(&mut Context::from_waker(Waker::noop()));
        self.is_idle()
    }

    /// Whether the last exchange is over on both sides and the agent keeps the connection open.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.driver, Drive::Here(_)) && self.sender.is_ready()
    }

    /// Sends a request and waits for the head of the answer. Dropping the future, polled or not, leaves the connection unusable.
    pub(super) fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, SendError>> + Send {
        let Self { sender, driver, muffler } = self;
        // Given away at once, so that the future has no room for it.
        let answer = sender.try_send_request(request);
        async move {
            // Only the driver can make the answer ready, and only we poll the driver: so nobody has to be woken. That
            // holds only outside tokio's budget, which would otherwise wake nobody to say that it is used up.
            let mut answer = pin!(tokio::task::unconstrained(answer));
            let sent = std::future::poll_fn(|cx| {
                let mut nobody = Context::from_waker(Waker::noop());
                muffler.poll(cx, |cx| driver.poll(cx));
                let answered = answer.as_mut().poll(&mut nobody);
                if answered.is_pending() && driver.let_go() {
                    return answer.as_mut().poll(&mut nobody);
                }
                answered
            });
            let answered = sent.await.map_err(SendError::of);
            if answered.as_ref().is_ok_and(|answer| answer.version() == Version::HTTP_10) {
                // hyper would go on in HTTP/1.0, and drop bodies without a length.
                driver.end_after_this();
            }
            answered
        }
    }

    /// The next part of an answer's body that arrives on this connection.
    pub(super) fn poll_frame(
        &mut self,
        incoming: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        if let Drive::Task(_) = self.driver {
            return Pin::new(incoming).poll_frame(cx);
        }
        // As in `send`: what is not there yet can only come from the driver.
        let mut nobody = Context::from_waker(Waker::noop());
        let mut take = || self.muffler.take(|| Pin::new(&mut *incoming).poll_frame(&mut nobody));
        if let Poll::Ready(frame) = take() {
            return Poll::Ready(frame);
        }
        self.muffler.poll(cx, |cx| self.driver.poll(cx));
        take()
    }

    /// Gives the driver a task, so that the rest of a request's body is sent even while nobody asks for more of
    /// the answer. Such a connection is not used again.
    pub(super) fn drive_in_background(&mut self) {
        let driver = std::mem::replace(&mut self.driver, Drive::Ended(None));
        if let Drive::Here(driver) | Drive::Last(driver) = driver {
            let task = tokio::spawn(async move {
                // An error has been told to the request, or to the body of its answer.
                let _told = driver.await;
            });
            self.driver = Drive::Task(AbortOnDropHandle::new(task));
        }
    }
}

impl Drive {
    fn poll(&mut self, cx: &mut Context<'_>) {
        if let Self::Here(driver) | Self::Last(driver) = self
            && driver.poll_unpin(cx).is_ready()
            && let Self::Here(ended) | Self::Last(ended) = std::mem::replace(self, Self::Ended(None))
        {
            *self = Self::Ended(Some(ended));
        }
    }

    /// Drops a driver that has ended, and with it whatever was given to it and not taken, which says so to whoever waits for an answer.
    /// hyper keeps a request that meets the close of an idle connection. True if there is no driver here.
    fn let_go(&mut self) -> bool {
        match self {
            Self::Ended(ended) => *ended = None,
            Self::Here(_) | Self::Last(_) | Self::Task(_) => return false,
        }
        true
    }

    /// After this exchange nobody uses it again.
    fn end_after_this(&mut self) {
        *self = match std::mem::replace(self, Self::Ended(None)) {
            Self::Here(driver) => Self::Last(driver),
            other => other,
        };
    }
}

impl std::fmt::Debug for Http1 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http1").field("idle", &self.is_idle()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use http_body_util::BodyExt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::upstream::Connection;
    use crate::upstream::testing::{answer, connection, get, until};

    const NOTHING: &str = "HTTP/1.1 200 OK\nContent-Length: 0\n\n";

    async fn body(connection: &mut Connection, mut incoming: Incoming) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(frame) = std::future::poll_fn(|cx| connection.poll_frame(&mut incoming, cx)).await {
            all.extend_from_slice(frame.unwrap().data_ref().unwrap());
        }
        all
    }

    #[tokio::test]
    async fn it_carries_one_request_after_another() {
        let (mut connection, mut agent) = connection().await;
        for _ in 0..3 {
            assert!(connection.is_usable());
            let (response, ()) = tokio::join!(connection.send(get()), answer(&mut agent, NOTHING));
            assert!(response.unwrap().body().is_end_stream());
        }
        assert!(connection.is_idle());
    }

    #[tokio::test]
    async fn a_connection_on_which_the_agent_has_answered_in_http_1_0_is_not_used_again() {
        let (mut connection, mut agent) = connection().await;
        let head = "HTTP/1.0 200 OK\nConnection: keep-alive\nContent-Length: 0\n\n";
        let (response, ()) = tokio::join!(connection.send(get()), answer(&mut agent, head));
        assert!(response.unwrap().body().is_end_stream());
        assert!(!connection.is_idle());
    }

    #[tokio::test]
    async fn it_is_driven_by_the_body_of_the_answer() {
        let (mut connection, mut agent) = connection().await;
        let head = "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n";
        let (response, ()) = tokio::join!(connection.send(get()), answer(&mut agent, head));
        let incoming = response.unwrap().into_body();
        let writing = async {
            for chunk in ["3\r\nabc\r\n", "2\r\nde\r\n", "0\r\n\r\n"] {
                agent.write_all(chunk.as_bytes()).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let (all, ()) = tokio::join!(body(&mut connection, incoming), writing);
        assert_eq!(all, b"abcde");
        assert!(connection.is_usable());
    }

    /// How often it was woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn whoever_takes_a_part_of_a_body_is_woken_when_it_comes_and_not_for_having_taken_it() {
        let (mut connection, mut agent) = connection().await;
        let woken = Arc::<Woken>::default();
        let times = || woken.0.load(Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let mut incoming = {
            let mut sending = pin!(connection.send(get()));
            assert!(sending.as_mut().poll(&mut cx).is_pending());
            answer(&mut agent, "HTTP/1.1 200 OK\nContent-Length: 3\n\n").await;
            until(|| times() == 1).await;
            let Poll::Ready(response) = sending.poll(&mut cx) else { panic!("woken for nothing") };
            response.unwrap().into_body()
        };
        assert!(connection.poll_frame(&mut incoming, &mut cx).is_pending());
        assert_eq!(times(), 1);
        agent.write_all(b"abc").await.unwrap();
        until(|| times() == 2).await;
        let Poll::Ready(Some(Ok(frame))) = connection.poll_frame(&mut incoming, &mut cx) else {
            panic!("woken for nothing")
        };
        assert_eq!(frame.into_data().unwrap(), "abc");
        assert_eq!(times(), 2, "whoever has taken something asks again by itself");
        assert!(connection.is_usable());
    }

    #[tokio::test]
    async fn an_answer_is_read_in_small_parts_however_much_of_it_there_is() {
        let (mut connection, mut agent) = connection().await;
        let size = 4 << 20;
        let head = "HTTP/1.1 200 OK\nContent-Length: 4194304\n\n";
        let (response, ()) = tokio::join!(connection.send(get()), answer(&mut agent, head));
        let mut incoming = response.unwrap().into_body();
        let writing = tokio::spawn(async move { agent.write_all(&vec![b'x'; size]).await });
        let (mut most, mut all) = (0, 0);
        while all < size {
            // Lets as much come as may.
            tokio::task::yield_now().await;
            let frame = std::future::poll_fn(|cx| connection.poll_frame(&mut incoming, cx)).await;
            let part = frame.unwrap().unwrap().into_data().unwrap().len();
            (most, all) = (part.max(most), all + part);
        }
        writing.await.unwrap().unwrap();
        // Its buffer may grow by doubling.
        assert!(most <= 2 * MAX_READ_BYTES, "{most} bytes at once");
    }

    #[tokio::test]
    async fn a_request_for_a_closed_connection_comes_back_unsent() {
        let (mut connection, agent) = connection().await;
        drop(agent);
        // As if it had been found usable the moment before.
        until(|| !connection.is_usable()).await;
        match connection.send(get()).await {
            Err(SendError::Unsent(request)) => assert_eq!(request.headers()["host"], "agent"),
            other => panic!("{other:?}"),
        }
    }

    /// One that was used already: hyper sees nothing wrong in its close.
    #[tokio::test]
    async fn a_request_that_meets_the_close_of_an_idle_connection_comes_back_unsent() {
        let (mut connection, mut agent) = connection().await;
        let (response, ()) = tokio::join!(connection.send(get()), answer(&mut agent, NOTHING));
        assert!(response.unwrap().body().is_end_stream());
        drop(agent);
        until(|| !connection.is_usable()).await;
        let sent = tokio::time::timeout(std::time::Duration::from_secs(20), connection.send(get())).await;
        let sent = sent.expect("nobody says that it has ended");
        assert!(matches!(sent, Err(SendError::Unsent(_))), "{sent:?}");
    }

    #[tokio::test]
    async fn a_request_that_may_have_arrived_does_not_come_back() {
        let (mut connection, mut agent) = connection().await;
        let breaking = async {
            agent.read_u8().await.unwrap();
            drop(agent);
        };
        let (response, ()) = tokio::join!(connection.send(get()), breaking);
        assert!(matches!(response, Err(SendError::Failed(_))));
        assert!(!connection.is_usable());
    }

    #[tokio::test]
    async fn dropping_it_closes_the_socket() {
        let (mut connection, mut agent) = connection().await;
        {
            let mut sending = pin!(connection.send(get()));
            assert!(sending.as_mut().now_or_never().is_none());
            agent.read_u8().await.unwrap();
        }
        drop(connection);
        let mut rest = Vec::new();
        agent.read_to_end(&mut rest).await.unwrap();
    }

    #[tokio::test]
    async fn a_request_that_nobody_waits_for_uses_it_up() {
        let (mut connection, _agent) = connection().await;
        drop(connection.send(get()));
        assert!(!connection.is_idle() && !connection.is_usable());
    }

    #[tokio::test]
    async fn in_the_background_it_is_driven_without_being_asked_and_ends_when_dropped() {
        let (mut connection, mut agent) = connection().await;
        let head = "HTTP/1.1 200 OK\nContent-Length: 3\n\n";
        let (response, ()) = tokio::join!(connection.send(get()), answer(&mut agent, head));
        connection.drive_in_background();
        assert!(!connection.is_idle() && !connection.is_usable());
        agent.write_all(b"abc").await.unwrap();
        assert_eq!(body(&mut connection, response.unwrap().into_body()).await, b"abc");
        drop(connection);
        assert_eq!(agent.read(&mut [0]).await.unwrap(), 0);
    }

    /// tokio makes a task that has done a lot wait; what it then wakes must be us.
    #[tokio::test]
    async fn an_answer_is_not_missed_when_the_tasks_budget_is_used_up() {
        // What tokio gives a task each time; with nothing left at all a task gets nowhere.
        const BUDGET: usize = 128;
        let (mut connection, mut agent) = connection().await;
        tokio::spawn(async move {
            for _ in 0..BUDGET {
                answer(&mut agent, "HTTP/1.1 200 OK\nContent-Length: 2\n\nok").await;
            }
        });
        let asking = tokio::spawn(async move {
            for spent in 0..BUDGET {
                let mut sending = pin!(connection.send(get()));
                let sent = std::future::poll_fn(|cx| {
                    for _ in 0..spent {
                        let _yields = pin!(tokio::task::coop::consume_budget()).poll(cx);
                    }
                    sending.as_mut().poll(cx)
                });
                let mut incoming = sent.await.unwrap().into_body();
                assert_eq!(incoming.frame().await.unwrap().unwrap().data_ref().unwrap(), "ok");
            }
        });
        // In a task of its own, because a timeout would itself wake a task that waits for nothing.
        let asked = tokio::time::timeout(std::time::Duration::from_secs(20), asking).await;
        asked.expect("nobody was woken").unwrap();
    }
}
