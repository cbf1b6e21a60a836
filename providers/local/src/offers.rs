//! What a region offers, and what a request gets of it. Pure.

use isobar_engine_model::catalog::{Architecture, Image, Offering, Purchase, SiteCatalog};
use isobar_engine_model::id::{ImageId, OfferingId, Zone};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::{MachineRequest, ProviderError, Result, Site};

use crate::config::{LocalConfig, Shape};
use crate::ports::OPEN_PORTS_MAX;

/// Largest identity, in bytes: far below what fw_cfg takes, and plenty for an address, a certificate and a token.
pub(crate) const IDENTITY_MAX_BYTES: usize = 16 * 1024;

/// The only zone of a region.
pub(crate) fn zone(region: &str) -> Zone {
    Zone::new(format!("{region}-a"))
}

/// The catalog of a site. `memory_left_mib` bounds how many machines it may still have.
pub(crate) fn catalog(
    config: &LocalConfig,
    site: &Site,
    image: ImageId,
    as_of: Timestamp,
    memory_left_mib: u32,
) -> SiteCatalog {
    let offering = |shape: &Shape| Offering {
        id: OfferingId::new(&shape.name),
        instance_type: shape.name.clone(),
        zone: zone(&site.region),
        purchase: Purchase::OnDemand,
        architecture: Architecture::X86_64,
        total: shape.total(),
        allocatable: shape.total().less(&config.reserved),
        price: shape.price,
        priced: as_of,
    };
    let smallest_mib = config.shapes.iter().map(|shape| shape.memory.0.max(1)).min();
    SiteCatalog {
        site: site.name.clone(),
        as_of,
        offerings: config.shapes.iter().map(offering).collect(),
        images: vec![Image {
            id: image,
            architecture: Architecture::X86_64,
        }],
        machines_left: Some(smallest_mib.map_or(0, |mib| memory_left_mib / mib)),
    }
}

/// The shape that a request asks for, if all of the request can be served.
pub(crate) fn check<'a>(config: &'a LocalConfig, site: &Site, request: &MachineRequest) -> Result<&'a Shape> {
    let refuse = |message: String| Err(ProviderError::InvalidSpec { message });
    let only_zone = zone(&site.region);
    if request.zone != only_zone {
        return refuse(format!(
            "there is no zone `{}` in `{}`: its only one is `{only_zone}`",
            request.zone, site.region
        ));
    }
    let Some(shape) = config
        .shapes
        .iter()
        .find(|shape| shape.name == request.offering.as_str())
    else {
        let names: Vec<&str> = config.shapes.iter().map(|shape| shape.name.as_str()).collect();
        return refuse(format!(
            "there is no offering `{}`: take one of {}",
            request.offering,
            names.join(", ")
        ));
    };
    if request.identity.0.len() > IDENTITY_MAX_BYTES {
        return refuse(format!("an identity has at most {IDENTITY_MAX_BYTES} bytes"));
    }
    let (first, last) = request.open_ports;
    if first > last || usize::from(last - first) >= OPEN_PORTS_MAX {
        return refuse(format!(
            "`{first}` to `{last}` is not a range of at most {OPEN_PORTS_MAX} ports"
        ));
    }
    Ok(shape)
}
