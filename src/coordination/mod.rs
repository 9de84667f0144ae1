//! Many replicas of Drowse: who of them leads, who takes part, and how one asks the others before a suspension (guard ACK).
//!
//! Both stand in one Lease (`coordination.k8s.io/v1`) in Drowse's own namespace, named `drowse`. Its spec says who leads, and
//! the leader is who suspends what is idle. Its annotations say who takes part: a replica writes itself there before it knows
//! of any agent, and stays until it takes itself out or is certainly dead. Whoever is about to write a suspension reads the Lease past
//! every cache, asks all others who stand there over NATS, and takes silence for a no. With the guard JOIN of the core this makes a suspension safe
//! without trust in any lease: a replica that came after the question changes the object, or waits for a change, before it
//! routes to it, and then the suspension is not written.

mod election;
pub mod exchange;
mod membership;
mod questions;
mod record;
mod silence;

use std::sync::Arc;
use std::time::Duration;

use async_nats::Client as Nats;
use kube::Client as Kube;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::agent::AgentKey;
use crate::backend::kubernetes::OwnPod;
use crate::engine::{Engine, Peers};
use crate::lifecycle::DrainQuestion;

use exchange::Exchange;
use membership::Membership;
use questions::Asker;
use record::Me;

/// This replica among the others, until it is told to leave.
pub struct Coordination {
    takes_part: watch::Receiver<bool>,
    leaving: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

/// How it is set up.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether this replica may lead.
    pub candidate: bool,
    /// After so long without the API server, but no less than a minute, this replica routes to nobody whom it cannot make sure of. It
    /// tells the others: if its pod vanishes without a trace of its end, it counts for a minute longer than this.
    pub fence_after: Duration,
}

impl Coordination {
    /// Begins to take part. Without NATS there is no way to ask, and nobody is suspended while there are others.
    pub fn start(
        own: &OwnPod,
        kube: Kube,
        nats: Option<Nats>,
        engine: &Arc<Engine>,
        options: Options,
    ) -> Self {
        let (told, takes_part) = watch::channel(false);
        let leaving = CancellationToken::new();
        let (identity, me) = watch::channel(None::<Me>);
        let asker = Asker::new(kube.clone(), &own.namespace, me.clone(), nats.clone(), Arc::clone(engine));
        let asker = Arc::new(asker);
        engine.set_peers(Arc::new(Asking(Arc::clone(&asker))));
        if let Some(nats) = nats {
            tokio::spawn(questions::answer(nats.clone(), me.clone(), Arc::clone(engine), leaving.clone()));
            tokio::spawn(tell_each_other(nats, me, Arc::clone(engine), leaving.clone()));
        }
        let membership =
            Membership::new(own, kube, asker, Arc::clone(engine), options, (identity, told), leaving.clone());
        Self { takes_part, leaving, running: tokio::spawn(membership.run()) }
    }

    /// Waits until the others count on this replica. Before that it must not learn of any agent.
    pub fn taking_part(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut takes_part = self.takes_part.clone();
        async move {
            // The sender lives as long as this does.
            let _taking_part = takes_part.wait_for(|it| *it).await;
        }
    }

    /// Takes part no more: nothing is in flight here, and nothing will be. Takes a few seconds at most.
    pub async fn leave(self) {
        self.leaving.cancel();
        let _ended = self.running.await;
    }
}

/// Shows the others what is in use here, as soon as this replica has a name among them.
async fn tell_each_other(
    nats: Nats,
    mut me: watch::Receiver<Option<Me>>,
    engine: Arc<Engine>,
    leaving: CancellationToken,
) {
    let Ok(Some(me)) = me.wait_for(Option::is_some).await.map(|me| me.clone()) else { return };
    Exchange::new(nats, me.id.0, engine).run(leaving).await;
}

struct Asking(Arc<Asker>);

impl Peers for Asking {
    fn ask(&self, key: &AgentKey, question: DrainQuestion) {
        let (asker, key) = (Arc::clone(&self.0), key.clone());
        tokio::spawn(async move { asker.ask(&key, question).await });
    }
}
