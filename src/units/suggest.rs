//! What somebody may have meant who wrote a word that is not known.

/// Below this, a suggestion would be a guess.
const ALIKE: f64 = 0.7;

/// The known word that is most like this one, if any is much like it.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Comparing takes time in the product of the lengths, and no known word is long.
    if word.len() > 64 {
        return None;
    }
    let folded = word.to_lowercase().replace('-', "_");
    let likeness = |known: &str| strsim::normalized_damerau_levenshtein(&folded, &known.replace('-', "_"));
    let scored = known.into_iter().map(|known| (likeness(known), known)).filter(|(score, _)| *score >= ALIKE);
    scored.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["idle_timeout", "hold_timeout", "front_door", "rules"];

    #[test]
    fn slips_other_spellings_and_other_cases_are_recognised() {
        for (word, meant) in [
            ("idle_timout", "idle_timeout"),
            ("idle-timeout", "idle_timeout"),
            ("frontdoor", "front_door"),
            ("FrontDoor", "front_door"),
            ("rule", "rules"),
            ("idel_timeout", "idle_timeout"),
        ] {
            assert_eq!(nearest(word, KNOWN), Some(meant));
        }
    }

    #[test]
    fn what_is_like_nothing_gets_no_guess() {
        for word in ["", "x", "nats", &"idle_timeout".repeat(100_000)] {
            assert_eq!(nearest(word, KNOWN), None);
        }
    }
}
