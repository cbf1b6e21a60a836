//! Intents as changes of the spec: what the spec is once the wish has come true.

use isobar_engine_model::id::{ClusterName, SiteName, WorkloadName};
use isobar_engine_model::intent::Intent;
use isobar_engine_model::observed::Observed;
use isobar_engine_model::spec::nearest::nearest;
use isobar_engine_model::spec::{Spec, WorkloadKind, WorkloadSpec};

use crate::error::PlanError;

/// The spec that holds once `intent` is accepted; none if the cluster ends.
///
/// The caller asks the sites of this spec for their catalogs before it plans.
pub fn apply(intent: &Intent, observed: &Observed) -> Result<Option<Spec>, PlanError> {
    match intent {
        Intent::Deploy { spec } => Ok(Some((**spec).clone())),
        Intent::Move {
            cluster,
            workload,
            to,
            from,
        } => {
            let mut spec = stored(cluster, observed)?;
            let sites = target_sites(&spec, workload, to, from)?;
            workload_mut(&mut spec, workload)?.placement.sites = sites;
            Ok(Some(spec))
        }
        Intent::Scale {
            cluster,
            workload,
            replicas,
        } => {
            let mut spec = stored(cluster, observed)?;
            scale(workload, workload_mut(&mut spec, workload)?, *replicas)?;
            Ok(Some(spec))
        }
        Intent::Drain { cluster, .. } => stored(cluster, observed).map(Some),
        Intent::Destroy { cluster } => {
            if observed.cluster != *cluster || observed.is_over() {
                return Err(PlanError::UnknownCluster {
                    cluster: cluster.clone(),
                });
            }
            Ok(None)
        }
    }
}

fn stored(cluster: &ClusterName, observed: &Observed) -> Result<Spec, PlanError> {
    let spec = observed.spec.as_ref().filter(|spec| spec.cluster == *cluster);
    spec.cloned().ok_or_else(|| PlanError::UnknownCluster {
        cluster: cluster.clone(),
    })
}

fn workload_mut<'s>(spec: &'s mut Spec, name: &WorkloadName) -> Result<&'s mut WorkloadSpec, PlanError> {
    let known: Vec<String> = spec.workloads.keys().map(ToString::to_string).collect();
    spec.workloads.get_mut(name).ok_or_else(|| PlanError::UnknownWorkload {
        workload: name.clone(),
        nearest: nearest(name.as_str(), known.iter().map(String::as_str)).map(str::to_owned),
        known,
    })
}

/// Where a moved workload may be: the same as now if it may be nowhere else already.
fn target_sites(
    spec: &Spec,
    name: &WorkloadName,
    to: &[SiteName],
    from: &[SiteName],
) -> Result<Option<Vec<SiteName>>, PlanError> {
    let workload = spec.workloads.get(name).map(|workload| &workload.placement.sites);
    let now = match workload {
        Some(Some(sites)) => sites.clone(),
        Some(None) => spec.sites.keys().cloned().collect(),
        // Refused by the caller, with the nearest name.
        None => return Ok(None),
    };
    if to.is_empty() && from.is_empty() {
        return Err(PlanError::NoSiteNamed { workload: name.clone() });
    }
    for site in to.iter().chain(from) {
        known_site(spec, site)?;
    }
    let mut target = if to.is_empty() { now.clone() } else { to.to_vec() };
    target.retain(|site| !from.contains(site));
    target.sort_unstable();
    target.dedup();
    if target.is_empty() {
        return Err(PlanError::NothingLeft { workload: name.clone() });
    }
    let mut sorted = now;
    sorted.sort_unstable();
    Ok(if target == sorted {
        workload.cloned().flatten()
    } else {
        Some(target)
    })
}

fn known_site(spec: &Spec, site: &SiteName) -> Result<(), PlanError> {
    if spec.sites.contains_key(site) {
        return Ok(());
    }
    Err(PlanError::UnknownSite {
        site: site.clone(),
        nearest: nearest(site.as_str(), spec.sites.keys().map(SiteName::as_str)).map(str::to_owned),
        known: spec.sites.keys().map(ToString::to_string).collect(),
    })
}

fn scale(name: &WorkloadName, spec: &mut WorkloadSpec, wanted: u32) -> Result<(), PlanError> {
    match &mut spec.kind {
        WorkloadKind::Service {
            replicas,
            min_available,
        } => {
            if spec.singleton && wanted > 1 {
                return Err(PlanError::Singleton { workload: name.clone() });
            }
            *replicas = wanted;
            // It cannot promise more than there are.
            *min_available = min_available.map(|minimum| minimum.min(wanted));
            Ok(())
        }
        WorkloadKind::Job { .. } | WorkloadKind::Daemon {} => Err(PlanError::NotAService { workload: name.clone() }),
    }
}
