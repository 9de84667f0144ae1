//! The API server is gone for long: who is up is served, nobody is suspended, who sleeps is held to the bound and no longer, and
//! all is well within seconds of its return.

use std::time::Duration;

use drowse::time::{Clock, Moment};

use super::agents::Agents;
use super::api_server::Outage;
use super::fleet::Replica;
use super::{let_pass, parameter};
use crate::incluster::http::{Answer, Call};
use crate::incluster::installation::Installation;
use crate::incluster::kubectl::eventually;
use crate::incluster::nats::Nats;

/// `hold_timeout` of `tests/e2e/deploy/chaos`, and a little for the answer.
const HELD_AT_MOST: Duration = Duration::from_secs(30 + 5);
/// From one call by way of each replica to the next.
const PACE: Duration = Duration::from_millis(100);
/// After the cluster starts pods again.
const CATCH_UP: Duration = Duration::from_secs(10);

#[test]
fn without_the_api_server_warm_agents_are_served_nobody_is_suspended_and_held_callers_are_told() {
    tokio::runtime::Runtime::new().unwrap().block_on(Nats::start());
    let drowse = Installation::of("chaos");
    let agents = Agents::create("outage", 4);
    agents.wait_until_asleep();
    let replicas = Replica::all(&drowse);
    let get = |replica: &Replica, agent: usize| -> Answer {
        Call::new(replica.address, "/whoami", &[("Host", &agents.host(agent))]).answer()
    };
    // One is called all the time, one only before it and after it; two sleep.
    let (warm, idle, sleepers) = (0, 1, [2, 3]);
    let mut streams = [warm, idle]
        .map(|agent| Call::new(replicas[0].address, "/slow?for=20m", &[("Host", &agents.host(agent))]));
    for stream in &mut streams {
        stream.until("line 1");
    }
    let expect_warm = |agent: usize| {
        for replica in &replicas {
            let answer = get(replica, agent);
            assert_eq!((answer.status, answer.header("drowse-start")), (200, "warm"), "{answer:?}");
        }
    };
    // A replica routes nothing to an agent that it first sees running, until it has written to the object.
    for (replica, agent) in replicas.iter().flat_map(|replica| [(replica, warm), (replica, idle)]) {
        assert_eq!(get(replica, agent).status, 200);
    }

    let before = agents.generations();
    let away = Outage::kill();
    let [mut stream, kept_up] = streams;
    drop(kept_up);
    let (clock, outage) = (Clock::start(), Duration::from_secs(parameter("AWAY_SECS", 33)));
    let mut served = 0;
    let held = std::thread::scope(|scope| {
        let call = |(agent, replica)| {
            scope.spawn(move || {
                let clock = Clock::start();
                (get(replica, agent), clock.now().since(Moment::START))
            })
        };
        let held: Vec<_> = sleepers.into_iter().zip(&replicas).map(call).collect();
        while clock.now() < Moment::START + outage {
            expect_warm(warm);
            served += replicas.len();
            let_pass(PACE);
        }
        held.into_iter().map(|held| held.join().unwrap()).collect::<Vec<_>>()
    });
    // Nobody has suspended it, for all that it was idle.
    expect_warm(idle);
    println!("{served} requests to warm agents were served in {outage:?} without an API server");
    for (answer, took) in held {
        println!("one of a sleeping agent got {} after {took:?}", answer.status);
        assert!(matches!(answer.status, 503 | 504) && !answer.header("retry-after").is_empty(), "{answer:?}");
        assert!(took < HELD_AT_MOST, "{took:?}: {answer:?}");
    }
    away.end();

    let clock = Clock::start();
    for (agent, replica) in sleepers.into_iter().zip(&replicas) {
        eventually("the sleeper is woken", || (get(replica, agent).status == 200).then_some(()));
    }
    let took = clock.now().since(Moment::START);
    println!("sleeping agents were woken {took:?} after the cluster worked again");
    assert!(took < CATCH_UP, "{took:?}");
    // What was only kept up by the outage may sleep by now.
    assert_eq!(agents.generations()[warm], before[warm], "it was suspended at work");
    stream.until(&format!("line {}", outage.as_secs()));
    drop(stream);
    agents.wait_until_asleep();
    drowse.keep();
}
