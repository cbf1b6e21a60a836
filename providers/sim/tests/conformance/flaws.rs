//! Providers with one flaw each, and the cases that must find it: a case that nothing fails proves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use isobar_engine_model::catalog::SiteCatalog;
use isobar_engine_model::id::{ImageId, OfferingId, ProviderId, ResourceHandle, SiteName, Zone};
use isobar_engine_provider::conformance::{self, CASES};
use isobar_engine_provider::{
    Adoption, Capabilities, Console, ConsoleChunk, CreateResource, Created, Listing, Networks, Owner, Page, Provider,
    ProviderError, ResourceKind, ResourceState, ResourceStatus, Result, Secret, Site, Token,
};
use isobar_providers_sim::{FaultRates, SIM_IMAGE, SimCloud, SimProvider};

use crate::bed::SimBed;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    /// Calls its site by another name.
    CatalogOfAnotherSite,
    /// Loses the tags.
    NoTags,
    /// Has no addresses.
    NoEndpoints,
    /// Starts each console answer at the beginning.
    ConsoleWithoutOffset,
    /// Lists everybody's machines.
    EverybodysList,
    /// Shows what is deleted for ever.
    TheDeletedStay,
    /// Is content with the deletion of what is not there.
    DeletesTheUnknown,
    /// Shows dead machines as running.
    TheDeadRun,
    /// Forgets its tokens and names at a restart.
    ForgetsAtARestart,
    /// Knows no tokens and no names.
    NoTokens,
    /// Answers a known token with the machine, whatever the request.
    TokenOnly,
    /// Answers a known name with the machine, whatever the token.
    NameOnly,
    /// Puts something of its own for what it does not know.
    TakesAnything,
}

/// Each flaw, and the cases that must fail for it. No others may.
const FLAWS: &[(Flaw, &[&str])] = &[
    (
        Flaw::CatalogOfAnotherSite,
        &["catalog_is_of_the_site_and_names_what_the_bed_asks_for"],
    ),
    (
        Flaw::NoTags,
        &[
            "created_machine_is_visible_in_time_with_its_tags",
            "same_request_gives_the_same_machine_after_a_restart",
        ],
    ),
    (Flaw::NoEndpoints, &["booted_machine_runs_and_has_its_endpoints"]),
    (Flaw::ConsoleWithoutOffset, &["console_is_read_in_parts"]),
    (Flaw::EverybodysList, &["list_shows_only_the_owners_machines_in_order"]),
    (Flaw::TheDeletedStay, &["deletion_is_repeated_until_not_found"]),
    (
        Flaw::DeletesTheUnknown,
        &[
            "deletion_is_repeated_until_not_found",
            "unknown_handle_is_not_found",
            "machine_killed_outside_is_seen_and_can_be_deleted",
            "token_of_a_deleted_machine_makes_no_second_one",
        ],
    ),
    (Flaw::TheDeadRun, &["machine_killed_outside_is_seen_and_can_be_deleted"]),
    (
        Flaw::ForgetsAtARestart,
        &["same_request_gives_the_same_machine_after_a_restart"],
    ),
    (
        Flaw::NoTokens,
        &[
            "same_request_gives_the_same_machine",
            "same_request_gives_the_same_machine_after_a_restart",
            "concurrent_duplicates_make_one_machine",
            "token_with_another_request_is_a_conflict",
            "name_under_another_token_is_a_conflict",
            "token_of_a_deleted_machine_makes_no_second_one",
        ],
    ),
    (Flaw::TokenOnly, &["token_with_another_request_is_a_conflict"]),
    (
        Flaw::NameOnly,
        &[
            "token_with_another_request_is_a_conflict",
            "name_under_another_token_is_a_conflict",
        ],
    ),
    (
        Flaw::TakesAnything,
        &[
            "unknown_offering_is_an_invalid_spec",
            "unknown_zone_is_an_invalid_spec",
            "unknown_image_is_an_invalid_spec",
            "identity_is_bounded",
        ],
    ),
];

#[tokio::test(start_paused = true)]
async fn each_flaw_fails_the_cases_about_it_and_each_case_is_failed_by_some_flaw() {
    let mut failed_once = BTreeSet::new();
    for (flaw, must_fail) in FLAWS {
        let restarts = AtomicU32::new(0);
        let bed = SimBed::new(1, FaultRates::none(), move |inner, cloud, _| {
            let instance = restarts.fetch_add(1, Ordering::Relaxed);
            Arc::new(Flawed {
                flaw: *flaw,
                inner,
                cloud,
                instance,
                calls: AtomicU32::new(0),
                seen: Mutex::default(),
            })
        });
        let failures = conformance::run(&bed).await.err();
        let failed: Vec<_> = failures.iter().flat_map(|failures| failures.cases()).collect();
        assert_eq!(failed, *must_fail, "{flaw:?}: {failures:?}");
        failed_once.extend(failed);
    }
    let all: BTreeSet<_> = CASES.iter().map(|case| case.name).collect();
    assert_eq!(failed_once, all);
}

/// The simulated provider with one flaw.
struct Flawed {
    flaw: Flaw,
    inner: SimProvider,
    cloud: SimCloud,
    /// How many there were before it on the same cloud.
    instance: u32,
    calls: AtomicU32,
    seen: Mutex<Seen>,
}

/// What a flawed provider remembers.
#[derive(Default)]
struct Seen {
    requests: BTreeMap<String, CreateResource>,
    states: BTreeMap<ResourceHandle, ResourceState>,
}

impl Flawed {
    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    /// The request that is sent in place of the one that was given.
    fn bent(&self, request: &CreateResource) -> CreateResource {
        let mut bent = request.clone();
        if self.is(Flaw::NoTokens) || self.is(Flaw::ForgetsAtARestart) {
            let call = if self.is(Flaw::NoTokens) {
                self.calls.fetch_add(1, Ordering::Relaxed)
            } else {
                0
            };
            let suffix = format!("~{}~{call}", self.instance);
            bent.name.push_str(&suffix);
            bent.token.0.push_str(&suffix);
        }
        if self.is(Flaw::TokenOnly) || self.is(Flaw::NameOnly) {
            let key = if self.is(Flaw::TokenOnly) {
                &request.token.0
            } else {
                &request.name
            };
            bent = self
                .seen
                .lock()
                .unwrap()
                .requests
                .entry(key.clone())
                .or_insert(bent)
                .clone();
        }
        if self.is(Flaw::TakesAnything) {
            let machine = bent.spec.machine_mut().expect("a machine");
            machine.zone = Zone::new("north-a");
            machine.offering = OfferingId::new("sim.small@north-a");
            machine.image = ImageId::new(SIM_IMAGE);
            if machine.identity.0.len() > self.capabilities().identity_max_bytes {
                machine.identity = Secret(Vec::new());
            }
        }
        bent
    }

    /// The state that is shown in place of the true one.
    fn shown(&self, mut state: ResourceState) -> ResourceState {
        state.name.truncate(state.name.find('~').unwrap_or(state.name.len()));
        if self.is(Flaw::NoTags) {
            state.tags = None;
        }
        if self.is(Flaw::NoEndpoints) {
            state.endpoints.clear();
        }
        if self.is(Flaw::TheDeadRun) && matches!(state.status, ResourceStatus::Stopped { .. }) {
            state.status = ResourceStatus::Running;
        }
        self.seen
            .lock()
            .unwrap()
            .states
            .insert(state.handle.clone(), state.clone());
        state
    }
}

#[async_trait]
impl Provider for Flawed {
    fn id(&self) -> &ProviderId {
        self.inner.id()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn catalog(&self, site: &Site) -> Result<SiteCatalog> {
        let mut catalog = self.inner.catalog(site).await?;
        if self.is(Flaw::CatalogOfAnotherSite) {
            catalog.site = SiteName::new("elsewhere").unwrap();
        }
        Ok(catalog)
    }

    async fn create(&self, request: &CreateResource) -> Result<Created> {
        self.inner.create(&self.bent(request)).await
    }

    async fn get(&self, site: &Site, handle: &ResourceHandle) -> Result<ResourceState> {
        match self.inner.get(site, handle).await {
            Err(ProviderError::NotFound) if self.is(Flaw::TheDeletedStay) => self
                .seen
                .lock()
                .unwrap()
                .states
                .get(handle)
                .cloned()
                .ok_or(ProviderError::NotFound),
            answer => answer.map(|state| self.shown(state)),
        }
    }

    async fn list(&self, site: &Site, kind: ResourceKind, owner: &Owner, page: Option<Page>) -> Result<Listing> {
        let mut listing = self.inner.list(site, kind, owner, page).await?;
        if self.is(Flaw::EverybodysList) {
            listing.items = self.cloud.machines().into_iter().map(|machine| machine.state).collect();
        }
        listing.items = listing.items.into_iter().map(|state| self.shown(state)).collect();
        Ok(listing)
    }

    async fn delete(&self, site: &Site, handle: &ResourceHandle, token: &Token) -> Result<()> {
        match self.inner.delete(site, handle, token).await {
            Err(ProviderError::NotFound) if self.is(Flaw::DeletesTheUnknown) => Ok(()),
            answer => answer,
        }
    }

    fn console(&self) -> Option<&dyn Console> {
        Some(self)
    }

    fn networks(&self) -> Option<&dyn Networks> {
        None
    }

    fn adoption(&self) -> Option<&dyn Adoption> {
        None
    }
}

#[async_trait]
impl Console for Flawed {
    async fn read(&self, site: &Site, handle: &ResourceHandle, offset: u64) -> Result<ConsoleChunk> {
        let offset = if self.is(Flaw::ConsoleWithoutOffset) { 0 } else { offset };
        Console::read(&self.inner, site, handle, offset).await
    }
}
