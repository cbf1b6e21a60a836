//! What things are called: names in Azure and the handles that the engine keeps. Pure.
//!
//! A machine's name is the request's. Its disk is named after the token, so that Azure itself refuses a second machine under
//! the same token: a disk's name is unique within its resource group.

use isobar_engine_model::id::ResourceHandle;
use isobar_engine_provider::{ResourceKind, Token};
use sha2::{Digest, Sha256};

/// Longest name of a Linux machine and of a virtual network, in letters; a security group's may be longer.
/// <https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules#microsoftcompute>
const MACHINE_MAX_LETTERS: usize = 64;
/// Of a digest in a name, in letters.
const DIGEST_LETTERS: usize = 32;

/// A machine and what was made with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) machine: String,
    pub(crate) disk: String,
}

impl Names {
    pub(crate) fn of(name: &str, token: &Token) -> Self {
        let digest = &digest(token.0.as_bytes())[..DIGEST_LETTERS];
        Self {
            machine: short(name),
            disk: format!("isobar-{digest}"),
        }
    }

    /// The second disk, where the site asks for one.
    pub(crate) fn data_disk(&self) -> String {
        format!("{}-data", self.disk)
    }

    pub(crate) fn interface(&self) -> String {
        format!("{}-nic", self.machine)
    }

    pub(crate) fn address(&self) -> String {
        format!("{}-ip", self.machine)
    }

    pub(crate) fn handle(&self) -> ResourceHandle {
        ResourceHandle::new(format!(
            "{}/{}/{}",
            word(ResourceKind::Machine),
            self.machine,
            self.disk
        ))
    }
}

/// What a handle names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    Machine(Names),
    Part(ResourceKind, String),
}

/// Reads a handle; absent: it was never one of ours.
pub(crate) fn named(handle: &ResourceHandle) -> Option<Named> {
    let (kind, name) = handle.as_str().split_once('/')?;
    let kind = ResourceKind::ALL.into_iter().find(|known| word(*known) == kind)?;
    match kind {
        ResourceKind::Machine => {
            let (machine, disk) = name.split_once('/')?;
            (plain(machine) && plain(disk)).then(|| {
                Named::Machine(Names {
                    machine: machine.to_owned(),
                    disk: disk.to_owned(),
                })
            })
        }
        ResourceKind::Disk
        | ResourceKind::Interface
        | ResourceKind::Address
        | ResourceKind::Network
        | ResourceKind::Firewall => plain(name).then(|| Named::Part(kind, name.to_owned())),
        // Never made by themselves.
        ResourceKind::Gateway | ResourceKind::Subnet => None,
    }
}

/// The handle of a disk, a network card, an address or a part of a network.
pub(crate) fn part(kind: ResourceKind, name: &str) -> ResourceHandle {
    ResourceHandle::new(format!("{}/{name}", word(kind)))
}

/// Azure's word for a kind, as it stands in paths.
pub(crate) fn word(kind: ResourceKind) -> &'static str {
    match kind {
        ResourceKind::Machine => "virtualMachines",
        ResourceKind::Disk => "disks",
        ResourceKind::Interface => "networkInterfaces",
        ResourceKind::Address => "publicIPAddresses",
        ResourceKind::Network => "virtualNetworks",
        ResourceKind::Gateway => "natGateways",
        ResourceKind::Subnet => "subnets",
        ResourceKind::Firewall => "networkSecurityGroups",
    }
}

/// SHA-256 in hex.
pub(crate) fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn plain(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && !name.starts_with('.') && name.chars().all(letter)
}

/// The name itself, or its start and its digest where that is too long.
pub(crate) fn short(name: &str) -> String {
    if name.len() <= MACHINE_MAX_LETTERS {
        return name.to_owned();
    }
    let start: String = name.chars().take(MACHINE_MAX_LETTERS - DIGEST_LETTERS - 1).collect();
    format!("{start}-{}", &digest(name.as_bytes())[..DIGEST_LETTERS])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_names_what_it_was_made_of_and_leads_nowhere_else() {
        let names = Names::of("isobar-shop-m-1", &Token("t".to_owned()));
        assert_eq!(named(&names.handle()), Some(Named::Machine(names)));
        let disk = part(ResourceKind::Disk, "d");
        assert_eq!(named(&disk), Some(Named::Part(ResourceKind::Disk, "d".to_owned())));
        for wrong in [
            "",
            "disks",
            "disks/",
            "disks/../x",
            "virtualMachines/a",
            "vaults/a",
            "disks/a?b",
            "subnets/nodes",
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v",
        ] {
            assert_eq!(named(&ResourceHandle::new(wrong)), None, "{wrong}");
        }
    }

    #[test]
    fn long_names_fit_and_stay_apart() {
        let (one, other) = ("m".repeat(90), format!("{}x", "m".repeat(90)));
        let short = |name: &str| Names::of(name, &Token("t".to_owned())).machine;
        assert_eq!(short(&one).len(), MACHINE_MAX_LETTERS);
        assert_ne!(short(&one), short(&other));
    }
}
