//! The controller makes no pod for an agent that is wanted: it is reminded, since it may have given up for a while.

use super::agents::Agents;
use super::api_server::Outage;
use super::fleet::Replica;
use crate::incluster::http::Call;
use crate::incluster::installation::Installation;
use crate::incluster::kubectl::eventually;
use crate::incluster::nats::Nats;

#[test]
fn a_controller_that_makes_no_pod_is_reminded_while_somebody_waits() {
    tokio::runtime::Runtime::new().unwrap().block_on(Nats::start());
    let drowse = Installation::of("chaos");
    let agents = Agents::create("reminder", 1);
    agents.wait_until_asleep();
    let replicas = Replica::all(&drowse);
    let call = || Call::new(replicas[0].address, "/whoami", &[("Host", &agents.host(0))]);

    let frozen = Outage::freeze("agent-sandbox-controller");
    let _waits = call();
    let resumed = eventually("it is wanted", || agents.wanted_at(0));
    let generation = agents.generations();
    eventually("its controller is reminded", || (agents.wanted_at(0)? != resumed).then_some(()));
    assert_eq!(agents.generations(), generation, "nothing is changed by that");
    drop(frozen);
    eventually("it is up", || (call().answer().status == 200).then_some(()));
    drowse.keep();
}
