//! A figure that is to stay below a limit.

use serde::Serialize;

/// A goal, and whether it is met.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Goal {
    what: &'static str,
    value: f64,
    limit: f64,
    unit: &'static str,
    met: bool,
}

impl Goal {
    pub(super) fn at_most(what: &'static str, value: f64, limit: f64, unit: &'static str) -> Self {
        Self { what, value, limit, unit, met: value <= limit }
    }

    pub(super) fn text(&self) -> String {
        let Self { what, value, limit, unit, met } = self;
        let verdict = if *met { "met" } else { "MISSED" };
        format!("{verdict}: {what}: {value:.2}{unit}, goal at most {limit}{unit}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_up_to_its_limit() {
        assert_eq!(Goal::at_most("wait", 5.0, 5.0, " ms").text(), "met: wait: 5.00 ms, goal at most 5 ms\n");
        assert!(Goal::at_most("wait", 5.01, 5.0, " ms").text().starts_with("MISSED: wait"));
    }
}
