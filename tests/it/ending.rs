//! What callers see when Drowse is told to end: the real program, alone and as one of two replicas that are restarted in turn.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use crate::support::balancer::{Balancer, Replica};
use crate::support::load::{Kind, Load, Plan};
use crate::support::{
    Agent, Drowse, PATIENCE, PROGRAM, eventually, free_address, host, http, is_alive, read, signal,
};

const LONG: &str = "idle_timeout: 1h\nmin_running: 0s";

async fn is_ready(drowse: &Drowse) -> bool {
    http::get(drowse.health, "x", "/readyz").await.is_ok_and(|answer| answer.status == 200)
}

#[tokio::test(flavor = "multi_thread")]
async fn at_sigterm_it_is_not_ready_and_serves_whoever_comes_until_a_second_signal_ends_it_at_once() {
    let agents = [Agent::demo("echo"), Agent::demo("sleeper")];
    let mut drowse = Drowse::start_door(&agents, LONG, "shutdown_delay: 1h, ").await;
    let answer = drowse.get("echo", "/").await;
    let agent = answer.json()["pid"].as_u64().unwrap();
    assert_eq!(answer.header("connection"), "");
    signal(drowse.pid(), Signal::TERM);
    eventually("it is not ready", async || !is_ready(&drowse).await).await;
    let warm = drowse.get("echo", "/").await;
    assert_eq!((warm.status, warm.header("connection")), (200, "close"));
    assert_eq!(drowse.phase("sleeper").await, "Suspended");
    let woken = drowse.get("sleeper", "/").await;
    assert_eq!((woken.status, woken.header("drowse-start")), (200, "cold"));
    assert_eq!(http::get(drowse.health, "x", "/healthz").await.unwrap().status, 200, "it is alive");
    signal(drowse.pid(), Signal::TERM);
    assert_eq!(drowse.end().await, 1);
    let agent = u32::try_from(agent).unwrap();
    eventually("its agents end too", async || !is_alive(agent)).await;
}

/// The program with this configuration, from before it serves.
struct Starting {
    child: Child,
    dir: TempDir,
}

impl Starting {
    fn new(config: &str) -> Self {
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("drowse.yaml"), config).unwrap();
        let log = std::fs::File::create(dir.path().join("drowse.log")).unwrap();
        let mut command = Command::new(PROGRAM);
        command.args(["run", "--config"]).arg(dir.path().join("drowse.yaml"));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).kill_on_drop(true);
        Self { child: command.spawn().unwrap(), dir }
    }

    fn log(&self) -> String {
        read(&self.dir.path().join("drowse.log"))
    }

    async fn terminate(&mut self) -> Option<i32> {
        signal(self.child.id().unwrap(), Signal::TERM);
        let ending = tokio::time::timeout(PATIENCE, self.child.wait());
        ending.await.expect("it ends").unwrap().code()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sigterm_while_it_starts_ends_it_cleanly() {
    let [front, admin, health] = std::array::from_fn(|_| free_address());
    let mut drowse = Starting::new(&format!(
        "backend: {{process: {{}}}}\nfront_door: {{listen: \"{front}\"}}\n\
         admin: {{listen: \"{admin}\"}}\nhealth: {{listen: \"{health}\"}}\n"
    ));
    eventually("it begins", async || drowse.log().contains("the limit of open files")).await;
    assert_eq!(drowse.terminate().await, Some(0), "{}", drowse.log());
}

/// Nobody was sent to it, so there is nobody to wait for.
#[tokio::test(flavor = "multi_thread")]
async fn a_sigterm_before_it_was_ready_ends_it_without_the_delay() {
    // An API server that takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let [front, admin, health] = std::array::from_fn(|_| free_address());
    let mut drowse = Starting::new(&format!(
        "backend: {{kubernetes: {{kubeconfig: kubeconfig}}}}\n\
         front_door: {{listen: \"{front}\", auth: none, shutdown_delay: 1h}}\n\
         admin: {{listen: \"{admin}\"}}\nhealth: {{listen: \"{health}\"}}\n"
    ));
    std::fs::write(
        drowse.dir.path().join("kubeconfig"),
        format!(
            "{{apiVersion: v1, kind: Config, current-context: c, contexts: [{{name: c, context: {{cluster: c, user: u}}}}], \
             clusters: [{{name: c, cluster: {{server: \"http://{}\"}}}}], users: [{{name: u, user: {{}}}}]}}",
            silent.local_addr().unwrap()
        ),
    )
    .unwrap();
    eventually("it says that it is not ready", async || {
        let answer = http::get(health, "x", "/readyz").await;
        answer.is_ok_and(|answer| answer.text().contains("not all agents are known yet"))
    })
    .await;
    assert_eq!(drowse.terminate().await, Some(0), "{}", drowse.log());
}

/// Agents of one replica: one that stays up, and those that fall asleep soon and take a second to start.
fn agents() -> Vec<Agent> {
    let sleeper = |number| Agent::demo(&format!("sleeper-{number}")).with(&["--start-delay", "1s"]);
    std::iter::once(Agent::demo("echo")).chain((0..SLEEPERS).map(sleeper)).collect()
}

const SLEEPERS: usize = 3;

/// A delay for a balancer that asks every 100 ms, and holds for agents that start in a second, on a machine that is slow. The
/// streams make the drain last for all of its time.
async fn replica() -> Drowse {
    let rules = "rules:\n  - {match: {name: \"sleeper-*\"}, idle_timeout: 1s}\n".to_owned();
    let defaults = format!("{LONG}\nhold_timeout: 20s");
    Drowse::start_door_with(&agents(), &defaults, "shutdown_delay: 4s, drain_timeout: 20s, ", rules).await
}

fn load(to: std::net::SocketAddr) -> Load {
    Load::start(Plan {
        to,
        awake: host("echo"),
        sleepers: (0..SLEEPERS).map(|number| host(&format!("sleeper-{number}"))).collect(),
        per_second: 60,
        connections: 4,
        held: SLEEPERS,
        pause: Duration::from_secs(2),
        streams: 8,
    })
}

const ALL: [Kind; 5] = [Kind::New, Kind::Kept, Kind::Http2, Kind::Event, Kind::Message];

/// Waits until all callers of a load have got something since.
async fn all_go_on(load: &Load) {
    let before = load.report().counts();
    eventually("all callers are served", async || {
        let some = |kind| load.report().count(kind) > before.get(&kind).copied().unwrap_or_default();
        !load.report().failures().is_empty() || ALL.into_iter().all(some)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_are_restarted_in_turn_and_no_caller_fails() {
    let (mut one, mut two) = tokio::join!(replica(), replica());
    let replica = |drowse: &Drowse| Replica { front: drowse.front, health: drowse.health };
    let balancer = Balancer::start(vec![replica(&one), replica(&two)]).await;
    let load = load(balancer.address);
    all_go_on(&load).await;
    for drowse in [&mut one, &mut two] {
        let report = load.report();
        let ended = [Kind::StreamEnded, Kind::SocketClosed].map(|kind| (kind, report.count(kind)));
        assert_eq!(drowse.terminate().await, 0);
        eventually("its streams and its WebSockets end as they should", async || {
            !report.failures().is_empty() || ended.iter().all(|(kind, before)| report.count(*kind) > *before)
        })
        .await;
        let held = report.count(Kind::Held);
        drowse.start_again().await;
        all_go_on(&load).await;
        eventually("callers of sleeping agents wait and are served", async || {
            report.count(Kind::Held) > held || !report.failures().is_empty()
        })
        .await;
    }
    let callers = load.stop().await;
    let report = callers.report();
    println!("{:?}", report.counts());
    assert_eq!(report.failures(), [""; 0], "{:?}", report.counts());
    for kind in [Kind::KeptClosed, Kind::Http2Closed] {
        assert!(report.count(kind) > 0, "{kind:?}: {:?}", report.counts());
    }
}
