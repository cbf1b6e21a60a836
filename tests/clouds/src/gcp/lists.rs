//! Lists, in pages: instances and disks of all zones by their labels, parts of networks by their names, machine types of a
//! zone, and the region itself.
//!
//! Filters: <https://cloud.google.com/compute/docs/reference/rest/v1/instances/aggregatedList>. The order is that of zones, then
//! of names: "by default, results are returned in alphanumerical order based on the resource name" (same page).

use std::collections::{BTreeMap, BTreeSet};

use isobar_engine_model::id::ClusterName;
use isobar_engine_provider::{Owner, Provider as _, ResourceKind, ResourceState, list_all};
use serde_json::{Map, Value, json};

use super::answers::Refusal;
use super::instances::Asked;
use super::model::Call;
use super::networks::{Kind, Part};
use super::{PROJECT, REGION, Shared, operations, render};

/// What a page token starts with.
const TOKEN: &str = "after:";
/// How names of ours begin, in a filter.
const OUR_NAMES: &str = "name eq \"isobar-.*\"";
/// What ends the name of a simulated machine's disk.
const DISK_SUFFIX: &str = "-disk";

impl Shared {
    pub(super) async fn instances(&self, call: &Call) -> Result<Value, Refusal> {
        let seen = self.seen(call, ResourceKind::Machine).await?;
        self.aggregated(call, seen, ("instances", render::instance))
    }

    pub(super) async fn disks(&self, call: &Call) -> Result<Value, Refusal> {
        let mut seen = self.seen(call, ResourceKind::Disk).await?;
        for state in &mut seen {
            state.name = state.name.trim_end_matches(DISK_SUFFIX).to_owned();
        }
        self.aggregated(call, seen, ("disks", render::disk))
    }

    pub(super) async fn parts(&self, call: &Call, kind: Kind) -> Result<Value, Refusal> {
        // A regular expression over the whole name (`filter` of the discovery document): this is the only one that is served.
        let filter = call.get("filter");
        if filter != OUR_NAMES {
            return Err(Refusal::invalid(&format!(
                "Invalid value for field 'filter': '{filter}'."
            )));
        }
        let ours = |part: &Part| part.name().starts_with("isobar-") && part.path.starts_with(&operations::scope(call));
        let seen: Vec<Value> = self.seen_parts(kind, ours).await?;
        let name = |part: &Value| part["name"].as_str().unwrap_or_default().to_owned();
        let (items, next) = page((call, self.page_items), seen, name)?;
        let mut answer = json!({ "kind": format!("compute#{}List", kind.word()), "items": items });
        // `warning.code` of a list in the discovery document: "A given scope cannot be reached."
        if self.known().lost.contains(REGION) {
            answer["warning"] = json!({ "code": "UNREACHABLE", "message": "The region is unreachable." });
        }
        Ok(with_next(answer, next))
    }

    pub(super) async fn machine_types(&self, call: &Call) -> Result<Value, Refusal> {
        let zone = call.get("zone");
        let catalog = self.client.catalog(&self.site()).await;
        let catalog = catalog.map_err(|error| Refusal::of(error, zone))?;
        let here = catalog
            .offerings
            .iter()
            .filter(|offering| offering.zone.as_str() == zone);
        let types: BTreeSet<(&str, u32, u32)> = here
            .map(|offering| {
                let total = offering.total;
                (offering.instance_type.as_str(), total.cpu.0 / 1000, total.memory.0)
            })
            .collect();
        if types.is_empty() {
            return Err(Refusal::not_found(&format!("projects/{PROJECT}/zones/{zone}")));
        }
        let (page, next) = page((call, self.page_items), types.into_iter().collect(), |(name, _, _)| {
            (*name).to_owned()
        })?;
        let items: Vec<Value> = page
            .into_iter()
            .map(|(name, cpus, memory)| {
                json!({
                    "kind": "compute#machineType",
                    "name": name,
                    "guestCpus": cpus,
                    "memoryMb": memory,
                    "zone": zone,
                    "architecture": "X86_64",
                })
            })
            .collect();
        let answer = json!({ "kind": "compute#machineTypeList", "items": items });
        Ok(with_next(answer, next))
    }

    pub(super) async fn region(&self, call: &Call) -> Result<Value, Refusal> {
        let name = call.get("region");
        if name != REGION {
            return Err(Refusal::not_found(&format!("projects/{PROJECT}/regions/{name}")));
        }
        let catalog = self.client.catalog(&self.site()).await;
        let catalog = catalog.map_err(|error| Refusal::of(error, name))?;
        let zones: BTreeSet<&str> = catalog
            .offerings
            .iter()
            .map(|offering| offering.zone.as_str())
            .collect();
        let used = self.cloud.machines().len();
        let left = usize::try_from(catalog.machines_left.unwrap_or(0)).unwrap_or(usize::MAX);
        Ok(json!({
            "kind": "compute#region",
            "name": name,
            "status": "UP",
            "zones": zones.into_iter().map(render::zone_link).collect::<Vec<_>>(),
            "quotas": [
                { "metric": "CPUS", "limit": 5000.0, "usage": 0.0 },
                { "metric": "INSTANCES", "limit": left + used, "usage": used },
            ],
        }))
    }

    /// What of one kind the owner in the call's filter has.
    async fn seen(&self, call: &Call, kind: ResourceKind) -> Result<Vec<ResourceState>, Refusal> {
        let owner = owner(call.get("filter"))?;
        let seen = list_all(&self.client, &self.site(), kind, &owner).await;
        seen.map_err(|error| Refusal::of(error, "list"))
    }

    fn aggregated(
        &self,
        call: &Call,
        seen: Vec<ResourceState>,
        (word, show): (&str, fn(&Asked, &ResourceState) -> Value),
    ) -> Result<Value, Refusal> {
        let asked = self.asked_by_name();
        let mut found: Vec<(Asked, ResourceState)> = seen
            .into_iter()
            .filter_map(|state| Some((asked.get(&state.name)?.clone(), state)))
            .collect();
        let key = |asked: &Asked| format!("{}/{}", asked.zone, asked.name);
        found.sort_by_key(|(asked, _)| key(asked));
        let (page, next) = page((call, self.page_items), found, |(asked, _)| key(asked))?;
        let mut scopes = Map::new();
        for (asked, state) in &page {
            let scope = scopes
                .entry(format!("zones/{}", asked.zone))
                .or_insert_with(|| json!({ word: [] }));
            if let Some(items) = scope[word].as_array_mut() {
                items.push(show(asked, state));
            }
        }
        // Every scope of the project is named, also those that have nothing: here one that is not of the region.
        let nothing = json!({ "warning": { "code": "NO_RESULTS_ON_PAGE", "message": "No results for the scope." } });
        scopes.insert("zones/us-east1-b".to_owned(), nothing);
        // A zone that does not answer has this warning and nothing else: `warning.code` of a scoped list.
        for zone in &self.known().lost {
            let lost = json!({ "warning": { "code": "UNREACHABLE", "message": "The zone is unreachable." } });
            scopes.insert(format!("zones/{zone}"), lost);
        }
        Ok(with_next(json!({ "items": scopes }), next))
    }

    /// What there is, with what was asked for it: here, or elsewhere by another client.
    fn asked_by_name(&self) -> BTreeMap<String, Asked> {
        let elsewhere = self.cloud.machines();
        let elsewhere = elsewhere.iter().filter_map(Asked::elsewhere);
        let known = self.known();
        let here = known
            .instances
            .keys()
            .filter_map(|(zone, name)| known.instance(zone, name));
        elsewhere.chain(here).map(|asked| (asked.name.clone(), asked)).collect()
    }
}

/// One page of what comes after the call's page token, and the next page's token.
fn page<T>(
    (call, most): (&Call, usize),
    items: Vec<T>,
    key: impl Fn(&T) -> String,
) -> Result<(Vec<T>, Option<String>), Refusal> {
    let token = call.get("pageToken");
    let after = match token.strip_prefix(TOKEN) {
        Some(after) => after,
        None if token.is_empty() => "",
        None => {
            return Err(Refusal::invalid(&format!(
                "Invalid value for field 'pageToken': '{token}'."
            )));
        }
    };
    // 0 to 500, by default 500 (`maxResults` of the discovery document).
    let wanted = call.get("maxResults").parse().unwrap_or(500_usize);
    let mut rest = items.into_iter().filter(|item| key(item).as_str() > after);
    let page: Vec<T> = rest.by_ref().take(wanted.clamp(1, most)).collect();
    let last = page.last().map(|item| format!("{TOKEN}{}", key(item)));
    let next = last.filter(|_| rest.next().is_some());
    Ok((page, next))
}

fn with_next(mut answer: Value, next: Option<String>) -> Value {
    if let Some(next) = next {
        answer["nextPageToken"] = next.into();
    }
    answer
}

/// Whose things a filter is for: `labels.isobar-store=... AND labels.isobar-cluster=...`, which is all that is served.
fn owner(filter: &str) -> Result<Owner, Refusal> {
    let refused = || Refusal::invalid(&format!("Invalid value for field 'filter': '{filter}'."));
    let (store, cluster) = filter.split_once(" AND ").ok_or_else(refused)?;
    let store = store.strip_prefix("labels.isobar-store=").ok_or_else(refused)?;
    let cluster = cluster.strip_prefix("labels.isobar-cluster=").ok_or_else(refused)?;
    Ok(Owner {
        store: store.to_owned(),
        cluster: ClusterName::new(cluster).map_err(|_| refused())?,
    })
}
