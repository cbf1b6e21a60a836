//! Previewing: from a wish to a kept plan. Changes nothing else.

use isobar_engine_model::catalog::{Catalog, SilentSite, SiteCatalog};
use isobar_engine_model::id::{ClusterName, MachineId, SiteName};
use isobar_engine_model::intent::{Intent, Limits};
use isobar_engine_model::plan::Plan;
use isobar_engine_model::spec::problem::{Pointer, Problem};
use isobar_engine_model::spec::{Spec, check};
use isobar_engine_planner::{PlanError, PlanInput, Wish, outline, plan};
use isobar_engine_provider::{ProviderError, Site};

use crate::api::{ApiError, ErrorCode, PlanAnswer, PlanRequest};
use crate::carry::buy::intent::identity_bytes;
use crate::engine::{Engine, resolve};
use crate::ledger::chain;
use crate::record::PlanRecord;

impl Engine {
    /// Makes a plan and keeps it. Changes nothing else.
    pub async fn plan(&self, request: PlanRequest) -> Result<PlanAnswer, ApiError> {
        let cluster = request.intent.cluster().clone();
        let spec = match &request.intent {
            Intent::Deploy { spec } => {
                checked(spec)?;
                Some((**spec).clone())
            }
            Intent::Move { .. } | Intent::Scale { .. } | Intent::Drain { .. } | Intent::Destroy { .. } => {
                let state = self.ledger.read();
                self.known(&state, &cluster, "/intent/cluster")?;
                state
                    .clusters
                    .get(cluster.as_str())
                    .and_then(|record| record.spec.clone())
            }
        };
        let ends = matches!(request.intent, Intent::Destroy { .. });
        if let Some(spec) = spec.as_ref().filter(|_| !ends) {
            self.identities_fit(spec)?;
        }
        let catalog = self.catalog(spec.as_ref()).await?;
        self.look_at_adopted(&cluster, self.config.bounds.adopted_plan_max_age_ms)
            .await?;
        let plan = self.plan_for(&cluster, &Wish::Asked(&request.intent), &catalog, request.limits)?;
        self.keep(&plan).await?;
        Ok(answer(plan, self.stored_spec(&cluster).as_ref()))
    }

    /// That each site of a spec takes what the nodes of its machines must read first.
    fn identities_fit(&self, spec: &Spec) -> Result<(), ApiError> {
        let names = spec
            .pools
            .keys()
            .map(|pool| MachineId::new(format!("{pool}-{}", u32::MAX)));
        let longest = names.map(|machine| identity_bytes(self, &spec.cluster, &machine)).max();
        let Some(bytes) = longest else { return Ok(()) };
        for (name, site) in &spec.sites {
            let most = self.provider(&resolve(name, site))?.capabilities().identity_max_bytes;
            if bytes > most {
                let message =
                    format!("what a new node reads first has {bytes} bytes, and site {name} takes {most} at most");
                return Err(ApiError::new(ErrorCode::InvalidArgument, message)
                    .pointer(format!("/sites/{name}"))
                    .hint("name fewer with `isobar serve --insecure-registry`: every node is told of all of them"));
            }
        }
        Ok(())
    }

    /// The plan of a wish for a cluster as it is now. Pure but for reading.
    pub(crate) fn plan_for(
        &self,
        cluster: &ClusterName,
        wish: &Wish<'_>,
        catalog: &Catalog,
        limits: Limits,
    ) -> Result<Plan, ApiError> {
        let observed = self.observed(&self.ledger.read(), cluster);
        let input = PlanInput {
            wish: *wish,
            observed: &observed,
            catalog,
            limits,
            now: self.clock.now(),
            validity_ms: self.config.bounds.plan_valid_ms,
            budget: isobar_engine_planner::WorkBudget::default(),
        };
        let plan = plan(&input).map_err(|error| unplannable(&error, wish))?;
        self.findable(&plan)?;
        Ok(plan)
    }

    pub(crate) async fn keep(&self, plan: &Plan) -> Result<(), ApiError> {
        let record = PlanRecord { plan: plan.clone() };
        Ok(self.ledger.write(move |draft| draft.put(record)).await?)
    }

    pub(crate) fn stored_spec(&self, cluster: &ClusterName) -> Option<Spec> {
        self.ledger
            .read()
            .clusters
            .get(cluster.as_str())
            .and_then(|record| record.spec.clone())
    }

    /// What the sites of a spec offer, not older than the bound. A site that does not answer offers nothing new: its
    /// last catalog serves, else it is silent and the others go on. If all are, the call fails.
    pub(crate) async fn catalog(&self, spec: Option<&Spec>) -> Result<Catalog, ApiError> {
        let mut catalog = Catalog::default();
        let mut silence = None;
        // Who buys nothing need not know what is offered.
        let buying = spec.filter(|spec| !spec.pools.is_empty());
        for (name, site) in buying.iter().flat_map(|spec| &spec.sites) {
            match self.offered(&resolve(name, site)).await? {
                Ok(offered) => catalog.sites.push(offered),
                Err(error) => {
                    let refused = no_catalog(name.as_str(), &error);
                    if !matches!(refused.code, ErrorCode::Unavailable) {
                        return Err(refused);
                    }
                    tracing::warn!(site = %name, %error, "a site does not say what it offers");
                    catalog.silent.push(SilentSite {
                        site: name.clone(),
                        because: error.to_string(),
                    });
                    silence.get_or_insert(refused);
                }
            }
        }
        match silence {
            Some(refused) if catalog.sites.is_empty() => Err(refused),
            Some(_) | None => Ok(catalog),
        }
    }

    /// What one site offers, or offered when it last said so.
    pub(super) async fn offered(&self, site: &Site) -> Result<Result<SiteCatalog, ProviderError>, ApiError> {
        let catalogs = || self.catalogs.lock().expect("nothing panics with the lock");
        let cached = catalogs().get(site).cloned();
        let now = self.clock.now();
        if let Some(fresh) = &cached
            && now.since_ms(fresh.as_of) < self.config.bounds.catalog_max_age_ms
        {
            return Ok(Ok(fresh.clone()));
        }
        Ok(match (self.provider(site)?.catalog(site).await, cached) {
            (Ok(fresh), _) => {
                catalogs().insert(site.clone(), fresh.clone());
                Ok(fresh)
            }
            (Err(error), Some(old)) => {
                tracing::warn!(site = %site.name, %error, "a site does not answer; planning with its last catalog");
                Ok(old)
            }
            (Err(error), None) => Err(error),
        })
    }
}

fn no_catalog(site: &str, error: &ProviderError) -> ApiError {
    let code = match error {
        ProviderError::InvalidSpec { .. } | ProviderError::Unsupported { .. } => ErrorCode::InvalidArgument,
        ProviderError::Unauthorized { .. } => ErrorCode::Forbidden,
        ProviderError::NotFound
        | ProviderError::Gone
        | ProviderError::Conflict { .. }
        | ProviderError::QuotaExceeded { .. }
        | ProviderError::InsufficientCapacity { .. }
        | ProviderError::RateLimited { .. }
        | ProviderError::NotReady { .. }
        | ProviderError::OutcomeUnknown { .. }
        | ProviderError::Unavailable { .. }
        | ProviderError::Unexpected { .. } => ErrorCode::Unavailable,
    };
    ApiError::new(code, format!("what site {site} offers is not known: {error}")).pointer(format!("/sites/{site}"))
}

/// Why a wish cannot be planned at all, with the argument at fault.
fn unplannable(error: &PlanError, wish: &Wish<'_>) -> ApiError {
    let (code, pointer) = match error {
        PlanError::UnknownCluster { .. } => (ErrorCode::NotFound, "/intent/cluster".to_owned()),
        PlanError::UnknownWorkload { .. } => (ErrorCode::NotFound, "/intent/workload".to_owned()),
        PlanError::UnknownMachine { .. } => (ErrorCode::NotFound, "/intent/machine".to_owned()),
        PlanError::UnknownSite { site, .. } => (ErrorCode::NotFound, named_at(site, wish)),
        PlanError::NotAService { .. } => (ErrorCode::InvalidArgument, "/intent/workload".to_owned()),
        PlanError::Singleton { .. } => (ErrorCode::InvalidArgument, "/intent/replicas".to_owned()),
        PlanError::NothingLeft { .. } | PlanError::NoSiteNamed { .. } => {
            (ErrorCode::InvalidArgument, "/intent".to_owned())
        }
    };
    let mut refused = ApiError::new(code, chain(error)).allowed(error.allowed().iter().cloned());
    refused.hint = error.hint();
    match wish {
        Wish::Asked(_) => refused.pointer(pointer),
        Wish::Reconcile => refused,
    }
}

/// Where a move names a site.
fn named_at(site: &SiteName, wish: &Wish<'_>) -> String {
    let Wish::Asked(Intent::Move { to, from, .. }) = wish else {
        return "/intent".to_owned();
    };
    let place = |field: &str, sites: &[SiteName]| {
        let index = sites.iter().position(|named| named == site)?;
        Some(format!("/intent/{field}/{index}"))
    };
    place("to", to)
        .or_else(|| place("from", from))
        .unwrap_or_else(|| "/intent".to_owned())
}

/// That a spec keeps the rules that span fields: one given over MCP was never read from a file.
fn checked(spec: &Spec) -> Result<(), ApiError> {
    let problems = check::check(spec);
    if problems.is_empty() {
        return Ok(());
    }
    let base = Pointer::root().to("intent").to("spec");
    let placed = problems.into_iter().map(|problem| Problem {
        pointer: problem.pointer.below(&base),
        ..problem
    });
    Err(ApiError::wrong_arguments(placed.collect()))
}

/// A plan with its outline.
pub(crate) fn answer(plan: Plan, stored: Option<&Spec>) -> PlanAnswer {
    let converged = plan.body.steps.is_empty() && plan.body.unmet.is_empty() && plan.body.spec.as_ref() == stored;
    PlanAnswer {
        converged,
        outline: outline(&plan),
        cost: plan.body.cost,
        plan,
    }
}
