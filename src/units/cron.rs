//! The five fields of cron: which minutes of which days. Read by ourselves, because the grammar is small, what is asked is
//! unusual (when did it last match), and a mistake must be answered with what to write.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;

use super::Written;

/// An expression of five fields: minute, hour, day of the month, month, day of the week.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cron {
    fields: [Field; 5],
    /// As it was written, for people.
    text: Box<str>,
}

/// The values of one field, a bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Field {
    bits: u64,
    /// It begins with a star.
    is_open: bool,
}

/// What may stand in a field.
struct Kind {
    name: &'static str,
    lowest: u8,
    highest: u8,
    /// Names of values, from the lowest on.
    words: &'static [&'static str],
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
/// Sunday is 0 and 7.
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const SUNDAY_AGAIN: u8 = 7;

const KINDS: [Kind; 5] = [
    Kind { name: "minute", lowest: 0, highest: 59, words: &[] },
    Kind { name: "hour", lowest: 0, highest: 23, words: &[] },
    Kind { name: "day of the month", lowest: 1, highest: 31, words: &[] },
    Kind { name: "month", lowest: 1, highest: 12, words: &MONTHS },
    Kind { name: "day of the week", lowest: 0, highest: SUNDAY_AGAIN, words: &WEEKDAYS },
];

/// The days of each month in its longest year.
const LONGEST: [u8; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

impl Cron {
    /// Whether it matches any time of this day. As cron has it: where both a day of the month and a day of the week are
    /// asked for, either will do.
    pub fn is_on(&self, date: Date) -> bool {
        let [_, _, day, month, weekday] = &self.fields;
        let has_day = day.has(date.day().unsigned_abs());
        let has_weekday = weekday.has(date.weekday().to_sunday_zero_offset().unsigned_abs());
        month.has(date.month().unsigned_abs())
            && if self.either_day() { has_day || has_weekday } else { has_day && has_weekday }
    }

    /// The hour and minute of every time that it matches on such a day, the latest first.
    pub fn times_backwards(&self) -> impl Iterator<Item = (i8, i8)> {
        let [minute, hour, ..] = self.fields;
        (0..24).rev().filter(move |at| hour.has(*at)).flat_map(move |hour| {
            let minutes = (0..60).rev().filter(move |at| minute.has(*at));
            minutes.map(move |minute| (hour.cast_signed(), minute.cast_signed()))
        })
    }

    /// Whether its hours begin with a star: it is about stretches of time, and not about an hour on the clock.
    pub fn is_hourly(&self) -> bool {
        self.fields[1].is_open
    }

    fn either_day(&self) -> bool {
        !self.fields[2].is_open && !self.fields[4].is_open
    }

    /// Whether one of its months ever has one of its days.
    fn ever_matches(&self) -> bool {
        let [_, _, day, month, _] = &self.fields;
        let mut months = (1..).zip(LONGEST).filter(|(number, _)| month.has(*number));
        self.either_day() || months.any(|(_, days)| (1..=days).any(|number| day.has(number)))
    }
}

impl Written for Cron {
    fn read(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        if words.len() != KINDS.len() {
            return Err(format!(
                "{text:?} does not have five fields; write minute, hour, day of the month, month and day of the week, such \
                 as 0 8 * * mon-fri"
            ));
        }
        let mut fields = [Field { bits: 0, is_open: false }; 5];
        for ((field, kind), word) in fields.iter_mut().zip(&KINDS).zip(&words) {
            *field = kind.read(word)?;
        }
        let cron = Self { fields, text: words.join(" ").into() };
        if !cron.ever_matches() {
            return Err(format!(
                "{text:?} never comes: its months have no such day; write a day that one of them has, such as 28"
            ));
        }
        Ok(cron)
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Field {
    const fn has(self, value: u8) -> bool {
        self.bits & (1 << value) != 0
    }
}

impl Kind {
    fn read(&self, text: &str) -> Result<Field, String> {
        let mut parts = text.split(',').map(|part| self.part(part));
        let bits = parts.try_fold(0, |bits, part| part.map(|more| bits | more))?;
        // A Sunday is kept as 0, whichever way it is written.
        let bits = match self.highest {
            SUNDAY_AGAIN => bits & !(1 << SUNDAY_AGAIN) | bits >> SUNDAY_AGAIN,
            _ => bits,
        };
        Ok(Field { bits, is_open: text.starts_with('*') })
    }

    /// `*`, a range or a value; the first two with a step if need be.
    fn part(&self, part: &str) -> Result<u64, String> {
        let (values, step) = match part.split_once('/') {
            Some((values, step)) => (values, Some(self.step(part, step)?)),
            None => (part, None),
        };
        let (first, last) = match (values.split_once('-'), step) {
            _ if values == "*" => (self.lowest, self.highest),
            (Some((first, last)), _) => self.range(first, last)?,
            (None, None) => (self.value(values)?, self.value(values)?),
            (None, Some(step)) => {
                let (first, last) = (self.value(values)?, self.highest);
                return Err(format!("in {part:?}, a step needs a range; write {first}-{last}/{step}"));
            }
        };
        Ok((first..=last).step_by(step.unwrap_or(1)).fold(0, |bits, value| bits | 1 << value))
    }

    fn range(&self, first: &str, last: &str) -> Result<(u8, u8), String> {
        let (from, mut to) = (self.value(first)?, self.value(last)?);
        if from > 0 && to == 0 && self.highest == SUNDAY_AGAIN {
            to = SUNDAY_AGAIN;
        }
        if from > to {
            let (lowest, highest) = (self.lowest, self.highest);
            return Err(format!(
                "\"{first}-{last}\" ends before it begins; write {first}-{highest},{lowest}-{last}"
            ));
        }
        Ok((from, to))
    }

    fn value(&self, text: &str) -> Result<u8, String> {
        let word = self.words.iter().position(|word| word.eq_ignore_ascii_case(text));
        let named = word.and_then(|index| u8::try_from(index).ok()).map(|index| index + self.lowest);
        let within = |value: &u8| (self.lowest..=self.highest).contains(value);
        named.or_else(|| number(text)).filter(within).ok_or_else(|| self.refuse(text))
    }

    fn step(&self, part: &str, text: &str) -> Result<usize, String> {
        let step = number(text).filter(|step| (1..=usize::from(self.highest)).contains(step));
        step.ok_or_else(|| {
            format!(
                "in {part:?}, {text:?} is no step for the {}; write a number from 1 to {}",
                self.name, self.highest
            )
        })
    }

    fn refuse(&self, text: &str) -> String {
        let words = match self.words {
            [first, .., last] => format!(", or a name from {first} to {last}"),
            _ => String::new(),
        };
        format!(
            "{text:?} is no {}; write * for all, or a number from {} to {}{words}",
            self.name, self.lowest, self.highest
        )
    }
}

/// Digits alone: no sign.
fn number<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok().filter(|_| text.bytes().all(|digit| digit.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    fn cron(text: &str) -> Cron {
        Cron::read(text).unwrap()
    }

    /// The values of one field, by its number.
    fn values(text: &str, field: usize) -> Vec<u8> {
        let cron = cron(text);
        (0..64).filter(|value| cron.fields[field].has(*value)).collect()
    }

    #[test]
    fn numbers_names_ranges_steps_and_lists_are_read() {
        assert_eq!(values("*/20 * * * *", 0), [0, 20, 40]);
        assert_eq!(values("0 8-18/5,23 * * *", 1), [8, 13, 18, 23]);
        assert_eq!(values("0 0 1,15 * *", 2), [1, 15]);
        assert_eq!(values("0 0 * Feb-apr,12 *", 3), [2, 3, 4, 12]);
        assert_eq!(values("0 0 * * mon-fri", 4), [1, 2, 3, 4, 5]);
        assert_eq!(values("0 0 * * sat-sun", 4), [0, 6]);
        assert_eq!(values("0 0 * * 5-7", 4), [0, 5, 6]);
        assert_eq!(values("0 0 * * sun-sun", 4), [0]);
        assert_eq!(values("0 0 * * 7", 4), [0]);
        assert_eq!(values("0 0 * * SUN", 4), [0]);
        assert_eq!(values("0 0 * * *", 4), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(cron(" 0  8 * *\tmon ").to_string(), "0 8 * * mon");
    }

    #[test]
    fn either_kind_of_day_will_do_where_both_are_asked_for() {
        // 2026-11-02 is a Monday.
        let [monday, second_sunday, friday] = [date(2026, 11, 2), date(2026, 11, 8), date(2026, 11, 13)];
        for (text, on) in [
            ("0 0 8 * mon", [true, true, false]),
            ("0 0 8 * *", [false, true, false]),
            ("0 0 * * mon", [true, false, false]),
            ("0 0 */2 * fri", [false, false, true]),
            ("0 0 8 12 mon", [false, false, false]),
        ] {
            assert_eq!([monday, second_sunday, friday].map(|day| cron(text).is_on(day)), on, "{text}");
        }
    }

    #[test]
    fn times_come_latest_first() {
        let times: Vec<_> = cron("0,30 8-9 * * *").times_backwards().collect();
        assert_eq!(times, [(9, 30), (9, 0), (8, 30), (8, 0)]);
    }

    #[test]
    fn what_cannot_be_read_is_answered_with_what_to_write() {
        let wrong = [
            ("@daily", "does not have five fields; write minute, hour"),
            ("0 0 8 * * mon", "does not have five fields; write minute, hour"),
            ("60 8 * * *", "\"60\" is no minute; write * for all, or a number from 0 to 59"),
            ("0 24 * * *", "\"24\" is no hour; write * for all, or a number from 0 to 23"),
            ("0 8 0 * *", "\"0\" is no day of the month; write * for all, or a number from 1 to 31"),
            ("0 8 * 13 *", "or a number from 1 to 12, or a name from jan to dec"),
            ("0 8 * * monday", "\"monday\" is no day of the week; write * for all, or a number from 0 to 7"),
            ("0 8 L * *", "\"L\" is no day of the month; write"),
            ("0 +8 * * *", "\"+8\" is no hour; write"),
            ("0 8, * * *", "\"\" is no hour; write"),
            ("0 22-6 * * *", "\"22-6\" ends before it begins; write 22-23,0-6"),
            ("*/0 * * * *", "in \"*/0\", \"0\" is no step for the minute; write a number from 1 to 59"),
            ("*/90 * * * *", "\"90\" is no step for the minute; write a number from 1 to 59"),
            ("5/10 * * * *", "in \"5/10\", a step needs a range; write 5-59/10"),
            ("0 0 31 feb,4 *", "never comes: its months have no such day; write a day"),
        ];
        for (text, message) in wrong {
            let refused = Cron::read(text).unwrap_err();
            assert!(refused.contains(message), "{text}: {refused}");
        }
        cron("0 0 29 feb *");
        cron("0 0 31 feb mon");
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(minute in 0..60, hour in 0..24, day in 1..29, weekday in 0..8) {
            let cron = cron(&format!("{minute}  {hour} {day} jan-mar {weekday}"));
            prop_assert_eq!(Cron::read(&cron.to_string()), Ok(cron));
        }

        #[test]
        fn any_text_is_read_or_refused_with_advice(text in "[*0-9a-z/, -]{0,20}|(\\PC{1,3} ){4}\\PC{1,3}") {
            if let Err(message) = Cron::read(&text) {
                prop_assert!(message.contains("; write "), "{}", message);
            }
        }
    }
}
