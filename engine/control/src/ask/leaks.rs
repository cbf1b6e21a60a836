//! Leaks: what sweeps found in the clouds that the journal does not know, and what they did about it.

use super::list::Page;
use crate::api::{ApiError, Fate, Leak, LeaksAnswer, LeaksRequest, Sweep};
use crate::engine::Engine;
use crate::record::{OrphanRecord, OrphanState, Record, prefix};

impl Engine {
    /// What sweeps found and did.
    pub async fn leaks(&self, request: LeaksRequest) -> Result<LeaksAnswer, ApiError> {
        let state = self.ledger.read();
        self.known(&state, &request.cluster, "/cluster")?;
        let page = Page::new(request.after, request.limit);
        let orphans = state.orphans.under(&prefix(&request.cluster));
        let (leaks, next) = page.cut(orphans.map(|record| (record.key(), self.leak(record))));
        let sweeps = self.live.sweeps(&request.cluster).into_iter();
        let sweeps = sweeps.map(|(site, swept)| Sweep {
            site,
            at: swept.at,
            resources: swept.resources.as_ref().ok().map(|count| *count as u64),
            error: swept.resources.err(),
        });
        Ok(LeaksAnswer {
            leaks,
            sweeps: sweeps.collect(),
            next,
        })
    }

    fn leak(&self, record: &OrphanRecord) -> Leak {
        let fate = match &record.state {
            OrphanState::Quarantined => Fate::Quarantined {
                until: record.found.plus_ms(self.config.bounds.orphan_grace_ms),
            },
            OrphanState::Asking { plan } => Fate::Asking { plan: plan.clone() },
            OrphanState::Deleting { operation } => Fate::Deleting {
                operation: operation.clone(),
            },
            OrphanState::Gone { since } => Fate::Gone { since: *since },
        };
        Leak {
            site: record.site.name.clone(),
            kind: record.kind.name().to_owned(),
            handle: record.handle.to_string(),
            name: record.name.clone(),
            machine: record.tags.machine.clone(),
            because: record.because.clone(),
            found: record.found,
            fate,
        }
    }
}
