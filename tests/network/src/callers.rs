//! The host of the callers: real HTTP over connections that are used again, and callers that leave.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use http::header::HOST;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;

use crate::net::TcpStream;

use super::oracle::{End, now};
use super::plan::{CHAOS, Sabotage};
use super::world::{FRONT_DOOR, World, at, door};

/// Whatever happens, a request ends within this: the time that it may be held, and what links and retries add.
const ENDS_WITHIN: Duration = Duration::from_secs(40);

pub async fn run(world: Arc<World>) -> turmoil::Result {
    let callers: Vec<_> = (0..world.plan.callers).map(|_| Caller::new(&world).call_for_a_while()).collect();
    futures_util::future::join_all(callers).await;
    world.callers_ended.store(true, Ordering::Relaxed);
    std::future::pending().await
}

/// One request for each agent through each front door, which must be served.
pub async fn last_calls(world: Arc<World>) -> turmoil::Result {
    world.last_calls.notified().await;
    let mut caller = Caller::new(&world);
    for door in 0..world.plan.doors {
        for agent in 0..world.plan.agents {
            let end = caller.call(agent, door, Wish::plain()).await;
            if end != End::Served {
                world.oracle.violated(now(), format!("a last call was not served: {end:?}"));
            }
        }
    }
    world.last_calls_ended.store(true, Ordering::Relaxed);
    std::future::pending().await
}

struct Caller {
    world: Arc<World>,
    rng: Rng,
    /// One to each front door.
    connections: Vec<Option<SendRequest<Full<Bytes>>>>,
}

/// What a request asks of the agent, and of its caller's patience.
struct Wish {
    lines: u64,
    pause: Duration,
    body: usize,
    leaves_after: Option<Duration>,
}

impl Wish {
    fn plain() -> Self {
        Self { lines: 1, pause: Duration::ZERO, body: 0, leaves_after: None }
    }
}

impl Caller {
    fn new(world: &Arc<World>) -> Self {
        let connections = (0..world.plan.doors).map(|_| None).collect();
        Self { rng: world.fork_rng(), world: Arc::clone(world), connections }
    }

    async fn call_for_a_while(mut self) {
        loop {
            let most = 2 * self.world.plan.between_calls.as_millis() as u64;
            tokio::time::sleep(Duration::from_millis(self.rng.u64(0..=most))).await;
            if now() > CHAOS || self.world.oracle.is_violated() {
                return;
            }
            let (agent, door) =
                (self.rng.usize(0..self.world.plan.agents), self.rng.usize(0..self.world.plan.doors));
            if !self.world.ready[door].load(Ordering::Relaxed) {
                continue;
            }
            let wish = self.wish();
            self.call(agent, door, wish).await;
        }
    }

    fn wish(&mut self) -> Wish {
        let plan = &self.world.plan;
        let pause = Duration::from_millis(self.rng.u64(0..=plan.longest_work.as_millis() as u64));
        let leaves = self.rng.u32(0..100) < plan.impatient;
        Wish {
            lines: if self.rng.u32(0..4) == 0 { self.rng.u64(2..5) } else { 1 },
            pause,
            body: if self.rng.bool() { self.rng.usize(1..40_000) } else { 0 },
            leaves_after: leaves.then(|| Duration::from_millis(self.rng.u64(0..1_500))),
        }
    }

    async fn call(&mut self, agent: usize, door: usize, wish: Wish) -> End {
        let world = Arc::clone(&self.world);
        let id = world.oracle.sent(agent, door);
        let leaves_after = wish.leaves_after.unwrap_or(ENDS_WITHIN);
        let exchange = tokio::time::timeout(leaves_after, self.exchange(agent, door, id, &wish)).await;
        let end = match exchange {
            Ok(end) => end,
            Err(_) if wish.leaves_after.is_some() => End::Left,
            Err(_) => End::Hangs,
        };
        if end != End::Served {
            self.connections[door] = None;
        }
        world.oracle.ended(id, end.clone());
        end
    }

    async fn exchange(&mut self, agent: usize, door: usize, id: usize, wish: &Wish) -> End {
        let times = if self.world.has(Sabotage::Echo) { 2 } else { 1 };
        let mut end = End::Served;
        for _ in 0..times {
            let response = match self.send(agent, door, id, wish).await {
                Ok(response) => response,
                Err(error) => return End::Broken(error),
            };
            end = read(response, agent, id, wish.lines).await;
        }
        end
    }

    async fn send(
        &mut self,
        agent: usize,
        door: usize,
        id: usize,
        wish: &Wish,
    ) -> Result<Response<Incoming>, String> {
        let told = |error: &dyn std::fmt::Display| error.to_string();
        let mut request = request(agent, id, wish);
        if let Some(mut connection) = self.connections[door].take() {
            match connection.try_send_request(request).await {
                Ok(response) => {
                    self.connections[door] = Some(connection);
                    return Ok(response);
                }
                Err(mut error) => match error.take_message() {
                    // It was closed before anything was written.
                    Some(unsent) => request = unsent,
                    None => return Err(told(error.error())),
                },
            }
        }
        let mut connection = connect(door).await.map_err(|error| told(&error))?;
        let response = connection.send_request(request).await.map_err(|error| told(&error))?;
        self.connections[door] = Some(connection);
        Ok(response)
    }
}

fn request(agent: usize, id: usize, wish: &Wish) -> Request<Full<Bytes>> {
    let method = if wish.body == 0 { Method::GET } else { Method::POST };
    let builder = Request::builder()
        .method(method)
        .uri(format!("/{id}/{}/{}", wish.lines, wish.pause.as_millis()))
        .header(HOST, format!("agent-{agent}.default.agents.localhost"));
    builder.body(Full::new(Bytes::from(vec![b'x'; wish.body]))).unwrap()
}

async fn connect(
    number: usize,
) -> Result<SendRequest<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(at(&door(number), FRONT_DOOR)).await?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// The whole answer, and whose it is.
async fn read(response: Response<Incoming>, agent: usize, id: usize, lines: u64) -> End {
    let status = response.status().as_u16();
    let body = match response.into_body().collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        Err(error) => return End::Broken(error.to_string()),
    };
    if status != 200 {
        return End::Refused(status, body);
    }
    let begins = format!("{id} by agent {agent} in pod ");
    let good = body.lines().count() as u64 == lines && body.lines().all(|line| line.starts_with(&begins));
    if good { End::Served } else { End::Broken(format!("a wrong answer: {body:?}")) }
}
