//! Recovering a restored store: what clouds have and the backup does not know is adopted into the journal or released by a
//! plan, each because somebody said so. Changes nothing of a store that is not being recovered.

use std::collections::BTreeSet;
use std::sync::Arc;

use isobar_engine_model::catalog::{Catalog, Offering};
use isobar_engine_model::id::{ClusterName, MachineId, PoolName, SiteName};
use isobar_engine_planner::sweep::{Orphan, sweep};
use isobar_engine_provider::{ResourceKind, Site};

use super::adopt::{Adoption, adopt};
use super::apply::Wanted;
use crate::api::{
    Adopted, ApiError, AuditWho, ErrorCode, Missing, OperationView, RecoverAnswer, RecoverMachines, RecoverRequest,
    Unknown, Unlisted,
};
use crate::engine::{Engine, resolve};
use crate::record::{MachineRecord, OrphanRecord, OrphanState, machine_key, prefix};
use crate::state::State;

impl Engine {
    /// Compares a cluster's backup with the clouds, now.
    pub async fn recover(self: &Arc<Self>, request: RecoverRequest) -> Result<RecoverAnswer, ApiError> {
        let mut answer = RecoverAnswer {
            recovering: self.is_recovering(),
            unknown: Vec::new(),
            missing: Vec::new(),
            unlisted: Vec::new(),
        };
        if !answer.recovering {
            return Ok(answer);
        }
        let cluster = &request.cluster;
        let mut sites = self.sites_of(cluster);
        let known: BTreeSet<SiteName> = sites.iter().map(|site| site.name.clone()).collect();
        let others = request.sites.iter().filter(|(name, _)| !known.contains(*name));
        sites.extend(others.map(|(name, site)| resolve(name, site)));
        if sites.is_empty() {
            return Err(ApiError::new(
                ErrorCode::NotFound,
                format!("the backup does not know where {cluster} is"),
            )
            .pointer("/sites")
            .hint("name its sites: `isobar recover --spec FILE` takes them from a spec"));
        }
        for site in &sites {
            if let Err(error) = self.compare_site(cluster, site, &mut answer).await? {
                let error = error.to_string();
                answer.unlisted.push(Unlisted {
                    site: site.name.clone(),
                    error,
                });
            }
        }
        let catalog = self.catalogs_of(&sites).await;
        let state = self.ledger.read();
        let unknown = state.orphans.under(&prefix(cluster));
        let unknown = unknown.filter(|record| !matches!(record.state, OrphanState::Gone { .. }));
        answer.unknown = unknown.map(|record| view(&state, &catalog, record)).collect();
        Ok(answer)
    }

    /// Notes what a site has that the backup does not know, and what it does not have.
    async fn compare_site(
        &self,
        cluster: &ClusterName,
        site: &Site,
        answer: &mut RecoverAnswer,
    ) -> Result<Result<(), isobar_engine_provider::ProviderError>, ApiError> {
        let found = match self.under_our_tags(cluster, site).await {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        let there: BTreeSet<_> = found.iter().map(|(_, item, _)| item.handle.clone()).collect();
        for record in self.ledger.read().machines.under(&prefix(cluster)) {
            let here = record
                .machine
                .bought
                .as_ref()
                .is_some_and(|bought| bought.site == site.name);
            if let Some(handle) = record
                .machine
                .handle()
                .filter(|handle| here && !there.contains(*handle))
            {
                answer.missing.push(Missing {
                    machine: record.machine.id.clone(),
                    site: site.name.clone(),
                    handle: handle.to_string(),
                });
            }
        }
        self.quarantine(cluster, site, found).await?;
        Ok(Ok(()))
    }

    /// What sites rent now; a site that does not answer is left out.
    async fn catalogs_of(&self, sites: &[Site]) -> Catalog {
        let mut catalog = Catalog::default();
        for site in sites {
            let Ok(provider) = self.provider(site) else { continue };
            match provider.catalog(site).await {
                Ok(rented) => catalog.sites.push(rented),
                Err(error) => tracing::warn!(site = %site.name, %error, "a site does not say what it rents"),
            }
        }
        catalog
    }

    /// Takes machines that the backup does not know into the journal: all of them or, with the reason, none.
    pub async fn recover_adopt(self: &Arc<Self>, request: RecoverMachines) -> Result<Adopted, ApiError> {
        let chosen = self.chosen(&request)?;
        let sites: Vec<Site> = sites_of(&chosen);
        let catalog = self.catalogs_of(&sites).await;
        let mut adoptions = Vec::new();
        {
            let state = self.ledger.read();
            for record in chosen.iter().filter(|record| record.kind == ResourceKind::Machine) {
                let offering = adoptable(&state, &catalog, record)
                    .map_err(|why| refused(&record.tags.machine, &why))?
                    .clone();
                adoptions.push(Adoption {
                    orphan: record.clone(),
                    offering,
                });
            }
        }
        let machines: Vec<MachineId> = adoptions.iter().map(|one| one.orphan.tags.machine.clone()).collect();
        for adoption in adoptions {
            adopt(self, adoption, (&request.idempotency_key, request.why.clone())).await?;
        }
        Ok(Adopted { machines })
    }

    /// Deletes what the backup does not know of machines, by a plan.
    pub async fn recover_release(self: &Arc<Self>, request: RecoverMachines) -> Result<OperationView, ApiError> {
        let chosen = self.chosen(&request)?;
        let orphans: Vec<Orphan> = chosen.iter().map(crate::sweep::orphan).collect();
        let plan = {
            let observed = self.observed(&self.ledger.read(), &request.cluster);
            sweep(&observed, &orphans, self.clock.now(), self.config.bounds.plan_valid_ms)
        };
        self.keep(&plan).await?;
        let wanted = Wanted {
            who: AuditWho::Client,
            idempotency_key: request.idempotency_key,
            why: request.why.or_else(|| Some("recover".into())),
            healing: None,
        };
        let accepted = self.accept(plan.id, wanted).await?;
        self.view(&accepted.operation)
    }

    /// The unknown resources of the machines that a request names.
    fn chosen(&self, request: &RecoverMachines) -> Result<Vec<OrphanRecord>, ApiError> {
        if !self.is_recovering() {
            return Err(ApiError::new(ErrorCode::Refused, "the store is not being recovered")
                .hint("machines are released by plans: change the spec, or drain them"));
        }
        let state = self.ledger.read();
        let unknown = state.orphans.under(&prefix(&request.cluster));
        let unknown: Vec<&OrphanRecord> = unknown
            .filter(|record| matches!(record.state, OrphanState::Quarantined | OrphanState::Asking { .. }))
            .collect();
        for (index, machine) in request.machines.iter().enumerate() {
            if !unknown.iter().any(|record| record.tags.machine == *machine) {
                let known = unknown.iter().map(|record| record.tags.machine.as_str());
                let otherwise = "`isobar recover` lists them";
                return Err(
                    ApiError::unknown("unknown machine called", machine.as_str(), known, otherwise)
                        .pointer(format!("/machines/{index}")),
                );
            }
        }
        let chosen = unknown
            .into_iter()
            .filter(|record| request.machines.contains(&record.tags.machine));
        Ok(chosen.cloned().collect())
    }
}

fn sites_of(records: &[OrphanRecord]) -> Vec<Site> {
    let sites: BTreeSet<&Site> = records.iter().map(|record| &record.site).collect();
    sites.into_iter().cloned().collect()
}

fn view(state: &State, catalog: &Catalog, record: &OrphanRecord) -> Unknown {
    let not_adoptable = match record.kind {
        ResourceKind::Machine => adoptable(state, catalog, record).err(),
        ResourceKind::Disk | ResourceKind::Interface | ResourceKind::Address => {
            Some("it goes with its machine".to_owned())
        }
        ResourceKind::Network | ResourceKind::Gateway | ResourceKind::Subnet | ResourceKind::Firewall => {
            Some("machines are adopted; a network is made anew where it is missing".to_owned())
        }
    };
    Unknown {
        site: record.site.name.clone(),
        kind: record.kind.name().to_owned(),
        handle: record.handle.to_string(),
        name: record.name.clone(),
        machine: record.tags.machine.clone(),
        because: record.because.clone(),
        not_adoptable,
        releasing: matches!(record.state, OrphanState::Deleting { .. }),
    }
}

/// As what a machine was bought, if the journal can take it in; else why not.
fn adoptable<'a>(state: &State, catalog: &'a Catalog, record: &OrphanRecord) -> Result<&'a Offering, String> {
    let machine = &record.tags.machine;
    if pool_of(machine).is_none() {
        return Err(format!("{machine} is no machine of a pool"));
    }
    let known: Option<&MachineRecord> = state.machines.get(&machine_key(&record.cluster, machine));
    if known.is_some_and(|known| !known.is_gone()) {
        return Err(format!("the backup has another {machine}"));
    }
    let id = record
        .offering
        .as_ref()
        .ok_or("its provider does not say as what it was bought")?;
    let site = catalog.sites.iter().find(|site| site.site == record.site.name);
    let offering = site.and_then(|site| site.offerings.iter().find(|offering| offering.id == *id));
    offering.ok_or_else(|| format!("{} does not rent {id} now", record.site.name))
}

/// The pool of a machine, by its id.
pub(super) fn pool_of(machine: &MachineId) -> Option<(PoolName, u32)> {
    let (pool, ordinal) = machine.as_str().rsplit_once('-')?;
    Some((PoolName::new(pool).ok()?, ordinal.parse().ok()?))
}

fn refused(machine: &MachineId, why: &str) -> ApiError {
    ApiError::new(ErrorCode::Refused, format!("{machine} cannot be adopted: {why}"))
        .hint(format!("release it: `isobar recover release {machine}`"))
}
