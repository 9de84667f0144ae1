//! What goes wrong: one disturbance at a time, each undone before the next.

use std::time::Duration;

use drowse::time::{Clock, Moment};

use super::api_server::Outage;
use super::fleet::{Replica, kill_nats, leader};
use super::let_pass;
use super::tally::{Excuse, Trouble};
use crate::incluster::kubectl::eventually;

/// How long an outage may still be an excuse when pods start again without Drowse.
const CATCH_UP: Duration = Duration::from_secs(10);
/// Connections from a replica to the API server, to agents and to NATS.
const OUTWARD: &str = "( dport = :443 or dport = :4222 or dport = :7422 or dport = :8080 )";
const NATS: &str = "4222,7422";
const AGENTS: &str = "8080";
const API_SERVER: &str = "443";
/// How long a replica that does not lead stands still. From 25 s on the node ends it, as it does not say that it is alive.
const FROZEN: Duration = Duration::from_secs(20);
/// How long a replica that stood still is left alone. Its node asks every ten seconds whether it is alive, and would count what was
/// not answered in two such times together.
const ASKED_AGAIN: Duration = Duration::from_secs(12);

#[derive(Clone, Copy, Debug)]
pub(super) enum Disturbance {
    KillFollower,
    KillLeader,
    /// Past its term, so that another leads when it goes on.
    FreezeLeader,
    /// Nobody is suspended meanwhile.
    FreezeFollower,
    FreezeApiServer,
    KillApiServer,
    FreezeEtcd,
    KillNats,
    /// Every connection that a replica has made, reset on both sides.
    CutConnections,
    DropNats,
    DropApiServer,
    DropAgents,
    RejectAgents,
}

pub(super) const ALL: &[Disturbance] = &[
    Disturbance::KillFollower,
    Disturbance::KillLeader,
    Disturbance::FreezeLeader,
    Disturbance::FreezeFollower,
    Disturbance::FreezeApiServer,
    Disturbance::KillApiServer,
    Disturbance::FreezeEtcd,
    Disturbance::KillNats,
    Disturbance::CutConnections,
    Disturbance::DropNats,
    Disturbance::DropApiServer,
    Disturbance::DropAgents,
    Disturbance::RejectAgents,
];

/// Those that take seconds, and have no test of their own.
pub(super) const SHORT: &[Disturbance] = &[
    Disturbance::KillFollower,
    Disturbance::KillLeader,
    Disturbance::FreezeApiServer,
    Disturbance::KillNats,
    Disturbance::CutConnections,
    Disturbance::DropNats,
    Disturbance::DropApiServer,
    Disturbance::DropAgents,
    Disturbance::RejectAgents,
];

/// Where it happens.
pub(super) struct Stage<'a> {
    pub(super) clock: Clock,
    pub(super) replicas: &'a [Replica],
    /// How long the API server is away, and etcd.
    pub(super) outage: Duration,
    /// How long a replica is cut off from what it talks to: not so long that a caller cannot be held for it.
    pub(super) cut: Duration,
}

impl Stage<'_> {
    /// Makes it happen and go by. Tells what it excuses.
    pub(super) fn run(&self, what: Disturbance, rng: &mut fastrand::Rng) -> Option<Trouble> {
        let from = self.clock.now();
        match what {
            Disturbance::KillFollower => Some(self.kill(self.followers(rng), from)),
            Disturbance::KillLeader => Some(self.kill(self.leader(), from)),
            Disturbance::FreezeLeader => {
                let leads = self.freeze_leader();
                Some(self.stood_still(leads, from))
            }
            Disturbance::FreezeFollower => {
                let replica = self.followers(rng);
                let frozen = self.replicas[replica].freeze();
                let_pass(FROZEN);
                drop(frozen);
                Some(self.stood_still(replica, from))
            }
            Disturbance::FreezeApiServer => {
                Some(self.without_api_server(Outage::freeze("kube-apiserver"), from))
            }
            Disturbance::FreezeEtcd => Some(self.without_api_server(Outage::freeze("etcd"), from)),
            Disturbance::KillApiServer => Some(self.without_api_server(Outage::kill(), from)),
            Disturbance::KillNats => {
                kill_nats();
                None
            }
            Disturbance::CutConnections => {
                let replica = rng.usize(0..self.replicas.len());
                assert!(self.replicas[replica].in_its_network(&["ss", "-K", OUTWARD]), "ss works");
                Some(self.trouble(Excuse::ConnectionCut, Some(replica), from))
            }
            Disturbance::DropNats => {
                self.cut_off(rng.usize(0..self.replicas.len()), NATS, &["DROP"]);
                None
            }
            Disturbance::DropApiServer => {
                self.cut_off(rng.usize(0..self.replicas.len()), API_SERVER, &["DROP"]);
                None
            }
            Disturbance::DropAgents => {
                let replica = rng.usize(0..self.replicas.len());
                self.cut_off(replica, AGENTS, &["DROP"]);
                Some(self.trouble(Excuse::CutOff, Some(replica), from))
            }
            Disturbance::RejectAgents => {
                let replica = rng.usize(0..self.replicas.len());
                self.cut_off(replica, AGENTS, &["REJECT", "--reject-with", "tcp-reset"]);
                Some(self.trouble(Excuse::ConnectionCut, Some(replica), from))
            }
        }
    }

    fn trouble(&self, excuse: Excuse, replica: Option<usize>, from: Moment) -> Trouble {
        Trouble { excuse, replica, from, until: self.clock.now() }
    }

    fn stood_still(&self, replica: usize, from: Moment) -> Trouble {
        let trouble = self.trouble(Excuse::StoodStill, Some(replica), from);
        let_pass(ASKED_AGAIN);
        trouble
    }

    fn leader(&self) -> usize {
        eventually("a replica leads", || {
            let leads = leader()?;
            self.replicas.iter().position(|replica| replica.pod == leads)
        })
    }

    fn followers(&self, rng: &mut fastrand::Rng) -> usize {
        let leads = self.leader();
        let others: Vec<_> = (0..self.replicas.len()).filter(|nth| *nth != leads).collect();
        *rng.choice(&others).expect("several replicas")
    }

    fn kill(&self, replica: usize, from: Moment) -> Trouble {
        self.replicas[replica].kill();
        self.trouble(Excuse::FrontDoorKilled, Some(replica), from)
    }

    /// What it was sent meanwhile must be served all the same, but for who had waited before. Which one it was.
    fn freeze_leader(&self) -> usize {
        let leads = self.leader();
        let _frozen = self.replicas[leads].freeze();
        eventually("another leads", || (self.leader() != leads).then_some(()));
        leads
    }

    fn without_api_server(&self, outage: Outage, from: Moment) -> Trouble {
        let_pass(self.outage);
        outage.end();
        let trouble = self.trouble(Excuse::ApiServerAway, None, from);
        Trouble { until: trouble.until + CATCH_UP, ..trouble }
    }

    fn cut_off(&self, replica: usize, ports: &str, target: &[&'static str]) {
        let _cut = self.replicas[replica].cut(ports, target);
        let_pass(self.cut);
    }
}
