//! Very many agents in the engine: the memory of each, what it costs to find and touch one, and to look at all.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use drowse::agent::AgentKey;
use drowse::engine::bare::Bare;
use drowse::engine::{Outcome, Slot};
use drowse::policy::Policy;
use drowse::time::Clock;

use crate::fleet::{self, Fleet};
use crate::goal::Figure;
use crate::{memory, world};

/// The most that a sleeping agent may take, in bytes.
const GOAL_BYTES: f64 = 400.0;
/// The most that finding and touching one of them may take, in nanoseconds.
const GOAL_TOUCH_NS: f64 = 100.0;
/// The most that looking at all of them may take of one core, in percent.
const GOAL_LOOK_PERCENT: f64 = 1.0;

/// Measures with this many agents.
pub fn measure(agents: usize) -> Vec<Figure> {
    let mut fleet = Fleet::new(world::engine(world::policy()));
    let clock = fleet.engine().clock();
    let mut figures = Vec::new();

    let before = memory::resident();
    let adding = time(clock, || (0..agents).for_each(|number| fleet.add_sleeping(number)));
    let asleep = memory::resident();
    figures.push(
        Figure::new("memory of an agent that sleeps", each(asleep.saturating_sub(before), agents), "B")
            .at_most(GOAL_BYTES),
    );
    figures.push(Figure::new("of that, its slot", size_of::<Slot>() as f64, "B"));
    figures.push(Figure::new("getting to know an agent", nanos(adding, agents), "ns"));
    let listing = time(clock, || assert_eq!(black_box(fleet.engine().slots()).len(), agents));
    figures.push(Figure::new("listing all", listing.as_secs_f64() * 1000.0, "ms"));

    let slots: Vec<_> = (0..agents).map(|number| fleet.bring_up(number)).collect();
    let up = memory::resident().saturating_sub((slots.len() * size_of::<Arc<Slot>>()) as u64);
    figures.push(Figure::new("more memory of one that is up", each(up.saturating_sub(asleep), agents), "B"));
    figures.extend(touches(&fleet, slots));
    figures.extend(looks(&fleet, agents));
    figures
}

/// In an order that no cache can guess.
fn touches(fleet: &Fleet, mut slots: Vec<Arc<Slot>>) -> Vec<Figure> {
    let (engine, clock) = (fleet.engine(), fleet.engine().clock());
    let agents = slots.len();
    let mut random = fastrand::Rng::with_seed(7);
    let mut numbers: Vec<_> = (0..agents).collect();
    random.shuffle(&mut numbers);
    random.shuffle(&mut slots);
    // In memory of their own, as a request has them.
    let keys: Vec<AgentKey> = numbers.into_iter().map(fleet::key).collect();
    let find = |key| engine.slot(key).expect("every agent is known");

    let now = clock.now();
    let resolved = time(clock, || slots.iter().for_each(|slot| Bare::touch(slot, now)));
    let by_name = time(clock, || keys.iter().for_each(|key| Bare::touch(&find(key), now)));
    let requests = time(clock, || {
        for key in &keys {
            find(key).enter(engine).expect("it is up").finish(Outcome::Answered);
        }
    });
    vec![
        Figure::new("touching one at hand", nanos(resolved, agents), "ns").at_most(GOAL_TOUCH_NS),
        Figure::new("finding and touching one", nanos(by_name, agents), "ns").at_most(GOAL_TOUCH_NS),
        Figure::new("finding one, in by its gate and out again", nanos(requests, agents), "ns"),
    ]
}

/// Every agent that is up is looked at once in its idle timeout, if it is used all the time: its deadline comes, and is set anew.
fn looks(fleet: &Fleet, agents: usize) -> Vec<Figure> {
    let period = Policy::default().idle_timeout;
    // All were touched after they came up, so that none comes twice.
    let took = time(fleet.engine().clock(), || assert_eq!(fleet.tick_earliest(agents), agents));
    let percent = 100.0 * took.as_secs_f64() / period.as_secs_f64();
    vec![
        Figure::new("looking whether one is idle", nanos(took, agents), "ns"),
        Figure::new("looking at all, of a core", percent, "%").at_most(GOAL_LOOK_PERCENT),
    ]
}

fn time(clock: Clock, what: impl FnOnce()) -> Duration {
    let began = clock.now();
    what();
    clock.now().since(began)
}

fn nanos(took: Duration, times: usize) -> f64 {
    took.as_secs_f64() * 1e9 / times as f64
}

fn each(bytes: u64, agents: usize) -> f64 {
    bytes as f64 / agents as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_agents_give_every_figure() {
        let figures = measure(2_000);
        let goals: Vec<_> = figures.iter().filter_map(|figure| figure.goal).collect();
        assert_eq!(goals, [GOAL_BYTES, GOAL_TOUCH_NS, GOAL_TOUCH_NS, GOAL_LOOK_PERCENT]);
        assert!(figures.iter().all(|figure| figure.value.is_finite()), "{figures:?}");
    }

    #[test]
    fn a_time_is_shared_by_all() {
        assert_eq!((nanos(Duration::from_millis(1), 1_000), each(4_000, 10)), (1_000.0, 400.0));
    }
}
