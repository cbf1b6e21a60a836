//! Where resources are in Azure's resource manager, and in which version of its interface they are spoken of. Pure. Called by
//! whatever sends a call.

use isobar_engine_provider::ResourceKind;

use crate::names;
use crate::settings::Settings;

/// Versions of the interfaces that we speak.
pub(crate) const MACHINES: &str = "2024-07-01";
pub(crate) const SKUS: &str = "2021-07-01";
pub(crate) const DISKS: &str = "2023-04-02";
/// Before 2025-07-01, from which on a subnet has no way out unless it says so; ours says so in any case.
pub(crate) const NETWORK: &str = "2023-05-01";

/// All of a kind in the site's resource group.
pub(crate) fn collection(settings: &Settings, kind: ResourceKind) -> String {
    let owner = match kind {
        ResourceKind::Machine | ResourceKind::Disk => "Microsoft.Compute",
        ResourceKind::Interface
        | ResourceKind::Address
        | ResourceKind::Network
        | ResourceKind::Gateway
        | ResourceKind::Subnet
        | ResourceKind::Firewall => "Microsoft.Network",
    };
    format!(
        "/subscriptions/{}/resourceGroups/{}/providers/{owner}/{}",
        settings.subscription,
        settings.resource_group,
        names::word(kind)
    )
}

/// One of them; its resource id too.
pub(crate) fn path(settings: &Settings, kind: ResourceKind, name: &str) -> String {
    format!("{}/{name}", collection(settings, kind))
}

/// The version in which a kind is spoken of.
pub(crate) fn version(kind: ResourceKind) -> &'static str {
    match kind {
        ResourceKind::Machine => MACHINES,
        ResourceKind::Disk => DISKS,
        ResourceKind::Interface
        | ResourceKind::Address
        | ResourceKind::Network
        | ResourceKind::Gateway
        | ResourceKind::Subnet
        | ResourceKind::Firewall => NETWORK,
    }
}
