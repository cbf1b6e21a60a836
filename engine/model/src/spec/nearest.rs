//! "Did you mean": the allowed word nearest to one that is not allowed. Called wherever a person may have mistyped.

/// The allowed word that `word` is most likely a slip of; `None` when nothing is near.
///
/// Near is: the same but for case, `-` and `_`; or at most one edit in three letters.
pub fn nearest<'a>(word: &str, allowed: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = plain(word);
    allowed
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&plain, &self::plain(candidate)), candidate))
        .filter(|(edits, candidate)| *edits <= candidate.chars().count().max(word.chars().count()).min(WORD_MAX) / 3)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Longer words are compared by their first letters, so that a hostile word costs little.
const WORD_MAX: usize = 64;

fn plain(word: &str) -> String {
    word.chars()
        .take(WORD_MAX)
        .map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let allowed = ["replicas", "min_available", "image", "no"];
        for (word, expected) in [
            ("replcas", Some("replicas")),
            ("Replicas", Some("replicas")),
            ("min-available", Some("min_available")),
            ("imgae", Some("image")),
            ("volume", None),
            ("", None),
            ("on", None),
        ] {
            assert_eq!(nearest(word, allowed), expected, "{word}");
        }
    }
}
