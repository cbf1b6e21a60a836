//! Where a machine is kept: its region and its name, both safe as a file's name.

use serde::{Deserialize, Serialize};

/// Longest region or name, in bytes.
pub(crate) const PART_MAX_BYTES: usize = 63;

/// A region and a name that may stand in a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) region: String,
    pub(crate) name: String,
}

impl Place {
    /// `None` where one of both is not 1 to 63 of letters, digits, `-`, `_` and `.`, starting with a letter or digit.
    pub(crate) fn new(region: &str, name: &str) -> Option<Self> {
        (is_part(region) && is_part(name)).then(|| Self {
            region: region.to_owned(),
            name: name.to_owned(),
        })
    }
}

fn is_part(text: &str) -> bool {
    text.len() <= PART_MAX_BYTES
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_leaves_its_folder_is_a_place() {
        for bad in [
            "",
            ".",
            "..",
            ".new-a",
            "a/b",
            "/",
            "a b",
            "a,b",
            "\u{e9}",
            &"a".repeat(64),
        ] {
            assert!(Place::new("north", bad).is_none(), "{bad}");
            assert!(Place::new(bad, "web-1").is_none(), "{bad}");
        }
        assert!(Place::new("north", "iso-shop.web_1").is_some());
    }
}
