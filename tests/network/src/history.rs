//! One history: builds the world, lets things go wrong, heals it, and looks whether all comes to rest.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fastrand::Rng;
use turmoil::Sim;

use super::oracle::{Fault, Summary};
use super::plan::{CHAOS, LONGEST_CUT, Plan, Sabotage};
use super::world::{API, CALLERS, World, door, node};
use super::{api, callers, nodes, replica};

/// The grain of the simulated network, and of all its timers.
const TICK: Duration = Duration::from_millis(5);
/// Until the last callers have ended.
const ENDS_WITHIN: Duration = Duration::from_mins(1);
/// After the last fault, this long until everybody has heard of it and pauses of retries are over.
const SETTLES_WITHIN: Duration = Duration::from_secs(15);
/// Until the last calls are served.
const SERVED_WITHIN: Duration = Duration::from_mins(1);
/// Until all agents sleep: a suspension that was refused is tried again within 30 seconds.
const ASLEEP_WITHIN: Duration = Duration::from_mins(3);
const LAST_CALLER: &str = "last-caller";

/// Something that is done to hosts and links from outside.
#[derive(Clone, Debug)]
enum Blow {
    Crash(String, usize),
    Restart(String),
    Hold(String, String, Duration),
    Release(String, String),
}

/// Runs one history.
pub fn run(seed: u64, sabotage: Option<Sabotage>, trace: bool) -> Summary {
    let mut rng = Rng::with_seed(seed);
    let plan = Plan::draw(&mut rng, sabotage);
    let mut sim = turmoil::Builder::new()
        .rng_seed(rng.u64(..))
        .tick_duration(TICK)
        .simulation_duration(Duration::from_hours(1))
        .min_message_latency(Duration::ZERO)
        .max_message_latency(plan.max_latency)
        .tcp_capacity(1024)
        .build();
    let blows = draw_blows(&mut rng, &plan);
    // Addresses are given in the order in which hosts are made.
    let addresses = (0..plan.nodes).map(|node| IpAddr::V4(Ipv4Addr::new(192, 168, 0, node as u8 + 1)));
    let world = Arc::new(World::new(plan.clone(), sabotage, rng, addresses.collect(), trace));
    world.oracle.note(Duration::ZERO, || format!("{plan:?}"));
    build(&mut sim, &world);
    let mut history = History { sim, world, blows };
    history.run();
    history.world.oracle.summary()
}

fn build(sim: &mut Sim<'_>, world: &Arc<World>) {
    for number in 0..world.plan.nodes {
        let world = Arc::clone(world);
        sim.host(node(number), move || nodes::run(Arc::clone(&world), number));
    }
    let (api_world, callers_world, last_world) = (Arc::clone(world), Arc::clone(world), Arc::clone(world));
    sim.host(API, move || api::run(Arc::clone(&api_world)));
    for number in 0..world.plan.doors {
        let world = Arc::clone(world);
        sim.host(door(number), move || replica::run(Arc::clone(&world), number));
    }
    sim.host(CALLERS, move || callers::run(Arc::clone(&callers_world)));
    sim.host(LAST_CALLER, move || callers::last_calls(Arc::clone(&last_world)));
}

/// What is done from outside, and when; the last first.
fn draw_blows(rng: &mut Rng, plan: &Plan) -> Vec<(Duration, Blow)> {
    let at = |rng: &mut Rng| Duration::from_millis(rng.u64(0..CHAOS.as_millis() as u64));
    let mut blows = Vec::new();
    for _ in 0..plan.crashes {
        let (at, number) = (at(rng), rng.usize(0..plan.doors));
        let down = Duration::from_millis(rng.u64(1..plan.longest_down.as_millis() as u64));
        blows.push((at, Blow::Crash(door(number), number)));
        blows.push((at + down, Blow::Restart(door(number))));
    }
    for _ in 0..plan.cuts {
        let (at, some_door) = (at(rng), door(rng.usize(0..plan.doors)));
        let other = match rng.usize(0..4) {
            0 => API.to_owned(),
            1 => CALLERS.to_owned(),
            2 if plan.doors > 1 => door(rng.usize(0..plan.doors)),
            _ => node(rng.usize(0..plan.nodes)),
        };
        if other == some_door {
            continue;
        }
        let lasts = Duration::from_millis(rng.u64(10..LONGEST_CUT.as_millis() as u64));
        blows.push((at, Blow::Hold(some_door.clone(), other.clone(), lasts)));
        blows.push((at + lasts, Blow::Release(some_door, other)));
    }
    blows.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    blows
}

struct History<'a> {
    sim: Sim<'a>,
    world: Arc<World>,
    blows: Vec<(Duration, Blow)>,
}

impl History<'_> {
    fn run(&mut self) {
        self.step_until(CHAOS, |_| false);
        self.world.calm_down();
        let quiet = |world: &World| world.callers_ended.load(Ordering::Relaxed);
        // The last blows heal what the ones before did.
        self.step_until(CHAOS + LONGEST_CUT + TICK, |_| false);
        if !self.step_until(self.sim.elapsed() + ENDS_WITHIN, quiet) {
            return self.violated("callers do not end");
        }
        if self.world.plan.faulty {
            self.step_until(CHAOS + LONGEST_CUT + SETTLES_WITHIN, |_| false);
        }
        self.world.last_calls.notify_one();
        let served = |world: &World| world.last_calls_ended.load(Ordering::Relaxed);
        if !self.step_until(self.sim.elapsed() + SERVED_WITHIN, served) {
            return self.violated("the last calls do not end");
        }
        let asleep = |world: &World| world.cluster.lock().all_asleep();
        if !self.step_until(self.sim.elapsed() + ASLEEP_WITHIN, asleep) {
            let awake = self.world.cluster.lock().awake();
            self.violated(&format!("nobody calls, and these agents are still up: {awake:?}"));
        }
    }

    fn violated(&self, what: &str) {
        self.world.oracle.violated(self.sim.elapsed(), what.to_owned());
    }

    /// Goes on until then, or until something is so: whether it is. A violation ends it all.
    fn step_until(&mut self, until: Duration, is_so: impl Fn(&World) -> bool) -> bool {
        while self.sim.elapsed() < until && !self.world.oracle.is_violated() {
            if is_so(&self.world) {
                return true;
            }
            while self.blows.last().is_some_and(|(at, _)| *at <= self.sim.elapsed()) {
                if let Some((_, blow)) = self.blows.pop() {
                    self.strike(blow);
                }
            }
            if let Err(error) = self.sim.step() {
                self.violated(&format!("a host failed: {error}"));
            }
        }
        is_so(&self.world) || self.world.oracle.is_violated()
    }

    fn strike(&mut self, blow: Blow) {
        let (now, oracle) = (self.sim.elapsed(), &self.world.oracle);
        match blow {
            Blow::Crash(host, number) => {
                oracle.fault(now, Fault::DoorDied { door: number });
                self.sim.crash(host.as_str());
            }
            // Another blow may have started it already.
            Blow::Restart(host) if self.sim.is_host_running(host.as_str()) => {}
            Blow::Restart(host) => self.sim.bounce(host.as_str()),
            Blow::Hold(one, other, lasts) => {
                oracle.note(now, || format!("the link of {one} and {other} is cut"));
                oracle.fault(now, Fault::Cut { until: now + lasts });
                self.sim.hold(one.as_str(), other.as_str());
            }
            Blow::Release(one, other) => {
                oracle.note(now, || format!("the link of {one} and {other} is mended"));
                self.sim.release(one.as_str(), other.as_str());
            }
        }
    }
}
