//! Windows on ordinary days, and on those on which clocks are changed.

use std::time::Duration;

use jiff::ToSpan;
use proptest::prelude::*;

use super::*;
use crate::units::Written;

fn windows(text: &str) -> Windows {
    Windows::read(text).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// When the window opens and closes, by asking every minute from one time to another.
fn stretches(text: &str, from: &str, to: &str) -> Vec<(Timestamp, Timestamp)> {
    let windows = windows(text);
    let mut found: Vec<(Timestamp, Timestamp)> = Vec::new();
    let (mut now, end) = (at(from), at(to));
    while now < end {
        if let Some(open) = open_at(&windows, now) {
            match found.last_mut() {
                // It may be prolonged while it is open.
                Some((_, until)) if *until >= now => *until = open.until,
                _ => found.push((now, open.until)),
            }
        }
        now += 1.minute();
    }
    found
}

#[track_caller]
fn opens(text: &str, (from, to): (&str, &str), expected: &[(&str, &str)]) {
    let expected: Vec<_> = expected.iter().map(|(from, to)| (at(from), at(to))).collect();
    assert_eq!(stretches(text, from, to), expected, "{text}");
}

#[test]
fn a_window_is_open_from_its_time_on_for_its_length_on_its_days() {
    // 2026-11-06 is a Friday.
    let days = ("2026-11-06T00:00Z", "2026-11-10T00:00Z");
    let expected = [("2026-11-06T07:00Z", "2026-11-06T17:00Z"), ("2026-11-09T07:00Z", "2026-11-09T17:00Z")];
    opens("0 8 * * mon-fri for 10h Europe/Berlin", days, &expected);
    let [office, midnight] = ["0 8 * * mon-fri for 10h Europe/Berlin", "0 0 * * * for 1h UTC"].map(windows);
    let is_open = |text| open_at(&office, at(text)).is_some();
    assert!(!is_open("2026-11-06T06:59:59.999999999Z") && is_open("2026-11-06T07:00:00Z"));
    assert!(is_open("2026-11-06T16:59:59.999999999Z") && !is_open("2026-11-06T17:00:00Z"));
    assert_eq!(open_at(&midnight, at("2026-11-06T23:59:59.999999999Z")), None);
}

#[test]
fn a_window_goes_on_over_midnight_and_into_the_next_month_and_year() {
    let new_year = ("2026-12-30T00:00Z", "2027-01-03T00:00Z");
    opens("0 22 31 * * for 30h UTC", new_year, &[("2026-12-31T22:00Z", "2027-01-02T04:00Z")]);
    let february = ("2027-02-01T00:00Z", "2027-03-05T00:00Z");
    opens("30 0 1 feb * for 31d UTC", february, &[("2027-02-01T00:30Z", "2027-03-04T00:30Z")]);
}

#[test]
fn a_window_that_is_longer_than_its_period_never_closes() {
    let days = ("2026-11-06T00:00Z", "2026-11-08T12:00Z");
    opens("0 0 * * * for 36h UTC", days, &[("2026-11-06T00:00Z", "2026-11-09T12:00Z")]);
    opens("*/30 * * * * for 30m UTC", days, &[("2026-11-06T00:00Z", "2026-11-08T12:00Z")]);
}

#[test]
fn of_windows_that_overlap_the_one_that_closes_last_is_named() {
    let both = windows("0 8 * * * for 10h UTC; 0 12 * * * for 2h UTC; 0 17 * * * for 3h UTC");
    let named = |text| open_at(&both, at(text)).map(|open| (open.window.to_string(), open.until));
    let until = |text: &str, end| Some((text.to_owned(), at(end)));
    assert_eq!(named("2026-11-06T13:00Z"), until("0 8 * * * for 10h UTC", "2026-11-06T18:00Z"));
    assert_eq!(named("2026-11-06T17:30Z"), until("0 17 * * * for 3h UTC", "2026-11-06T20:00Z"));
    assert_eq!(named("2026-11-06T20:00Z"), None);
    assert_eq!(open_at(&Windows::default(), at("2026-11-06T13:00Z")), None);
}

#[test]
fn a_window_that_lies_over_a_change_of_the_clock_lasts_for_its_length_all_the_same() {
    // Back by an hour at 01:00 UTC; forward by an hour at 01:00 UTC.
    let autumn = ("2026-10-24T12:00Z", "2026-10-25T12:00Z");
    opens("0 20 * * * for 12h Europe/Berlin", autumn, &[("2026-10-24T18:00Z", "2026-10-25T06:00Z")]);
    let spring = ("2027-03-27T12:00Z", "2027-03-28T12:00Z");
    opens("0 20 * * * for 12h Europe/Berlin", spring, &[("2027-03-27T19:00Z", "2027-03-28T07:00Z")]);
    // And the next one opens by the new clock.
    let days = ("2027-03-27T05:00Z", "2027-03-28T12:00Z");
    let expected = [("2027-03-27T07:00Z", "2027-03-27T08:00Z"), ("2027-03-28T06:00Z", "2027-03-28T07:00Z")];
    opens("0 8 * * * for 1h Europe/Berlin", days, &expected);
}

#[test]
fn a_time_that_the_clock_skips_comes_as_much_later() {
    for (text, day, open) in [
        // 02:00 is 03:00.
        ("30 2 * * * for 2h Europe/Berlin", "2027-03-28", ("2027-03-28T01:30Z", "2027-03-28T03:30Z")),
        ("30 2 * * * for 2h America/New_York", "2027-03-14", ("2027-03-14T07:30Z", "2027-03-14T09:30Z")),
        // 02:00 is 02:30.
        ("15 2 * * * for 2h Australia/Lord_Howe", "2026-10-03", ("2026-10-03T15:45Z", "2026-10-03T17:45Z")),
        // Midnight is 01:00.
        ("30 0 * * * for 2h Africa/Cairo", "2026-04-23", ("2026-04-23T22:30Z", "2026-04-24T00:30Z")),
    ] {
        let (from, to) = (format!("{day}T00:00Z"), format!("{day}T23:00Z"));
        let found = stretches(text, &from, &to);
        assert!(found.contains(&(at(open.0), at(open.1))), "{text}: {found:?}");
    }
}

#[test]
fn of_a_time_that_the_clock_shows_twice_the_first_counts() {
    let whole_day = |text: &str, day: &str, expected| {
        opens(text, (&format!("{day}T00:00Z"), &format!("{day}T23:00Z")), expected);
    };
    let berlin = [("2026-10-25T00:30Z", "2026-10-25T01:00Z")];
    whole_day("30 2 * * * for 30m Europe/Berlin", "2026-10-25", &berlin);
    let new_york = [("2026-11-01T05:30Z", "2026-11-01T07:30Z")];
    whole_day("30 1 * * * for 2h America/New_York", "2026-11-01", &new_york);
    let lord_howe = [("2027-04-03T14:45Z", "2027-04-03T15:15Z")];
    whole_day("45 1 * * * for 30m Australia/Lord_Howe", "2027-04-03", &lord_howe);
}

#[test]
fn what_opens_every_hour_leaves_no_hole_when_the_clock_is_changed() {
    for zone in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"] {
        for (from, to) in
            [("2026-10-03T00:00Z", "2026-11-03T00:00Z"), ("2027-03-13T00:00Z", "2027-04-05T00:00Z")]
        {
            let always = format!("*/15 * * * * for 15m {zone}");
            assert_eq!(stretches(&always, from, to).len(), 1, "{zone}");
        }
    }
    // One minute after midnight it was 23:01 of the day before once more.
    let (from, to) = ("2010-11-06T00:00Z", "2010-11-08T00:00Z");
    assert_eq!(stretches("0,30 * * * * for 30m America/St_Johns", from, to).len(), 1);
}

/// What the short cuts leave out: every time of every day that may matter.
fn last_opening_at_length(window: &Window, now: Timestamp) -> Option<Timestamp> {
    let zone = window.zone.get();
    let mut day = zone.to_datetime(now - window_span(window)).date() - 3.days();
    let mut openings = Vec::new();
    while day <= zone.to_datetime(now).date() + 3.days() {
        if window.cron.is_on(day) {
            for (hour, minute) in window.cron.times_backwards() {
                let at = zone.to_ambiguous_timestamp(day.at(hour, minute, 0, 0));
                openings.push(at.compatible().unwrap());
                if window.cron.is_hourly() {
                    openings.push(at.later().unwrap());
                }
            }
        }
        day = day.tomorrow().unwrap();
    }
    openings.into_iter().filter(|opening| *opening <= now).max()
}

fn window_span(window: &Window) -> jiff::SignedDuration {
    window.length.try_into().unwrap()
}

const ZONES: [&str; 9] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "Asia/Beirut",
    "America/Havana",
    "Pacific/Apia",
    "America/St_Johns",
];

/// A time within some hours of a change of the clock, or any other.
fn moments() -> impl Strategy<Value = (usize, i64)> {
    let near = (0..ZONES.len(), 0..20_usize, -100_000..100_000_i64).prop_map(|(zone, nth, offset)| {
        let tz = jiff::tz::TimeZoneDatabase::bundled().get(ZONES[zone]).unwrap();
        let start = at("2009-06-01T00:00Z");
        let change = tz.following(start).nth(nth).map_or(start, |change| change.timestamp());
        (zone, change.as_second() + offset)
    });
    prop_oneof![near, (0..ZONES.len(), 1_767_225_600..1_893_456_000_i64)]
}

proptest! {
    #[test]
    fn the_short_cuts_find_what_a_look_at_every_time_finds(
        (zone, second) in moments(),
        minute in "\\*|\\*/7|[0-5][0-9]|0,30",
        hour in "\\*|\\*/2|[0-9]|1[0-9]|2[0-3]|0-3",
        day in "\\*|[1-9]|1[0-9]|2[0-8]",
        weekday in "\\*|[0-7]|mon-fri",
        hours in 1..80_u64,
    ) {
        let text = format!("{minute} {hour} {day} * {weekday} for {hours}h {}", ZONES[zone]);
        let windows = windows(&text);
        let window = windows.iter().next().unwrap();
        let now = Timestamp::from_second(second).unwrap();
        let expected = last_opening_at_length(window, now).map(|opening| opening + window_span(window));
        let expected = expected.filter(|until| *until > now);
        prop_assert_eq!(open_at(&windows, now).map(|open| open.until), expected, "{} at {}", text, now);
    }

    #[test]
    fn the_calendar_has_no_end_at_which_it_breaks(second in prop_oneof![
        Just(Timestamp::MIN.as_second()), Just(Timestamp::MAX.as_second()), -377_705_023_201..253_402_207_200_i64
    ]) {
        let window = windows("*/7 * * * * for 31d Europe/Berlin");
        let now = Timestamp::from_second(second).unwrap();
        prop_assert!(open_at(&window, now).is_none_or(|open| open.until > now));
    }
}

#[test]
fn no_window_is_open_for_longer_than_its_length() {
    let window = windows("0 8 * * * for 10h UTC");
    let open = open_at(&window, at("2026-11-06T08:00Z")).unwrap();
    assert_eq!(open.until.duration_since(at("2026-11-06T08:00Z")).unsigned_abs(), Duration::from_hours(10));
}
