//! What is done again and again in one process, without input or output.

use std::hint::black_box;
use std::sync::Arc;

use anyhow::bail;
use drowse::engine::Outcome;
use drowse::lifecycle::{Entry, Gate};
use drowse::proxy::headers::{check, for_agent, for_caller};
use drowse::time::Moment;
use http::Version;

use crate::cycle::Cycle;
use crate::fleet::{self, Fleet};
use crate::heads::{self, Head, WANTS};
use crate::world;

/// Agents in the table: more than a few, and soon made.
const AGENTS: usize = 1_000;

/// Their names, and how often each is done so that the rest does not show.
pub(super) const ALL: [(&str, u64); 9] = [
    ("gate-in-and-out", 100_000),
    ("route-by-host", 10_000),
    ("route-by-header", 10_000),
    ("route-by-path", 10_000),
    ("headers-to-agent", 10_000),
    ("headers-to-caller", 10_000),
    ("table-find-and-touch", 50_000),
    ("machine-look", 50_000),
    ("machine-cycle", 5_000),
];

/// Does one of them so many times.
pub fn run(name: &str, times: u64) -> anyhow::Result<()> {
    match name {
        "gate-in-and-out" => gate(times),
        "route-by-host" => route(&Head::by_host(), times),
        "route-by-header" => route(&Head::by_header(), times),
        "route-by-path" => route(&Head::by_path(), times),
        "headers-to-agent" => headers_to_agent(times),
        "headers-to-caller" => headers_to_caller(times),
        "table-find-and-touch" => table(times),
        "machine-look" => {
            let mut cycle = Cycle::default();
            (0..times).for_each(|_| cycle.look());
        }
        "machine-cycle" => {
            let mut cycle = Cycle::default();
            for _ in 0..times {
                black_box(cycle.turn(1));
            }
        }
        _ => bail!("there is no {name}"),
    }
    Ok(())
}

fn gate(times: u64) {
    let gate = Gate::default();
    gate.open(false);
    for micros in 0..times {
        assert_eq!(black_box(&gate).enter(u32::MAX), Entry::Admitted);
        assert!(!black_box(&gate).leave(Some(Moment::from_micros(micros))));
    }
}

fn route(head: &Head, times: u64) {
    let settings = heads::settings();
    for _ in 0..times {
        black_box(black_box(head).route(&settings));
    }
}

/// With a copy of the fields for each, since they are changed.
fn headers_to_agent(times: u64) {
    let (head, peer) = (Head::by_host(), heads::peer());
    for _ in 0..times {
        let mut headers = black_box(head.headers()).clone();
        let checked = check(&headers, Version::HTTP_11).expect("it is a good head");
        for_agent(&mut headers, &peer, WANTS, checked);
        black_box(headers);
    }
}

/// With a copy of the fields for each, since they are changed.
fn headers_to_caller(times: u64) {
    let answer = heads::answer();
    for _ in 0..times {
        let mut answer = black_box(&answer).clone();
        for_caller(&mut answer);
        black_box(answer);
    }
}

/// From the name to the permit, and its end.
fn table(times: u64) {
    let fleet = Fleet::new(world::engine(world::policy()));
    let up: Vec<_> = (0..AGENTS).map(|number| fleet.bring_up(number)).collect();
    let keys: Vec<_> = (0..AGENTS).map(fleet::key).collect();
    let engine = Arc::clone(fleet.engine());
    for key in keys.iter().cycle().take(usize::try_from(times).unwrap_or_default()) {
        let slot = engine.slot(black_box(key)).expect("it is known");
        slot.enter(&engine).expect("it is up").finish(Outcome::Answered);
    }
    assert_eq!(up.len(), AGENTS);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_can_be_done_and_no_other() {
        for (name, _) in ALL {
            run(name, 3).unwrap();
        }
        assert_eq!(run("nothing", 1).unwrap_err().to_string(), "there is no nothing");
    }
}
