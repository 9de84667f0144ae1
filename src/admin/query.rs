//! How the list of agents is searched, narrowed, put in order and cut to a page, as it is written in a URL.

use percent_encoding::percent_decode_str;

use super::problem::Problem;
use crate::engine::overview::{Query, Sort};
use crate::lifecycle::PhaseName;

/// Names are at most 127 characters long; what is longer finds nothing.
const MAX_SEARCH: usize = 200;

/// For somebody who asked for something else.
const KEYS: &str = "search=…, namespace=…, phase=…, sort=…, offset=… and limit=…";

/// Reads the part of a URL behind the question mark. What is not understood is refused rather than ignored.
pub(super) fn read(query: &str) -> Result<Query, Problem> {
    let mut wanted = Query::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some((key, value)) = pair.split_once('=') else { return Err(unknown(pair)) };
        let value = decoded(value)?;
        match key {
            "search" => wanted.words = words(&value)?,
            "namespace" => wanted.namespace = Some(value),
            "phase" => wanted.phase = Some(phase(&value)?),
            "sort" => (wanted.sort, wanted.descending) = sort(&value)?,
            "offset" => wanted.offset = number(key, &value)?,
            "limit" => wanted.limit = Some(number(key, &value)?),
            _ => return Err(unknown(pair)),
        }
    }
    Ok(wanted)
}

fn unknown(pair: &str) -> Problem {
    Problem::bad_request(format!("{pair:?} is not known here; there is {KEYS}"))
}

/// As forms and `URLSearchParams` write it.
fn decoded(value: &str) -> Result<String, Problem> {
    let spaced = value.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| Problem::bad_request(format!("{value:?} is not UTF-8 behind its percent signs")))
}

fn words(search: &str) -> Result<Vec<String>, Problem> {
    if search.len() > MAX_SEARCH {
        return Err(Problem::bad_request(format!("search is longer than {MAX_SEARCH} bytes")));
    }
    Ok(search.to_lowercase().split_whitespace().map(str::to_owned).collect())
}

fn phase(text: &str) -> Result<PhaseName, Problem> {
    let found = PhaseName::ALL.into_iter().find(|phase| phase.as_str().eq_ignore_ascii_case(text));
    found.ok_or_else(|| {
        let all = PhaseName::ALL.map(PhaseName::as_str).join(", ");
        Problem::bad_request(format!("{text:?} is not a phase; there is {all}"))
    })
}

/// `name`, or `-name` for the other way round.
fn sort(text: &str) -> Result<(Sort, bool), Problem> {
    let (name, descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
    let found = Sort::ALL.into_iter().find(|(known, _)| *known == name);
    found.map(|(_, sort)| (sort, descending)).ok_or_else(|| {
        let all = Sort::ALL.map(|(name, _)| name).join(", ");
        Problem::bad_request(format!(
            "nothing is sorted by {text:?}; there is {all}, and each with a - before it"
        ))
    })
}

fn number(key: &str, text: &str) -> Result<usize, Problem> {
    text.parse().map_err(|_| Problem::bad_request(format!("{key} is a number, and not {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_can_be_said_at_once() {
        let query =
            "search=Team-A%2F+notes&namespace=team-a&phase=suspended&sort=-activity&offset=100&limit=50";
        let expected = Query {
            words: vec!["team-a/".to_owned(), "notes".to_owned()],
            namespace: Some("team-a".to_owned()),
            phase: Some(PhaseName::Suspended),
            sort: Sort::Activity,
            descending: true,
            offset: 100,
            limit: Some(50),
        };
        assert_eq!(read(query).unwrap(), expected);
        assert_eq!(read("").unwrap(), Query::default());
    }

    #[test]
    fn what_is_not_understood_is_refused_rather_than_ignored() {
        let long = format!("search={}", "x".repeat(201));
        let cases = [
            ("phase=Asleep", "Suspended"),
            ("phase", "limit="),
            ("name=echo", "limit="),
            ("phase=Running&x=1", "limit="),
            ("sort=colour", "activity"),
            ("limit=-1", "number"),
            ("offset=many", "number"),
            ("search=%ff", "UTF-8"),
            (long.as_str(), "200"),
        ];
        for (bad, says) in cases {
            let problem = read(bad).unwrap_err();
            assert!(problem.status == 400 && problem.detail.contains(says), "{bad}: {}", problem.detail);
        }
    }
}
