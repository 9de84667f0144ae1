//! What was counted when the baseline was made, and what has changed since.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// What is counted, by name.
pub type Counts = BTreeMap<String, u64>;

/// The compiler of this program: another one makes other instructions of the same source.
const RUSTC: &str = env!("DROWSE_RUSTC");
/// What it made them for.
const TARGET: &str = env!("DROWSE_TARGET");

/// So much more than the baseline is still as good, in percent.
const TOLERANCE_PERCENT: u64 = 5;

/// How to write the file anew, for people.
const RENEW: &str = "make bench-instructions RENEW=1";

/// What is committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    rustc: String,
    target: String,
    instructions: Counts,
}

impl Baseline {
    /// By this compiler.
    pub fn of(instructions: Counts) -> Self {
        Self { rustc: RUSTC.to_owned(), target: TARGET.to_owned(), instructions }
    }

    /// Reads the file.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not as `{RENEW}` writes it", file.display()))
    }

    /// Writes the file.
    pub fn write(&self, file: &Path) -> anyhow::Result<()> {
        std::fs::write(file, self.text()?).with_context(|| format!("failed to write {}", file.display()))
    }

    fn text(&self) -> anyhow::Result<String> {
        let head = format!(
            "# Instructions in user space for each, as callgrind counts them. `make bench-instructions` fails if one is more than \
             {TOLERANCE_PERCENT} %\n# above this, with the same compiler. `{RENEW}` writes this file.\n\n"
        );
        Ok(head + &toml::to_string(self)?)
    }

    /// The names of what it has.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.instructions.keys().map(String::as_str)
    }

    /// What has become of it.
    pub fn compare(&self, counts: &Counts) -> Comparison {
        let names: std::collections::BTreeSet<_> = self.instructions.keys().chain(counts.keys()).collect();
        let row = |name: &String| Row {
            name: name.clone(),
            measured: counts.get(name).copied(),
            baseline: self.instructions.get(name).copied(),
        };
        let rows = names.into_iter().map(row).collect();
        let made = Baseline::of(Counts::new());
        let comparable = (&self.rustc, &self.target) == (&made.rustc, &made.target);
        Comparison { rows, made_by: (!comparable).then(|| format!("{} for {}", self.rustc, self.target)) }
    }
}

/// A count beside its baseline.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    name: String,
    measured: Option<u64>,
    baseline: Option<u64>,
}

impl Row {
    fn is_good(&self) -> bool {
        let (Some(measured), Some(baseline)) = (self.measured, self.baseline) else { return false };
        measured * 100 <= baseline * (100 + TOLERANCE_PERCENT)
    }
}

/// All counts beside their baselines.
#[derive(Debug)]
pub struct Comparison {
    rows: Vec<Row>,
    /// By whom the baseline was made, if not by the compiler of this program.
    made_by: Option<String>,
}

impl Comparison {
    /// Whether nothing has become more expensive, as far as that can be told.
    pub fn is_good(&self) -> bool {
        self.made_by.is_some() || self.rows.iter().all(Row::is_good)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
        writeln!(f, "{:<22} {:>9} {:>9} {:>6}", "instructions", "measured", "baseline", "ratio")?;
        for row in &self.rows {
            let ratio = match (row.measured, row.baseline) {
                (Some(measured), Some(baseline)) => format!("{:.3}", measured as f64 / baseline as f64),
                _ => "-".to_owned(),
            };
            let verdict = if row.is_good() { "" } else { "  NOT as the baseline" };
            let (name, measured, baseline) = (&row.name, shown(row.measured), shown(row.baseline));
            writeln!(f, "{name:<22} {measured:>9} {baseline:>9} {ratio:>6}{verdict}")?;
        }
        match &self.made_by {
            Some(other) => writeln!(
                f,
                "the baseline was made by {other}, this by {RUSTC} for {TARGET}: that says nothing, and fails nothing"
            ),
            None if self.is_good() => Ok(()),
            None => writeln!(
                f,
                "more than {TOLERANCE_PERCENT} % above the baseline, or not in it; if that is meant, `{RENEW}` writes it anew"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(all: &[(&str, u64)]) -> Counts {
        all.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn five_percent_more_is_as_good_and_more_is_not() {
        let baseline = Baseline::of(counts(&[("gate", 100)]));
        for (count, good) in [(1, true), (105, true), (106, false)] {
            assert_eq!(baseline.compare(&counts(&[("gate", count)])).is_good(), good, "{count}");
        }
    }

    #[test]
    fn what_is_missing_on_either_side_is_not_good_and_is_shown() {
        let baseline = Baseline::of(counts(&[("gate", 100), ("table", 40)]));
        for measured in [counts(&[("gate", 100)]), counts(&[("gate", 100), ("table", 40), ("route", 7)])] {
            assert!(!baseline.compare(&measured).is_good(), "{measured:?}");
        }
        let shown = baseline.compare(&counts(&[("gate", 110), ("route", 7)])).to_string();
        let lines: Vec<_> =
            shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            lines[..4],
            [
                "instructions measured baseline ratio",
                "gate 110 100 1.100 NOT as the baseline",
                "route 7 - - NOT as the baseline",
                "table - 40 - NOT as the baseline",
            ]
        );
        assert!(lines[4].contains("make bench-instructions RENEW=1"), "{shown}");
    }

    #[test]
    fn the_baseline_of_another_compiler_fails_nothing_and_says_so() {
        let mut baseline = Baseline::of(counts(&[("gate", 100)]));
        baseline.rustc = "1.0.0".to_owned();
        let comparison = baseline.compare(&counts(&[("gate", 200)]));
        assert!(comparison.is_good());
        assert!(comparison.to_string().contains("made by 1.0.0 for"), "{comparison}");
    }

    #[test]
    fn the_file_is_read_as_it_was_written() {
        let baseline = Baseline::of(counts(&[("gate", 100), ("table-find", 40)]));
        let dir = tempfile::TempDir::new().unwrap();
        let file = dir.path().join("instructions.toml");
        baseline.write(&file).unwrap();
        assert_eq!(Baseline::read(&file).unwrap(), baseline);
        assert!(!baseline.rustc.is_empty() && !baseline.target.is_empty());
        std::fs::write(&file, "rustc = 1").unwrap();
        assert!(Baseline::read(&file).is_err());
    }
}
