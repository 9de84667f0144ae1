//! All replicas are replaced, one after the other, under a load of every kind: no caller fails or is refused.

use std::time::Duration;

use drowse::time::{Clock, Moment};

use super::agents::Agents;
use super::parameter;
use crate::incluster::installation::Installation;
use crate::incluster::kubectl::eventually;
use crate::incluster::nats::Nats;
use crate::support::load::{Kind, Load, Plan};

const SLEEPERS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_all_replicas_under_load_fails_no_caller() {
    Nats::start().await;
    let drowse = Installation::of("chaos");
    let agents = Agents::create("rollout", SLEEPERS + 1);
    agents.wait_until_asleep();
    let plan = Plan {
        to: drowse.address(),
        awake: agents.host(SLEEPERS),
        sleepers: (0..SLEEPERS).map(|agent| agents.host(agent)).collect(),
        per_second: parameter("PER_SECOND", 60),
        connections: parameter("CONNECTIONS", 6),
        held: parameter("HELD", 20),
        // The idle timeout, a suspension, and the end of a pod.
        pause: Duration::from_secs(6),
        streams: parameter("STREAMS", 10),
    };
    println!(
        "{} requests a second, {} callers of sleeping agents, {} streams and as many WebSockets",
        plan.per_second, plan.held, plan.streams
    );
    let load = Load::start(plan);
    let is_failed = |load: &Load| !load.report().failures().is_empty();
    eventually("all callers are served", || {
        let served = [Kind::New, Kind::Kept, Kind::Http2, Kind::Held, Kind::Event, Kind::Message];
        (is_failed(&load) || served.iter().all(|kind| load.report().count(*kind) > 0)).then_some(())
    });

    let clock = Clock::start();
    let held = load.report().count(Kind::Held);
    drowse.drowse(&["rollout", "restart", "deployment/drowse"]);
    drowse.wait_until_rolled_out();
    println!("restarted in {:?}", clock.now().since(Moment::START));
    eventually("callers of sleeping agents were held meanwhile", || {
        (is_failed(&load) || load.report().count(Kind::Held) > held).then_some(())
    });
    let callers = load.stop().await;
    let report = callers.report();
    println!("{:?}", report.counts());
    assert_eq!(report.failures(), [""; 0], "{:?}", report.counts());
    for kind in [Kind::KeptClosed, Kind::Http2Closed, Kind::StreamEnded, Kind::SocketClosed] {
        assert!(report.count(kind) > 0, "{kind:?}: {:?}", report.counts());
    }
    drowse.keep();
}
