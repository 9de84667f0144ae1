//! An error on its way from a value to the file: it gets its place from the innermost value that knows it.

use std::fmt;

use serde::de;

use crate::config::problem::Position;
use crate::units::nearest;

/// What serde carries upwards.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(super) place: Option<(Position, String)>,
    pub(super) message: String,
    /// The key that a group of keys lacks, until that group has looked whether it was merely left out.
    pub(super) missing: Option<&'static str>,
    /// Not worth a word: it is there only because another value was left out.
    pub(super) follows_from_another: bool,
}

impl Fault {
    fn new(message: impl Into<String>) -> Self {
        Self { place: None, message: message.into(), missing: None, follows_from_another: false }
    }

    pub(super) fn at(position: Position, path: &str, message: impl Into<String>) -> Self {
        Self { place: Some((position, path.to_owned())), ..Self::new(message) }
    }

    /// Puts it here, unless it knows its place already.
    pub(super) fn or_at(self, position: Position, path: &str) -> Self {
        Self { place: self.place.or_else(|| Some((position, path.to_owned()))), ..self }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let advice = match nearest(variant, expected.iter().copied()) {
            Some(meant) => meant.to_owned(),
            None => format!("one of {}", expected.join(", ")),
        };
        Self::new(format!("{variant:?} is not known; write {advice}"))
    }

    fn missing_field(field: &'static str) -> Self {
        Self {
            missing: Some(field),
            ..Self::new(format!("the key {field} is missing; write {field}: … here"))
        }
    }
}
