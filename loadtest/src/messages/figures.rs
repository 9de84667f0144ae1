//! What the rounds add up to.

use serde::Serialize;

use super::reading::Lap;
use crate::goal::Goal;
use crate::report::Table;
use crate::stats::median;

/// So much of the rate without Drowse is to be left with it.
const RATIO: f64 = 0.9;

/// How long Drowse may believe after a load that something of it was not answered: for two looks at the counters.
const OWES_SECS: f64 = 10.0;

/// The two parts of one load, and what comes after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Laps {
    /// Right after a pause.
    pub(super) begin: Lap,
    /// After that.
    pub(super) steady: Lap,
    /// How long Drowse believed afterwards that something was not answered. Zero without Drowse.
    pub(super) owes_secs: f64,
}

/// One lap on either side.
#[derive(Clone, Copy, Debug, Serialize)]
struct Pair {
    without: Lap,
    with: Lap,
}

impl Pair {
    fn ratio(&self) -> f64 {
        self.with.messages_per_second / self.without.messages_per_second.max(f64::EPSILON)
    }
}

/// The same laps of all rounds.
#[derive(Debug, Default, Serialize)]
struct Series {
    rounds: Vec<Pair>,
    without_per_second: f64,
    with_per_second: f64,
    /// The median of the rounds' ratios.
    ratio: f64,
}

impl Series {
    fn median(&self, of: impl Fn(&Pair) -> f64) -> f64 {
        median(self.rounds.iter().map(of)).unwrap_or_default()
    }

    fn conclude(&mut self) {
        self.without_per_second = self.median(|pair| pair.without.messages_per_second);
        self.with_per_second = self.median(|pair| pair.with.messages_per_second);
        self.ratio = self.median(Pair::ratio);
    }

    fn table(&self, title: &str) -> String {
        let heads = [
            title,
            "without /s",
            "with /s",
            "with / without",
            "copies each",
            "wait for Drowse MB",
            "drowse CPU us",
            "server CPU us without",
            "with",
        ];
        let mut table = Table::new(&heads);
        for (number, pair) in self.rounds.iter().enumerate() {
            table.row(cells(format!("round {}", number + 1), |of| of(pair)));
        }
        table.row(cells("median".to_owned(), |of| self.median(of)));
        table.to_string()
    }

    fn row(&self, what: &str) -> String {
        let Self { without_per_second, with_per_second, ratio, .. } = self;
        format!(
            "| {what} | {} | {} | {ratio:.2} |\n",
            thousands(*without_per_second),
            thousands(*with_per_second)
        )
    }
}

/// A row of a table, whose figures come from one pair or from all of them.
fn cells(name: String, of: impl Fn(fn(&Pair) -> f64) -> f64) -> [String; 9] {
    [
        name,
        format!("{:.0}", of(|pair| pair.without.messages_per_second)),
        format!("{:.0}", of(|pair| pair.with.messages_per_second)),
        format!("{:.3}", of(Pair::ratio)),
        format!("{:.3}", of(|pair| pair.with.copies_per_message)),
        format!("{:.1}", of(|pair| pair.with.waiting_mb)),
        format!("{:.2}", of(|pair| pair.with.drowse_cpu_us_per_message)),
        format!("{:.2}", of(|pair| pair.without.server_cpu_us_per_message)),
        format!("{:.2}", of(|pair| pair.with.server_cpu_us_per_message)),
    ]
}

/// With three digits that are worth reading, and a comma before each three.
fn thousands(value: f64) -> String {
    let unit = 10_f64.powf(value.max(1.0).log10().floor() - 2.0).max(1.0);
    let digits = format!("{:.0}", (value / unit).round() * unit);
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// All rounds of one load.
#[derive(Debug, Serialize)]
struct OfLoad {
    name: String,
    begin: Series,
    steady: Series,
    /// The longest of all rounds.
    owes_secs: f64,
}

/// The figures of the scenario.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    loads: Vec<OfLoad>,
    goals: Vec<Goal>,
}

impl Figures {
    pub(super) fn new(names: impl IntoIterator<Item = String>) -> Self {
        let load =
            |name| OfLoad { name, begin: Series::default(), steady: Series::default(), owes_secs: 0.0 };
        Self { loads: names.into_iter().map(load).collect(), goals: Vec::new() }
    }

    /// Adds a round: the laps of every load, without Drowse and with it.
    pub(super) fn add(&mut self, without: &[Laps], with: &[Laps]) {
        for (load, (without, with)) in self.loads.iter_mut().zip(without.iter().zip(with)) {
            load.begin.rounds.push(Pair { without: without.begin, with: with.begin });
            load.steady.rounds.push(Pair { without: without.steady, with: with.steady });
            load.owes_secs = load.owes_secs.max(with.owes_secs);
        }
    }

    /// Sums up, when all rounds are there.
    pub(super) fn conclude(&mut self) {
        for OfLoad { name, begin, steady, owes_secs } in &mut self.loads {
            begin.conclude();
            steady.conclude();
            self.goals.push(Goal::at_least(format!("{name}: with / without"), steady.ratio, RATIO, ""));
            let what = format!("{name}: until Drowse knows that all is answered");
            self.goals.push(Goal::at_most(what, *owes_secs, OWES_SECS, " s"));
        }
    }

    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        for OfLoad { name, begin, steady, .. } in &self.loads {
            text += &begin.table(&format!("{name}, right after a pause"));
            text += "\n";
            text += &steady.table(&format!("{name}, after that"));
            text += "\n";
        }
        text += &self.goals.iter().map(Goal::text).collect::<Vec<_>>().concat();
        text + "\n" + &self.rows()
    }

    /// As README.md has them.
    fn rows(&self) -> String {
        let mut text = "| messages a second to an agent that is awake | without Drowse | with | ratio |\n|---|---|---|---|\n".to_owned();
        for OfLoad { name, begin, steady, .. } in &self.loads {
            text += &steady.row(name);
            text += &begin.row(&format!("{name}, right after a pause"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laps(rate: f64) -> Laps {
        let lap = |messages_per_second| Lap {
            messages_per_second,
            server_cpu_us_per_message: 1.5,
            drowse_cpu_us_per_message: 0.25,
            copies_per_message: 0.5,
            waiting_mb: 3.0,
        };
        Laps { begin: lap(rate / 2.0), steady: lap(rate), owes_secs: rate / 10_000.0 }
    }

    fn figures() -> Figures {
        let mut figures = Figures::new(["a load".to_owned()]);
        for (without, with) in [(1000.0, 900.0), (100_000.0, 95_000.0), (2000.0, 2000.0)] {
            figures.add(&[laps(without)], &[laps(with)]);
        }
        figures.conclude();
        figures
    }

    #[test]
    fn the_median_of_the_rounds_ratios_is_told_and_not_the_ratio_of_medians() {
        let figures = figures();
        assert!((figures.loads[0].steady.ratio - 0.95).abs() < 1e-9, "{figures:?}");
        assert_eq!(figures.goals[0].text(), "met: a load: with / without: 0.95, goal at least 0.9\n");
        assert!(
            figures.goals[1]
                .text()
                .starts_with("met: a load: until Drowse knows that all is answered: 9.50 s")
        );
    }

    #[test]
    fn the_table_has_every_round_and_the_rows_for_the_readme() {
        let table = figures().table();
        for part in
            ["a load, right after a pause", "round 3", "median", "0.500", "| a load | 2,000 | 2,000 | 0.95 |"]
        {
            assert!(table.contains(part), "{part} is missing:\n{table}");
        }
    }

    #[test]
    fn rates_have_three_digits_that_count() {
        let rates = [0.0, 7.4, 999.6, 1234.0, 31_449.0, 1_049_999.0].map(thousands);
        assert_eq!(rates, ["0", "7", "1,000", "1,230", "31,400", "1,050,000"]);
    }
}
