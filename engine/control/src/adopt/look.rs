//! Looking again at what others made, at a bounded pace, so that drift shows before somebody plans. Called by the watch
//! and before every plan. An object whose site does not answer stays as it was seen last, and says when that was.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use isobar_engine_model::adopted::Sight;
use isobar_engine_model::id::{ClusterName, SiteName};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::adoption::ObjectRef;
use isobar_engine_provider::{ProviderError, Site};

use super::{of_cluster, see, sight, site_of};
use crate::engine::Engine;
use crate::ledger::LedgerError;
use crate::record::{AdoptedRecord, Record};

/// When the objects of a cluster in a site were looked at last. Status: it comes again after a restart.
#[derive(Default)]
pub(crate) struct AdoptedLooks(Mutex<BTreeMap<(ClusterName, SiteName), LastLook>>);

/// The last try, and the last that every object was answered in.
#[derive(Debug, Clone, Copy, Default)]
struct LastLook {
    tried: Timestamp,
    answered: Option<Timestamp>,
}

impl AdoptedLooks {
    /// When all objects of a site were seen last.
    pub(crate) fn at(&self, cluster: &ClusterName, site: &SiteName) -> Option<Timestamp> {
        self.last(cluster, site)?.answered
    }

    fn tried(&self, cluster: &ClusterName, site: &SiteName) -> Option<Timestamp> {
        Some(self.last(cluster, site)?.tried)
    }

    fn last(&self, cluster: &ClusterName, site: &SiteName) -> Option<LastLook> {
        let looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looks.get(&(cluster.clone(), site.clone())).copied()
    }

    fn note(&self, cluster: &ClusterName, site: &SiteName, (tried, answered): (Timestamp, bool)) {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = looks.entry((cluster.clone(), site.clone())).or_default();
        last.tried = tried;
        if answered {
            last.answered = Some(tried);
        }
    }
}

impl Engine {
    /// Looks at the objects of a cluster in every site where the last try is older than that.
    pub(crate) async fn look_at_adopted(&self, cluster: &ClusterName, max_age_ms: u64) -> Result<(), LedgerError> {
        let mut sites: BTreeMap<SiteName, (Site, Vec<AdoptedRecord>)> = BTreeMap::new();
        {
            let state = self.ledger.read();
            let spec = state
                .clusters
                .get(cluster.as_str())
                .and_then(|record| record.spec.as_ref());
            for record in of_cluster(&state, cluster) {
                let here = sites.entry(record.object.site.clone());
                let (_, records) = here.or_insert_with(|| (site_of(record, spec), Vec::new()));
                records.push(record.clone());
            }
        }
        let now = self.clock.now();
        for (name, (site, records)) in sites {
            let is_fresh = |at: Timestamp| now.since_ms(at) < max_age_ms;
            if self.adopted_looks.tried(cluster, &name).is_some_and(is_fresh) {
                continue;
            }
            self.look_at_site(cluster, &site, &records).await?;
        }
        Ok(())
    }

    async fn look_at_site(
        &self,
        cluster: &ClusterName,
        site: &Site,
        records: &[AdoptedRecord],
    ) -> Result<(), LedgerError> {
        let asked = self.clock.now();
        let objects: Vec<ObjectRef> = records.iter().map(AdoptedRecord::reference).collect();
        let answers = self.read_objects(site, &objects).await;
        let mut seen = Vec::new();
        let mut silent = None;
        for (record, answer) in records.iter().zip(answers) {
            match answer {
                Ok(state) => seen.push((record.key(), sight(&state))),
                Err(ProviderError::NotFound | ProviderError::Gone) => {
                    seen.push((record.key(), Sight::Missing { since: asked }));
                }
                Err(error) => silent = Some(error),
            }
        }
        if let Some(error) = &silent {
            tracing::warn!(%cluster, site = %site.name, %error, "adopted objects could not be read");
        }
        self.adopted_looks.note(cluster, &site.name, (asked, silent.is_none()));
        let news = self
            .ledger
            .write(move |draft| {
                let mut news = Vec::new();
                for (key, sight) in seen {
                    let Some(mut record) = draft.get::<AdoptedRecord>(&key).cloned() else {
                        continue;
                    };
                    if see(&mut record.object, sight) {
                        record.object.looked = asked;
                        news.push((record.object.name.clone(), what(&record)));
                        draft.put(record);
                    }
                }
                news
            })
            .await?;
        for (name, what) in news {
            self.event(cluster, name.as_str(), what).await?;
        }
        Ok(())
    }
}

fn what(record: &AdoptedRecord) -> &'static str {
    match record.object.seen {
        Sight::There { .. } => "its cloud says something else of it than before",
        Sight::Missing { .. } => "its cloud does not have it any more",
    }
}
