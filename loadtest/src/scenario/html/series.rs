//! A value over time, with no more points than can be seen.

use crate::scenario::watch::Look;

/// More would not be seen, and make the page large.
const MOST: usize = 600;

/// Makes one value of several.
pub(super) type Fold = fn(&[f64]) -> f64;

/// The largest. There must be one.
pub(super) fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// The mean. There must be one.
pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// A value of each look by its time; looks that have none are left out, and several are folded into one if there are many.
pub(super) fn of(looks: &[Look], fold: Fold, value: impl Fn(&Look) -> Option<f64>) -> Vec<(f64, f64)> {
    let size = looks.len().div_ceil(MOST).max(1);
    let point = |some: &[Look]| {
        let values: Vec<_> = some.iter().filter_map(&value).collect();
        let at = some.last()?.at;
        (!values.is_empty()).then(|| (at, fold(&values)))
    };
    looks.chunks(size).filter_map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_looks_are_folded_and_none_is_lost() {
        let look = |second: u32| Look {
            at: f64::from(second),
            secs: 1.0,
            parts: Vec::new(),
            agents_up: (second != 3).then_some(u64::from(second)),
            rss_kb: 0,
            cpu_percent: 0.0,
        };
        let up = |look: &Look| look.agents_up.map(|up| up as f64);
        let few: Vec<_> = (1..=4).map(look).collect();
        assert_eq!(of(&few, mean, up), [(1.0, 1.0), (2.0, 2.0), (4.0, 4.0)]);
        let many: Vec<_> = (1..=1200).map(look).collect();
        let (high, middle) = (of(&many, largest, up), of(&many, mean, up));
        assert_eq!((high.len(), high[0], high[599]), (600, (2.0, 2.0), (1200.0, 1200.0)));
        assert_eq!((middle[0], middle[1]), ((2.0, 1.5), (4.0, 4.0)));
    }
}
