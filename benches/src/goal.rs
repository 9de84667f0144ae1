//! A figure and what it should not go beyond, as a row of a table.

/// A figure with its unit, and its goal if it has one.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What was measured.
    pub what: String,
    /// How much it is.
    pub value: f64,
    /// In what.
    pub unit: &'static str,
    /// At most this.
    pub goal: Option<f64>,
}

impl Figure {
    /// Without a goal.
    pub fn new(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { what: what.into(), value, unit, goal: None }
    }

    /// Is to be at most this.
    #[must_use]
    pub fn at_most(mut self, goal: f64) -> Self {
        self.goal = Some(goal);
        self
    }

    /// Whether it is beyond its goal.
    pub fn is_missed(&self) -> bool {
        self.goal.is_some_and(|goal| self.value > goal)
    }
}

/// The rows, aligned.
pub fn table(figures: &[Figure]) -> String {
    let cells = |figure: &Figure| {
        let Figure { what, value, unit, goal } = figure;
        let value = if *value < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") };
        let goal = goal.map_or_else(String::new, |goal| {
            let verdict = if figure.is_missed() { "MISSED" } else { "met" };
            format!("at most {goal} {unit}: {verdict}")
        });
        [what.clone(), format!("{value} {unit}"), goal]
    };
    let rows: Vec<_> = figures.iter().map(cells).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let (first, second) = (width(0), width(1));
    let lines = rows.iter().map(|[what, value, goal]| format!("{what:<first$}  {value:>second$}  {goal}"));
    lines.map(|line| line.trim_end().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_up_to_its_limit() {
        let figure = Figure::new("memory", 400.0, "B");
        assert!(!figure.is_missed() && !figure.clone().at_most(400.0).is_missed());
        assert!(figure.at_most(399.9).is_missed());
    }

    #[test]
    fn rows_are_aligned_and_say_what_became_of_the_goal() {
        let figures = [
            Figure::new("memory of an agent", 512.3, "B").at_most(400.0),
            Figure::new("touch", 4.7, "ns").at_most(100.0),
            Figure::new("list", 16.0, "ms"),
        ];
        assert_eq!(
            table(&figures),
            "memory of an agent    512 B  at most 400 B: MISSED\n\
             touch               4.70 ns  at most 100 ns: met\n\
             list                  16 ms\n"
        );
    }
}
