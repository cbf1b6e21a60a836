//! What each pool may buy: the catalog's offerings that meet the pool's requirements.

use std::collections::BTreeMap;

use isobar_engine_model::catalog::{Catalog, Offering, Purchase, SiteCatalog};
use isobar_engine_model::id::{ImageId, OfferingId, PoolName, SiteName};
use isobar_engine_model::plan::Candidate;
use isobar_engine_model::spec::{PoolSpec, Requirements, Spec};

/// An offering that a pool may buy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer<'a> {
    pub(crate) site: &'a SiteName,
    pub(crate) offering: &'a Offering,
    pub(crate) image: &'a ImageId,
}

impl Offer<'_> {
    /// As it stands in a plan.
    pub(crate) fn candidate(&self) -> Candidate {
        Candidate {
            site: self.site.clone(),
            zone: self.offering.zone.clone(),
            offering: self.offering.id.clone(),
            purchase: self.offering.purchase,
            image: self.image.clone(),
            price: self.offering.price,
            allocatable: self.offering.allocatable,
        }
    }
}

/// What every pool may buy.
#[derive(Debug)]
pub(crate) struct Offers<'a> {
    /// By price, then zone and id, so that the first that serves is the cheapest.
    of_pool: BTreeMap<&'a PoolName, Vec<Offer<'a>>>,
    known: BTreeMap<(&'a SiteName, &'a OfferingId), &'a Offering>,
}

impl<'a> Offers<'a> {
    pub(crate) fn new(spec: &'a Spec, catalog: &'a Catalog) -> Self {
        let mut of_pool = BTreeMap::new();
        for (name, pool) in &spec.pools {
            let mut offers: Vec<Offer<'a>> = sites_of(pool, spec, catalog)
                .flat_map(|site| site.offerings.iter().map(move |offering| (site, offering)))
                .filter(|(_, offering)| meets(&pool.requirements, offering))
                .filter_map(|(site, offering)| {
                    Some(Offer {
                        site: &site.site,
                        offering,
                        image: image(site, offering)?,
                    })
                })
                .collect();
            offers.sort_by_key(|o| (o.offering.price, o.site, &o.offering.zone, &o.offering.id));
            of_pool.insert(name, offers);
        }
        let known = catalog
            .sites
            .iter()
            .flat_map(|site| {
                site.offerings
                    .iter()
                    .map(move |offering| ((&site.site, &offering.id), offering))
            })
            .collect();
        Self { of_pool, known }
    }

    /// What `pool` may buy, the cheapest first.
    pub(crate) fn of(&self, pool: &PoolName) -> &[Offer<'a>] {
        self.of_pool.get(pool).map_or(&[], Vec::as_slice)
    }

    /// An offering that the catalog lists, whoever may buy it.
    pub(crate) fn known(&self, site: &SiteName, offering: &OfferingId) -> Option<&'a Offering> {
        self.known.get(&(site, offering)).copied()
    }
}

/// The catalogs of the sites that `pool` may be in.
pub(crate) fn sites_of<'a>(
    pool: &'a PoolSpec,
    spec: &'a Spec,
    catalog: &'a Catalog,
) -> impl Iterator<Item = &'a SiteCatalog> + Clone {
    catalog
        .sites
        .iter()
        .filter(move |site| spec.sites.contains_key(&site.site) && allows(pool, &site.site))
}

/// Whether machines of `pool` may be in `site`.
pub(crate) fn allows(pool: &PoolSpec, site: &SiteName) -> bool {
    pool.sites.as_ref().is_none_or(|sites| sites.contains(site))
}

/// Whether an offering is what `asked` asks for. Sizes are those of the whole machine.
pub(crate) fn meets(asked: &Requirements, offering: &Offering) -> bool {
    asked.cpu.is_none_or(|cpu| offering.total.cpu >= cpu)
        && asked.memory.is_none_or(|memory| offering.total.memory >= memory)
        && asked
            .architecture
            .is_none_or(|architecture| offering.architecture == architecture)
        && asked.zones.as_ref().is_none_or(|zones| zones.contains(&offering.zone))
        && asked.offerings.as_ref().is_none_or(|ids| ids.contains(&offering.id))
        && pays(asked, offering.purchase)
}

/// Whether `asked` may be paid so. Spot machines are bought only where they are asked for.
pub(crate) fn pays(asked: &Requirements, purchase: Purchase) -> bool {
    asked
        .purchase
        .as_ref()
        .map_or(purchase == Purchase::OnDemand, |ways| ways.contains(&purchase))
}

fn image<'a>(site: &'a SiteCatalog, offering: &Offering) -> Option<&'a ImageId> {
    site.images
        .iter()
        .find(|image| image.architecture == offering.architecture)
        .map(|image| &image.id)
}
