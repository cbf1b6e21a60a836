//! Whether a crate may be linked, by its SPDX licence expression.

/// Whether somebody who accepts only `accepted` may use a crate under `expression`. An expression that this cannot read
/// is not accepted.
pub fn is_accepted(expression: &str, accepted: &[String]) -> bool {
    // `/` is how crates wrote OR before SPDX.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any(&mut rest, accepted) == Some(true) && rest.is_empty()
}

/// The licences that `deny.toml` allows.
pub fn allowed_by(deny_toml: &str) -> Vec<String> {
    let list = deny_toml
        .split_once("\nallow = [")
        .and_then(|(_, rest)| rest.split_once(']'))
        .map_or("", |(list, _)| list);
    let lines = list
        .lines()
        .map(|line| line.split_once('#').map_or(line, |(before, _)| before));
    lines
        .flat_map(|line| line.split('"').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

/// What `deny.toml` says about one crate alone: licences accepted besides, and the expression where its manifest has none.
pub fn about(deny_toml: &str, name: &str) -> (Vec<String>, Option<String>) {
    let quoted = |line: &str| {
        line.split('"')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let entry = format!("crate = \"{name}\"");
    let exceptions = deny_toml
        .lines()
        .filter(|line| line.trim_start().starts_with('{') && line.contains(&entry));
    let besides = exceptions.flat_map(|line| quoted(line).split_off(1)).collect();
    let mut after = deny_toml.lines().skip_while(|line| line.trim() != entry).skip(1);
    let expression = after
        .next()
        .filter(|line| line.starts_with("expression"))
        .and_then(|line| quoted(line).pop());
    (besides, expression)
}

fn any(words: &mut &[&str], accepted: &[String]) -> Option<bool> {
    let mut yes = all(words, accepted)?;
    while let ["OR", rest @ ..] = words {
        *words = rest;
        yes |= all(words, accepted)?;
    }
    Some(yes)
}

fn all(words: &mut &[&str], accepted: &[String]) -> Option<bool> {
    let mut yes = one(words, accepted)?;
    while let ["AND", rest @ ..] = words {
        *words = rest;
        yes &= one(words, accepted)?;
    }
    Some(yes)
}

fn one(words: &mut &[&str], accepted: &[String]) -> Option<bool> {
    match words {
        ["(", rest @ ..] => {
            *words = rest;
            let yes = any(words, accepted)?;
            *words = words.strip_prefix(&[")"])?;
            Some(yes)
        }
        [licence, "WITH", exception, rest @ ..] => {
            let whole = format!("{licence} WITH {exception}");
            *words = rest;
            Some(accepted.contains(&whole))
        }
        [licence, rest @ ..] => {
            let yes = accepted.iter().any(|a| a == licence);
            *words = rest;
            Some(yes)
        }
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_accepted_alternative_is_enough_and_every_condition_counts() {
        let accepted = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
        for (expression, expected) in [
            ("MIT", true),
            ("MIT OR AGPL-3.0-only", true),
            ("MIT/Apache-2.0", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("(MIT OR GPL-2.0) AND Apache-2.0", true),
            ("AGPL-3.0-or-later", false),
            ("MIT AND GPL-2.0", false),
            ("Apache-2.0 WITH other-exception", false),
            ("MIT OR", false),
            ("(MIT", false),
            ("MIT MIT", false),
            ("", false),
        ] {
            assert_eq!(is_accepted(expression, &accepted), expected, "{expression}");
        }
    }

    #[test]
    fn the_list_is_read_from_deny_toml() {
        let toml = "[licenses]\nallow = [\n    \"MIT\", # \"GPL\"\n    \"ISC\",\n]\nother = [\"X\"]\n";
        assert_eq!(allowed_by(toml), ["MIT", "ISC"]);
    }

    #[test]
    fn an_exception_holds_for_its_crate_only() {
        let toml = "exceptions = [\n  { crate = \"a\", allow = [\"MPL-2.0\"] },\n]\n
[[licenses.clarify]]\ncrate = \"b\"\nexpression = \"MIT\"\n";
        assert_eq!(about(toml, "a"), (vec!["MPL-2.0".into()], None));
        assert_eq!(about(toml, "b"), (vec![], Some("MIT".into())));
        assert_eq!(about(toml, "c"), (vec![], None));
    }
}
