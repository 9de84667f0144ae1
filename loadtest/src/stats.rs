//! Medians and quantiles.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// The median; of an even number, the mean of the two in the middle. `None` of nothing.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 { Some(upper) } else { Some(f64::midpoint(values[middle - 1], upper)) }
}

/// Durations, kept to three digits from a microsecond to five minutes.
#[derive(Clone, Debug)]
pub(crate) struct Recorder(Histogram<u64>);

/// What a recorder tells, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) count: u64,
    pub(crate) min_ms: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    pub(crate) max_ms: f64,
}

const LONGEST_US: u64 = 300_000_000;

impl Recorder {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self(Histogram::new_with_bounds(1, LONGEST_US, 3)?))
    }

    /// Records one. What is longer than the longest counts as that.
    pub(crate) fn record(&mut self, took: Duration) {
        self.0.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// Records all of another.
    pub(crate) fn merge(&mut self, other: &Self) -> anyhow::Result<()> {
        Ok(self.0.add(&other.0)?)
    }

    /// How many were recorded.
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// A quantile, from 0 to 1, in milliseconds.
    pub(crate) fn at(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// Forgets all.
    pub(crate) fn reset(&mut self) {
        self.0.reset();
    }

    pub(crate) fn quantiles(&self) -> Quantiles {
        let at = |quantile| self.at(quantile);
        Quantiles {
            count: self.0.len(),
            min_ms: self.0.min() as f64 / 1000.0,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: self.0.max() as f64 / 1000.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([]), None);
        assert_eq!(median([7.0]), Some(7.0));
        assert_eq!(median([9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 9.0, 2.0]), Some(3.0));
    }

    fn near(actual: f64, expected: f64) {
        assert!((actual - expected).abs() <= expected * 0.001, "{actual}, not {expected}");
    }

    #[test]
    fn quantiles_are_right_to_a_thousandth() {
        let (mut odd, mut even) = (Recorder::new().unwrap(), Recorder::new().unwrap());
        for millis in 1..=1000 {
            let recorder = if millis % 2 == 1 { &mut odd } else { &mut even };
            recorder.record(Duration::from_millis(millis));
        }
        odd.merge(&even).unwrap();
        let quantiles = odd.quantiles();
        assert_eq!(quantiles.count, 1000);
        near(quantiles.min_ms, 1.0);
        near(quantiles.p50_ms, 500.0);
        near(quantiles.p90_ms, 900.0);
        near(quantiles.p99_ms, 990.0);
        near(quantiles.p999_ms, 999.0);
        near(quantiles.max_ms, 1000.0);
    }

    #[test]
    fn what_is_out_of_bounds_still_counts() {
        let mut recorder = Recorder::new().unwrap();
        recorder.record(Duration::ZERO);
        recorder.record(Duration::from_hours(1));
        assert_eq!(recorder.quantiles().count, 2);
        near(recorder.quantiles().max_ms, 300_000.0);
    }
}
