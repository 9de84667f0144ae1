//! The benchmarks of time, run by criterion: the parts of the core that requests and agents pass, each by itself.

#![allow(clippy::expect_used, reason = "a benchmark ends when something is not as it must be")]

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion};
use drowse::engine::Outcome;
use drowse::engine::bare::Bare;
use drowse::lifecycle::{Entry, Gate};
use drowse::proxy::headers::{check, for_agent, for_caller};
use drowse::time::{Clock, Moment};
use drowse_benches::cycle::Cycle;
use drowse_benches::fleet::{self, Fleet};
use drowse_benches::heads::{self, Head, WANTS};
use drowse_benches::{agent, hold, runtime, world};
use http::Version;

/// As in the program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Agents in the table, by far more than a cache of the first level holds.
const AGENTS: usize = 10_000;
/// Callers that wait for one agent.
const HELD: usize = 5_000;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    gate(&mut criterion);
    route(&mut criterion);
    headers(&mut criterion);
    table(&mut criterion);
    lifecycle(&mut criterion);
    held(&mut criterion);
    criterion.final_summary();
}

fn in_and_out(gate: &Gate, at: Moment) {
    assert_eq!(gate.enter(u32::MAX), Entry::Admitted);
    assert!(!gate.leave(Some(at)));
}

fn gate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gate");
    let gate = Gate::default();
    gate.open(false);
    let at = Moment::from_micros(7);
    group.bench_function("in and out", |b| b.iter(|| in_and_out(black_box(&gate), at)));
    group.bench_function("in and out, and another thread does so too", |b| {
        b.iter_custom(|times| contended(&gate, at, times));
    });
    group.finish();
}

/// How long this many take while another thread does as many.
fn contended(gate: &Gate, at: Moment, times: u64) -> Duration {
    let clock = Clock::start();
    let both_are_there = Barrier::new(2);
    let repeat = || {
        both_are_there.wait();
        let began = clock.now();
        (0..times).for_each(|_| in_and_out(black_box(gate), at));
        clock.now().since(began)
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(repeat);
        let took = repeat();
        other.join().map_or(took, |others| others.max(took))
    })
}

fn route(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route");
    let settings = heads::settings();
    for (by, head) in [("host", Head::by_host()), ("header", Head::by_header()), ("path", Head::by_path())] {
        group.bench_with_input(BenchmarkId::new("by", by), &head, |b, head| b.iter(|| head.route(&settings)));
    }
    group.finish();
}

fn headers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("headers");
    let (head, peer, answer) = (Head::by_host(), heads::peer(), heads::answer());
    group.bench_function("to the agent", |b| {
        let copy = || head.headers().clone();
        let treat = |headers: &mut http::HeaderMap| {
            let checked = check(headers, Version::HTTP_11).expect("it is a good head");
            for_agent(headers, &peer, WANTS, checked);
        };
        b.iter_batched_ref(copy, treat, BatchSize::SmallInput);
    });
    group.bench_function("to the caller", |b| {
        b.iter_batched_ref(|| answer.clone(), for_caller, BatchSize::SmallInput);
    });
    group.finish();
}

fn table(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("table");
    let fleet = Fleet::new(world::engine(world::policy()));
    let slots: Vec<_> = (0..AGENTS).map(|number| fleet.bring_up(number)).collect();
    let mut keys: Vec<_> = (0..AGENTS).map(fleet::key).collect();
    fastrand::Rng::with_seed(7).shuffle(&mut keys);
    let engine = Arc::clone(fleet.engine());
    let at = engine.clock().now();

    let mut next = keys.iter().cycle();
    let mut key = || next.next().expect("there is no end");
    group.bench_function("find", |b| b.iter(|| engine.slot(key())));
    group.bench_function("find and touch", |b| {
        b.iter(|| Bare::touch(&engine.slot(key()).expect("it is known"), at));
    });
    group.bench_function("find, in by the gate and out again", |b| {
        b.iter(|| {
            let slot = engine.slot(key()).expect("it is known");
            slot.enter(&engine).expect("it is up").finish(Outcome::Answered);
        });
    });
    group.bench_function("touch", |b| b.iter(|| Bare::touch(black_box(&slots[0]), at)));
    group.bench_function("list 10,000", |b| b.iter(|| engine.slots().len()));
    // Each is ticked when its deadline comes, and gets another one.
    group.bench_function("look whether one is idle", |b| b.iter(|| fleet.tick_earliest(1)));
    group.finish();
}

fn lifecycle(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("machine");
    let mut cycle = Cycle::default();
    group.bench_function("look", |b| b.iter(|| cycle.look()));
    group.bench_function("suspend and resume", |b| b.iter(|| cycle.turn(1)));
    group.bench_function("suspend and resume, 5,000 held", |b| b.iter(|| cycle.turn(HELD as u64)));
    group.finish();
}

/// With a real start: a probe that connects, and tasks of the runtime.
fn held(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hold");
    let runtime = runtime();
    let port = agent::start().expect("a port");
    let engine = runtime.block_on(world::running(port));
    group.sample_size(10);
    group.bench_function("5,000 queue up and get in", |b| {
        b.iter_custom(|times| {
            runtime.block_on(async {
                let mut took = Duration::ZERO;
                for _ in 0..times {
                    hold::put_to_sleep(&engine).await;
                    let began = engine.clock().now();
                    assert_eq!(hold::hold(&engine, HELD).await, HELD);
                    took += engine.clock().now().since(began);
                }
                took
            })
        });
    });
    group.finish();
}
