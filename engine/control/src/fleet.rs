//! One process among those that share a store: an [`Engine`] for each shard that falls to it, and the way to the others.
//!
//! Knows no cluster's state: that is its engines'. [`tend`] keeps its lease and takes and gives shards; [`members`] is how
//! processes pass calls on to each other.

pub mod members;
mod tend;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use isobar_engine_model::id::{ClusterName, MemberId, OperationId, PlanId, ShardId, shard_of};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::Clock;
use isobar_engine_store::{Member, StoreError, Table};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::{ApiError, Discovery, EngineView, ErrorCode};
use crate::authority::{AuthorityError, ServerIdentity};
use crate::config::Config;
use crate::engine::{Boundaries, Engine};
use crate::tenure::Lease;
use crate::terraform::TERRAFORM_SHARD;

/// Between two looks for who holds a shard that nobody holds.
const ROUTE_PAUSE: Duration = Duration::from_millis(100);

/// See the module.
pub struct Fleet {
    me: Member,
    pub(crate) config: Config,
    pub(crate) boundaries: Boundaries,
    lease: Lease,
    /// Where nodes reach the engines that live, this one first.
    homes: watch::Sender<Vec<String>>,
    held: RwLock<BTreeMap<ShardId, Arc<Engine>>>,
    known: RwLock<Known>,
    /// Shards that are being taken or given away.
    changing: Mutex<BTreeSet<ShardId>>,
    caller: members::Caller,
    tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

/// What the store said last of who lives and who holds what.
#[derive(Debug, Default)]
struct Known {
    members: BTreeMap<MemberId, Member>,
    holders: BTreeMap<ShardId, MemberId>,
}

/// Whose a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    /// A cluster's.
    Cluster(&'a ClusterName),
    /// That of a plan's cluster.
    Plan(&'a PlanId),
    /// That of an operation's cluster.
    Operation(&'a OperationId),
    /// Terraform's states: one engine keeps all of them.
    Terraform,
}

/// Who answers a call.
pub enum Route {
    /// This process.
    Here(Arc<Engine>),
    /// Another one.
    There(Member),
}

/// How long a call waits for a cluster that is changing hands to come to rest.
pub struct Patience {
    clock: Arc<dyn Clock>,
    until: Timestamp,
}

impl Patience {
    /// Lets a moment pass, and says true; at its end false, at once.
    pub async fn lasts(&self) -> bool {
        let lasts = self.clock.now() < self.until;
        if lasts {
            self.clock.sleep(ROUTE_PAUSE).await;
        }
        lasts
    }
}

impl Fleet {
    /// Joins those that share the store and takes what falls to it. Returns when it has taken what is free.
    pub async fn start(config: Config, boundaries: Boundaries, me: Member) -> Result<Arc<Self>, StoreError> {
        let caller = members::Caller::new(&config.authority, boundaries.clock.now());
        let fleet = Arc::new(Self {
            homes: watch::Sender::new(me.nodes.clone()),
            me,
            config,
            boundaries,
            lease: Lease::ended(),
            held: RwLock::default(),
            known: RwLock::default(),
            changing: Mutex::default(),
            caller,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        });
        fleet.tend().await?;
        fleet.settled().await;
        let tending = fleet.clone();
        fleet.tasks.spawn(async move { tending.tend_on().await });
        Ok(fleet)
    }

    /// A certificate for the MCP endpoint, which clients reach under these hosts.
    pub fn mcp_identity(&self, hosts: &[String]) -> Result<ServerIdentity, AuthorityError> {
        self.config.authority.mcp_identity(hosts, self.boundaries.clock.now())
    }

    /// Gives every shard back and leaves. What is committed stays; the others go on from there.
    pub async fn shutdown(self: &Arc<Self>) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let held = std::mem::take(&mut *self.held.write().expect("nothing panics with the lock"));
        let mut leaving = tokio::task::JoinSet::new();
        for (shard, engine) in held {
            let fleet = self.clone();
            leaving.spawn(async move { fleet.give(shard, &engine).await });
        }
        while leaving.join_next().await.is_some() {}
        if let Err(error) = self.boundaries.store.leave(&self.me.id).await {
            tracing::warn!(%error, "the lease of this engine runs out by itself");
        }
    }

    /// Who answers a call. Waits for a while where a shard is changing hands.
    pub async fn route(&self, subject: Subject<'_>) -> Result<Route, ApiError> {
        let patience = self.patience();
        let shard = self.shard(subject).await?;
        loop {
            if let Some(route) = self.who_holds(shard) {
                return Ok(route);
            }
            if !patience.lasts().await {
                return Err(
                    ApiError::new(ErrorCode::Moving, "no engine is responsible for the cluster now")
                        .hint("another engine takes it over within seconds: try again"),
                );
            }
        }
    }

    /// Who is responsible for a cluster now. None: its shard is changing hands.
    pub fn responsible(&self, cluster: &ClusterName) -> Option<Route> {
        self.who_holds(shard_of(cluster))
    }

    /// What this process is, and the clusters that fall to it.
    pub async fn discover(&self) -> Discovery {
        let engines: Vec<Arc<Engine>> = self.engines().into_values().collect();
        let mut clusters: Vec<_> = engines.iter().flat_map(|engine| engine.clusters()).collect();
        clusters.sort_by(|a, b| a.cluster.cmp(&b.cluster));
        let known = self.known.read().expect("nothing panics with the lock");
        let holds = |member: &MemberId| known.holders.values().filter(|holder| *holder == member).count();
        Discovery {
            recovering: engines.iter().any(|engine| engine.is_recovering()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            store: self.boundaries.store.id().to_owned(),
            providers: self.boundaries.providers.iter().map(|p| p.id().clone()).collect(),
            engines: known
                .members
                .values()
                .map(|member| EngineView {
                    id: member.id.to_string(),
                    nodes: member.nodes.join(","),
                    shards: u32::try_from(holds(&member.id)).unwrap_or(u32::MAX),
                })
                .collect(),
            clusters,
        }
    }

    /// Those that share the store with this process and hold something.
    pub fn others(&self) -> Vec<Member> {
        let known = self.known.read().expect("nothing panics with the lock");
        let holders: BTreeSet<&MemberId> = known.holders.values().collect();
        let others = known.members.values().filter(|member| member.id != self.me.id);
        others.filter(|member| holders.contains(&member.id)).cloned().collect()
    }

    /// For a call that begins now.
    pub fn patience(&self) -> Patience {
        let clock = self.boundaries.clock.clone();
        let until = clock.now().plus_ms(self.config.bounds.route_ms);
        Patience { clock, until }
    }

    /// The name of this process among those that share the store.
    pub fn id(&self) -> &MemberId {
        &self.me.id
    }

    /// The name of the store.
    pub fn store_id(&self) -> &str {
        self.boundaries.store.id()
    }

    /// Whether the store comes from a backup and is not recovered yet.
    pub async fn is_recovering(&self) -> Result<bool, ApiError> {
        let asked = self.boundaries.store.is_recovering().await;
        asked.map_err(|error| ApiError::new(ErrorCode::Unavailable, error.to_string()))
    }

    /// Ends the store's recovery, for every engine: those here have gone on when it returns, others do within a moment.
    /// Whoever calls it has looked that nothing is undecided.
    pub async fn end_recovery(&self) -> Result<(), ApiError> {
        let ended = self.boundaries.store.end_recovery().await;
        ended.map_err(|error| {
            ApiError::new(ErrorCode::Unavailable, error.to_string()).hint("try again: it may have ended")
        })?;
        // Whoever asks this process for something next finds it ready.
        for engine in self.engines().into_values() {
            engine.has_noticed().await;
        }
        Ok(())
    }

    /// Asks another process. `Moving` where it does not answer; the call may be repeated: every tool is idempotent.
    pub async fn pass_on(
        &self,
        member: &Member,
        tool: &str,
        arguments: &serde_json::Value,
    ) -> Result<serde_json::Value, ApiError> {
        self.caller.call(member, tool, arguments).await
    }

    async fn shard(&self, subject: Subject<'_>) -> Result<ShardId, ApiError> {
        let (table, key, what) = match subject {
            Subject::Cluster(cluster) => return Ok(shard_of(cluster)),
            Subject::Terraform => return Ok(TERRAFORM_SHARD),
            Subject::Plan(plan) => (Table::Plan, plan.as_str(), "plan"),
            Subject::Operation(operation) => (Table::Operation, operation.as_str(), "operation"),
        };
        let here = self.engines().into_iter().find(|(_, engine)| engine.has(subject));
        if let Some((shard, _)) = here {
            return Ok(shard);
        }
        match self.boundaries.store.get(table, key).await {
            Ok(Some(row)) => Ok(row.shard),
            Ok(None) => Err(
                ApiError::new(ErrorCode::NotFound, format!("there is no {what} `{key}`"))
                    .pointer(format!("/{what}"))
                    .hint("plans and operations are kept for a while after they end: plan again"),
            ),
            Err(error) => Err(ApiError::new(ErrorCode::Unavailable, error.to_string())),
        }
    }

    pub(crate) fn who_holds(&self, shard: ShardId) -> Option<Route> {
        if let Some(engine) = self.engines().get(&shard) {
            return Some(Route::Here(engine.clone()));
        }
        let known = self.known.read().expect("nothing panics with the lock");
        let holder = known.holders.get(&shard).filter(|holder| **holder != self.me.id)?;
        known.members.get(holder).cloned().map(Route::There)
    }

    fn engines(&self) -> BTreeMap<ShardId, Arc<Engine>> {
        self.held.read().expect("nothing panics with the lock").clone()
    }
}
