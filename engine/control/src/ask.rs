//! What callers ask: one module a verb. Everything that changes something goes through [`apply`].

mod adopt;
mod adopted;
pub(crate) mod apply;
mod explain;
pub(crate) mod findable;
mod leaks;
mod list;
mod logs;
mod operation;
mod preview;
mod recover;
mod summary;

use std::collections::BTreeSet;

use isobar_engine_model::id::{ClusterName, SiteName};
use isobar_engine_model::observed::{Machine, Observed, Replica};

use crate::api::{ApiError, ErrorCode};
use crate::engine::Engine;
use crate::ledger::LedgerError;
use crate::record::prefix;
use crate::state::State;

impl From<LedgerError> for ApiError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Fenced => ApiError::new(ErrorCode::Unavailable, error.to_string())
                .hint("try again: the engine that has it now answers"),
            LedgerError::Store(_) => ApiError::new(ErrorCode::Unavailable, error.to_string())
                .hint("nothing was changed; see to the data folder's disk and try again"),
            LedgerError::Stopping => {
                ApiError::new(ErrorCode::Unavailable, error.to_string()).hint("start it again: `isobar serve`")
            }
        }
    }
}

impl Engine {
    /// One cluster as it is, tombstones left out.
    pub(crate) fn observed(&self, state: &State, cluster: &ClusterName) -> Observed {
        let record = state.clusters.get(cluster.as_str());
        let under = prefix(cluster);
        let mut replicas: Vec<Replica> = state
            .replicas
            .under(&under)
            .map(|record| record.replica.clone())
            .collect();
        replicas.sort_by(|a, b| a.id.cmp(&b.id));
        Observed {
            cluster: cluster.clone(),
            generation: record.map(|record| record.generation).unwrap_or_default(),
            spec: record.and_then(|record| record.spec.clone()),
            machines: self.machines(state, cluster),
            replicas,
            networks: networks(state, cluster),
            adopted: crate::adopt::observed(state, &self.adopted_looks, cluster),
            next_machine: record.map(|record| record.next_machine.clone()).unwrap_or_default(),
            next_replica: record.map(|record| record.next_replica.clone()).unwrap_or_default(),
        }
    }

    /// The machines of a cluster that are not gone, with what their nodes said last.
    fn machines(&self, state: &State, cluster: &ClusterName) -> Vec<Machine> {
        let living = state
            .machines
            .under(&prefix(cluster))
            .filter(|record| !record.is_gone());
        living
            .map(|record| {
                let mut machine = record.machine.clone();
                machine.node = self.live.node_report(&(cluster.clone(), machine.id.clone()));
                machine
            })
            .collect()
    }

    /// That the cluster which an argument names is known.
    pub(crate) fn known(&self, state: &State, cluster: &ClusterName, pointer: &str) -> Result<(), ApiError> {
        if state.clusters.get(cluster.as_str()).is_some() {
            return Ok(());
        }
        let names = state.clusters.all().map(|record| record.cluster.as_str());
        Err(ApiError::unknown_cluster(cluster.as_str(), names).pointer(pointer))
    }
}

/// Where there may be parts of networks of a cluster.
fn networks(state: &State, cluster: &ClusterName) -> BTreeSet<SiteName> {
    let attempts = state.attempts.under(&prefix(cluster));
    attempts
        .filter(|attempt| attempt.kind.is_network() && attempt.may_live())
        .map(|attempt| attempt.site.clone())
        .collect()
}
