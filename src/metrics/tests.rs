//! What is counted, and how it is named.

use std::collections::BTreeMap;
use std::time::Duration;

use prometheus::proto::MetricType;

use super::*;
use crate::lifecycle::Failure;

const SECOND: Duration = Duration::from_secs(1);

/// Series and their values.
fn series(metrics: &Metrics) -> BTreeMap<String, f64> {
    let text = metrics.render();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

#[track_caller]
fn assert_series(metrics: &Metrics, expected: &[(&str, f64)]) {
    let series = series(metrics);
    for (name, value) in expected {
        assert_eq!(series.get(*name), Some(value), "{name} in {series:#?}");
    }
}

#[test]
fn every_series_exists_before_anything_has_happened() {
    let series = series(&Metrics::new());
    let mut expected = Vec::new();
    for outcome in RequestOutcome::ALL {
        for start in Start::ALL {
            expected.push(format!(
                "drowse_requests_total{{outcome=\"{}\",start=\"{}\"}}",
                outcome.as_str(),
                start.as_str()
            ));
        }
    }
    let one = |name: &str, label: &str, values: Vec<&str>| -> Vec<String> {
        values.iter().map(|value| format!("{name}{{{label}=\"{value}\"}}")).collect()
    };
    let texts = |all: &[HoldOutcome]| all.iter().map(|value| value.as_str()).collect::<Vec<_>>();
    expected.extend(one("drowse_holds_total", "outcome", texts(HoldOutcome::ALL)));
    expected.extend(one("drowse_request_refusals_total", "reason", texts(HoldOutcome::REFUSALS)));
    expected.extend(one("drowse_agents", "phase", PhaseName::ALL.map(PhaseName::as_str).to_vec()));
    expected.extend(one(
        "drowse_resume_failures_total",
        "class",
        FailureClass::ALL.map(FailureClass::as_str).to_vec(),
    ));
    let bounds = Bound::ALL.iter().map(|bound| bound.as_str()).collect();
    expected.extend(one("drowse_bounds_hit_total", "bound", bounds));
    expected.extend(one("drowse_suspends_total", "outcome", SUSPEND_OUTCOMES.to_vec()));
    for name in ["drowse_resumes_total", "drowse_config_reloads_total"] {
        expected.extend(one(name, "outcome", vec!["ok", "failed"]));
    }
    for name in &expected {
        assert_eq!(series.get(name), Some(&0.0), "{name}");
    }
    let build = concat!("drowse_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}");
    for name in [build, "drowse_config_last_reload_successful"] {
        assert_eq!(series.get(name), Some(&1.0), "{name}");
    }
}

#[test]
fn names_follow_the_rule() {
    let units = ["_seconds", "_bytes", "_total", "_info"];
    for family in Metrics::new().registry.gather() {
        let (name, kind) = (family.name(), family.get_field_type());
        assert!(name.starts_with("drowse_"), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        assert_eq!(name.ends_with("_total"), kind == MetricType::COUNTER, "{name}");
        if kind == MetricType::HISTOGRAM {
            assert!(units.iter().any(|unit| name.ends_with(unit)), "{name} says no unit");
        }
        assert!(family.help().ends_with('.'), "{name}: the help is a sentence");
        for label in family.get_metric().iter().flat_map(prometheus::proto::Metric::get_label) {
            assert!(!["agent", "namespace", "name", "pod"].contains(&label.name()), "{name} names an agent");
        }
    }
}

#[test]
fn buckets_grow_and_cover_what_they_are_for() {
    for buckets in [&REQUEST_SECONDS[..], &RESUME_SECONDS, &PROBE_SECONDS] {
        assert!(buckets.windows(2).all(|pair| pair[0] < pair[1]), "{buckets:?}");
    }
    assert_eq!((REQUEST_SECONDS[0], REQUEST_SECONDS[17]), (0.001, 600.0));
    assert_eq!((RESUME_SECONDS[0], RESUME_SECONDS[16]), (0.005, 300.0));
}

#[test]
fn a_request_is_counted_by_outcome_and_timed_by_start() {
    let metrics = Metrics::new();
    metrics.request_finished(RequestOutcome::Answered, true, SECOND);
    metrics.request_finished(RequestOutcome::Failed, false, SECOND);
    metrics.request_refused("bad_host");
    assert_series(
        &metrics,
        &[
            ("drowse_requests_total{outcome=\"answered\",start=\"cold\"}", 1.0),
            ("drowse_requests_total{outcome=\"answered\",start=\"warm\"}", 0.0),
            ("drowse_requests_total{outcome=\"failed\",start=\"warm\"}", 1.0),
            ("drowse_request_duration_seconds_count{start=\"cold\"}", 1.0),
            ("drowse_request_duration_seconds_bucket{start=\"cold\",le=\"0.5\"}", 0.0),
            ("drowse_request_duration_seconds_bucket{start=\"cold\",le=\"1\"}", 1.0),
            ("drowse_request_refusals_total{reason=\"bad_host\"}", 1.0),
        ],
    );
}

#[test]
fn a_hold_is_counted_while_it_lasts_and_by_how_it_ended() {
    let metrics = Metrics::new();
    for _ in 0..4 {
        metrics.hold_started();
    }
    assert_series(&metrics, &[("drowse_held_requests", 4.0)]);
    metrics.hold_finished(Ok(None), SECOND);
    metrics.hold_finished(Ok(Some(&Refusal::Gone)), SECOND);
    metrics.hold_finished(Err(()), SECOND);
    metrics.held_bytes(17);
    assert_series(
        &metrics,
        &[
            ("drowse_held_requests", 1.0),
            ("drowse_held_body_bytes", 17.0),
            ("drowse_holds_total{outcome=\"served\"}", 1.0),
            ("drowse_holds_total{outcome=\"gone\"}", 1.0),
            ("drowse_holds_total{outcome=\"abandoned\"}", 1.0),
            ("drowse_hold_duration_seconds_count", 3.0),
        ],
    );
}

#[test]
fn a_failed_start_counts_as_a_resume_and_by_its_class() {
    let metrics = Metrics::new();
    metrics.resume_finished(Ok(()), SECOND);
    metrics.resume_finished(Err(Failure::new(FailureClass::Quota, "").class), SECOND);
    metrics.probe_finished(SECOND);
    assert_series(
        &metrics,
        &[
            ("drowse_resumes_total{outcome=\"ok\"}", 1.0),
            ("drowse_resumes_total{outcome=\"failed\"}", 1.0),
            ("drowse_resume_failures_total{class=\"quota\"}", 1.0),
            ("drowse_resume_duration_seconds_count", 2.0),
            ("drowse_resume_probe_duration_seconds_count", 1.0),
        ],
    );
}

#[test]
fn agents_are_counted_in_exactly_one_phase_until_they_are_gone() {
    let metrics = Metrics::new();
    metrics.phase_changed(None, Some(PhaseName::Unknown));
    metrics.phase_changed(None, Some(PhaseName::Unknown));
    metrics.phase_changed(Some(PhaseName::Unknown), Some(PhaseName::Running));
    metrics.phase_changed(Some(PhaseName::Unknown), None);
    assert_series(
        &metrics,
        &[("drowse_agents{phase=\"Unknown\"}", 0.0), ("drowse_agents{phase=\"Running\"}", 1.0)],
    );
}

#[test]
fn suspensions_bounds_reloads_and_connections_are_counted() {
    let metrics = Metrics::new();
    metrics.suspend_finished(Ok(()));
    metrics.suspend_finished(Err("veto"));
    metrics.bound_hit(Bound::HeldPerAgent);
    metrics.connection_opened();
    metrics.connection_opened();
    metrics.connection_closed();
    metrics.config_reloaded(true);
    metrics.config_reloaded(false);
    assert_series(
        &metrics,
        &[
            ("drowse_suspends_total{outcome=\"suspended\"}", 1.0),
            ("drowse_suspends_total{outcome=\"veto\"}", 1.0),
            ("drowse_bounds_hit_total{bound=\"held_per_agent\"}", 1.0),
            ("drowse_connections", 1.0),
            ("drowse_connections_total", 2.0),
            ("drowse_config_reloads_total{outcome=\"ok\"}", 1.0),
            ("drowse_config_reloads_total{outcome=\"failed\"}", 1.0),
            ("drowse_config_last_reload_successful", 0.0),
        ],
    );
}

#[test]
fn the_process_reports_its_own_memory() {
    let series = series(&Metrics::new());
    assert!(series["drowse_process_resident_memory_bytes"] > 0.0);
}

#[test]
fn the_reference_has_a_section_for_every_family_and_its_labels() {
    let page = reference::markdown();
    for family in Metrics::new().registry.gather() {
        assert!(page.contains(&format!("\n## `{}`\n", family.name())), "{}", family.name());
    }
    assert!(page.contains("- `phase`: `Draining`, `Failed`"), "{page}");
    assert!(page.contains("Buckets, in seconds: 0.005 0.01 0.025"), "{page}");
    assert!(!page.contains(env!("CARGO_PKG_VERSION")), "a release would change the reference");
}
