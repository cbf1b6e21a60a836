//! The Engine: what its parts share, how it starts and stops. What callers ask of it is in `ask`.

mod attempt;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use isobar_engine_model::catalog::SiteCatalog;
use isobar_engine_model::id::{ClusterName, Epoch, OperationId, ProviderId, ShardId, SiteName};
use isobar_engine_model::plan::PlanBody;
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_model::spec::SiteSpec;
use isobar_engine_provider::{Clock, Entropy, Owner, Provider, ProviderError, Site};
use isobar_engine_store::{Store, StoreError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::adopt::AdoptedLooks;
use crate::api::{ApiError, ErrorCode};
use crate::audit::Seals;
use crate::authority::Authority;
use crate::carry::network::Networks;
use crate::carry::serving::Serving;
use crate::config::{Config, CrashPoint};
use crate::fleet::Subject;
use crate::ledger::{Ledger, LedgerError};
use crate::live::Live;
use crate::look::Looks;
use crate::periodic::{Pacing, Rounds, Work, rounds};
use crate::reach::Reach;
use crate::record::{EventRecord, OperationRecord, prefix};
use crate::recovery::Recovery;
use crate::tenure::Tenure;
use crate::terraform::TERRAFORM_SHARD;
use crate::vault::Vault;

/// The boundaries that an Engine reaches the world through.
#[derive(Clone)]
pub struct Boundaries {
    /// What must survive it.
    pub store: Arc<dyn Store>,
    /// Where machines come from.
    pub providers: Vec<Arc<dyn Provider>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Unpredictable bytes.
    pub entropy: Arc<dyn Entropy>,
}

/// See the crate's documentation.
pub struct Engine {
    pub(crate) ledger: Ledger,
    /// For reading what the ledger does not keep in memory. Nothing but the ledger writes.
    pub(crate) store: Arc<dyn Store>,
    pub(crate) live: Live,
    pub(crate) looks: Looks,
    pub(crate) adopted_looks: AdoptedLooks,
    pub(crate) networks: Networks,
    pub(crate) providers: BTreeMap<ProviderId, Arc<dyn Provider>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) vault: Vault,
    pub(crate) authority: Arc<Authority>,
    pub(crate) reach: Reach,
    pub(crate) recovery: Recovery,
    tenure: Tenure,
    pub(crate) config: Settings,
    pub(crate) store_id: String,
    pub(crate) started: Timestamp,
    rounds: [Rounds; Work::ALL.len()],
    pub(crate) catalogs: Mutex<BTreeMap<Site, SiteCatalog>>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    stop_writing: CancellationToken,
}

/// A [`Config`] less its keys.
pub(crate) struct Settings {
    pub(crate) insecure_registries: Vec<String>,
    pub(crate) births: crate::births::Births,
    pub(crate) bounds: crate::config::Bounds,
    pub(crate) pacing: Pacing,
    at_crash_point: Option<Arc<dyn Fn(CrashPoint) + Send + Sync>>,
}

impl Engine {
    /// Reads its shard and goes on with what was under way there.
    pub async fn start(config: Config, boundaries: Boundaries, tenure: Tenure) -> Result<Arc<Self>, StoreError> {
        let Boundaries {
            store,
            providers,
            clock,
            entropy,
        } = boundaries;
        let stop_writing = CancellationToken::new();
        let store_id = store.id().to_owned();
        let recovery = Recovery::of(store.clone()).await?;
        let (ledger, writer) = Ledger::open(
            store.clone(),
            tenure.clone(),
            Seals::new(&config.key),
            stop_writing.clone(),
        )
        .await?;
        let engine = Arc::new(Self {
            ledger,
            store,
            live: Live::new(),
            looks: Looks::default(),
            adopted_looks: AdoptedLooks::default(),
            networks: Networks::default(),
            providers: providers
                .into_iter()
                .map(|provider| (provider.id().clone(), provider))
                .collect(),
            started: clock.now(),
            rounds: rounds(&config.bounds, clock.now().0),
            clock,
            entropy,
            vault: Vault::new(&config.key),
            reach: Reach::new(&config.authority, config.proven_for),
            authority: config.authority,
            recovery,
            tenure,
            config: Settings {
                insecure_registries: config.insecure_registries,
                births: config.births,
                bounds: config.bounds,
                pacing: config.pacing,
                at_crash_point: config.at_crash_point,
            },
            store_id,
            catalogs: Mutex::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            stop_writing,
        });
        // Whoever cannot write any more, because another engine has the store or nobody knows what is in it, must not
        // wait for commits, renew leases or look after anything either.
        let stop = engine.stop.clone();
        tokio::spawn(async move {
            writer.await;
            stop.cancel();
        });
        if engine.is_recovering() {
            let holding = engine.clone();
            engine.tasks.spawn(async move { holding.hold_still().await });
        } else {
            engine.resume();
        }
        let watching = engine.clone();
        engine.tasks.spawn(async move { watching.watch_over().await });
        let sweeping = engine.clone();
        engine.tasks.spawn(async move { sweeping.sweep_over().await });
        Ok(engine)
    }

    pub(crate) fn resume(self: &Arc<Self>) {
        let running: Vec<OperationId> = {
            let state = self.ledger.read();
            let open = state
                .operations
                .all()
                .filter(|record| !record.operation.state.is_final());
            open.map(|record: &OperationRecord| record.operation.id.clone())
                .collect()
        };
        for id in running {
            tracing::info!(operation = %id, "going on with an operation");
            self.carry_out(id, None);
        }
    }

    /// Carries an operation out in a task of the engine's own; one that was accepted just now, with what served then.
    pub(crate) fn carry_out(self: &Arc<Self>, id: OperationId, served: Option<Serving>) {
        let engine = self.clone();
        self.tasks.spawn(crate::carry::operation::run(engine, id, served));
    }

    /// Stops: nothing new is begun, what is committed stays, the next engine goes on from there.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.stop_writing.cancel();
    }

    /// Stops at once, without waiting for anything: another engine has its shard, or will have it.
    pub fn cut_off(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.stop_writing.cancel();
    }

    /// Whether it has stopped: it was told to, or it cannot write any more.
    pub fn has_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// It was still its shard's last claimer when its process asked for a lease until then.
    pub(crate) fn confirmed(&self, until: Timestamp) {
        self.tenure.lease.renewed(until);
    }

    /// The epoch of its claim.
    pub fn epoch(&self) -> Epoch {
        self.ledger.epoch()
    }

    /// Whether it keeps what a call is about.
    pub fn has(&self, subject: Subject<'_>) -> bool {
        let state = self.ledger.read();
        match subject {
            Subject::Cluster(cluster) => state.clusters.get(cluster.as_str()).is_some(),
            Subject::Plan(plan) => state.plans.get(plan.as_str()).is_some(),
            Subject::Operation(operation) => state.operations.get(operation.as_str()).is_some(),
            Subject::Terraform => self.tenure.shard == TERRAFORM_SHARD,
        }
    }

    /// The rounds of a kind of periodic work.
    pub(crate) fn rounds(&self, work: Work) -> &Rounds {
        let [look, sweep] = &self.rounds;
        match work {
            Work::Look => look,
            Work::Sweep => sweep,
        }
    }

    /// Where a new machine's node finds an engine.
    pub(crate) fn homes(&self) -> Vec<String> {
        self.tenure.homes.borrow().clone()
    }

    /// That this engine may still act on clouds. Once its lease has run out another may have its shard: what it sends then
    /// would be a late duplicate.
    pub(crate) fn may_act(&self) -> Result<(), ProviderError> {
        if self.tenure.lease.holds(self.clock.now()) {
            return Ok(());
        }
        Err(ProviderError::Unavailable {
            message: "this engine's lease on the store has run out".into(),
        })
    }

    /// Sends something to a cloud while this engine may act. A call is sent again for as long as its decorators are told to,
    /// which is longer than a lease: so the lease is looked at each time that the call goes on, and what was not answered
    /// when it ran out has an unknown outcome.
    pub(crate) async fn while_leased<T>(
        &self,
        sending: impl Future<Output = Result<T, ProviderError>>,
    ) -> Result<T, ProviderError> {
        self.may_act()?;
        let mut sending = pin!(sending);
        poll_fn(|context| match self.may_act() {
            Ok(()) => sending.as_mut().poll(context),
            Err(_) => Poll::Ready(Err(ProviderError::OutcomeUnknown {
                message: "this engine's lease on the store ran out meanwhile".into(),
            })),
        })
        .await
    }

    pub(crate) fn crash_point(&self, point: CrashPoint) {
        if let Some(at) = &self.config.at_crash_point {
            at(point);
        }
    }

    /// Returns at the next commit, or after a while.
    pub(crate) async fn next_look(&self) {
        let mut commits = self.ledger.watch();
        commits.mark_unchanged();
        tokio::select! {
            biased;
            // Nobody commits any more: then only time passes.
            Ok(()) = commits.changed() => {}
            () = self.clock.sleep(self.config.bounds.poll()) => {}
        }
    }

    /// The shard that it writes.
    pub(crate) fn shard(&self) -> ShardId {
        self.tenure.shard
    }

    /// Whose resources a cluster's are.
    pub(crate) fn owner(&self, cluster: &ClusterName) -> Owner {
        Owner {
            store: self.store_id.clone(),
            cluster: cluster.clone(),
        }
    }

    /// A site of a plan, as its provider needs it.
    pub(crate) fn site(&self, plan: &PlanBody, name: &SiteName) -> Option<Site> {
        let spec = plan.spec.as_ref()?.sites.get(name)?;
        Some(resolve(name, spec))
    }

    /// The provider of a site.
    pub(crate) fn provider(&self, site: &Site) -> Result<Arc<dyn Provider>, ApiError> {
        self.providers.get(&site.provider).cloned().ok_or_else(|| {
            ApiError::new(
                ErrorCode::InvalidArgument,
                format!("this engine has no provider `{}`", site.provider),
            )
            .pointer(format!("/sites/{}/provider", site.name))
            .allowed(self.providers.keys().map(ToString::to_string))
        })
    }

    /// Keeps that something happened.
    pub(crate) async fn event(&self, cluster: &ClusterName, about: &str, what: &str) -> Result<(), LedgerError> {
        let (cluster, about, what) = (cluster.clone(), about.to_owned(), what.to_owned());
        let (at, kept) = (self.clock.now(), self.config.bounds.events_kept);
        self.ledger
            .write(move |draft| {
                let under = prefix(&cluster);
                let last = draft
                    .state()
                    .events
                    .under(&under)
                    .next_back()
                    .map_or(0, |event| event.sequence);
                let first = draft.state().events.under(&under).next().map(|event| event.sequence);
                let sequence = last + 1;
                if let Some(first) = first
                    && sequence - first >= u64::try_from(kept).unwrap_or(u64::MAX)
                {
                    draft.remove::<EventRecord>(&format!("{cluster}/{first:020}"));
                }
                draft.put(EventRecord {
                    cluster,
                    sequence,
                    at,
                    about,
                    what,
                });
            })
            .await
    }
}

/// A site of a spec, as its provider needs it.
pub(crate) fn resolve(name: &SiteName, spec: &SiteSpec) -> Site {
    Site {
        name: name.clone(),
        provider: spec.provider.clone(),
        region: spec.region.clone(),
        settings: spec.settings.clone(),
    }
}
