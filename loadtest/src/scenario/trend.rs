//! Whether memory is flat: what a line through it says, and what it was late beside early.

use serde::Serialize;

/// Fewer looks say nothing.
const FEWEST: usize = 20;

/// How resident memory went.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Trend {
    /// Of the line of least squares through the second half.
    pub(super) slope_kb_per_hour: f64,
    /// The mean of the second tenth: the first one is that of starting up.
    pub(super) early_kb: f64,
    /// The mean of the last tenth.
    pub(super) late_kb: f64,
    /// The last tenth over the second one.
    pub(super) growth_percent: f64,
}

impl Trend {
    /// Of pairs of seconds and kB, in order; `None` of too few.
    pub(super) fn of(points: &[(f64, f64)]) -> Option<Self> {
        if points.len() < FEWEST {
            return None;
        }
        let tenth = points.len() / 10;
        let early_kb = mean(points[tenth..2 * tenth].iter().map(|point| point.1));
        let late_kb = mean(points[points.len() - tenth..].iter().map(|point| point.1));
        Some(Self {
            slope_kb_per_hour: 3600.0 * slope(&points[points.len() / 2..]),
            early_kb,
            late_kb,
            growth_percent: 100.0 * (late_kb / early_kb - 1.0),
        })
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let number = values.len().max(1) as f64;
    values.sum::<f64>() / number
}

/// Of the line of least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let x_mean = mean(points.iter().map(|point| point.0));
    let y_mean = mean(points.iter().map(|point| point.1));
    let (mut both, mut square) = (0.0, 0.0);
    for (x, y) in points {
        both += (x - x_mean) * (y - y_mean);
        square += (x - x_mean).powi(2);
    }
    if square > 0.0 { both / square } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(memory: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        (0..100).map(|second| (f64::from(second), memory(f64::from(second)))).collect()
    }

    fn near(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-6, "{value}, not {expected}");
    }

    #[test]
    fn a_line_has_its_slope() {
        near(slope(&points(|x| 1000.0 + 2.5 * x)), 2.5);
        // The line of least squares of 0, 1, 1, 2 is y = 0.6 x + 0.1.
        near(slope(&[(0.0, 0.0), (1.0, 1.0), (2.0, 1.0), (3.0, 2.0)]), 0.6);
        near(slope(&[(1.0, 7.0)]), 0.0);
    }

    #[test]
    fn what_happens_at_the_start_is_left_out_and_growth_is_seen() {
        let flat = Trend::of(&points(|x| if x < 10.0 { 100.0 * x } else { 2000.0 })).unwrap();
        near(flat.growth_percent, 0.0);
        near(flat.slope_kb_per_hour, 0.0);
        let grown = Trend::of(&points(|x| if x < 50.0 { 1000.0 } else { 1000.0 + x })).unwrap();
        near(grown.slope_kb_per_hour, 3600.0);
        near(grown.early_kb, 1000.0);
        near(grown.growth_percent, 9.45);
    }

    #[test]
    fn too_few_looks_say_nothing() {
        assert_eq!(Trend::of(&points(|_| 1.0)[..19]), None);
    }
}
