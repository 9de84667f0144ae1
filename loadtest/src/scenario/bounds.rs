//! The bounds of a scenario: what would flood the machine, never end, or mean nothing is refused, with what to write.

use std::collections::HashSet;
use std::fmt::Display;
use std::time::Duration;

use ::drowse::units::HumanDuration;

use super::file::{Arrivals, HangUp, Kind, Part, Popularity, Scenario};

/// Each is a process of some megabytes while it is up.
const AGENTS: [u32; 2] = [1, 2000];
const PARTS: usize = 16;
const NAME: usize = 40;
const RATE: [f64; 2] = [0.001, 20_000.0];
/// Their connections fit the usual limit of open files.
const CALLERS: [u32; 2] = [1, 25_000];
/// Of one part in the whole run.
const CALLS: f64 = 10_000_000.0;
const SHARE: [f64; 2] = [0.0001, 1.0];
const EXPONENT: [f64; 2] = [0.1, 4.0];
const SPEED: [f64; 2] = [0.01, 100_000.0];
const CALLS_A_MINUTE: [u32; 2] = [1, 1_000_000];
const GROWTH: [f64; 2] = [0.0, 1000.0];

fn secs(secs: u64) -> HumanDuration {
    HumanDuration::from_secs(secs)
}

fn millis(millis: u64) -> HumanDuration {
    Duration::from_millis(millis).into()
}

fn day() -> HumanDuration {
    secs(24 * 3600)
}

/// Collects what is wrong.
#[derive(Default)]
struct Checker(Vec<String>);

impl Checker {
    fn say(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }

    /// What is not a number is never within.
    fn within<T>(&mut self, key: &str, value: T, [low, high]: [T; 2])
    where
        T: PartialOrd + Display + Copy,
    {
        let good = low <= value && value <= high;
        if !good {
            self.say(format!("{key} is {value}; write {low} to {high}"));
        }
    }
}

/// All that is wrong, but for what a trace says.
pub(super) fn problems(scenario: &Scenario) -> Vec<String> {
    let mut checker = Checker::default();
    let Scenario { agents, length, traffic, goals, .. } = scenario;
    checker.within("agents.count", agents.count, AGENTS);
    checker.within("agents.start_delay", agents.start_delay, [secs(0), secs(30)]);
    checker.within("agents.idle_timeout", agents.idle_timeout, [millis(100), day()]);
    if let Some(number) = agents.max_in_flight {
        checker.within("agents.max_in_flight", number, CALLERS);
    }
    checker.within("length", *length, [secs(1), day()]);
    if !(1..=PARTS).contains(&traffic.len()) {
        checker.say(format!("traffic has {} parts; write 1 to {PARTS}", traffic.len()));
    }
    for (index, part) in traffic.iter().enumerate() {
        check_part(&mut checker, &format!("traffic[{index}]"), part, *length);
    }
    let mut names = HashSet::new();
    if let Some(part) = traffic.iter().find(|part| !names.insert(&part.name)) {
        checker.say(format!("two parts of traffic have the name {:?}; write another one", part.name));
    }
    let connections = scenario.connections();
    if connections > CALLERS[1] {
        checker
            .say(format!("all parts have {connections} connections together; write at most {}", CALLERS[1]));
    }
    if let Some(growth) = goals.memory_growth {
        checker.within("goals.memory_growth", growth, GROWTH);
    }
    checker.0
}

fn check_part(checker: &mut Checker, key: &str, part: &Part, length: HumanDuration) {
    if !(1..=NAME).contains(&part.name.chars().count()) {
        checker.say(format!("{key}.name is empty or too long; write 1 to {NAME} characters"));
    }
    check_work(checker, key, part);
    check_arrivals(checker, key, &part.arrivals, length);
    check_popularity(checker, key, part);
    if let Some(HangUp { share, after }) = part.hang_up {
        checker.within(&format!("{key}.hang_up.share"), share, SHARE);
        checker.within(&format!("{key}.hang_up.after"), after, [millis(1), secs(60)]);
    }
    checker.within(&format!("{key}.connections"), part.connections, CALLERS);
}

/// The demo agent has the same bounds.
fn check_work(checker: &mut Checker, key: &str, part: &Part) {
    let (least, most) = (millis(10), secs(3600));
    let takes = part.takes;
    if takes != secs(0) && !(least <= takes && takes <= most) {
        checker.say(format!("{key}.takes is {takes}; write 0s, or {least} to {most}"));
    }
    match (part.kind, part.every) {
        (Kind::Stream, _) if takes == secs(0) => {
            checker.say(format!("{key}.takes is 0s; write how long a stream takes, such as 20s"));
        }
        (Kind::Stream, None) => {
            checker.say(format!("{key}.every is missing; write the time between two events, such as 1s"))
        }
        (Kind::Stream, Some(every)) if every < least || every > takes => checker
            .say(format!("{key}.every is {every}; write {least} to {takes}, which is what a stream takes")),
        (Kind::Request | Kind::Message, Some(_)) => {
            checker.say(format!("{key}.every is only for a stream; leave it out"));
        }
        _ => {}
    }
}

fn check_arrivals(checker: &mut Checker, key: &str, arrivals: &Arrivals, length: HumanDuration) {
    match arrivals {
        Arrivals::Constant { rate } | Arrivals::Poisson { rate } => {
            checker.within(&format!("{key}.arrivals.rate"), *rate, RATE);
            if rate * length.get().as_secs_f64() > CALLS {
                checker.say(format!(
                    "{key} has more than {CALLS} calls; write a lower rate, or a shorter length"
                ));
            }
        }
        Arrivals::Burst { callers, at } => {
            checker.within(&format!("{key}.arrivals.callers"), *callers, CALLERS);
            if *at >= length {
                checker.say(format!("{key}.arrivals.at is {at}; write less than length, which is {length}"));
            }
        }
        Arrivals::Trace { speed, at_most, .. } => {
            checker.within(&format!("{key}.arrivals.speed"), *speed, SPEED);
            if let Some(at_most) = at_most {
                checker.within(&format!("{key}.arrivals.at_most"), *at_most, CALLS_A_MINUTE);
            }
        }
    }
}

fn check_popularity(checker: &mut Checker, key: &str, part: &Part) {
    match (&part.arrivals, part.popularity) {
        (Arrivals::Trace { .. }, Some(_)) => {
            checker.say(format!(
                "{key}.popularity is for arrivals without a trace, which says who is called; leave it out"
            ));
        }
        (Arrivals::Trace { .. }, None) => {}
        (_, None) => checker.say(format!(
            "{key}.popularity is missing; write one, round_robin, uniform or {{zipf: {{exponent: 1}}}}"
        )),
        (_, Some(Popularity::Zipf { exponent })) => {
            checker.within(&format!("{key}.popularity.exponent"), exponent, EXPONENT);
        }
        _ => {}
    }
}

/// What is wrong with what traces say.
pub(super) fn problems_with_traces(scenario: &Scenario) -> Vec<String> {
    let mut checker = Checker::default();
    let agents = scenario.agents.count;
    for (index, part) in scenario.traffic.iter().enumerate() {
        let (Some(trace), Arrivals::Trace { speed, at_most, .. }) = (&part.trace, &part.arrivals) else {
            continue;
        };
        if trace.functions() < agents as usize {
            let functions = trace.functions();
            checker.say(format!(
                "agents.count is {agents}, and the trace has {functions} functions; write at most that"
            ));
            continue;
        }
        let key = format!("traffic[{index}].arrivals");
        let cut = trace.cut(agents, *at_most, *speed, scenario.length());
        let rate = f64::from(cut.busiest_minute) * speed / 60.0;
        if rate > RATE[1] {
            checker.say(format!(
                "{key} has {rate:.0} calls a second in its busiest minute, and {} are allowed; write a lower speed or at_most",
                RATE[1]
            ));
        }
        if cut.kept() as f64 > CALLS {
            checker.say(format!(
                "{key} has more than {CALLS} calls; write a shorter length, or a lower at_most"
            ));
        }
    }
    checker.0
}
