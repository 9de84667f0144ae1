//! From the tree of a file to its typed form, by serde, without stopping at the first mistake.
//!
//! serde ends at the first error. So a value that cannot be read is noted, marked as spoiled and left out, and the
//! file is read again, until nothing new is wrong: each round marks one value, and rounds are bounded.

mod access;
mod decoder;
mod fault;

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde::de::DeserializeOwned;

use super::node::{Node, Value};
use super::problem::{Position, Problems};
use decoder::Decoder;

/// A file that was read as far as it can be.
#[derive(Debug)]
pub(crate) struct Document<'a, 'p> {
    root: &'a Node,
    state: RefCell<State<'a, 'p>>,
}

#[derive(Debug)]
struct State<'a, 'p> {
    problems: &'p mut Problems<'a>,
    /// The paths of values that were left out.
    spoiled: BTreeSet<String>,
}

/// One step of a path into the file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'s> {
    /// The value of this key.
    Key(&'s str),
    /// The item of this number among those that were not left out.
    Index(usize),
}

impl<'a, 'p> Document<'a, 'p> {
    pub(crate) fn new(root: &'a Node, problems: &'p mut Problems<'a>) -> Self {
        Self { root, state: RefCell::new(State { problems, spoiled: BTreeSet::new() }) }
    }

    /// Reads the file. `None`: nothing of it can be used. Problems are noted in either case.
    pub(crate) fn decode<T: DeserializeOwned>(&self) -> Option<T> {
        while !self.state.borrow().problems.is_full() {
            let root = Decoder { node: self.root, path: String::new(), state: &self.state };
            let fault = match T::deserialize(root) {
                Ok(value) => return Some(value),
                Err(fault) => fault,
            };
            let (at, path) = fault.place.unwrap_or((self.root.at, String::new()));
            let mut state = self.state.borrow_mut();
            if !fault.follows_from_another {
                state.problems.add(at, path.clone(), fault.message);
            }
            if path.is_empty() || !state.spoiled.insert(path) {
                return None;
            }
        }
        None
    }

    /// Notes a problem with the value at this path, unless that value was left out.
    pub(crate) fn report(&self, path: &[Step<'_>], message: impl Into<String>) {
        let mut state = self.state.borrow_mut();
        if let Some((at, path)) = locate(self.root, path, &state.spoiled) {
            state.problems.add(at, path, message);
        }
    }

    /// The line of the value at this path.
    pub(crate) fn line(&self, path: &[Step<'_>]) -> Option<usize> {
        locate(self.root, path, &self.state.borrow().spoiled).map(|(at, _)| at.line)
    }

    /// Whether the value at this path was left out, so that its default stands in for it.
    pub(crate) fn is_spoiled(&self, path: &[Step<'_>]) -> bool {
        locate(self.root, path, &self.state.borrow().spoiled).is_none()
    }
}

/// The place of a value, or of the innermost one around it that exists; `None` if it was left out.
fn locate(root: &Node, steps: &[Step<'_>], spoiled: &BTreeSet<String>) -> Option<(Position, String)> {
    let (mut node, mut at, mut path) = (root, root.at, String::new());
    for step in steps {
        let next = match (step, &node.value) {
            (Step::Key(key), Value::Map(entries)) => {
                let entry = entries.iter().find(|entry| entry.key == *key);
                entry.map(|entry| (entry.at, &entry.value, join(&path, key)))
            }
            (Step::Index(index), Value::List(items)) => {
                let index = written_index(*index, &path, spoiled);
                items.get(index).map(|item| (item.at, item, format!("{path}[{index}]")))
            }
            _ => None,
        };
        let Some(next) = next else { break };
        (at, node, path) = next;
        if spoiled.contains(&path) {
            return None;
        }
    }
    // A value is shown where it stands, a group of keys where its name stands.
    let is_scalar = matches!(node.value, Value::Text(_) | Value::Bool(..));
    Some((if is_scalar { node.at } else { at }, path))
}

/// The number of an item in the file, from its number among those of the list that were not left out.
fn written_index(index: usize, list: &str, spoiled: &BTreeSet<String>) -> usize {
    let number = |path: &String| path.strip_prefix(list)?.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let left_out: BTreeSet<usize> = spoiled.iter().filter_map(number).collect();
    left_out.into_iter().fold(index, |index, gone| if gone <= index { index + 1 } else { index })
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests;
