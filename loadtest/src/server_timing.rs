//! Reads what Drowse says in `Server-Timing` about a wait.

use std::time::Duration;

/// The parts of a wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waited {
    /// In all.
    pub(crate) hold: Duration,
    /// Until the agent's process was there.
    pub(crate) resume: Duration,
    /// From there until it answered and was known to be the one that is meant.
    pub(crate) probe: Duration,
    /// Of the probe: the read that said who answers there; zero if Drowse does not say.
    pub(crate) attest: Duration,
}

impl Waited {
    /// Reads the header; `None` unless the first three parts are there.
    pub(crate) fn parse(header: &str) -> Option<Self> {
        let part = |name| duration(header, name);
        let attest = part("attest").unwrap_or_default();
        Some(Self { hold: part("hold")?, resume: part("resume")?, probe: part("probe")?, attest })
    }
}

/// The duration of one metric, which the header has in milliseconds.
fn duration(header: &str, name: &str) -> Option<Duration> {
    let metric = header.split(',').map(str::trim).find(|metric| metric.split(';').next() == Some(name))?;
    let millis = metric.split(';').find_map(|parameter| parameter.trim().strip_prefix("dur="))?;
    Duration::try_from_secs_f64(millis.parse::<f64>().ok()? / 1000.0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_are_read_as_milliseconds() {
        let waited = Waited::parse("hold;dur=1234.6, resume;dur=900.0, probe;dur=0.3, attest;dur=0.2");
        let expected = Waited {
            hold: Duration::from_micros(1_234_600),
            resume: Duration::from_millis(900),
            probe: Duration::from_micros(300),
            attest: Duration::from_micros(200),
        };
        assert_eq!(waited, Some(expected));
    }

    #[test]
    fn order_and_other_metrics_do_not_matter() {
        let waited = Waited::parse("db;dur=7,probe;desc=x; dur=3,resume;dur=2,hold;dur=5");
        assert_eq!(waited.map(|waited| waited.probe), Some(Duration::from_millis(3)));
    }

    #[test]
    fn a_header_that_tells_of_no_whole_wait_is_none() {
        let bad = [
            "",
            "hold;dur=5",
            "hold;dur=5, resume;dur=x, probe;dur=1",
            "hold;dur=5, resume, probe;dur=1",
            "hold;dur=-5, resume;dur=1, probe;dur=1",
            "holding;dur=5, resume;dur=1, probe;dur=1",
        ];
        for header in bad {
            assert_eq!(Waited::parse(header), None, "{header}");
        }
    }
}
