//! A leader that stands still for longer than its term, in the middle of its work: another leads, and what the first one had begun
//! to write when it goes on is refused.

use drowse::time::{Clock, Moment};

use super::agents::Agents;
use super::fleet::{Replica, leader};
use crate::incluster::http::Call;
use crate::incluster::installation::Installation;
use crate::incluster::kubectl::eventually;
use crate::incluster::nats::Nats;

/// A request that does not end before the test does, and says something twice a second.
const WORK: &str = "/slow?for=10m&every=500ms";

#[test]
fn a_leader_that_stands_still_beyond_its_term_suspends_nobody_who_works_when_it_goes_on() {
    tokio::runtime::Runtime::new().unwrap().block_on(Nats::start());
    let drowse = Installation::of("chaos");
    let agents = Agents::create("frozen", 4);
    agents.wait_until_asleep();
    let replicas = Replica::all(&drowse);
    let leads = eventually("a replica leads", || {
        let leads = leader()?;
        replicas.iter().position(|replica| replica.pod == leads)
    });
    let others: Vec<_> = (0..replicas.len()).filter(|nth| *nth != leads).collect();
    let call = |agent: usize, path: &str| {
        let other = &replicas[others[agent % others.len()]];
        Call::new(other.address, path, &[("Host", &agents.host(agent))])
    };
    let all = || 0..agents.names.len();

    // They are idle one soon after the other, so that the leader has begun with the next when it has suspended one.
    let asleep = agents.generations();
    for agent in all() {
        assert_eq!(call(agent, "/whoami").answer().status, 200);
    }
    eventually("the leader suspends one", || {
        // Its resume is a change as well.
        let is_suspended = |(now, before): (u64, &u64)| now >= before + 2;
        agents.generations().into_iter().zip(&asleep).any(is_suspended).then_some(())
    });
    let frozen = replicas[leads].freeze();

    // Whoever sleeps is woken without it, and all work from now on.
    let mut work: Vec<_> = all().map(|agent| call(agent, WORK)).collect();
    for call in &mut work {
        call.until("line 1");
    }
    let (clock, before) = (Clock::start(), agents.generations());
    let next = eventually("another leads", || leader().filter(|now| *now != replicas[leads].pod));
    drop(frozen);
    eventually("the one that stood still knows that it does not lead", || {
        (replicas[leads].metric("drowse_leader") == "0").then_some(())
    });
    assert_eq!(leader(), Some(next));
    // It takes part again, and is asked: by way of it, too, all are where they were.
    for agent in all() {
        let call = Call::new(replicas[leads].address, "/whoami", &[("Host", &agents.host(agent))]);
        assert_eq!(call.answer().header("drowse-start"), "warm");
    }
    // For some seconds more, in which whatever the first leader had begun is over.
    let lines = clock.now().since(Moment::START).as_millis() / 500 + 8;
    for call in &mut work {
        call.until(&format!("line {lines}\n"));
    }
    assert_eq!(agents.generations(), before, "somebody was suspended at work");
    drop(work);
    agents.wait_until_asleep();
    drowse.keep();
}
