//! Which types of objects are read, where their ids lead, and in which version of the interface they are spoken of. Pure.

use isobar_engine_model::object::{ObjectId, ObjectType};
use isobar_engine_provider::Result;
use isobar_engine_provider::adoption::unsupported;

use crate::paths::{DISKS, MACHINES, NETWORK};

/// A type of objects that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    VirtualMachine,
    ScaleSet,
    Disk,
    SshKey,
    VirtualNetwork,
    Subnet,
    NetworkInterface,
    SecurityGroup,
    SecurityRule,
    RouteTable,
    Route,
    NatGateway,
    PublicAddress,
}

/// Our word for each, and Azure's type with its parent's.
const KINDS: [(Kind, &str, &[&str]); 13] = [
    (
        Kind::VirtualMachine,
        "virtual_machine",
        &["microsoft.compute", "virtualmachines"],
    ),
    (
        Kind::ScaleSet,
        "scale_set",
        &["microsoft.compute", "virtualmachinescalesets"],
    ),
    (Kind::Disk, "disk", &["microsoft.compute", "disks"]),
    (Kind::SshKey, "ssh_key", &["microsoft.compute", "sshpublickeys"]),
    (
        Kind::VirtualNetwork,
        "virtual_network",
        &["microsoft.network", "virtualnetworks"],
    ),
    (
        Kind::Subnet,
        "subnet",
        &["microsoft.network", "virtualnetworks", "subnets"],
    ),
    (
        Kind::NetworkInterface,
        "network_interface",
        &["microsoft.network", "networkinterfaces"],
    ),
    (
        Kind::SecurityGroup,
        "security_group",
        &["microsoft.network", "networksecuritygroups"],
    ),
    (
        Kind::SecurityRule,
        "security_rule",
        &["microsoft.network", "networksecuritygroups", "securityrules"],
    ),
    (Kind::RouteTable, "route_table", &["microsoft.network", "routetables"]),
    (Kind::Route, "route", &["microsoft.network", "routetables", "routes"]),
    (Kind::NatGateway, "nat_gateway", &["microsoft.network", "natgateways"]),
    (
        Kind::PublicAddress,
        "public_address",
        &["microsoft.network", "publicipaddresses"],
    ),
];

impl Kind {
    pub(super) fn of(kind: &ObjectType) -> Result<Self> {
        let known = KINDS.iter().find(|(_, word, _)| *word == kind.0);
        known
            .map(|(kind, _, _)| *kind)
            .ok_or_else(|| unsupported("Azure", kind))
    }

    pub(super) fn version(self) -> &'static str {
        match self {
            Self::VirtualMachine | Self::ScaleSet | Self::SshKey => MACHINES,
            Self::Disk => DISKS,
            Self::VirtualNetwork
            | Self::Subnet
            | Self::NetworkInterface
            | Self::SecurityGroup
            | Self::SecurityRule
            | Self::RouteTable
            | Self::Route
            | Self::NatGateway
            | Self::PublicAddress => NETWORK,
        }
    }

    /// The subscription of an id of this type; absent: it is no such id. Our token goes where an id leads.
    pub(super) fn subscription(self, id: &ObjectId) -> Option<&str> {
        let (_, _, wanted) = KINDS.iter().find(|(kind, _, _)| *kind == self)?;
        let parts: Vec<&str> = id.0.split('/').collect();
        let is = |at: usize, word: &str| parts.get(at).is_some_and(|part| part.eq_ignore_ascii_case(word));
        // `/subscriptions/S/resourceGroups/G/providers/NAMESPACE/TYPE/NAME/TYPE/NAME`
        let at_home =
            parts.first() == Some(&"") && is(1, "subscriptions") && is(3, "resourcegroups") && is(5, "providers");
        let types = parts.iter().skip(6).enumerate();
        let types = types.filter(|(at, _)| *at == 0 || at % 2 == 1).map(|(_, part)| part);
        let of_type = types.clone().count() == wanted.len()
            && types
                .zip(*wanted)
                .all(|(part, wanted)| part.eq_ignore_ascii_case(wanted));
        let whole = parts.len() == 6 + 2 * wanted.len() - 1 && parts.iter().skip(1).all(|part| is_name(part));
        (at_home && of_type && whole).then(|| parts[2])
    }
}

/// <https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules>
fn is_name(part: &str) -> bool {
    let allowed = |char: char| char.is_alphanumeric() || matches!(char, '.' | '-' | '_' | '(' | ')');
    !part.is_empty() && !matches!(part, "." | "..") && part.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: &str = "/subscriptions/s-1/resourceGroups/g/providers";

    #[test]
    fn an_id_leads_to_a_resource_of_its_type_and_nowhere_else() {
        let of = |kind: Kind, rest: &str| {
            kind.subscription(&ObjectId(format!("{HOME}/{rest}")))
                .map(str::to_owned)
        };
        let found = Some("s-1".to_owned());
        assert_eq!(of(Kind::Disk, "Microsoft.Compute/disks/d"), found);
        assert_eq!(of(Kind::Subnet, "microsoft.network/virtualnetworks/v/subnets/a"), found);
        for (kind, rest) in [
            (Kind::Disk, "Microsoft.Compute/disks"),
            (Kind::Disk, "Microsoft.Compute/disks/"),
            (Kind::Disk, "Microsoft.Compute/disks/d/e"),
            (Kind::Disk, "Microsoft.Compute/disks/.."),
            (Kind::Disk, "Microsoft.Compute/disks/d?x=y"),
            (Kind::Disk, "Microsoft.Compute/snapshots/d"),
            (Kind::VirtualNetwork, "Microsoft.Network/virtualNetworks/v/subnets/a"),
            (Kind::Subnet, "Microsoft.Network/virtualNetworks/v/peerings/a"),
        ] {
            assert_eq!(of(kind, rest), None, "{rest}");
        }
        for id in ["", "https://elsewhere/subscriptions/s", "//elsewhere/disks/d"] {
            assert_eq!(Kind::Disk.subscription(&ObjectId(id.to_owned())), None, "{id}");
        }
    }
}
