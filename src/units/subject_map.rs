//! Values by the subjects that they are for: a tree of tokens, as in nats-server's `server/sublist.go`.

use std::collections::HashMap;
use std::str::Split;

use super::Pattern;

/// One value for each pattern.
#[derive(Debug)]
pub struct SubjectMap<V> {
    root: Node<V>,
}

/// Where the tokens of some patterns have led.
#[derive(Debug)]
struct Node<V> {
    /// Of the pattern that ends here.
    value: Option<V>,
    /// Of the pattern that goes on with `>`.
    rest: Option<V>,
    /// Those that go on with `*`.
    any: Option<Box<Self>>,
    /// Those that go on with a token.
    next: HashMap<Box<str>, Self>,
}

impl<V> Default for SubjectMap<V> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<V> Default for Node<V> {
    fn default() -> Self {
        Self { value: None, rest: None, any: None, next: HashMap::new() }
    }
}

impl<V> SubjectMap<V> {
    /// The value of exactly this pattern, and a place for one.
    pub fn entry(&mut self, pattern: &Pattern) -> &mut Option<V> {
        let mut node = &mut self.root;
        for token in pattern.as_str().split('.') {
            node = match token {
                ">" => return &mut node.rest,
                "*" => node.any.get_or_insert_default(),
                token => node.next.entry(token.into()).or_default(),
            };
        }
        &mut node.value
    }

    /// Takes away the value of exactly this pattern.
    pub fn remove(&mut self, pattern: &Pattern) -> Option<V> {
        self.root.remove(pattern.as_str().split('.'))
    }

    /// The value for a (literal) subject. Of several, the one whose pattern says more from the left.
    pub fn find(&self, subject: &str) -> Option<&V> {
        self.root.find(subject.split('.'))
    }

    /// The values of all patterns that have a subject in common with this one.
    pub fn overlapping(&self, pattern: &str) -> Vec<&V> {
        let mut found = Vec::new();
        self.root.overlapping(pattern.split('.'), &mut found);
        found
    }
}

impl<V> Node<V> {
    fn is_empty(&self) -> bool {
        self.value.is_none() && self.rest.is_none() && self.any.is_none() && self.next.is_empty()
    }

    fn remove(&mut self, mut tokens: Split<'_, char>) -> Option<V> {
        match tokens.next() {
            None => self.value.take(),
            Some(">") => self.rest.take(),
            Some("*") => {
                let any = self.any.as_mut()?;
                let removed = any.remove(tokens);
                self.any.take_if(|any| any.is_empty());
                removed
            }
            Some(token) => {
                let next = self.next.get_mut(token)?;
                let removed = next.remove(tokens);
                if next.is_empty() {
                    self.next.remove(token);
                }
                removed
            }
        }
    }

    fn find(&self, mut tokens: Split<'_, char>) -> Option<&V> {
        let Some(token) = tokens.next() else { return self.value.as_ref() };
        let next = self.next.get(token).and_then(|next| next.find(tokens.clone()));
        next.or_else(|| self.any.as_ref()?.find(tokens)).or(self.rest.as_ref())
    }

    fn overlapping<'a>(&'a self, mut tokens: Split<'_, char>, found: &mut Vec<&'a V>) {
        let Some(token) = tokens.next() else { return found.extend(&self.value) };
        found.extend(&self.rest);
        match token {
            ">" => self.below().for_each(|next| next.all(found)),
            "*" => self.below().for_each(|next| next.overlapping(tokens.clone(), found)),
            token => {
                let some = self.next.get(token).into_iter().chain(self.any.as_deref());
                some.for_each(|next| next.overlapping(tokens.clone(), found));
            }
        }
    }

    fn all<'a>(&'a self, found: &mut Vec<&'a V>) {
        found.extend(self.value.iter().chain(&self.rest));
        self.below().for_each(|next| next.all(found));
    }

    fn below(&self) -> impl Iterator<Item = &Self> {
        self.next.values().chain(self.any.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).unwrap()
    }

    #[test]
    fn the_pattern_that_says_more_from_the_left_is_found() {
        let mut map = SubjectMap::default();
        for text in ["a.>", "a.*.c", "a.b.c", "a.b.>", "*"] {
            *map.entry(&pattern(text)) = Some(text);
        }
        for (subject, found) in [
            ("a.b.c", Some("a.b.c")),
            ("a.b.d", Some("a.b.>")),
            ("a.x.c", Some("a.*.c")),
            ("a.x.d", Some("a.>")),
            ("a", Some("*")),
            ("b.c", None),
        ] {
            assert_eq!(map.find(subject), found.as_ref(), "{subject}");
        }
    }

    fn patterns() -> impl Strategy<Value = Vec<Pattern>> {
        let text = "(a|b|\\*)(\\.(a|b|\\*)){0,3}(\\.>)?";
        proptest::collection::vec(text.prop_map(|text: String| pattern(&text)), 1..12)
    }

    proptest! {
        #[test]
        fn it_says_what_each_pattern_says(patterns in patterns(), asked in patterns(), gone in any::<u16>()) {
            let mut map = SubjectMap::default();
            for pattern in &patterns {
                *map.entry(pattern) = Some(pattern.clone());
            }
            let mut left: Vec<_> = patterns.clone();
            left.sort();
            left.dedup();
            for (at, pattern) in patterns.iter().enumerate() {
                if gone & (1 << at) != 0 {
                    let was_there = left.iter().any(|other| other == pattern);
                    prop_assert_eq!(map.remove(pattern).is_some(), was_there);
                    left.retain(|other| other != pattern);
                }
            }
            for asked in &asked {
                let mut overlapping: Vec<_> = map.overlapping(asked.as_str()).into_iter().cloned().collect();
                overlapping.sort();
                let expected: Vec<_> =
                    left.iter().filter(|pattern| pattern.overlaps(asked.as_str())).cloned().collect();
                prop_assert_eq!(overlapping, expected);
                if asked.is_literal() {
                    let any = left.iter().any(|pattern| pattern.matches(asked.as_str()));
                    let found = map.find(asked.as_str());
                    prop_assert_eq!(found.is_some(), any);
                    prop_assert!(found.is_none_or(|found| found.matches(asked.as_str())));
                }
            }
            for pattern in &left {
                map.remove(pattern);
            }
            prop_assert!(map.root.is_empty(), "nothing stays of what is removed");
        }
    }
}
