//! Whose a part of a network is, in its description: one JSON object of texts, with the labels that a machine has and the
//! region that the part is for. Any other description is somebody else's. Pure.

use std::collections::BTreeMap;

use isobar_engine_provider::OwnerTags;

use crate::request::REQUEST_LABEL;

/// For which region: networks and firewalls are the whole project's, and a site has only its own.
const REGION: &str = "isobar-region";

/// What a description says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Described {
    pub(crate) tags: OwnerTags,
    pub(crate) region: String,
    /// What was asked for, as a hash.
    pub(crate) fingerprint: String,
}

impl Described {
    /// The description that says it.
    pub(crate) fn text(&self) -> String {
        let mut said = self.tags.labels();
        said.insert(REGION, self.region.clone());
        said.insert(REQUEST_LABEL, self.fingerprint.clone());
        serde_json::to_string(&said).expect("a map of texts is JSON")
    }

    /// What a description says; absent: nothing of ours.
    pub(crate) fn read(description: Option<&str>) -> Option<Self> {
        let said: BTreeMap<String, String> = serde_json::from_str(description?).ok()?;
        let word = |key: &str| said.get(key).map(String::as_str);
        Some(Self {
            tags: OwnerTags::of_labels(word)?,
            region: word(REGION)?.to_owned(),
            fingerprint: word(REQUEST_LABEL)?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use isobar_engine_model::id::{AttemptNo, ClusterName, Epoch, MachineId, OperationId};
    use isobar_engine_provider::Owner;

    use super::*;

    /// Longest description, in characters: <https://docs.cloud.google.com/compute/docs/reference/rest/v1/firewalls> has
    /// examples only; Google's console takes 2,048.
    const DESCRIPTION_MAX_CHARS: usize = 2_048;

    fn described() -> Described {
        Described {
            tags: OwnerTags {
                owner: Owner {
                    store: "0123456789abcdef".to_owned(),
                    cluster: ClusterName::new("c".repeat(32)).expect("a name"),
                },
                machine: MachineId::new(format!("{}-4294967295", "p".repeat(32))),
                operation: OperationId::new("op-0123456789abcdef"),
                attempt: AttemptNo(u32::MAX),
                epoch: Epoch(u64::MAX),
            },
            region: "northamerica-northeast1".to_owned(),
            fingerprint: "f".repeat(32),
        }
    }

    #[test]
    fn a_description_says_whose_it_is_and_is_not_too_long() {
        let text = described().text();
        assert!(text.len() < DESCRIPTION_MAX_CHARS, "{text}");
        assert_eq!(Described::read(Some(&text)), Some(described()));
    }

    #[test]
    fn any_other_description_is_somebody_else_s() {
        let text = described().text();
        for other in [
            None,
            Some(""),
            Some("the network of our nodes"),
            Some("{}"),
            Some(&text[1..]),
            Some(&format!("{text} and more")),
            Some(&text.replace("isobar-region", "region")),
            Some(&text.replace("isobar-store", "store")),
            Some(&text.replace("\"4294967295\"", "4294967295")),
        ] {
            assert_eq!(Described::read(other), None, "{other:?}");
        }
    }
}
