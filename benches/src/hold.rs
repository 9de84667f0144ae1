//! Callers that queue up for a sleeping agent, and all get in when it is up: the engine as it runs, with one start.

use std::sync::Arc;
use std::time::Duration;

use drowse::engine::{Engine, Hold, Outcome};
use drowse::lifecycle::PhaseName;

use crate::backend::key;
use crate::world::until;

/// Nobody waits for that long here.
const PATIENCE: Duration = Duration::from_mins(1);

/// The agent falls asleep.
pub async fn put_to_sleep(engine: &Arc<Engine>) {
    engine.suspend(&key(), false).await.expect("nothing keeps it up");
    until(engine, PhaseName::Suspended).await;
}

/// This many callers queue up for the agent, are let in when it is up, and leave again. How many got in.
pub async fn hold(engine: &Arc<Engine>, callers: usize) -> usize {
    let slot = engine.slot(&key()).expect("the agent");
    let hold = Hold { port: None, wakes: true, deadline: engine.clock().now() + PATIENCE };
    let tickets: Vec<_> = (0..callers).map(|_| engine.hold(&slot, hold).expect("a place")).collect();
    let mut released = 0;
    for ticket in tickets {
        ticket.await.expect("a permit").finish(Outcome::NoActivity);
        released += 1;
    }
    released
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{agent, runtime, world};

    #[test]
    fn all_who_wait_get_in_by_one_start_and_it_can_be_done_again() {
        let port = agent::start().unwrap();
        runtime().block_on(async {
            let engine = world::running(port).await;
            for _ in 0..2 {
                put_to_sleep(&engine).await;
                assert_eq!(hold(&engine, 50).await, 50);
                assert_eq!(engine.slot(&key()).unwrap().phase(), PhaseName::Running);
            }
        });
    }
}
