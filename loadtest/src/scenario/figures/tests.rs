//! A run of a hundred seconds, and what is said of it.

use super::*;
use crate::scenario::watch::PartLook;
use std::time::Duration;

fn recorder(took_ms: &[u64]) -> Recorder {
    let mut recorder = Recorder::new().unwrap();
    for took in took_ms {
        recorder.record(Duration::from_millis(*took));
    }
    recorder
}

/// A run of a hundred seconds with one part.
pub(in crate::scenario) fn figures() -> Figures {
    let mut failures = Tally::default();
    failures.count("503".to_owned(), 2);
    let part = PartFigures {
        name: "people & <others>".to_owned(),
        kind: "request",
        arrivals: "10 a second".to_owned(),
        popularity: Some("uniform".to_owned()),
        calls: 1000,
        answered: 996,
        hung_up: 2,
        failed: 2,
        failures,
        trace: None,
        late: recorder(&[0, 0, 1]).quantiles(),
        warm: (&recorder(&(1..=990).collect::<Vec<_>>())).into(),
        woken: (&recorder(&[40, 50, 60, 70, 80, 90])).into(),
    };
    let look = |second: u32| Look {
        at: f64::from(second),
        secs: 1.0,
        parts: vec![PartLook { calls: 10, answered: 10, p99_ms: Some(3.0), ..PartLook::default() }],
        agents_up: (!second.is_multiple_of(10)).then_some(7),
        rss_kb: 20_000,
        cpu_percent: 12.0,
    };
    Figures {
        name: "test".to_owned(),
        about: "a \"test\"".to_owned(),
        agents: 9,
        idle_timeout_secs: 2.5,
        length_secs: 600.0,
        parts: vec![part],
        starts: 6,
        suspensions: 5,
        agents_up_peak: 7,
        rss_peak_kb: 21_000,
        cpu_percent: 12.0,
        memory: Trend::of(&(0..100).map(|second| (f64::from(second), 20_000.0)).collect::<Vec<_>>()),
        goals: Vec::new(),
        looks: (1..=100).map(look).collect(),
    }
}

fn scenario(goals: &str) -> Scenario {
    let text = format!(
        "about: x\nagents: {{count: 9}}\nlength: 100s\ngoals: {{memory_growth: 5, starts: 5}}\ntraffic:\n  \
         - {{name: a, kind: request, popularity: one, arrivals: {{constant: {{rate: 10}}}}, goals: {goals}}}\n"
    );
    serde_saphyr::from_str(&text).unwrap()
}

#[test]
fn goals_are_judged_and_one_that_is_missed_is_not_clean() {
    let mut figures = figures();
    figures.goals = figures.judge(&scenario("{failed: 2, warm_p99: 990ms, woken_p99: 89ms}"));
    let met: Vec<_> = figures.goals.iter().map(Goal::is_met).collect();
    // failed, warm_p99, woken_p99, starts, memory
    assert_eq!(met, [true, true, false, false, true], "{}", figures.table());
    assert!(!figures.is_clean());
    figures.goals = figures.judge(&scenario("{}"));
    assert!(figures.table().contains("MISSED: people & <others>, failed: 2.00, goal at most 0\n"));
}

#[test]
fn nothing_at_all_meets_no_goal_of_latency() {
    let mut figures = figures();
    figures.parts[0].woken = (&recorder(&[])).into();
    figures.memory = None;
    let goals = figures.judge(&scenario("{failed: 2, woken_p99: 1h}"));
    assert_eq!(goals.iter().map(Goal::is_met).collect::<Vec<_>>(), [true, false, false, false]);
}

#[test]
fn the_memory_of_a_short_run_is_told_and_not_judged() {
    let mut figures = figures();
    assert_eq!(figures.judge(&scenario("{}")).len(), 3);
    figures.length_secs = 599.0;
    assert_eq!(figures.judge(&scenario("{}")).len(), 2);
    assert!(figures.table().contains("an hour; too short a run to judge it\n"), "{}", figures.table());
}

#[test]
fn a_curve_goes_from_the_median_side_to_the_slowest_call() {
    let latency = Latency::from(&recorder(&(1..=1000).collect::<Vec<_>>()));
    let at = |wanted: f64| {
        let found = latency.curve.iter().find(|(one_of, _)| (one_of - wanted).abs() < wanted * 1e-9);
        found.unwrap_or_else(|| panic!("{wanted} is not in {latency:?}")).1
    };
    for (one_of, expected) in [(1.0, 1.0), (10.0, 900.0), (100.0, 990.0), (1000.0, 999.0)] {
        assert!((at(one_of) - expected).abs() <= expected * 0.002, "{one_of}: {}", at(one_of));
    }
    assert!(latency.curve.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{latency:?}");
    assert!(Latency::from(&recorder(&[])).curve.is_empty());
}

#[test]
fn the_table_tells_all_parts_and_what_failed() {
    let text = figures().table();
    for line in [
        "test: a \"test\"",
        "failed, people & <others>: 503: 2",
        "agents: 9, idle timeout 2s 500ms; started 6 times, suspended 5 times, at most 7 up at once",
        "generator: late by 1.000 ms at p99, 1.000 ms at most",
        "its memory: 20.0 MB in the second tenth of the time, 20.0 MB in the last (+0.0 %)",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    assert!(text.contains("\npeople & <others>, woken"), "{text}");
}

#[test]
fn figures_are_json() {
    let json = serde_json::to_value(figures()).unwrap();
    assert_eq!(json["parts"][0]["warm"]["count"], 990);
    assert_eq!(json["parts"][0]["failures"]["503"], 2);
    assert_eq!(json["looks"][9]["agents_up"], serde_json::Value::Null);
    assert_eq!(json["looks"][8]["parts"][0]["answered"], 10);
}
