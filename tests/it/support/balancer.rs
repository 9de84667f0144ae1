//! What stands before the replicas of a front door: passes each connection to one of those that are ready, in turn. Who is ready is
//! asked from time to time, so that one which is leaving gets connections for a while.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use super::http;

/// How often a replica is asked whether it is ready.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// A replica: where it takes connections, and where it says whether it is ready.
pub(crate) struct Replica {
    pub(crate) front: SocketAddr,
    pub(crate) health: SocketAddr,
}

struct Known {
    front: SocketAddr,
    ready: AtomicBool,
}

/// Ends when dropped; what it passes on goes on.
pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

impl Balancer {
    pub(crate) async fn start(replicas: Vec<Replica>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = Vec::new();
        let mut known = Vec::new();
        for Replica { front, health } in replicas {
            let replica = Arc::new(Known { front, ready: AtomicBool::new(true) });
            known.push(Arc::clone(&replica));
            tasks.push(AbortOnDropHandle::new(tokio::spawn(follow(replica, health))));
        }
        tasks.push(AbortOnDropHandle::new(tokio::spawn(accept(listener, known))));
        Self { address, _tasks: tasks }
    }
}

async fn follow(replica: Arc<Known>, health: SocketAddr) {
    let mut asking = tokio::time::interval(ASK_EVERY);
    loop {
        asking.tick().await;
        let answer = http::get(health, "balancer", "/readyz").await;
        replica.ready.store(answer.is_ok_and(|answer| answer.status == 200), Ordering::Release);
    }
}

async fn accept(listener: TcpListener, replicas: Vec<Arc<Known>>) {
    let turn = AtomicUsize::new(0);
    while let Ok((caller, _)) = listener.accept().await {
        let first = turn.fetch_add(1, Ordering::Relaxed);
        let in_turn = (0..replicas.len()).map(|step| &replicas[(first + step) % replicas.len()]);
        // With none that is ready the caller is closed on, and says so.
        if let Some(replica) = in_turn.into_iter().find(|replica| replica.ready.load(Ordering::Acquire)) {
            tokio::spawn(pass(caller, replica.front));
        }
    }
}

async fn pass(mut caller: TcpStream, to: SocketAddr) {
    let Ok(mut replica) = TcpStream::connect(to).await else { return };
    let nodelay = caller.set_nodelay(true).and_then(|()| replica.set_nodelay(true));
    if nodelay.is_ok() {
        let _one_of_both_has_left = tokio::io::copy_bidirectional(&mut caller, &mut replica).await;
    }
}
