//! What stands in a state, gone through once: what an object does not say of itself its neighbours may, and they are known
//! only at the end.

use std::collections::{BTreeMap, BTreeSet};

use isobar_engine_model::object::{Fields, ObjectType};

use super::{Line, Refusal, Standing, Told};
use crate::address::{Address, Mode};
use crate::fields;
use crate::identity::{self, Cloud, Draft, Identified, Part, Row, Source};
use crate::read::Object;

/// Objects as they come, before all their neighbours are known.
#[derive(Default)]
pub(super) struct Survey {
    seen: Vec<Seen>,
    /// What the objects of each provider's configuration say.
    facts: BTreeMap<String, Facts>,
    /// Where objects of Azure are, for what is part of them.
    locations: BTreeMap<String, String>,
    /// Who is known by an id.
    known: BTreeMap<String, String>,
}

#[derive(Default)]
struct Facts {
    accounts: BTreeSet<String>,
    regions: BTreeSet<String>,
}

struct Seen {
    address: Address,
    provider: String,
    flatmap: bool,
    deposed: Option<String>,
    tainted: bool,
    draft: Option<(Cloud, Row, Draft)>,
    fields: Fields,
    dependencies: Vec<String>,
    references: Vec<String>,
}

impl Survey {
    pub(super) fn add(&mut self, object: Object) {
        let draft = identity::draft(&object);
        let said = draft
            .as_ref()
            .map_or_else(|| identity::neighbour(&object), |(_, _, draft)| draft.clone());
        self.learn(&object, said);
        if let Some((
            cloud,
            _,
            Draft {
                id: Some(id), region, ..
            },
        )) = &draft
        {
            self.known
                .entry(id.clone())
                .or_insert_with(|| object.address.to_string());
            if let (Cloud::Azure, Some((region, _))) = (cloud, region) {
                self.locations.insert(id.to_lowercase(), region.clone());
            }
        }
        let unmanaged = draft.is_none() && object.address.mode == Mode::Managed;
        self.seen.push(Seen {
            references: if unmanaged {
                identity::references(&object)
            } else {
                Vec::new()
            },
            dependencies: if unmanaged { object.dependencies } else { Vec::new() },
            fields: draft
                .as_ref()
                .map(|(_, row, _)| fields::expected(row.kind, &object.attributes))
                .unwrap_or_default(),
            address: object.address,
            provider: object.provider.written,
            flatmap: object.flatmap,
            deposed: object.deposed,
            tainted: object.tainted,
            draft,
        });
    }

    fn learn(&mut self, object: &Object, said: Draft) {
        if said.account.is_none() && said.region.is_none() {
            return;
        }
        if !self.facts.contains_key(&object.provider.written) {
            self.facts.insert(object.provider.written.clone(), Facts::default());
        }
        if let Some(facts) = self.facts.get_mut(&object.provider.written) {
            facts.accounts.extend(said.account.map(|(account, _)| account));
            facts.regions.extend(said.region.map(|(region, _)| region));
        }
    }

    pub(super) fn settle(mut self, told: &Told) -> Vec<Line> {
        let seen = std::mem::take(&mut self.seen);
        let line = |mut seen: Seen| {
            let fields = std::mem::take(&mut seen.fields);
            let standing = self.standing(&seen, fields, told);
            Line {
                address: seen.address,
                provider: seen.provider,
                flatmap: seen.flatmap,
                standing,
            }
        };
        seen.into_iter().map(line).collect()
    }

    fn standing(&self, seen: &Seen, fields: Fields, told: &Told) -> Standing {
        if seen.address.mode == Mode::Data {
            return Standing::Data;
        }
        let identified = self.identified(seen, fields, told);
        match (&seen.deposed, seen.tainted, &seen.draft, identified) {
            (Some(key), _, _, identified) => Standing::Deposed {
                key: key.clone(),
                identified,
            },
            (None, true, _, identified) => Standing::Tainted { identified },
            (None, false, _, Some(identified)) if !identified.cloud.has_provider() => Standing::Reported { identified },
            (None, false, _, Some(identified)) => Standing::Candidate { identified },
            (None, false, Some(_), None) => Standing::Refused { why: Refusal::NoId },
            (None, false, None, None) => Standing::Unmanaged {
                attached_to: self.attached_to(seen),
            },
        }
    }

    fn attached_to(&self, seen: &Seen) -> Vec<String> {
        let named = seen.references.iter().filter_map(|id| self.known.get(id));
        let all: BTreeSet<&String> = seen.dependencies.iter().chain(named).collect();
        all.into_iter().cloned().collect()
    }

    fn identified(&self, seen: &Seen, fields: Fields, told: &Told) -> Option<Identified> {
        let (cloud, row, draft) = seen.draft.as_ref()?;
        let id = draft.id.clone()?;
        let answer = told.0.get(&seen.provider);
        let facts = self.facts.get(&seen.provider);
        let account = draft.account.clone().or_else(|| {
            let told = answer
                .and_then(|answer| answer.account.clone())
                .map(|account| (account, Source::Told));
            told.or_else(|| Some((only(&facts?.accounts)?, Source::Neighbours)))
        });
        let region = draft
            .region
            .clone()
            .or_else(|| self.location_of_parent(*cloud, &id))
            .or_else(|| {
                let told = answer
                    .and_then(|answer| answer.region.clone())
                    .map(|region| (region, Source::Told));
                let one = cloud.has_one_region();
                told.or_else(|| Some((only(&facts.filter(|_| one)?.regions)?, Source::Neighbours)))
            });
        let place = (
            region.as_ref().map(|(region, _)| region.as_str()),
            draft.zone.as_deref(),
        );
        Some(Identified {
            cloud: *cloud,
            what: row.what,
            kind: ObjectType(row.object.to_owned()),
            object: cloud.object_id(row, &id, place),
            fields,
            account: part(account, cloud.ask_account()),
            region: part(region, cloud.ask_region()),
            zone: draft.zone.clone(),
            id,
        })
    }

    /// A subnet is where its network is.
    fn location_of_parent(&self, cloud: Cloud, id: &str) -> Option<(String, Source)> {
        if cloud != Cloud::Azure {
            return None;
        }
        let (parent, _name) = id.rsplit_once('/')?;
        let (parent, _collection) = parent.rsplit_once('/')?;
        let location = self.locations.get(&parent.to_lowercase())?;
        Some((location.clone(), Source::Neighbours))
    }
}

fn only(found: &BTreeSet<String>) -> Option<String> {
    found.first().filter(|_| found.len() == 1).cloned()
}

fn part(found: Option<(String, Source)>, ask: &'static str) -> Part {
    found.map_or(Part::Unknown { ask }, |(value, from)| Part::Known { value, from })
}
