//! What to write instead, where a file is no good YAML.
//!
//! The parser knows what it did not expect; people want to know which of a few common slips it was.

use serde_saphyr::{Error, UserMessageFormatter};

use super::node::position;
use super::problem::{Position, lines};

/// The place of a syntax error, what is wrong, and what to write.
pub(super) fn explain(error: &Error, text: &str) -> (Position, String) {
    let error = innermost(error);
    let at = error.location().map_or(Position::START, position);
    let at = if is_stray_colon(error) { slip_before(at, text).unwrap_or(at) } else { at };
    let line = lines(text).nth(at.line - 1).unwrap_or_default();
    let rest: String = line.chars().skip(at.column - 1).collect();
    (at, known(error, line, &rest).unwrap_or_else(|| general(error)))
}

/// Errors inside an alias carry two places; the inner one says what is wrong.
fn innermost(mut error: &Error) -> &Error {
    while let Error::AliasError { error: inner, .. } | Error::WithSnippet { error: inner, .. } = error {
        error = inner;
    }
    error
}

fn is_stray_colon(error: &Error) -> bool {
    error.to_string().contains("mapping values are not allowed")
}

/// A line that is a key without a value is noticed only at the colon of the next line.
fn slip_before(at: Position, text: &str) -> Option<Position> {
    let before = lines(text).nth(at.line.checked_sub(2)?)?;
    let indent = before.len() - before.trim_start().len();
    let word = before.trim();
    let plain =
        !word.contains(": ") && !word.ends_with(':') && !word.starts_with(['-', '#', '[', '{', '"', '\'']);
    (plain && !word.is_empty()).then_some(Position { line: at.line - 1, column: indent + 1 })
}

fn known(error: &Error, line: &str, rest: &str) -> Option<String> {
    let message = match error {
        Error::MultipleDocuments { .. } => {
            "a second YAML document begins here; write one document, without ---".to_owned()
        }
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            "the file is nested too deeply or grows too large here; write it flatter, or with fewer aliases"
                .to_owned()
        }
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            "this alias contains itself; write its value out".to_owned()
        }
        Error::UnsupportedTag { tag, .. } => {
            format!("the tag {tag} means nothing here; write the value without it")
        }
        Error::NullIntoString { .. } => {
            "the key of this line is empty; write a name before the colon".to_owned()
        }
        _ => return by_text(error, line, rest),
    };
    Some(message)
}

fn by_text(error: &Error, line: &str, rest: &str) -> Option<String> {
    let first_word = rest.split([' ', ',', '}', ']']).next().unwrap_or_default();
    let indent = &line[..line.len() - line.trim_start().len()];
    if indent.contains('\t') || error.to_string().contains("tab") {
        return Some("a tab stands where YAML wants spaces; write spaces".to_owned());
    }
    if matches!(error, Error::UnknownAnchor { .. }) || rest.starts_with('*') {
        return Some(format!(
            "{first_word} is an alias in YAML; write \"{first_word}\" if a pattern is meant"
        ));
    }
    if rest.starts_with(['@', '`', '%']) {
        return Some(format!("a value cannot begin like this in YAML; write it in quotes: \"{first_word}\""));
    }
    let word = line.trim();
    match word.split_once(':') {
        None if !word.starts_with(['-', '[', '{', '"', '\'']) => {
            Some(format!("{word:?} is no key with a value; write key: value"))
        }
        Some((key, value)) if !value.starts_with(' ') && !value.is_empty() && !key.contains(' ') => {
            Some(format!("{word:?} has no space after its colon; write {key}: {value}"))
        }
        Some((key, value)) if value.contains(": ") && !value.trim().starts_with(['{', '[', '"', '\'']) => {
            Some(format!("{word:?} has two colons; write the value in quotes: {key}: \"{}\"", value.trim()))
        }
        _ => None,
    }
}

fn general(error: &Error) -> String {
    let message = error.render_with_formatter(&UserMessageFormatter);
    let message = message.split(" at line ").next().unwrap_or_default();
    format!("this is not YAML: {message}; write key: value, with the same indent as the keys beside it")
}

#[cfg(test)]
mod tests {
    use crate::config::node;

    #[test]
    fn common_slips_are_named_with_their_place_and_what_to_write() {
        let slips = [
            ("a:\n\tb: 1\n", 2, "write spaces"),
            ("a: 1\n---\nb: 2\n", 3, "write one document"),
            ("match: {name: *}\n", 1, "write \"*\""),
            ("name: *-worker\n", 1, "write \"*-worker\""),
            ("a: @x\n", 1, "write it in quotes: \"@x\""),
            ("a 1\nb: 2\n", 1, "write key: value"),
            ("a:1\nb: 2\n", 1, "write a: 1"),
            ("a: b: c\n", 1, "write the value in quotes: a: \"b: c\""),
            ("a: &a\n  b: *a\n", 2, "write its value out"),
            ("a: !foo 3\n", 1, "write the value without it"),
            ("~: 3\n", 1, "write a name before the colon"),
            ("a:\n  b: 1\n c: 2\n", 3, "the same indent"),
            ("a: \"x\nb: 1\n", 1, "unclosed quote"),
            ("a: [1, 2\nb: 3\n", 2, "; write "),
        ];
        for (text, line, advice) in slips {
            let (at, message) = node::parse(text).unwrap_err();
            assert!(message.contains(advice) && at.line == line, "{text:?} at {at:?}: {message}");
        }
    }

    #[test]
    fn bombs_are_defused() {
        let deep = format!("a: {}{}", "[".repeat(100), "]".repeat(100));
        let wide = (1..12).fold("a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, i| {
            let last = format!("*a{},", i - 1);
            text + &format!("a{i}: &a{i} [{}]\n", last.repeat(9))
        });
        for text in [deep, wide] {
            let (_, message) = node::parse(&text).unwrap_err();
            assert!(message.contains("write it flatter"), "{message}");
        }
    }
}
