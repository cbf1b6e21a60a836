//! A name for an object, from its address in a state. Pure: the same addresses in the same order give the same names.

use isobar_engine_model::id::{AdoptedName, NAME_MAX_BYTES};

/// Room kept at a name's end for the number that tells it from others.
const NUMBER_MAX_BYTES: usize = 6;

/// A name that is not taken: the address without its type, then with a number.
pub(super) fn name(address: &str, taken: impl Fn(&AdoptedName) -> bool) -> AdoptedName {
    let label = label(address);
    (1_u32..)
        .map(|number| {
            let text = match number {
                1 => label.clone(),
                number => format!("{label}-{number}"),
            };
            AdoptedName::new(text).expect("a label of letters, digits and inner dashes, cut to fit")
        })
        .find(|name| !taken(name))
        .expect("there are fewer objects than numbers")
}

/// `module.a.aws_instance.web["x.y"]` gives `a-web-x-y`.
fn label(address: &str) -> String {
    let mut words: Vec<&str> = address
        .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| !word.is_empty() && *word != "module")
        .collect();
    // A resource type stands before the name: it has an underscore, and says nothing that the object does not.
    if words.len() > 1
        && let Some(kind) = words.iter().position(|word| word.contains('_'))
        && kind + 1 < words.len()
    {
        words.remove(kind);
    }
    let text = words.join("-").to_ascii_lowercase().replace('_', "-");
    let text = text.trim_matches('-');
    let text = match text.bytes().next() {
        Some(first) if first.is_ascii_lowercase() => text.to_owned(),
        Some(_) => format!("o-{text}"),
        None => "object".to_owned(),
    };
    let most = NAME_MAX_BYTES - NUMBER_MAX_BYTES;
    text[..text.len().min(most)].trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_labels_that_a_person_knows_again() {
        for (address, expected) in [
            ("aws_instance.web", "web"),
            ("aws_instance.web[0]", "web-0"),
            (
                r#"module.shop["eu"].aws_instance.db_main["a.b"]"#,
                "shop-eu-db-main-a-b",
            ),
            ("google_compute_instance.2fast", "o-2fast"),
            ("aws_instance.ünïcode", "n-code"),
            (
                "aws_instance.a_very_long_name_that_nobody_should_have_given",
                "a-very-long-name-that-nobo",
            ),
            ("", "object"),
        ] {
            assert_eq!(name(address, |_| false).as_str(), expected, "{address}");
        }
    }

    #[test]
    fn no_two_objects_have_one_name() {
        let mut taken = BTreeSet::new();
        for _ in 0..1_200 {
            let name = name("aws_instance.a_very_long_name_that_nobody_should_have_given", |name| {
                taken.contains(name)
            });
            assert!(taken.insert(name));
        }
        assert_eq!(taken.len(), 1_200);
    }
}
