//! Lists and groups of keys, for serde. Unknown and repeated keys are noted here and left out.

use std::collections::BTreeMap;

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess};

use super::fault::Fault;
use super::{Decoder, join};
use crate::config::node::{Entry, Node, Value};
use crate::units::nearest;

/// The items of a list that are not spoiled.
pub(super) struct Items<'d, 'a, 'p> {
    left: std::vec::IntoIter<Decoder<'d, 'a, 'p>>,
}

impl<'d, 'a, 'p> Items<'d, 'a, 'p> {
    pub(super) fn new(list: &Decoder<'d, 'a, 'p>, items: &'a [Node]) -> Self {
        let state = list.state.borrow();
        let numbered =
            items.iter().enumerate().map(|(i, item)| list.child(item, format!("{}[{i}]", list.path)));
        let left: Vec<_> = numbered.filter(|item| !state.spoiled.contains(&item.path)).collect();
        Self { left: left.into_iter() }
    }
}

impl<'a> SeqAccess<'a> for Items<'_, 'a, '_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(item) = self.left.next() else { return Ok(None) };
        let (at, path) = (item.node.at, item.path.clone());
        seed.deserialize(item).map(Some).map_err(|fault| fault.or_at(at, &path))
    }
}

/// The entries of a group of keys that are known, not spoiled, and come first of their name.
pub(super) struct Pairs<'d, 'a, 'p> {
    left: std::vec::IntoIter<(&'a Entry, Decoder<'d, 'a, 'p>)>,
    value: Option<Decoder<'d, 'a, 'p>>,
}

impl<'d, 'a, 'p> Pairs<'d, 'a, 'p> {
    /// With `known`, other keys are noted as unknown, and a key without a value counts as absent.
    pub(super) fn new(
        group: &Decoder<'d, 'a, 'p>,
        entries: &'a [Entry],
        known: Option<&'static [&'static str]>,
    ) -> Self {
        let mut state = group.state.borrow_mut();
        let mut seen: BTreeMap<&str, &Entry> = BTreeMap::new();
        let mut left = Vec::new();
        let is_absent = |key: &str| entries.iter().all(|entry| entry.key != key);
        for entry in entries {
            let path = join(&group.path, &entry.key);
            if let Some(first) = seen.get(entry.key.as_str()) {
                let message = format!(
                    "{} stands here a second time; write it once (line {})",
                    entry.key, first.at.line
                );
                state.problems.add(entry.at, path, message);
                continue;
            }
            seen.insert(&entry.key, entry);
            if let Some(known) = known.filter(|known| !known.contains(&entry.key.as_str())) {
                let meant = nearest(&entry.key, known.iter().copied());
                state.problems.add(entry.at, group.path.clone(), unknown(&entry.key, meant, known));
                // The key that was meant is not missing besides.
                state
                    .spoiled
                    .extend(meant.filter(|meant| is_absent(meant)).map(|meant| join(&group.path, meant)));
                continue;
            }
            let absent = known.is_some() && matches!(entry.value.value, Value::Null);
            if !absent && !state.spoiled.contains(&path) {
                left.push((entry, group.child(&entry.value, path)));
            }
        }
        Self { left: left.into_iter(), value: None }
    }
}

fn unknown(key: &str, meant: Option<&str>, known: &[&str]) -> String {
    let advice = meant.map_or_else(|| format!("one of {}", known.join(", ")), str::to_owned);
    let key: String = key.chars().take(60).collect();
    format!("the key {key:?} is not known; write {advice}")
}

impl<'a> MapAccess<'a> for Pairs<'_, 'a, '_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some((entry, value)) = self.left.next() else { return Ok(None) };
        let (at, path) = (entry.at, value.path.clone());
        self.value = Some(value);
        let key: StrDeserializer<'_, Fault> = StrDeserializer::new(&entry.key);
        seed.deserialize(key).map(Some).map_err(|fault| fault.or_at(at, &path))
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some(value) = self.value.take() else {
            return Err(serde::de::Error::custom("a value was asked for before its key"));
        };
        let (at, path) = (value.node.at, value.path.clone());
        seed.deserialize(value).map_err(|fault| fault.or_at(at, &path))
    }
}
