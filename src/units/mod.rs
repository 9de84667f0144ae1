//! Pure: values as people write them in the configuration file and in annotations.
//!
//! Each type reads a text with [`Written::read`], says what to write instead when it cannot, and prints the text
//! that reads back to the same value.

pub mod count;
pub mod cron;
pub mod duration;
pub mod path;
pub mod ping;
pub mod size;
pub mod subject;
pub mod subject_map;
mod suggest;
pub mod window;
pub mod zone;

pub use count::{Count, InFlight, Port};
pub use cron::Cron;
pub use duration::{HumanDuration, Timeout};
pub use path::{PathPattern, PathPatterns};
pub use ping::{Ping, PingTarget};
pub use size::ByteSize;
pub use subject::Pattern;
pub use subject_map::SubjectMap;
pub(crate) use suggest::nearest;
pub use window::{Window, Windows};
pub use zone::Zone;

use std::fmt::Display;

/// A value that people write.
pub trait Written: Display + Sized {
    /// Reads it. The error is a whole sentence: what is wrong; and what to write instead.
    fn read(text: &str) -> Result<Self, String>;
}

impl Written for bool {
    fn read(text: &str) -> Result<Self, String> {
        match text.to_lowercase().as_str() {
            "true" | "on" | "yes" => Ok(true),
            "false" | "off" | "no" => Ok(false),
            _ => Err(format!("{text:?} is neither true nor false; write true or false")),
        }
    }
}

/// Lets serde and schemars use a [`Written`] type: read from its text, printed by its text or its number.
macro_rules! written {
    ($type:ty, $name:literal, $schema:tt) => {
        $crate::units::written!($type, $name, |value, serializer| serializer.collect_str(value), $schema);
    };
    ($type:ty, $name:literal, |$value:ident, $serializer:ident| $serialize:expr, $schema:tt) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, $serializer: S) -> Result<S::Ok, S::Error> {
                let $value = self;
                $serialize
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                <$type as $crate::units::Written>::read(&text).map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    };
}
pub(crate) use written;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_switch_is_read_in_every_spelling_and_nothing_else() {
        for (text, value) in [("true", true), ("on", true), ("yes", true), ("false", false), ("OFF", false)] {
            assert_eq!(bool::read(text), Ok(value));
        }
        assert_eq!(bool::read("1").unwrap_err(), r#""1" is neither true nor false; write true or false"#);
    }
}
