//! Pure: whether a keep-awake window is open, and until when.
//!
//! A window opens at a time on the clock of its zone, and stays open for so much elapsed time, whatever that clock does
//! meanwhile. A time that the clock skips comes as much later; of a time that it shows twice, the first counts.

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

use crate::units::{Window, Windows};

const MINUTE: i64 = 60;

/// A window that is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Open<'w> {
    /// Which one.
    pub window: &'w Window,
    /// When it closes, as far as it can be said now: one that opens before it closes is open for longer.
    pub until: Timestamp,
}

/// The window that is open now; of several, the one that closes last.
pub fn open_at(windows: &Windows, now: Timestamp) -> Option<Open<'_>> {
    let open = windows.iter().filter_map(|window| {
        let until = last_opening(window, now)?.checked_add(length(window)).ok()?;
        (until > now).then_some(Open { window, until })
    });
    open.max_by_key(|open| open.until)
}

/// When it opened last, if that is not longer ago than it stays open.
fn last_opening(window: &Window, now: Timestamp) -> Option<Timestamp> {
    let zone = window.zone.get();
    let earliest = now.checked_sub(length(window)).unwrap_or(Timestamp::MIN);
    // Clocks that are changed about midnight, by a day at most, mix up the times of two days that follow each other.
    let first = zone.to_datetime(earliest).date().yesterday().ok()?;
    let last = zone.to_datetime(now).date().tomorrow().ok()?;
    let days = std::iter::successors(Some(last), |day| day.yesterday().ok()).take_while(|day| *day >= first);
    let openings = days.filter(|day| window.cron.is_on(*day)).filter_map(|day| last_on(window, day, now));
    openings.take(2).max()
}

/// When it opened last on this day of its zone.
fn last_on(window: &Window, day: Date, now: Timestamp) -> Option<Timestamp> {
    let zone = window.zone.get();
    let times = window.cron.times_backwards();
    if let Some(midnight) = even_day(zone, day) {
        let since = now.duration_since(midnight);
        let minutes = (!since.is_negative()).then_some(since.as_secs() / MINUTE)?;
        let mut times = times.map(|(hour, minute)| i64::from(hour) * 60 + i64::from(minute));
        let minute = times.find(|at| *at <= minutes)?;
        return Timestamp::from_second(midnight.as_second() + minute * MINUTE).ok();
    }
    // Times that the clock shows twice count twice for what goes on every hour, or there would be a hole.
    let twice = window.cron.is_hourly();
    let openings = times.flat_map(|(hour, minute)| {
        let at = zone.to_ambiguous_timestamp(day.at(hour, minute, 0, 0));
        [at.compatible().ok(), if twice { at.later().ok() } else { None }]
    });
    openings.flatten().filter(|opening| *opening <= now).max()
}

/// When the day began, if its clock goes evenly from midnight to midnight: all but two days of the year.
fn even_day(zone: &TimeZone, day: Date) -> Option<Timestamp> {
    let midnight =
        |day: Date| zone.to_ambiguous_timestamp(day.to_datetime(Time::midnight())).unambiguous().ok();
    let (begin, end) = (midnight(day)?, midnight(day.tomorrow().ok()?)?);
    (zone.to_offset(begin) == zone.to_offset(end)).then_some(begin)
}

fn length(window: &Window) -> jiff::SignedDuration {
    jiff::SignedDuration::try_from(window.length).unwrap_or(jiff::SignedDuration::ZERO)
}

#[cfg(test)]
mod tests;
