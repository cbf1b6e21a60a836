//! What a placement says of the age of what it was made from.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

use std::collections::{BTreeMap, BTreeSet};

use isobar_engine_model::catalog::{Architecture, Catalog, Offering, Purchase, SiteCatalog};
use isobar_engine_model::id::{ClusterName, Generation, OfferingId, SiteName, Zone};
use isobar_engine_model::observed::Observed;
use isobar_engine_model::quantity::{Mebibytes, MicroUsdPerHour, MilliCpus, Resources, Timestamp};
use isobar_engine_model::spec::Spec;
use isobar_engine_scheduler::{CATALOG_FRESH_MS, PlacementInput, WorkBudget, place};

const NOW: Timestamp = Timestamp(1_000 * CATALOG_FRESH_MS);

/// An offering whose price was said so long before now.
fn priced_before(name: &str, ms: u64) -> Offering {
    let room = Resources {
        cpu: MilliCpus(1000),
        memory: Mebibytes(512),
    };
    Offering {
        id: OfferingId::new(name),
        instance_type: name.to_owned(),
        zone: Zone::new("a"),
        purchase: Purchase::OnDemand,
        architecture: Architecture::X86_64,
        total: room,
        allocatable: room,
        price: MicroUsdPerHour(5_000),
        priced: Timestamp(NOW.0 - ms),
    }
}

/// Why, of a placement of nothing where prices are so old.
fn reasons(ages_ms: &[u64]) -> Vec<String> {
    let cluster = ClusterName::new("shop").unwrap();
    let spec = Spec {
        cluster: cluster.clone(),
        sites: BTreeMap::new(),
        pools: BTreeMap::new(),
        workloads: BTreeMap::new(),
        adopted: BTreeMap::new(),
    };
    let observed = Observed {
        cluster,
        generation: Generation(0),
        spec: None,
        machines: Vec::new(),
        replicas: Vec::new(),
        networks: Default::default(),
        adopted: Vec::new(),
        next_machine: BTreeMap::new(),
        next_replica: BTreeMap::new(),
    };
    let offerings = ages_ms.iter().map(|ms| priced_before(&format!("m{ms}"), *ms));
    let catalog = Catalog {
        silent: Vec::new(),
        sites: vec![SiteCatalog {
            site: SiteName::new("east").unwrap(),
            as_of: NOW,
            offerings: offerings.collect(),
            images: Vec::new(),
            machines_left: None,
        }],
    };
    let placement = place(&PlacementInput {
        spec: &spec,
        observed: &observed,
        catalog: &catalog,
        leaving: &BTreeSet::new(),
        ceiling: None,
        now: NOW,
        budget: WorkBudget::default(),
    });
    let said = placement.reasons.into_iter();
    said.map(|reason| format!("{}: {}", reason.about, reason.because))
        .collect()
}

#[test]
fn a_site_says_how_old_its_oldest_price_is_once_that_is_older_than_a_day() {
    assert_eq!(reasons(&[]), [""; 0]);
    assert_eq!(reasons(&[0, CATALOG_FRESH_MS]), [""; 0]);
    let oldest = reasons(&[0, 3 * CATALOG_FRESH_MS, CATALOG_FRESH_MS]);
    assert_eq!(oldest, ["east: its prices are up to 72 hours old"]);
}
