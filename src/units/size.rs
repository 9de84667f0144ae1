//! Amounts of memory as people write them: `64KiB`, `256MiB`.

use std::fmt;

use super::{Written, written};

/// Units, largest first. Only powers of 1024: `KB` means two things to two people.
const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// More than any buffer here should be; keeps sums far from overflow.
const LARGEST: u64 = 1 << 40;

/// An amount of memory in bytes, zero included, at most 1024GiB.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ByteSize(u64);

impl ByteSize {
    /// So many KiB.
    pub const fn from_kib(kib: u64) -> Self {
        Self(kib << 10)
    }

    /// So many MiB.
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// In bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl Written for ByteSize {
    fn read(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let digits = trimmed.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = trimmed[digits.len()..].trim_start();
        let number: u64 = digits
            .parse()
            .map_err(|_| format!("{text:?} is not an amount of memory; write for example 64KiB or 256MiB"))?;
        let bytes = match UNITS.iter().find(|(name, _)| *name == unit) {
            Some((_, factor)) => number.checked_mul(*factor),
            None if unit.is_empty() => Some(number),
            None => return Err(unknown_unit(text, number, unit)),
        };
        bytes
            .filter(|bytes| *bytes <= LARGEST)
            .map(Self)
            .ok_or_else(|| format!("{text:?} is too large; write at most 1024GiB"))
    }
}

fn unknown_unit(text: &str, number: u64, unit: &str) -> String {
    let first = unit.chars().next().map(|c| c.to_ascii_uppercase());
    let meant =
        UNITS.iter().map(|(name, _)| *name).find(|name| name.chars().next() == first).unwrap_or("KiB");
    format!(
        "in {text:?}, {unit:?} is not a unit; write {number}{meant} (or KiB, MiB, GiB; a bare number is bytes)"
    )
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor)) {
            Some((name, factor)) => write!(f, "{}{name}", self.0 / factor),
            None => write!(f, "{}", self.0),
        }
    }
}

written!(ByteSize, "ByteSize", {
    "type": ["string", "integer"],
    "title": "size",
    "pattern": "^[0-9]+ ?(KiB|MiB|GiB)?$",
    "minimum": 0,
    "examples": ["64KiB", "256MiB", "1GiB"],
});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn binary_units_and_bare_bytes_are_read() {
        for (text, bytes) in
            [("64KiB", 65_536), ("1 MiB", 1 << 20), ("2GiB", 2 << 30), ("512", 512), ("0", 0)]
        {
            assert_eq!(ByteSize::read(text).map(ByteSize::get), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_answered_with_what_to_write() {
        let wrong = [
            ("64k", "write 64KiB"),
            ("64KB", "write 64KiB"),
            ("1G", "write 1GiB"),
            ("7parsec", "write 7KiB"),
            ("", "write for example 64KiB"),
            ("-1", "write for example 64KiB"),
            ("much", "write for example 64KiB"),
            ("9999999GiB", "write at most 1024GiB"),
            ("99999999999999999999", "write for example 64KiB"),
        ];
        for (text, advice) in wrong {
            let message = ByteSize::read(text).unwrap_err();
            assert!(message.contains(advice), "{text}: {message}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(bytes in 0..=LARGEST, shift in 0..20_u32) {
            let size = ByteSize(bytes >> shift << shift);
            prop_assert_eq!(ByteSize::read(&size.to_string()), Ok(size));
        }

        #[test]
        fn any_text_is_read_or_refused_with_advice(text in "\\PC*") {
            if let Err(message) = ByteSize::read(&text) {
                prop_assert!(message.contains("; write "), "{}", message);
            }
        }
    }
}
