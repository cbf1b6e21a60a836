//! Owner tags as flat labels, in the form that every cloud takes: keys and values of at most 63 of `a-z`, `0-9`, `_` and
//! `-`. Used by the providers of clouds; knows no cloud.

use std::collections::BTreeMap;

use isobar_engine_model::id::{AttemptNo, ClusterName, Epoch, MachineId, OperationId};

use crate::{Owner, OwnerTags};

/// Label: the store's own id.
pub const STORE: &str = "isobar-store";
/// Label: the cluster.
pub const CLUSTER: &str = "isobar-cluster";
/// Label: the machine it is or belongs to.
pub const MACHINE: &str = "isobar-machine";
/// Label: the operation that made it.
pub const OPERATION: &str = "isobar-operation";
/// Label: in which attempt.
pub const ATTEMPT: &str = "isobar-attempt";
/// Label: by which writer.
pub const EPOCH: &str = "isobar-epoch";
/// Longest value, in bytes.
pub const VALUE_MAX_BYTES: usize = 63;

impl OwnerTags {
    /// The labels that say the same, in key order.
    pub fn labels(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            (STORE, self.owner.store.clone()),
            (CLUSTER, self.owner.cluster.to_string()),
            (MACHINE, self.machine.to_string()),
            (OPERATION, self.operation.to_string()),
            (ATTEMPT, self.attempt.0.to_string()),
            (EPOCH, self.epoch.0.to_string()),
        ])
    }

    /// What labels say; absent unless all of ours are there and well-formed. Other labels do not matter.
    pub fn of_labels<'a>(label: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        Some(Self {
            owner: Owner {
                store: label(STORE)?.to_owned(),
                cluster: ClusterName::new(label(CLUSTER)?).ok()?,
            },
            machine: MachineId::new(label(MACHINE)?),
            operation: OperationId::new(label(OPERATION)?),
            attempt: AttemptNo(label(ATTEMPT)?.parse().ok()?),
            epoch: Epoch(label(EPOCH)?.parse().ok()?),
        })
    }
}

/// Whether every cloud takes a value as it is.
pub fn is_plain(value: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    value.len() <= VALUE_MAX_BYTES && value.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags() -> OwnerTags {
        OwnerTags {
            owner: Owner {
                store: "0123456789abcdef".to_owned(),
                cluster: ClusterName::new("c".repeat(32)).expect("a name"),
            },
            machine: MachineId::new(format!("{}-4294967295", "p".repeat(32))),
            operation: OperationId::new("op-0123456789abcdef"),
            attempt: AttemptNo(u32::MAX),
            epoch: Epoch(u64::MAX),
        }
    }

    #[test]
    fn labels_say_what_the_tags_say_in_letters_that_every_cloud_takes() {
        let labels = tags().labels();
        for (key, value) in &labels {
            assert!(is_plain(key) && is_plain(value), "{key}={value}");
        }
        let read = OwnerTags::of_labels(|key| labels.get(key).map(String::as_str));
        assert_eq!(read, Some(tags()));
    }

    #[test]
    fn a_missing_or_wrong_label_makes_a_resource_somebody_else_s() {
        for missing in tags().labels().keys() {
            let mut labels = tags().labels();
            labels.remove(missing);
            assert_eq!(
                OwnerTags::of_labels(|key| labels.get(key).map(String::as_str)),
                None,
                "{missing}"
            );
        }
        for (key, wrong) in [(ATTEMPT, "first"), (EPOCH, "-1"), (CLUSTER, "No Name")] {
            let mut labels = tags().labels();
            labels.insert(key, wrong.to_owned());
            assert_eq!(
                OwnerTags::of_labels(|key| labels.get(key).map(String::as_str)),
                None,
                "{key}"
            );
        }
    }
}
