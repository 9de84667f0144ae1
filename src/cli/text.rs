//! Times and foreign text as a terminal shows them.

use std::time::Duration;

use jiff::Timestamp;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A span in at most two units, never more exact than it is useful: `12s`, `3m20s`, `47m`, `5h10m`, `3d`.
pub(super) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let two = |big: u64, big_unit, small: u64, small_unit| match small {
        0 => format!("{big}{big_unit}"),
        _ => format!("{big}{big_unit}{small}{small_unit}"),
    };
    match seconds {
        0..100 => format!("{seconds}s"),
        100..600 => two(seconds / MINUTE, "m", seconds % MINUTE, "s"),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..86_400 => two(seconds / HOUR, "h", seconds % HOUR / MINUTE, "m"),
        86_400..172_800 => format!("{}h", seconds / HOUR),
        _ => format!("{}d", seconds / DAY),
    }
}

/// A moment seen from now: `3m20s ago`, `in 48s`, `now`.
pub(super) fn relative(now: Timestamp, then: Timestamp) -> String {
    let apart = then.duration_since(now);
    match (apart.unsigned_abs(), apart.is_positive()) {
        (apart, _) if apart < Duration::from_secs(1) => "now".to_owned(),
        (apart, true) => format!("in {}", span(apart)),
        (apart, false) => format!("{} ago", span(apart)),
    }
}

/// The same with the moment itself, for comparing with logs: `in 48s (2026-11-24 02:15:13Z)`.
pub(super) fn moment(now: Timestamp, then: Timestamp) -> String {
    format!("{} ({})", relative(now, then), calendar(then))
}

/// How long something is so: `3m20s (since 2026-11-24 02:11:05Z)`.
pub(super) fn lasting(now: Timestamp, since: Timestamp) -> String {
    format!("{} (since {})", span(now.duration_since(since).unsigned_abs()), calendar(since))
}

/// To the second, in UTC, as the log has it.
fn calendar(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// Text that an agent or a file has a say in. What a terminal would act on is written out instead.
pub(super) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => shown.push(' '),
            c if c.is_control() => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}

/// Such text, line by line, each after `indent`.
pub(super) fn lines<'a>(indent: &str, text: impl IntoIterator<Item = &'a str>) -> String {
    let mut shown = String::new();
    for line in text {
        shown.push_str(indent);
        shown.push_str(&plain(line));
        shown.push('\n');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_as_exact_as_is_useful() {
        let cases = [
            (0, "0s"),
            (99, "99s"),
            (100, "1m40s"),
            (120, "2m"),
            (599, "9m59s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (18_600, "5h10m"),
            (86_400, "24h"),
            (172_800, "2d"),
            (40 * 86_400, "40d"),
        ];
        for (seconds, shown) in cases {
            assert_eq!(span(Duration::from_secs(seconds)), shown);
        }
    }

    #[test]
    fn moments_are_before_now_or_after_it() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(relative(now, at(999_800)), "3m20s ago");
        assert_eq!(relative(now, at(1_000_048)), "in 48s");
        assert_eq!(relative(now, now), "now");
        assert_eq!(moment(now, at(1_000_048)), "in 48s (1970-01-12 13:47:28Z)");
    }

    #[test]
    fn an_agent_cannot_command_the_terminal() {
        assert_eq!(plain("a\tb\u{1b}[31mred\r\u{7}é"), "a b\\u{1b}[31mred\\r\\u{7}é");
    }
}
