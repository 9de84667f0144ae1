//! Whom the front door lets in. On a cluster this is not left to a default: pods that agent-sandbox's `NetworkPolicy` lets
//! nobody but a router into would be open to whoever reaches us, and nobody would have said so.

use super::Step::{Index, Key};
use crate::config::decode::Document;
use crate::config::model::{Auth, TokenReview};
use crate::config::raw;

/// Checks `front_door.auth`, and whether there is anybody to review tokens.
pub(super) fn check_auth(
    on_cluster: bool,
    auth: Option<raw::Auth>,
    has_token_review: bool,
    document: &Document<'_, '_>,
) -> Auth {
    let report = |key, message: &str| document.report(&[Key("front_door"), Key(key)], message);
    match auth {
        None if on_cluster => report(
            "auth",
            "it is not said whom the front door lets in; write auth: token_review for callers whose bearer token the API \
             server accepts, or auth: none for whoever can reach it",
        ),
        Some(raw::Auth::TokenReview) if !on_cluster => report(
            "auth",
            "there is no API server to review tokens with backend.process; write none, or leave it out",
        ),
        _ if has_token_review && !on_cluster => report(
            "token_review",
            "there is no API server to review tokens with backend.process; leave it out",
        ),
        _ => {}
    }
    match auth {
        Some(raw::Auth::TokenReview) => Auth::TokenReview,
        None | Some(raw::Auth::None) => Auth::None,
    }
}

/// Checks `front_door.token_review`.
pub(super) fn check_token_review(raw: raw::TokenReview, document: &Document<'_, '_>) -> TokenReview {
    let raw::TokenReview { audiences, cache_for } = raw;
    for (index, audience) in audiences.iter().enumerate() {
        if audience.is_empty() {
            let place = [Key("front_door"), Key("token_review"), Key("audiences"), Index(index)];
            document.report(
                &place,
                "no token is for an audience without a name; write its name, or leave it out",
            );
        }
    }
    TokenReview { audiences, cache_for: cache_for.get() }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::config;

    fn parse(backend: &str, front_door: &str) -> Result<(Auth, TokenReview), Vec<String>> {
        let text = format!("backend: {{{backend}: {{}}}}\nfront_door: {{{front_door}}}\n");
        let config = config::parse(&text, Path::new("/etc/drowse.yaml"));
        config.map(|config| (config.front_door.auth, config.front_door.token_review)).map_err(|error| {
            let print =
                |p: &config::Problem| format!("{}:{} {}: {}", p.at.line, p.at.column, p.key, p.message);
            error.problems().iter().map(print).collect()
        })
    }

    fn with(auth: Auth, audiences: &[&str], cache_for: u64) -> (Auth, TokenReview) {
        let audiences = audiences.iter().copied().map(str::to_owned).collect();
        (auth, TokenReview { audiences, cache_for: Duration::from_secs(cache_for) })
    }

    #[test]
    fn on_a_cluster_it_is_written_out_whom_the_front_door_lets_in() {
        let advice = "it is not said whom the front door lets in; write auth: token_review for callers whose bearer token \
                      the API server accepts, or auth: none for whoever can reach it";
        for silent in ["", "domain: a", "token_review: {cache_for: 1s}"] {
            assert_eq!(
                parse("kubernetes", silent),
                Err(vec![format!("2:1 front_door: {advice}")]),
                "{silent:?}"
            );
        }
        assert_eq!(parse("kubernetes", "auth: none"), Ok(with(Auth::None, &[], 30)));
        assert_eq!(parse("kubernetes", "auth: token_review"), Ok(with(Auth::TokenReview, &[], 30)));
        for (word, auth) in [("token_review", Auth::TokenReview), ("none", Auth::None)] {
            let text = format!("auth: {word}, token_review: {{audiences: [a, b], cache_for: 2m}}");
            assert_eq!(
                parse("kubernetes", &text),
                Ok(with(auth, &["a", "b"], 120)),
                "{word}: leases have tokens, too"
            );
        }
    }

    #[test]
    fn processes_have_no_api_server_and_need_not_say_so() {
        assert_eq!(parse("process", ""), Ok(with(Auth::None, &[], 30)));
        assert_eq!(parse("process", "auth: none"), Ok(with(Auth::None, &[], 30)));
        let advice =
            "there is no API server to review tokens with backend.process; write none, or leave it out";
        let expected = Err(vec![format!("2:20 front_door.auth: {advice}")]);
        assert_eq!(parse("process", "auth: token_review"), expected);
        assert_eq!(parse("process", "auth: token_review, token_review: {}"), expected);
    }

    #[test]
    fn what_would_do_nothing_or_let_nobody_in_is_refused() {
        let useless = "front_door.token_review: there is no API server to review tokens with backend.process; leave it out";
        for auth in ["", "auth: none, "] {
            let problems = parse("process", &format!("{auth}token_review: {{}}")).unwrap_err();
            assert!(problems.len() == 1 && problems[0].ends_with(useless), "{problems:?}");
        }
        for (section, expected) in [
            (
                "{audiences: [a, \"\"]}",
                "token_review.audiences[1]: no token is for an audience without a name; write",
            ),
            ("{cache_for: 0s}", "token_review.cache_for: "),
            ("{cache_fo: 1s}", "token_review: the key \"cache_fo\" is not known; write cache_for"),
        ] {
            let problems =
                parse("kubernetes", &format!("auth: token_review, token_review: {section}")).unwrap_err();
            assert!(problems.len() == 1 && problems[0].contains(expected), "{problems:?}");
        }
        let problems = parse("kubernetes", "auth: nobody").unwrap_err();
        assert!(problems.len() == 1 && problems[0].contains("token_review"), "{problems:?}");
    }
}
