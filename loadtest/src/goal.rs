//! A figure that is to stay on one side of a limit.

use serde::Serialize;

/// A goal, and whether it is met.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Goal {
    what: String,
    value: f64,
    side: Side,
    limit: f64,
    unit: &'static str,
    met: bool,
}

/// Where a figure is to stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Side {
    AtMost,
    AtLeast,
}

impl Goal {
    pub(crate) fn at_most(what: impl Into<String>, value: f64, limit: f64, unit: &'static str) -> Self {
        Self { what: what.into(), value, side: Side::AtMost, limit, unit, met: value <= limit }
    }

    pub(crate) fn at_least(what: impl Into<String>, value: f64, limit: f64, unit: &'static str) -> Self {
        Self { what: what.into(), value, side: Side::AtLeast, limit, unit, met: value >= limit }
    }

    pub(crate) const fn is_met(&self) -> bool {
        self.met
    }

    pub(crate) fn text(&self) -> String {
        let Self { what, value, side, limit, unit, met } = self;
        let verdict = if *met { "met" } else { "MISSED" };
        let side = match side {
            Side::AtMost => "at most",
            Side::AtLeast => "at least",
        };
        format!("{verdict}: {what}: {value:.2}{unit}, goal {side} {limit}{unit}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_up_to_its_limit() {
        assert_eq!(Goal::at_most("wait", 5.0, 5.0, " ms").text(), "met: wait: 5.00 ms, goal at most 5 ms\n");
        assert!(Goal::at_most("wait", 5.01, 5.0, " ms").text().starts_with("MISSED: wait"));
        assert_eq!(Goal::at_least("rate", 0.9, 0.9, "").text(), "met: rate: 0.90, goal at least 0.9\n");
        assert!(Goal::at_least("rate", 0.89, 0.9, "").text().starts_with("MISSED: rate"));
    }
}
