//! Labels and annotations in little memory: a `BTreeMap` of strings takes more than half a kilobyte for a single pair,
//! and there may be a hundred thousand agents with a few pairs each.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;

/// A few names with a value each, in the order of the names. Made once, then only read.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Texts {
    /// Name, value, name, value, …: of each its length, seven bits a byte and the lowest first (LEB128), and its bytes.
    packed: Box<[u8]>,
}

/// More bits of a length follow.
const MORE: u8 = 0x80;
const BITS: u32 = 7;

impl Texts {
    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find_map(|(key, value)| (key == name).then_some(value))
    }

    /// All pairs, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut rest = &*self.packed;
        std::iter::from_fn(move || Some((unpack(&mut rest)?, unpack(&mut rest)?)))
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(name, _)| name)
    }
}

/// Of two values of one name, the later one counts.
impl<K: Borrow<str> + Ord, V: Borrow<str>> FromIterator<(K, V)> for Texts {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(pairs: T) -> Self {
        let sorted: BTreeMap<K, V> = pairs.into_iter().collect();
        let mut packed = Vec::new();
        for (name, value) in &sorted {
            pack(name.borrow(), &mut packed);
            pack(value.borrow(), &mut packed);
        }
        Self { packed: packed.into() }
    }
}

/// Nearly all lengths have one byte.
fn pack(text: &str, packed: &mut Vec<u8>) {
    let mut length = text.len();
    while let (low, rest @ 1..) = (length & 0x7f, length >> BITS) {
        packed.push(u8::try_from(low).unwrap_or_default() | MORE);
        length = rest;
    }
    packed.push(u8::try_from(length).unwrap_or_default());
    packed.extend_from_slice(text.as_bytes());
}

fn unpack<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let mut length = 0_usize;
    for place in 0.. {
        let (byte, after) = rest.split_first()?;
        length |= usize::from(byte & !MORE).checked_shl(place * BITS)?;
        *rest = after;
        if byte & MORE == 0 {
            break;
        }
    }
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    std::str::from_utf8(text).ok()
}

impl From<&BTreeMap<String, String>> for Texts {
    fn from(map: &BTreeMap<String, String>) -> Self {
        map.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }
}

impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_found_by_its_name_and_by_no_other() {
        let texts = Texts::from_iter([("tier", "batch"), ("empty", ""), ("team", "blau-grün"), ("", "x")]);
        assert_eq!(texts.get("tier"), Some("batch"));
        assert_eq!((texts.get("empty"), texts.get("")), (Some(""), Some("x")));
        assert_eq!(texts.get("team"), Some("blau-grün"));
        assert_eq!((texts.get("batch"), texts.get("tie"), texts.get("tiert")), (None, None, None));
        assert_eq!(texts.names().collect::<Vec<_>>(), ["", "empty", "team", "tier"]);
    }

    #[test]
    fn texts_of_every_length_come_back() {
        for length in [0, 1, 127, 128, 300, 16_383, 16_384, 300_000] {
            let (name, value) = ("n".repeat(length), "v".repeat(length + 1));
            let texts = Texts::from_iter([(name.as_str(), value.as_str()), ("zone", "a")]);
            let all: Vec<_> = texts.iter().collect();
            assert!(all == [(name.as_str(), value.as_str()), ("zone", "a")], "{length}");
        }
    }

    #[test]
    fn a_short_text_takes_one_byte_more_than_itself() {
        assert_eq!(Texts::from_iter([("tier", "batch")]).packed.len(), "tier".len() + "batch".len() + 2);
    }

    #[test]
    fn equal_pairs_are_equal_in_whatever_order_they_came() {
        let texts = Texts::from_iter([("a", "1"), ("b", "2"), ("a", "3")]);
        assert_eq!(texts, Texts::from_iter([("b", "2"), ("a", "3")]));
        assert_eq!(format!("{texts:?}"), r#"{"a": "3", "b": "2"}"#);
        // The same letters, cut elsewhere.
        assert_ne!(Texts::from_iter([("ab", "c")]), Texts::from_iter([("a", "bc")]));
    }

    #[test]
    fn nothing_takes_no_memory_of_its_own() {
        let texts = Texts::from(&BTreeMap::new());
        assert_eq!((texts.iter().count(), texts.get("")), (0, None));
        assert!(texts.packed.is_empty());
        assert_eq!(texts, Texts::default());
    }
}
