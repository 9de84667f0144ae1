//! Subjects of NATS: dots between tokens, `*` for one token and a trailing `>` for one or more.
//!
//! The rules are those of nats-server's `server/sublist.go` (`IsValidSubject`, `SubjectsCollide`).

use std::fmt;

/// The longest subject that is taken, in bytes; a server takes no line over 4 KiB by default.
const LONGEST: usize = 1024;

/// A subject or a pattern of subjects that a server would take.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Pattern(Box<str>);

/// Why a text is not a subject.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidSubject {
    /// Nothing at all, or too much.
    #[error("a subject has from 1 to {LONGEST} bytes")]
    Length,
    /// Two dots side by side, or one at an end.
    #[error("an empty token: between two dots, and at both ends, there must be something")]
    EmptyToken,
    /// A character that cannot be in one.
    #[error("a space or a control character")]
    Character,
    /// Something follows a `>`.
    #[error("`>` is only allowed as the last token")]
    AfterRest,
}

impl Pattern {
    /// Checks a subject, with or without wildcards.
    pub fn new(text: &str) -> Result<Self, InvalidSubject> {
        if text.is_empty() || text.len() > LONGEST {
            return Err(InvalidSubject::Length);
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(InvalidSubject::Character);
        }
        if text.split('.').any(str::is_empty) {
            return Err(InvalidSubject::EmptyToken);
        }
        if text.split('.').rev().skip(1).any(|token| token == ">") {
            return Err(InvalidSubject::AfterRest);
        }
        Ok(Self(text.into()))
    }

    /// As it is on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for one subject only.
    pub fn is_literal(&self) -> bool {
        self.0.split('.').all(|token| token != "*" && token != ">")
    }

    /// Whether a message with this (literal) subject is one of those meant.
    pub fn matches(&self, subject: &str) -> bool {
        let (mut wanted, mut given) = (self.0.split('.'), subject.split('.'));
        loop {
            match (wanted.next(), given.next()) {
                (Some(">"), Some(_)) | (None, None) => return true,
                (Some("*"), Some(_)) => {}
                (Some(wanted), Some(given)) if wanted == given => {}
                _ => return false,
            }
        }
    }

    /// Whether there is a subject that both stand for.
    pub fn overlaps(&self, other: &str) -> bool {
        let (mut ours, mut theirs) = (self.0.split('.'), other.split('.'));
        loop {
            match (ours.next(), theirs.next()) {
                (Some(">"), Some(_)) | (Some(_), Some(">")) | (None, None) => return true,
                (Some("*"), Some(_)) | (Some(_), Some("*")) => {}
                (Some(ours), Some(theirs)) if ours == theirs => {}
                _ => return false,
            }
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether this can be one token of a subject: the name of an agent, or of a queue group.
pub fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= LONGEST
        && !text.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '.' | '*' | '>'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).unwrap()
    }

    #[test]
    fn what_a_server_would_not_take_is_refused() {
        use InvalidSubject::{AfterRest, Character, EmptyToken, Length};
        for (text, expected) in [
            ("", Length),
            (".", EmptyToken),
            ("a..b", EmptyToken),
            (".a", EmptyToken),
            ("a.", EmptyToken),
            ("a b", Character),
            ("a\r\nPUB x 0", Character),
            ("a.>.b", AfterRest),
        ] {
            assert_eq!(Pattern::new(text), Err(expected), "{text:?}");
        }
        assert_eq!(Pattern::new(&"a".repeat(LONGEST + 1)), Err(Length));
        for text in ["a", "a.*.b", "a.>", ">", "*", "a*.b", "$SRV.PING", "ä.b"] {
            assert_eq!(pattern(text).as_str(), text);
        }
    }

    #[test]
    fn a_pattern_stands_for_subjects() {
        for (text, subject, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a.b.c", false),
            ("a.b.c", "a.b", false),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*", "a.b.c", false),
            ("a.*.c", "a.b.c", true),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            (">", "a.b", true),
            ("a*", "ab", false),
        ] {
            assert_eq!(pattern(text).matches(subject), expected, "{text} {subject}");
        }
    }

    #[test]
    fn patterns_overlap_if_one_subject_is_meant_by_both() {
        for (one, other, expected) in [
            ("a.b", "a.b", true),
            ("a.*", "*.b", true),
            ("a.*", "b.*", false),
            ("a.>", "a.b.c", true),
            ("a.>", "a", false),
            ("a.*.c", "a.>", true),
            ("a.*", "a.b.c", false),
            (">", "a", true),
        ] {
            assert_eq!(pattern(one).overlaps(other), expected, "{one} {other}");
            assert_eq!(pattern(other).overlaps(one), expected, "{other} {one}");
        }
    }

    #[test]
    fn a_token_has_no_dots_and_no_wildcards() {
        assert!(is_token("agent-1") && is_token("q"));
        assert!(!is_token("") && !is_token("a.b") && !is_token("*") && !is_token(">") && !is_token("a b"));
    }
}
