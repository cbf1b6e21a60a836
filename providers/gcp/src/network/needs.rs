//! What machines of a site are connected to: what it names, what its project has, and what has to be made. Changes nothing.

use isobar_engine_model::id::ResourceHandle;
use isobar_engine_provider::{Network, NetworkNeeds, NetworkPart, ProviderError, ResourceKind, Result, Site};

use crate::client::Clients;
use crate::errors::{self, Call};
use crate::handle::{Collection, Place};
use crate::request::invalid;
use crate::settings::{DEFAULT_NETWORK, NetworkChoice, Settings};
use crate::wire::{self, Thing};

pub(crate) async fn needs(clients: &Clients, site: &Site, settings: &Settings) -> Result<NetworkNeeds> {
    match &settings.network {
        NetworkChoice::Own => Ok(own(settings)),
        NetworkChoice::Unsaid if has_default(clients, settings).await? => {
            let found = Network::from([(ResourceKind::Network, ResourceHandle::new(DEFAULT_NETWORK))]);
            Ok(beside(found, settings))
        }
        NetworkChoice::Unsaid => Ok(own(settings)),
        NetworkChoice::Named { network, subnetwork } => {
            let named = [(ResourceKind::Network, network), (ResourceKind::Subnet, subnetwork)];
            let mut found: Network = named
                .into_iter()
                .filter_map(|(kind, path)| Some((kind, ResourceHandle::new(path.as_ref()?))))
                .collect();
            // A firewall is of a network.
            if let (true, None, Some(subnetwork)) = (settings.firewall, network, subnetwork) {
                let network = network_of(clients, (site, settings), subnetwork).await?;
                found.extend(network.map(|network| (ResourceKind::Network, network)));
            }
            Ok(beside(found, settings))
        }
    }
}

/// Everything. Machines with addresses that the internet sees go out by these.
fn own(settings: &Settings) -> NetworkNeeds {
    let mut make = vec![part(ResourceKind::Network), part(ResourceKind::Subnet)];
    if !settings.public_address {
        make.push(part(ResourceKind::Gateway));
    }
    if settings.firewall {
        make.push(part(ResourceKind::Firewall));
    }
    NetworkNeeds {
        found: Network::new(),
        make,
    }
}

/// A firewall, in a network that is there. One of another project (a shared VPC) has its firewalls there.
fn beside(found: Network, settings: &Settings) -> NetworkNeeds {
    let ours = |network: &ResourceHandle| project(network.as_str()).is_none_or(|project| project == settings.project);
    let firewall = settings.firewall && found.get(&ResourceKind::Network).is_some_and(ours);
    NetworkNeeds {
        found,
        make: firewall.then(|| part(ResourceKind::Firewall)).into_iter().collect(),
    }
}

fn part(kind: ResourceKind) -> NetworkPart {
    NetworkPart { kind, zone: None }
}

async fn has_default(clients: &Clients, settings: &Settings) -> Result<bool> {
    let default = Place::of(&ResourceHandle::new(DEFAULT_NETWORK))?;
    Ok(there(clients, settings, &default).await?.is_some())
}

/// The network that a subnetwork is of; absent: of another project.
async fn network_of(
    clients: &Clients,
    (site, settings): (&Site, &Settings),
    subnetwork: &str,
) -> Result<Option<ResourceHandle>> {
    if project(subnetwork).is_some_and(|project| project != settings.project) {
        return Ok(None);
    }
    let name = subnetwork.rsplit('/').next().unwrap_or(subnetwork);
    let place = Place::new(Collection::subnetworks(&site.region), name);
    match there(clients, settings, &place).await? {
        Some(Thing::Subnetwork { body, .. }) => Ok(body.network.as_ref().map(ResourceHandle::new)),
        Some(_) | None => Err(invalid(format!("{} has no subnetwork `{subnetwork}`", site.region))),
    }
}

async fn there(clients: &Clients, settings: &Settings, place: &Place) -> Result<Option<Thing>> {
    let error = match wire::read(clients, settings, place).await {
        Ok(found) => return Ok(Some(found)),
        Err(error) => errors::of_call(&error, Call::Read, &clients.source),
    };
    if error == ProviderError::NotFound {
        return Ok(None);
    }
    Err(error)
}

/// The project that a path names, whatever stands before it; absent: none, which is the site's own.
fn project(path: &str) -> Option<&str> {
    let mut parts = path.split('/');
    parts.by_ref().find(|part| *part == "projects")?;
    parts.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_its_project_in_each_of_the_cloud_s_spellings() {
        for (path, expected) in [
            ("global/networks/nodes", None),
            ("projects/host-1/global/networks/nodes", Some("host-1")),
            (
                "https://www.googleapis.com/compute/v1/projects/host-1/global/networks/nodes",
                Some("host-1"),
            ),
        ] {
            assert_eq!(project(path), expected, "{path}");
        }
    }
}
