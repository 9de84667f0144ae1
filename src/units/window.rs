//! Keep-awake windows as rules name them: `0 8 * * mon-fri for 10h Europe/Berlin`.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::cron::Cron;
use super::zone::Zone;
use super::{Timeout, Written, written};

/// How long a window is open at most. Bounds how far back its beginning is looked for.
const LONGEST: Duration = Duration::from_hours(31 * 24);
/// Windows of one agent at most: all of them are looked at while its lock is held.
const MAX_WINDOWS: usize = 16;
const FORM: &str = "write for example 0 8 * * mon-fri for 10h Europe/Berlin";

/// When it opens, how long it stays open, and whose clock counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Window {
    /// When it opens, on the clock of the zone.
    pub cron: Cron,
    /// How long it then stays open, in elapsed time. Never zero, at most 31 days.
    pub length: Duration,
    /// Whose clock that is.
    pub zone: Zone,
}

/// The windows of an agent: a list in the file, separated by semicolons in an annotation. At most 16.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Windows(Arc<[Window]>);

impl Windows {
    /// Each of them, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Window> {
        self.0.iter()
    }

    fn new(windows: Vec<Window>) -> Result<Self, String> {
        match windows.len() {
            0..=MAX_WINDOWS => Ok(Self(windows.into())),
            count => Err(format!("{count} windows are too many; write at most {MAX_WINDOWS}")),
        }
    }
}

impl Written for Window {
    fn read(text: &str) -> Result<Self, String> {
        let (cron, rest) = text
            .split_once(" for ")
            .ok_or_else(|| format!("{text:?} does not say how long the window is open; {FORM}"))?;
        let rest = rest.trim();
        if Timeout::read(rest).is_ok() {
            return Err(format!(
                "{text:?} has no time zone; write one behind it, such as {rest} Europe/Berlin"
            ));
        }
        let (length, zone) = rest.rsplit_once(char::is_whitespace).unwrap_or(("", rest));
        let (cron, length, zone) = (Cron::read(cron)?, Timeout::read(length.trim())?, Zone::read(zone)?);
        if length.get() > LONGEST {
            return Err(format!("{length} is longer than a window may be; write at most 31d"));
        }
        Ok(Self { cron, length: length.get(), zone })
    }
}

impl Written for Windows {
    fn read(text: &str) -> Result<Self, String> {
        let windows = text.split(';').map(str::trim).filter(|part| !part.is_empty());
        windows.map(Window::read).collect::<Result<_, _>>().and_then(Self::new)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cron, length, zone } = self;
        write!(f, "{cron} for {} {zone}", super::HumanDuration::from(*length))
    }
}

impl fmt::Display for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted: Vec<_> = self.iter().map(|window| format!("\"{window}\"")).collect();
        write!(f, "[{}]", quoted.join(", "))
    }
}

written!(Window, "Window", {
    "type": "string",
    "title": "window",
    "pattern": r"^\s*(\S+\s+){5}for\s+([0-9]+(\.[0-9]+)?\s*[a-z]+\s+)+\S+\s*$",
    "examples": ["0 8 * * mon-fri for 10h Europe/Berlin", "30 22 1,15 * * for 1h 30m UTC"],
});

impl Serialize for Windows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Windows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Vec::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Windows {
    fn schema_name() -> Cow<'static, str> {
        "Windows".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "array",
            "items": generator.subschema_for::<Window>(),
            "maxItems": MAX_WINDOWS,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFICE: &str = "0 8 * * mon-fri for 10h Europe/Berlin";

    #[test]
    fn a_window_is_read_and_printed_as_it_is_written() {
        for text in [OFFICE, "*/5 0 1,15 * * for 1h 30m UTC", "0 0 1 jan * for 31d America/New_York"] {
            assert_eq!(Window::read(text).unwrap().to_string(), text);
        }
        let spaced = " 0  8 * * mon-fri for  600m  europe/berlin ";
        assert_eq!(Window::read(spaced), Window::read(OFFICE));
    }

    #[test]
    fn many_are_read_from_one_text() {
        let both = Windows::read(&format!("{OFFICE}; 0 9 * * sat,sun for 1h UTC;")).unwrap();
        assert_eq!(both.to_string(), format!("[\"{OFFICE}\", \"0 9 * * sat,sun for 1h UTC\"]"));
        assert_eq!(Windows::read("").unwrap(), Windows::default());
        let many = vec![OFFICE; MAX_WINDOWS + 1].join(";");
        assert_eq!(Windows::read(&many).unwrap_err(), "17 windows are too many; write at most 16");
        assert!(Windows::read(&vec![OFFICE; MAX_WINDOWS].join(";")).is_ok());
    }

    #[test]
    fn what_cannot_be_read_is_answered_with_what_to_write() {
        let wrong = [
            (
                "0 8 * * mon-fri",
                "does not say how long the window is open; write for example 0 8 * * mon-fri for 10h",
            ),
            ("0 8 * * * for 10h", "has no time zone; write one behind it, such as 10h Europe/Berlin"),
            ("0 8 * * * for Europe/Berlin", "a length of time is missing; write"),
            ("0 8 * * * for 10 UTC", "\"10\" has no unit; write 10s, or 10m for minutes"),
            ("0 8 * * * for 0s UTC", "zero would leave no time at all; write"),
            ("0 8 * * * for 32d UTC", "32d is longer than a window may be; write at most 31d"),
            ("0 8 * * * for 10h Berlin", "\"Berlin\" is not the name of a time zone; write Europe/Berlin"),
            ("0 8 * * for 10h UTC", "does not have five fields; write"),
            ("0 0 30 2 * for 10h UTC", "never comes: its months have no such day; write"),
        ];
        for (text, message) in wrong {
            let refused = Window::read(text).unwrap_err();
            assert!(refused.contains(message), "{text}: {refused}");
        }
    }
}
