//! Listing what others made, with what its spec says of it and what it costs.

use std::collections::BTreeMap;

use isobar_engine_model::adopted::{Adopted, Sight};
use isobar_engine_model::catalog::{Purchase, SiteCatalog};
use isobar_engine_model::id::{SiteName, Zone};
use isobar_engine_model::object::FieldValue;
use isobar_engine_model::quantity::MicroUsdPerHour;

use super::list::Page;
use crate::api::{AdoptedView, ApiError, QueryAnswer, QueryRequest};
use crate::engine::{Engine, resolve};

/// The fields of a machine that say what it is rented as, and where.
const TYPE: &str = "type";
const ZONE: &str = "zone";
const PURCHASE: &str = "purchase";
const SPOT: &str = "spot";

impl Engine {
    /// A page of them, in name order. A site that does not say what it offers has no prices.
    pub(super) async fn adopted(&self, request: &QueryRequest) -> Result<QueryAnswer, ApiError> {
        let known = {
            let state = self.ledger.read();
            self.known(&state, &request.cluster, "/cluster")?;
            self.observed(&state, &request.cluster).adopted
        };
        let keyed = known.into_iter().map(|object| (object.name.to_string(), object));
        let (objects, next) = Page::of(request).cut(keyed);
        let spec = self.stored_spec(&request.cluster);
        let mut offered: BTreeMap<SiteName, Option<SiteCatalog>> = BTreeMap::new();
        for object in &objects {
            let site = spec.as_ref().and_then(|spec| spec.sites.get(&object.site));
            if let (Some(site), false) = (site, offered.contains_key(&object.site)) {
                let catalog = self.offered(&resolve(&object.site, site)).await?;
                offered.insert(object.site.clone(), catalog.ok());
            }
        }
        let view = |object: Adopted| {
            let entry = spec.as_ref().and_then(|spec| spec.adopted.get(&object.name));
            let catalog = offered.get(&object.site).and_then(Option::as_ref);
            AdoptedView {
                labels: entry.map(|entry| entry.labels.clone()).unwrap_or_default(),
                price: catalog.and_then(|catalog| price(&object, catalog)),
                object,
            }
        };
        Ok(QueryAnswer {
            adopted: Some(objects.into_iter().map(view).collect()),
            next,
            ..QueryAnswer::default()
        })
    }
}

/// What a machine like that costs; absent: it is none, or none that is offered.
fn price(object: &Adopted, catalog: &SiteCatalog) -> Option<MicroUsdPerHour> {
    let Sight::There { fields, .. } = &object.seen else {
        return None;
    };
    let text = |field: &str| match fields.get(field)? {
        FieldValue::Text(text) => Some(text.as_str()),
        FieldValue::Set(_) | FieldValue::Map(_) => None,
    };
    let zone = object.zone.as_ref().map(Zone::as_str).or_else(|| text(ZONE))?;
    let rented_as = text(TYPE)?;
    let purchase = match text(PURCHASE) {
        Some(SPOT) => Purchase::Spot,
        Some(_) | None => Purchase::OnDemand,
    };
    let like_it = catalog.offerings.iter().find(|offering| {
        offering.instance_type == rented_as && offering.zone.as_str() == zone && offering.purchase == purchase
    });
    like_it.map(|offering| offering.price)
}
