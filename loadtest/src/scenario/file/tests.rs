//! Every scenario of the project, and good and bad files of others.

use super::*;

fn scenarios() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|ending| ending == "yaml")).collect()
}

#[test]
fn every_scenario_of_the_project_is_within_the_bounds() {
    let files = scenarios();
    assert!(files.len() >= 9, "{files:?}");
    for file in files {
        let scenario = Scenario::read(&file, 1.0, None).unwrap_or_else(|error| panic!("{error:#}"));
        assert!(!scenario.about.is_empty() && !scenario.traffic.is_empty(), "{}", scenario.name);
    }
}

const GOOD: &str = "about: x\nagents: {count: 3}\nlength: 10s\ntraffic:\n  - {name: a, kind: request, arrivals: \
                    {constant: {rate: 50}}, popularity: round_robin}\n";

/// Reads GOOD with one thing changed.
fn read(from: &str, to: &str, scale: f64, length: Option<HumanDuration>) -> anyhow::Result<Scenario> {
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("bad.yaml");
    assert!(GOOD.contains(from), "{from}");
    std::fs::write(&file, GOOD.replacen(from, to, 1)).unwrap();
    Scenario::read(&file, scale, length)
}

#[test]
fn what_is_left_out_has_a_default() {
    let scenario = read("", "", 1.0, None).unwrap();
    assert_eq!((scenario.name.as_str(), scenario.agents.start), ("bad", Start::Asleep));
    assert_eq!(scenario.agents.idle_timeout, HumanDuration::from_secs(3600));
    let part = &scenario.traffic[0];
    assert_eq!((part.connections, part.goals.failed, part.takes), (256, 0, HumanDuration::from_secs(0)));
    assert!(!scenario.has_messages());
}

#[test]
fn scale_multiplies_the_traffic_and_length_replaces_the_length() {
    let scenario = read("", "", 3.0, Some(HumanDuration::from_secs(7))).unwrap();
    assert_eq!(scenario.length(), Duration::from_secs(7));
    assert!(
        matches!(scenario.traffic[0].arrivals, Arrivals::Constant { rate } if (rate - 150.0).abs() < 1e-9)
    );
    let scenario = read("{constant: {rate: 50}}", "{burst: {callers: 10}}", 2.5, None).unwrap();
    assert!(matches!(scenario.traffic[0].arrivals, Arrivals::Burst { callers: 25, .. }));
}

#[test]
fn what_cannot_be_read_names_the_file_the_place_and_the_key() {
    let wrong: [(&str, &str, &[&str]); 8] = [
        ("count: 3", "count: 3, number: 4", &["line 2", "unknown field", "start_delay"]),
        ("rate: 50", "pace: 50", &["line 5", "pace", "rate"]),
        ("rate: 50", "rate: fast", &["line 5", "fast"]),
        ("constant:", "steady:", &["line 5", "steady", "poisson"]),
        ("kind: request", "kind: question", &["line 5", "question", "message"]),
        ("length: 10s", "length: 10", &["line 3", "has no unit; write 10s"]),
        ("length: 10s\n", "", &["length"]),
        ("round_robin", "{zipf: {exponent: 1, n: 2}}", &["line 5", "exponent"]),
    ];
    for (from, to, parts) in wrong {
        let error = format!("{:#}", read(from, to, 1.0, None).unwrap_err());
        assert!(error.contains("bad.yaml: "), "{error}");
        for part in parts {
            assert!(error.contains(part), "{to:?}: {part:?} is not in {error}");
        }
    }
}

#[test]
fn what_is_out_of_bounds_names_the_file_and_the_key_and_says_what_to_write() {
    let wrong = [
        ("count: 3", "count: 0", "agents.count is 0; write 1 to 2000"),
        ("count: 3", "count: 3, start_delay: 31s", "agents.start_delay is 31s; write 0s to 30s"),
        ("count: 3", "count: 3, idle_timeout: 0s", "agents.idle_timeout is 0s; write 100ms to 1d"),
        ("length: 10s", "length: 2d", "length is 2d; write 1s to 1d"),
        ("rate: 50", "rate: 20001", "traffic[0].arrivals.rate is 20001; write 0.001 to 20000"),
        ("rate: 50", "rate: .nan", "traffic[0].arrivals.rate is NaN; write 0.001 to 20000"),
        (
            "constant: {rate: 50}",
            "burst: {callers: 30000}",
            "traffic[0].arrivals.callers is 30000; write 1 to 25000",
        ),
        (
            "constant: {rate: 50}",
            "burst: {callers: 3, at: 10s}",
            "traffic[0].arrivals.at is 10s; write less than length, which is 10s",
        ),
        (
            "popularity: round_robin",
            "popularity: {zipf: {exponent: 5}}",
            "traffic[0].popularity.exponent is 5; write 0.1 to 4",
        ),
        (
            ", popularity: round_robin",
            "",
            "traffic[0].popularity is missing; write one, round_robin, uniform or {zipf: {exponent: 1}}",
        ),
        ("name: a", "name: a, takes: 5ms", "traffic[0].takes is 5ms; write 0s, or 10ms to 1h"),
        ("name: a", "name: a, every: 1s", "traffic[0].every is only for a stream; leave it out"),
        (
            "kind: request",
            "kind: stream",
            "traffic[0].takes is 0s; write how long a stream takes, such as 20s",
        ),
        (
            "kind: request",
            "kind: stream, takes: 1s",
            "traffic[0].every is missing; write the time between two events, such as 1s",
        ),
        (
            "kind: request",
            "kind: stream, takes: 1s, every: 2s",
            "traffic[0].every is 2s; write 10ms to 1s, which is what a stream takes",
        ),
        (
            "name: a",
            "name: a, hang_up: {share: 1.5, after: 1s}",
            "traffic[0].hang_up.share is 1.5; write 0.0001 to 1",
        ),
        ("name: a", "name: a, connections: 0", "traffic[0].connections is 0; write 1 to 25000"),
        ("name: a", "name: \"\"", "traffic[0].name is empty or too long; write 1 to 40 characters"),
    ];
    for (from, to, message) in wrong {
        let error = read(from, to, 1.0, None).unwrap_err().to_string();
        assert!(error.ends_with(&format!("bad.yaml: {message}")), "{to}: {error}");
    }
}

#[test]
fn scaled_traffic_is_bounded_too() {
    let error = read("", "", 1000.0, None).unwrap_err().to_string();
    assert!(error.contains("traffic[0].arrivals.rate is 50000; write"), "{error}");
}
