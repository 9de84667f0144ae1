//! Paths of requests that rules name.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Written, written};

/// A path such as `/healthz`, or all that begin alike, such as `/probe/*`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathPattern(String);

/// Several of them: a list in the file, separated by commas in an annotation.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct PathPatterns(Vec<PathPattern>);

impl PathPatterns {
    /// As [`crate::policy::Policy`] holds them.
    pub fn to_strings(&self) -> Vec<String> {
        self.0.iter().map(|pattern| pattern.0.clone()).collect()
    }

    /// The other way round, from what was once read.
    pub fn from_strings(patterns: &[String]) -> Self {
        Self(patterns.iter().cloned().map(PathPattern).collect())
    }
}

impl Written for PathPattern {
    fn read(text: &str) -> Result<Self, String> {
        let refuse = |why: &str| Err(format!("{text:?} {why}"));
        if !text.starts_with('/') {
            return refuse("is not a path; write one that begins with a slash, such as /healthz or /probe/*");
        }
        if text.trim_end_matches('*').len() + 1 < text.len() || text.trim_end_matches('*').contains('*') {
            return refuse("has a star that is not its last character; write for example /probe/*");
        }
        if text.contains(['?', '#', ',']) || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return refuse("has a character that no path has; write the path alone, without the query");
        }
        Ok(Self(text.to_owned()))
    }
}

impl Written for PathPatterns {
    fn read(text: &str) -> Result<Self, String> {
        let patterns = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        patterns.map(PathPattern::read).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for PathPatterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", self.0.iter().map(|pattern| pattern.0.as_str()).collect::<Vec<_>>().join(", "))
    }
}

written!(PathPattern, "PathPattern", {
    "type": "string",
    "title": "path",
    "pattern": r"^/[^*?#,\s]*\*?$",
    "examples": ["/healthz", "/probe/*"],
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_from_one_text() {
        let paths = PathPatterns::read("/healthz, /probe/*,").unwrap();
        assert_eq!(paths.to_strings(), ["/healthz", "/probe/*"]);
        assert_eq!(paths.to_string(), "[/healthz, /probe/*]");
    }

    #[test]
    fn what_no_request_has_as_its_path_is_refused() {
        for bad in ["healthz", "", "/a*b", "/**", "/a?b=c", "/a b", "*"] {
            assert!(PathPattern::read(bad).unwrap_err().contains("; write "), "{bad}");
        }
    }
}
