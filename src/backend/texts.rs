//! Labels and annotations in little memory: a `BTreeMap` of strings takes more than half a kilobyte for a single pair,
//! and there may be a hundred thousand agents with a few pairs each.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;

/// A few names with a value each, in the order of the names. Made once, then only read.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Texts {
    /// Name, value, name, value, …: of each its length in [`LENGTH`] bytes, and its bytes.
    packed: Box<[u8]>,
}

const LENGTH: usize = size_of::<u32>();

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

/// An object of the API server is at most some megabytes; what is longer than a length can say is left out.
fn pack(text: &str, packed: &mut Vec<u8>) {
    let length = u32::try_from(text.len()).unwrap_or(0);
    packed.extend(length.to_le_bytes());
    packed.extend(text.bytes().take(length as usize));
}

fn unpack<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let (length, after) = rest.split_first_chunk::<LENGTH>()?;
    let (text, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
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
