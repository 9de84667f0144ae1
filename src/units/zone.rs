//! Time zones by their names in the IANA database. That is compiled in: an image that holds nothing but Drowse has none, and
//! so one configuration means the same everywhere.

use std::fmt;

use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::{Written, nearest};

/// A time zone, such as `Europe/Berlin` or `UTC`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Zone(TimeZone);

impl Zone {
    /// As the rest of the program uses it.
    pub const fn get(&self) -> &TimeZone {
        &self.0
    }
}

impl Written for Zone {
    fn read(text: &str) -> Result<Self, String> {
        let known = TimeZoneDatabase::bundled();
        let zone = known.get(text).ok().filter(|zone| !zone.is_unknown());
        zone.map(Self).ok_or_else(|| {
            let names: Vec<String> = known.available().map(|name| name.to_string()).collect();
            let meant =
                meant(text, &names).unwrap_or("a name such as Europe/Berlin, America/New_York or UTC");
            format!("{text:?} is not the name of a time zone; write {meant}")
        })
    }
}

/// The zone of a city that stands alone, or one whose name is much like this.
fn meant<'a>(text: &str, names: &'a [String]) -> Option<&'a str> {
    let names = || names.iter().map(String::as_str);
    let is_city = |name: &str| name.rsplit_once('/').is_some_and(|(_, city)| city.eq_ignore_ascii_case(text));
    names().find(|name| is_city(name)).or_else(|| nearest(text, names()))
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.iana_name().unwrap_or("UTC"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_found_by_name_in_any_case() {
        for (text, name) in [
            ("Europe/Berlin", "Europe/Berlin"),
            ("america/new_york", "America/New_York"),
            ("Australia/Lord_Howe", "Australia/Lord_Howe"),
            ("utc", "UTC"),
        ] {
            assert_eq!(Zone::read(text).map(|zone| zone.to_string()), Ok(name.to_owned()));
        }
    }

    #[test]
    fn what_is_no_zone_is_answered_with_the_one_that_was_meant() {
        for (text, advice) in [
            ("Berlin", "write Europe/Berlin"),
            ("Europe/Berlim", "write Europe/Berlin"),
            ("new_york", "write America/New_York"),
            ("+02:00", "write a name such as"),
            ("Etc/Unknown", "write "),
            ("../../etc/passwd", "write a name such as"),
            ("", "write a name such as"),
        ] {
            let refused = Zone::read(text).unwrap_err();
            assert!(refused.contains(&format!("is not the name of a time zone; {advice}")), "{refused}");
        }
    }
}
