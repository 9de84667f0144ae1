//! Counts how requests ended: by status, or by what went wrong.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::client::{Answer, ClientError};

/// How many requests ended in which way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Tally(BTreeMap<String, u64>);

const OK: &str = "200";

impl Tally {
    /// Counts one end. Gives whether it was a good one.
    pub(crate) fn add(&mut self, end: &Result<Answer, ClientError>) -> bool {
        let word = match end {
            Ok(answer) => answer.status.as_str().to_owned(),
            Err(error) => error.kind(),
        };
        let good = word == OK;
        self.count(word, 1);
        good
    }

    /// Counts some ends under one word.
    pub(crate) fn count(&mut self, word: String, number: u64) {
        *self.0.entry(word).or_default() += number;
    }

    /// Counts all of another.
    pub(crate) fn merge(&mut self, other: Self) {
        for (word, number) in other.0 {
            self.count(word, number);
        }
    }

    /// How many were answered 200.
    pub(crate) fn good(&self) -> u64 {
        self.0.get(OK).copied().unwrap_or_default()
    }

    /// How many there are.
    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Whether there are some, and all were answered 200.
    pub(crate) fn is_clean(&self) -> bool {
        self.good() > 0 && self.good() == self.total()
    }

    /// For people, such as `200: 9, 429: 1`.
    pub(crate) fn text(&self) -> String {
        let parts: Vec<_> = self.0.iter().map(|(word, number)| format!("{word}: {number}")).collect();
        if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    fn answer(status: StatusCode) -> Answer {
        Answer { status, headers: http::HeaderMap::new(), body: bytes::Bytes::new() }
    }

    #[test]
    fn ends_are_counted_by_status_and_by_failure() {
        let mut tally = Tally::default();
        assert!(!tally.is_clean(), "nothing at all is not a good run");
        assert!(tally.add(&Ok(answer(StatusCode::OK))));
        assert!(tally.is_clean());
        assert!(!tally.add(&Ok(answer(StatusCode::TOO_MANY_REQUESTS))));
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert!(!tally.add(&Err(ClientError::Connect(refused))));
        assert_eq!((tally.good(), tally.total(), tally.is_clean()), (1, 3, false));
        assert_eq!(tally.text(), "200: 1, 429: 1, connect: connection refused: 1");
    }

    #[test]
    fn tallies_add_up() {
        let mut tally = Tally::default();
        tally.count("200".into(), 2);
        let mut other = tally.clone();
        other.count("503".into(), 1);
        tally.merge(other);
        assert_eq!(tally.text(), "200: 4, 503: 1");
    }
}
