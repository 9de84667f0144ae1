//! Lengths of time as people write them: `30s`, `1m 30s`, `2h`.
//!
//! humantime's forms without its traps: `M` is a month there, which nobody means who writes `15M`.

use std::fmt;
use std::time::Duration;

use super::{Written, written};

/// In milliseconds, largest first. humantime would print months, which are refused when they are read.
const UNITS: [(&str, u128); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Longer than anything that waits here should; keeps sums of times far from overflow.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// A length of time in whole milliseconds, zero included, at most a year.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct HumanDuration(Duration);

/// A length of time above zero: for waits that would be senseless without one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Timeout(HumanDuration);

impl HumanDuration {
    /// So many seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// As the rest of the program uses it.
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl Timeout {
    /// This long, unless it is zero.
    pub const fn new(duration: Duration) -> Option<Self> {
        if duration.is_zero() { None } else { Some(Self(HumanDuration(duration))) }
    }

    /// So many seconds; zero counts as one.
    pub const fn from_secs(secs: u64) -> Self {
        Self(HumanDuration::from_secs(if secs == 0 { 1 } else { secs }))
    }

    /// As the rest of the program uses it. Never zero.
    pub const fn get(self) -> Duration {
        self.0.get()
    }
}

impl From<Duration> for HumanDuration {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl Written for HumanDuration {
    fn read(text: &str) -> Result<Self, String> {
        refuse_odd_units(text)?;
        refuse_long_numbers(text)?;
        let duration = humantime::parse_duration(text).map_err(|error| explain(text, &error))?;
        if duration > LONGEST {
            return Err(format!("{text:?} is longer than a year; write at most 365d"));
        }
        if duration.subsec_nanos() % 1_000_000 != 0 {
            return Err(format!(
                "{text:?} is finer than a millisecond; write whole milliseconds, such as 5ms"
            ));
        }
        Ok(Self(duration))
    }
}

impl Written for Timeout {
    fn read(text: &str) -> Result<Self, String> {
        match HumanDuration::read(text)? {
            HumanDuration(Duration::ZERO) => {
                Err("zero would leave no time at all; write for example 30s".into())
            }
            duration => Ok(Self(duration)),
        }
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let mut parts = UNITS.iter().scan(millis, |left, (unit, size)| {
            let count = *left / size;
            *left %= size;
            Some((count, unit))
        });
        match parts.by_ref().find(|(count, _)| *count > 0) {
            Some((count, unit)) => write!(f, "{count}{unit}")?,
            None => f.write_str("0s")?,
        }
        parts.filter(|(count, _)| *count > 0).try_for_each(|(count, unit)| write!(f, " {count}{unit}"))
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Months and years are no fixed length, and a capital letter is most likely a slip.
fn refuse_odd_units(text: &str) -> Result<(), String> {
    let mut units = text.split(|c: char| !c.is_alphabetic()).filter(|unit| !unit.is_empty());
    match units.find(|unit| matches!(unit.to_lowercase().chars().next(), Some('y')) || is_odd(unit)) {
        Some("M") => Err(format!("in {text:?}, M would be months; write m for minutes, such as 15m")),
        Some(unit) => {
            Err(format!("in {text:?}, {unit:?} is not a unit here; write ms, s, m, h or d, such as 15m"))
        }
        None => Ok(()),
    }
}

fn is_odd(unit: &str) -> bool {
    unit.starts_with("month") || unit.chars().any(char::is_uppercase)
}

/// humantime adds up unchecked near the end of its range, and panics there.
fn refuse_long_numbers(text: &str) -> Result<(), String> {
    let longest = text.split(|c: char| !c.is_ascii_digit()).map(str::len).max().unwrap_or(0);
    if longest > 12 || text.len() > 64 {
        return Err("this length of time is too long to be meant; write for example 15m".into());
    }
    Ok(())
}

fn explain(text: &str, error: &humantime::DurationError) -> String {
    use humantime::DurationError as E;
    match error {
        E::Empty => "a length of time is missing; write for example 30s or 15m".into(),
        E::UnknownUnit { unit, value, .. } if unit.is_empty() => {
            format!("{text:?} has no unit; write {value}s, or {value}m for minutes")
        }
        E::UnknownUnit { unit, value, .. } => {
            format!("in {text:?}, {unit:?} is not a unit; write ms, s, m, h or d, such as {value}m")
        }
        E::NumberOverflow => format!("{text:?} is too large or too fine; write for example 15m"),
        E::InvalidCharacter(_) | E::NumberExpected(_) => {
            format!("{text:?} is not a length of time; write for example 30s, 15m or 1h 30m")
        }
    }
}

written!(HumanDuration, "Duration", {
    "type": "string",
    "title": "duration",
    "pattern": r"^\s*(0|([0-9]+(\.[0-9]+)?\s*[a-z]+\s*)+)$",
    "examples": ["500ms", "30s", "15m", "1h 30m"],
});

written!(Timeout, "Timeout", {
    "type": "string",
    "title": "duration above zero",
    "pattern": r"^\s*([0-9]+(\.[0-9]+)?\s*[a-z]+\s*)+$",
    "examples": ["500ms", "30s", "15m", "1h 30m"],
});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_usual_forms_are_read() {
        let forms = [
            ("30s", 30_000),
            ("15m", 900_000),
            ("1h 30m", 5_400_000),
            ("1.5s", 1_500),
            ("250ms", 250),
            ("0s", 0),
        ];
        for (text, millis) in forms {
            assert_eq!(HumanDuration::read(text).unwrap().get(), Duration::from_millis(millis), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_answered_with_what_to_write() {
        let wrong = [
            ("", "a length of time is missing; write for example 30s or 15m"),
            ("30", r#""30" has no unit; write 30s, or 30m for minutes"#),
            ("15M", r#"in "15M", M would be months; write m for minutes, such as 15m"#),
            ("2years", r#"in "2years", "years" is not a unit here; write ms, s, m, h or d, such as 15m"#),
            ("5x", r#"in "5x", "x" is not a unit; write ms, s, m, h or d, such as 5m"#),
            ("-5s", r#""-5s" is not a length of time; write for example 30s, 15m or 1h 30m"#),
            ("soon", r#""soon" is not a length of time; write for example 30s, 15m or 1h 30m"#),
            ("1us", r#""1us" is finer than a millisecond; write whole milliseconds, such as 5ms"#),
            ("400d", r#""400d" is longer than a year; write at most 365d"#),
            ("9999999999999s", "this length of time is too long to be meant; write for example 15m"),
            (
                "18446744073709551615s1000ms",
                "this length of time is too long to be meant; write for example 15m",
            ),
            ("1.000000000001s", r#""1.000000000001s" is too large or too fine; write for example 15m"#),
        ];
        for (text, message) in wrong {
            assert_eq!(HumanDuration::read(text).unwrap_err(), message);
        }
    }

    #[test]
    fn a_timeout_is_never_zero() {
        assert!(Timeout::read("1ms").is_ok());
        for zero in ["0s", "0", "0ms"] {
            assert!(Timeout::read(zero).unwrap_err().contains("write for example 30s"), "{zero}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(millis in 0..365 * 24 * 3_600_000_u64) {
            let duration = HumanDuration(Duration::from_millis(millis));
            prop_assert_eq!(HumanDuration::read(&duration.to_string()), Ok(duration));
        }

        #[test]
        fn any_text_is_read_or_refused_with_advice(text in "\\PC*") {
            if let Err(message) = Timeout::read(&text) {
                prop_assert!(message.contains("; write "), "{}", message);
            }
        }
    }
}
