//! All disturbances in turn, under load. `make chaos` has more of everything; the seed is printed, and decides what comes when
//! and who is hit.

use std::sync::Arc;
use std::time::Duration;

use drowse::time::{Clock, Moment};

use super::agents::Agents;
use super::disturbances::{ALL, SHORT, Stage};
use super::evidence::{keep_events, keep_logs};
use super::fleet::Replica;
use super::load::{Load, Plan};
use super::reuse::Reuse;
use super::tally::Tally;
use super::{let_pass, parameter};
use crate::incluster::installation::Installation;
use crate::incluster::nats::Nats;

/// From the end of a disturbance to the beginning of the next.
const REST: Duration = Duration::from_secs(4);

#[test]
fn no_request_fails_by_a_suspension_or_is_executed_twice_or_lost_or_misled_while_things_are_killed() {
    let seed = parameter("SEED", fastrand::u64(..));
    let (agents, rounds) = (parameter("AGENTS", 10), parameter("ROUNDS", 0_u32));
    let (rounds, all) = if rounds > 0 { (rounds, ALL) } else { (1, SHORT) };
    println!("SEED={seed}, {agents} agents, {rounds} rounds of {all:?}");
    tokio::runtime::Runtime::new().unwrap().block_on(Nats::start());
    let drowse = Installation::of("chaos");
    let agents = Arc::new(Agents::create("chaos", agents));
    agents.wait_until_asleep();
    let replicas: Arc<[Replica]> = Replica::all(&drowse).into();
    assert_eq!(replicas.len(), 3);

    let (clock, mut rng) = (Clock::start(), fastrand::Rng::with_seed(seed));
    println!("0 s is {}", clock.wall(Moment::START));
    let stage = Stage {
        clock,
        replicas: &replicas,
        outage: Duration::from_secs(parameter("OUTAGE_SECS", 10)),
        cut: Duration::from_secs(5),
    };
    let plan = Plan { seed, bursts: parameter("BURSTS", 1.0), rate: parameter("RATE", 10.0) };
    let (before, reuse) = (agents.cycles(), Reuse::start(&replicas));
    let load = Load::start(plan, clock, &agents, &replicas);
    let mut troubles = Vec::new();
    for _ in 0..rounds {
        let mut disturbances = all.to_vec();
        rng.shuffle(&mut disturbances);
        for disturbance in disturbances {
            let_pass(REST);
            let begun = clock.now();
            troubles.extend(stage.run(disturbance, &mut rng));
            keep_logs();
            let (now, requests) = (clock.now(), load.sent());
            println!("{begun:?}: {disturbance:?} took {:?}; {requests} requests so far", now.since(begun));
        }
    }
    let_pass(REST);
    let records = load.stop();
    let took = clock.now().since(Moment::START);
    agents.wait_until_asleep();
    let tally = Tally::of(&records, &agents.arrivals(), &troubles);
    let (cycles, reused) = (agents.cycles() - before, reuse.stop());
    println!("{cycles} suspensions and resumes in {took:?}, {reused} addresses given anew\n{tally}");
    if !tally.is_clean() {
        let kept = keep_events();
        panic!("a rule was broken, with SEED={seed}; see {}: {troubles:#?}", kept.display());
    }
    assert!(cycles > 0 && tally.served() > 0 && reused > 0, "nothing happened");
    drowse.keep();
}
