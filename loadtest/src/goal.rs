//! A figure that is to stay on one side of a limit.

use serde::Serialize;

use crate::report::Table;

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

/// A figure that must stay below one limit, and is meant to stay below another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    what: String,
    value: f64,
    unit: &'static str,
    must: Option<f64>,
    aim: Option<f64>,
}

impl Row {
    pub(crate) fn must(what: impl Into<String>, value: f64, limit: f64, unit: &'static str) -> Self {
        Self { what: what.into(), value, unit, must: Some(limit), aim: None }
    }

    pub(crate) fn aim(what: impl Into<String>, value: f64, limit: f64, unit: &'static str) -> Self {
        Self { what: what.into(), value, unit, must: None, aim: Some(limit) }
    }

    pub(crate) fn both(what: impl Into<String>, value: f64, must: f64, aim: f64, unit: &'static str) -> Self {
        Self { what: what.into(), value, unit, must: Some(must), aim: Some(aim) }
    }

    #[cfg(test)]
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    #[cfg(test)]
    pub(crate) const fn value(&self) -> f64 {
        self.value
    }

    fn verdict(&self, limit: Option<f64>) -> String {
        let Some(limit) = limit else { return String::new() };
        // What could not be measured is not met.
        let verdict = if self.value <= limit { "met" } else { "MISSED" };
        format!("<= {limit}{} {verdict}", self.unit)
    }

    pub(crate) fn table(rows: &[Self]) -> String {
        let mut table = Table::new(&["goal", "measured", "must", "aim"]);
        for row in rows {
            let measured = format!("{:.2}{}", row.value, row.unit);
            table.row([row.what.clone(), measured, row.verdict(row.must), row.verdict(row.aim)]);
        }
        table.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_of_both_limits() {
        let rows = [Row::both("x", 1.2, 1.5, 1.0, "x"), Row::must("y", f64::NAN, 1.0, "")];
        let table = Row::table(&rows);
        assert!(table.contains("<= 1.5x met  <= 1x MISSED"), "{table}");
        assert!(table.contains("<= 1 MISSED"), "{table}");
    }

    #[test]
    fn a_goal_is_met_up_to_its_limit() {
        assert_eq!(Goal::at_most("wait", 5.0, 5.0, " ms").text(), "met: wait: 5.00 ms, goal at most 5 ms\n");
        assert!(Goal::at_most("wait", 5.01, 5.0, " ms").text().starts_with("MISSED: wait"));
        assert_eq!(Goal::at_least("rate", 0.9, 0.9, "").text(), "met: rate: 0.90, goal at least 0.9\n");
        assert!(Goal::at_least("rate", 0.89, 0.9, "").text().starts_with("MISSED: rate"));
    }
}
