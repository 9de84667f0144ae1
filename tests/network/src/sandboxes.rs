//! The backend of one front door: calls and watches over the simulated network, as `backend::kubernetes` makes them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::agent::{AgentKey, AgentUid, Generation, Life, Revision};
use crate::backend::{Backend, BackendEvent, Profile};
use crate::lifecycle::{AgentSeen, Mode, SuspendedBy, Transition, WriteError};
use crate::net::TcpStream;

use crate::cluster::Change;
use crate::oracle::now;
use crate::plan::Sabotage;
use crate::wire::{self, Message, Silence};
use crate::world::{API, CALLS, WATCHES, World, at};

use super::index::{Index, Object, Origin, PodFacts, Report, SandboxFacts};

/// How long a call may take.
const CALL_LIMIT: Duration = Duration::from_secs(4);
/// How soon a watch that broke is begun anew.
const RECONNECT: Duration = Duration::from_millis(200);
/// How long a connection to the API may take to be made.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

pub struct Sandboxes {
    world: Arc<World>,
    door: usize,
    known: Arc<Mutex<Index>>,
    told: Arc<Mutex<Option<mpsc::Sender<BackendEvent>>>>,
}

impl Sandboxes {
    pub fn new(world: Arc<World>, door: usize) -> Self {
        Self { world, door, known: Arc::new(Mutex::new(Index::new(2))), told: Arc::default() }
    }

    /// Sabotage: an observation of the object that nobody made, a bit newer than this one.
    pub async fn make_up_news(&self, key: &AgentKey, revision: Revision) {
        let mut seen = self.world.cluster.lock().read(key);
        if seen.revision > revision || seen.mode != Mode::Running {
            return;
        }
        seen.revision = Revision(revision.0 + 1);
        let told = self.told.lock().clone();
        if let Some(told) = told {
            let profile = Arc::new(Profile::default());
            let _ended = told.send(BackendEvent::Agent { key: key.clone(), seen, profile }).await;
        }
    }

    fn call<T: 'static>(
        &self,
        message: Message,
        limit: Duration,
        read: impl FnOnce(Result<Message, Silence>) -> T + Send + 'static,
    ) -> BoxFuture<'static, T> {
        let world = Arc::clone(&self.world);
        async move { read(wire::ask(&world.said, at(API, CALLS), message, limit).await) }.boxed()
    }

    fn write(&self, message: Message) -> BoxFuture<'static, Result<AgentSeen, WriteError>> {
        self.call(message, CALL_LIMIT, |answer| match answer {
            Ok(Message::Seen(seen)) => seen,
            Ok(_) | Err(Silence::NoAnswer) => Err(WriteError::Unknown("no answer".into())),
            Err(Silence::NotSent) => Err(WriteError::NotSent("cannot connect".into())),
        })
    }
}

impl Backend for Sandboxes {
    fn watch(&self) -> mpsc::Receiver<BackendEvent> {
        let (told, events) = mpsc::channel(1024);
        *self.told.lock() = Some(told.clone());
        for (log, port) in WATCHES.into_iter().enumerate() {
            let watch = Watch {
                world: Arc::clone(&self.world),
                known: Arc::clone(&self.known),
                told: told.clone(),
                log,
            };
            let door = self.door;
            tokio::spawn(async move {
                for listing in 0.. {
                    let origin = Origin { source: log as u32, listing };
                    let _broken = watch.follow(door, port, origin).await;
                    if watch.tell(origin, Report::Broken).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(RECONNECT).await;
                }
            });
        }
        events
    }

    fn suspend(
        &self,
        key: &AgentKey,
        uid: &AgentUid,
        revision: Revision,
        by: SuspendedBy,
    ) -> BoxFuture<'static, Result<AgentSeen, WriteError>> {
        self.write(Message::Suspend { key: key.clone(), uid: uid.clone(), revision, by })
    }

    fn resume(
        &self,
        key: &AgentKey,
        uid: &AgentUid,
        generation: Generation,
        from: Mode,
    ) -> BoxFuture<'static, Result<AgentSeen, WriteError>> {
        self.write(Message::Resume { key: key.clone(), uid: uid.clone(), generation, from })
    }

    fn read(&self, key: &AgentKey) -> BoxFuture<'static, Result<AgentSeen, WriteError>> {
        self.write(Message::Read { key: key.clone() })
    }

    fn attest(
        &self,
        key: &AgentKey,
        life: &Life,
        at: SocketAddr,
    ) -> BoxFuture<'static, Result<bool, String>> {
        if self.world.has(Sabotage::NoIdent) || self.world.has(Sabotage::NoObs) {
            return async { Ok(true) }.boxed();
        }
        let question = Message::Attest { key: key.clone(), life: life.clone(), at };
        self.call(question, CALL_LIMIT, |answer| match answer {
            Ok(Message::Attested(it)) => Ok(it),
            other => Err(format!("{other:?}")),
        })
    }

    fn last_log_lines(&self, _key: &AgentKey) -> Vec<String> {
        Vec::new()
    }

    fn announce(&self, key: &AgentKey, transition: &Transition) {
        self.world.oracle.note(now(), || format!("door {}: {key} {transition:?}", self.door));
    }

    fn shutdown(&self) -> BoxFuture<'static, ()> {
        async {}.boxed()
    }
}

/// The watch of objects, or of pods.
struct Watch {
    world: Arc<World>,
    known: Arc<Mutex<Index>>,
    told: mpsc::Sender<BackendEvent>,
    log: usize,
}

impl Watch {
    /// Until it breaks: a list, then what happens.
    async fn follow(&self, door: usize, port: u16, origin: Origin) -> std::io::Result<()> {
        let mut stream = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(at(API, port))).await??;
        stream.write_u64(door as u64).await?;
        let length = read_index(&mut stream).await?;
        let (list, newest) = self.world.cluster.lock().list(self.log, length);
        for change in list {
            self.tell(origin, report(change)).await?;
        }
        self.tell(origin, Report::Listed(newest)).await?;
        self.tell(origin, Report::Live).await?;
        loop {
            let index = read_index(&mut stream).await?;
            let change = self.world.cluster.lock().logs[self.log][index].clone();
            self.tell(origin, report(change)).await?;
        }
    }

    async fn tell(&self, origin: Origin, report: Report) -> std::io::Result<()> {
        let mut news = Vec::new();
        self.known.lock().apply(origin, report, &mut news);
        for event in news {
            self.told.send(event).await.map_err(|_| std::io::ErrorKind::BrokenPipe)?;
        }
        Ok(())
    }
}

async fn read_index(stream: &mut TcpStream) -> std::io::Result<usize> {
    Ok(usize::try_from(stream.read_u64().await?).unwrap_or(usize::MAX))
}

fn report(change: Change) -> Report {
    // A pod has the name of its Sandbox.
    let pod = |key: AgentKey, seen| Object::Pod(PodFacts { name: key.name().into(), key, seen });
    match change {
        Change::Object(key, seen) => Report::Seen(Object::Sandbox(SandboxFacts {
            key,
            seen,
            profile: Profile::default(),
            claim: None,
            unclaimed: false,
            deleting: false,
        })),
        Change::Pod(key, seen) => Report::Seen(pod(key, seen)),
        Change::PodGone(key, seen) => Report::Gone(pod(key, seen)),
    }
}
