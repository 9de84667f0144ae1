//! Patterns for names in rules: `*` stands for any run of characters, everything else for itself.

use std::fmt;

use crate::units::{Written, written};

/// A pattern for a name or a namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Glob(String);

impl Glob {
    /// Whether a whole name fits the pattern. Takes at most `pattern × name` steps.
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            // The earliest place leaves most for the parts that follow.
            let Some(place) = rest.find(part) else { return false };
            rest = &rest[place + part.len()..];
        }
        rest.ends_with(last)
    }
}

impl Written for Glob {
    fn read(text: &str) -> Result<Self, String> {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'*');
        if text.is_empty() || text.len() > 63 || !text.bytes().all(fits) {
            let example = "write lower-case letters, digits, - and *, such as \"worker-*\"";
            return Err(format!("{text:?} fits no name; {example}"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

written!(Glob, "Glob", {
    "type": "string",
    "title": "name with *",
    "pattern": "^[a-z0-9*-]{1,63}$",
    "examples": ["default", "worker-*"],
});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Glob::read(pattern).unwrap().matches(name)
    }

    #[test]
    fn a_star_stands_for_any_run_and_the_rest_for_itself() {
        let fits = [("*", "a"), ("a", "a"), ("a*", "a"), ("*b", "ab"), ("a*c", "abc"), ("a*b*c", "axbxbc")];
        let fits_not =
            [("a", "ab"), ("b*", "ab"), ("*a", "ab"), ("ab*ba", "aba"), ("a*b*b", "ab"), ("a**b", "a")];
        for (pattern, name) in fits {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in fits_not {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_that_fits_no_name_is_refused() {
        for bad in ["", "Worker", "a.b", "a b", "[a]", &"x".repeat(64)] {
            assert!(Glob::read(bad).unwrap_err().contains("; write "), "{bad}");
        }
    }

    /// The definition, as slow as it is plain.
    fn by_definition(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => (0..=name.len()).any(|skip| by_definition(rest, &name[skip..])),
            ([p, pattern @ ..], [n, name @ ..]) => p == n && by_definition(pattern, name),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn it_does_what_the_definition_says(pattern in "[ab*]{1,6}", name in "[ab]{0,8}") {
            prop_assert_eq!(matches(&pattern, &name), by_definition(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
