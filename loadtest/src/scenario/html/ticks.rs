//! Axes: where the ticks are, and what stands at them.

/// Ticks of an axis, about.
const TICKS: f64 = 5.0;
const TIME_STEPS: [f64; 18] = [
    1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0,
    21600.0, 43200.0, 86400.0,
];

/// From one value to another.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) log: bool,
    /// Values and what stands there.
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From zero, with ticks at round values.
    pub(super) fn linear(most: f64) -> Self {
        let most = if most > 0.0 { most } else { 1.0 };
        let rough = most / TICKS;
        let decade = 10_f64.powf(rough.log10().floor());
        let step =
            [1.0, 2.0, 5.0, 10.0].into_iter().map(|part| part * decade).find(|step| *step >= rough * 0.999);
        let step = step.unwrap_or(rough);
        let to = (most / step * 0.999).ceil() * step;
        Self { from: 0.0, to, log: false, ticks: every(step, to, number) }
    }

    /// Whole decades, with a tick for each, and with more if there are only one or two.
    pub(super) fn decades(least: f64, most: f64) -> Self {
        let least = if least > 0.0 { least } else { 0.001 };
        let from = (least * 1.001).log10().floor();
        let to = (most.max(least) * 0.999).log10().ceil().max(from + 1.0);
        let mut axis = Self::log((from, to), number);
        if to - from <= 2.0 {
            let decades: Vec<_> = axis.ticks.iter().map(|(value, _)| *value).collect();
            let between = decades.iter().flat_map(|decade| [2.0 * decade, 5.0 * decade]);
            axis.ticks.extend(between.filter(|value| *value < axis.to).map(|value| (value, number(value))));
        }
        axis
    }

    fn log((from, to): (f64, f64), text: fn(f64) -> String) -> Self {
        let steps = std::iter::successors(Some(from), |step| Some(step + 1.0)).take_while(|step| *step <= to);
        let decades = steps.map(|step| 10_f64.powf(step));
        let ticks = decades.map(|value| (value, text(value)));
        Self { from: 10_f64.powf(from), to: 10_f64.powf(to), log: true, ticks: ticks.collect() }
    }

    /// Seconds since the beginning.
    pub(super) fn seconds(most: f64) -> Self {
        let step = TIME_STEPS.into_iter().find(|step| most / step <= TICKS + 1.5).unwrap_or(most);
        Self { from: 0.0, to: most.max(1.0), log: false, ticks: every(step, most, time) }
    }

    /// How many calls there are of which one takes longer, named by their percentile.
    pub(super) fn percentiles(calls: u64) -> Self {
        let decades = (calls.max(10) as f64).log10().ceil();
        Self::log((0.0, decades), percentile)
    }

    /// Where a value is, from 0 to 1. What is outside is at the edge.
    pub(super) fn place(&self, value: f64) -> f64 {
        let value = value.clamp(self.from, self.to);
        let scale = |value: f64| if self.log { value.log10() } else { value };
        (scale(value) - scale(self.from)) / (scale(self.to) - scale(self.from))
    }
}

fn every(step: f64, to: f64, text: fn(f64) -> String) -> Vec<(f64, String)> {
    let steps = std::iter::successors(Some(0.0), |nth: &f64| Some(nth + 1.0)).map(|nth| nth * step);
    steps.take_while(|value| *value <= to * 1.0001).map(|value| (value, text(value))).collect()
}

/// Without zeros that say nothing.
fn number(value: f64) -> String {
    if value >= 1000.0 {
        return format!("{}k", number(value / 1000.0));
    }
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn time(secs: f64) -> String {
    match secs {
        zero if zero <= 0.0 => "0".to_owned(),
        hours if hours % 3600.0 == 0.0 => format!("{}h", hours / 3600.0),
        minutes if minutes % 60.0 == 0.0 => format!("{}m", minutes / 60.0),
        seconds => format!("{seconds}s"),
    }
}

/// 10 is 90 %, 100 is 99 %, 1,000 is 99.9 %.
fn percentile(one_of: f64) -> String {
    let digits = (one_of.log10().round() - 2.0).max(0.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few digits")]
    let digits = digits as usize;
    format!("{:.digits$} %", 100.0 * (1.0 - 1.0 / one_of))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn ticks_are_at_round_values() {
        assert_eq!(texts(&Axis::linear(93.0)), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(texts(&Axis::linear(0.3)), ["0", "0.1", "0.2", "0.3"]);
        assert_eq!(texts(&Axis::linear(2400.0)), ["0", "500", "1k", "1.5k", "2k", "2.5k"]);
        assert_eq!(texts(&Axis::linear(0.0)), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(texts(&Axis::seconds(61.0)), ["0", "10s", "20s", "30s", "40s", "50s", "1m"]);
        assert_eq!(texts(&Axis::seconds(3601.0)), ["0", "10m", "20m", "30m", "40m", "50m", "1h"]);
        assert_eq!(texts(&Axis::decades(0.4, 250.0)), ["0.1", "1", "10", "100", "1k"]);
        assert_eq!(texts(&Axis::decades(1.5, 70.0)), ["1", "10", "100", "2", "5", "20", "50"]);
        assert_eq!(texts(&Axis::percentiles(5000)), ["0 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
    }

    #[test]
    fn places_are_from_edge_to_edge() {
        let (linear, log) = (Axis::linear(100.0), Axis::decades(1.0, 100.0));
        for (value, place) in [(0.0, 0.0), (50.0, 0.5), (100.0, 1.0), (900.0, 1.0)] {
            assert!((linear.place(value) - place).abs() < 1e-9, "{value}");
        }
        for (value, place) in [(0.0, 0.0), (1.0, 0.0), (10.0, 0.5), (100.0, 1.0)] {
            assert!((log.place(value) - place).abs() < 1e-9, "{value}");
        }
    }
}
