//! Whole numbers with a meaning: how many of something, and ports.

use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};

use super::{Written, written};

/// How many of something, at least one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Count(NonZeroU32);

/// A TCP port, never 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Port(NonZeroU16);

/// How many requests an agent gets at once: a number, or `unlimited`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InFlight(Option<Count>);

impl Count {
    /// This many; zero counts as one.
    pub const fn at_least_one(count: u32) -> Self {
        match NonZeroU32::new(count) {
            Some(count) => Self(count),
            None => Self(NonZeroU32::MIN),
        }
    }

    /// As the rest of the program uses it. Never zero.
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}

impl Port {
    /// This port, unless it is 0.
    pub const fn new(port: u16) -> Option<Self> {
        match NonZeroU16::new(port) {
            Some(port) => Some(Self(port)),
            None => None,
        }
    }

    /// As the rest of the program uses it. Never zero.
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl InFlight {
    /// The limit, if there is one.
    pub const fn limit(self) -> Option<NonZeroU32> {
        match self.0 {
            Some(count) => Some(count.0),
            None => None,
        }
    }
}

impl From<Option<NonZeroU32>> for InFlight {
    fn from(limit: Option<NonZeroU32>) -> Self {
        Self(limit.map(Count))
    }
}

impl Written for Count {
    fn read(text: &str) -> Result<Self, String> {
        text.trim()
            .parse()
            .map(Self)
            .map_err(|_| format!("{text:?} does not fit; write a whole number from 1 to {}", u32::MAX))
    }
}

impl Written for Port {
    fn read(text: &str) -> Result<Self, String> {
        text.trim()
            .parse()
            .map(Self)
            .map_err(|_| format!("{text:?} is not a port; write a whole number from 1 to 65535"))
    }
}

impl Written for InFlight {
    fn read(text: &str) -> Result<Self, String> {
        match text.trim() {
            "unlimited" => Ok(Self(None)),
            number => Count::read(number).map(|count| Self(Some(count))).map_err(|_| {
                format!("{text:?} is no limit; write a whole number from 1 to {}, or unlimited", u32::MAX)
            }),
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(count) => count.fmt(f),
            None => f.write_str("unlimited"),
        }
    }
}

written!(Count, "Count", |count, serializer| serializer.serialize_u32(count.get()), {
    "type": "integer", "title": "number from 1", "minimum": 1, "maximum": 4_294_967_295_u32
});
written!(Port, "Port", |port, serializer| serializer.serialize_u16(port.get()), { "type": "integer", "title": "port", "minimum": 1, "maximum": 65_535 });
written!(InFlight, "InFlight", {
    "title": "number from 1, or unlimited",
    "anyOf": [
        { "type": "integer", "minimum": 1, "maximum": 4_294_967_295_u32 },
        { "const": "unlimited" }
    ]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_range_are_read_and_printed_as_they_were() {
        assert_eq!(Count::read("4294967295").unwrap().get(), u32::MAX);
        assert_eq!(Port::read("9101").unwrap().get(), 9101);
        for text in ["7", "unlimited"] {
            assert_eq!(InFlight::read(text).unwrap().to_string(), text);
        }
        assert_eq!(InFlight::read("unlimited").unwrap().limit(), None);
    }

    #[test]
    fn numbers_out_of_range_are_answered_with_the_range() {
        for bad in ["0", "-1", "4294967296", "many", ""] {
            assert!(
                Count::read(bad).unwrap_err().ends_with("write a whole number from 1 to 4294967295"),
                "{bad}"
            );
            assert!(InFlight::read(bad).unwrap_err().ends_with("or unlimited"), "{bad}");
        }
        for bad in ["0", "65536", "http"] {
            assert!(Port::read(bad).unwrap_err().ends_with("from 1 to 65535"), "{bad}");
        }
    }
}
