//! Mutations: boundaries with a bug, each of which some invariant must catch. They stand where a bug of the engine would
//! show: what it sends, keeps and hears. The engine itself is never changed.
//!
//! "A step of a plan that nobody accepted is carried out" cannot be said of a boundary: the engine alone holds plans.
//! [`Mutation::ForgedPlan`] stands for it: the store answers a restarted engine that a running operation is of another
//! plan, one that was made and never accepted.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use isobar_engine_model::catalog::SiteCatalog;
use isobar_engine_model::id::{Epoch, Incarnation, MemberId, ProviderId, ResourceHandle, ShardId};
use isobar_engine_provider::{
    Capabilities, Console, CreateResource, Created, Listing, Owner, OwnerTags, Page, Provider, ProviderError,
    ResourceKind, ResourceState, Result, Site, Token,
};
use isobar_engine_store::{Member, Row, Shard, Store, StoreError, Table, Write};

use isobar_providers_sim::SimCloud;

use crate::invariant::Invariant;
use crate::nodes::Flaw;

/// What a store answers.
type Answer<T> = std::result::Result<T, StoreError>;

/// A bug at a boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutation {
    /// Creates are sent without their token and with another name each time.
    NoToken,
    /// Intents are kept after they are acted upon.
    JournalAfterCall,
    /// Whatever a cloud has is taken for ours.
    NoTagCheck,
    /// Commits of an engine that was replaced are taken.
    NoEpoch,
    /// A running operation is taken up with a plan that nobody accepted.
    ForgedPlan,
    /// A deletion is not sent and counts as done.
    GoneUnseen,
    /// Nothing is in any list.
    EmptyList,
    /// Offerings are shown at half their price.
    WrongPrice,
    /// A node joins with the token of another.
    StolenToken,
    /// A node's lease never ends.
    StoppedClock,
    /// A node says that a replica is healthy long before it is.
    EarlyWord,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::NoToken,
        Self::JournalAfterCall,
        Self::NoTagCheck,
        Self::NoEpoch,
        Self::ForgedPlan,
        Self::GoneUnseen,
        Self::EmptyList,
        Self::WrongPrice,
        Self::StolenToken,
        Self::StoppedClock,
        Self::EarlyWord,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoToken => "no-token",
            Self::JournalAfterCall => "journal-after-call",
            Self::NoTagCheck => "no-tag-check",
            Self::NoEpoch => "no-epoch",
            Self::ForgedPlan => "forged-plan",
            Self::GoneUnseen => "gone-unseen",
            Self::EmptyList => "empty-list",
            Self::WrongPrice => "wrong-price",
            Self::StolenToken => "stolen-token",
            Self::StoppedClock => "stopped-clock",
            Self::EarlyWord => "early-word",
        }
    }

    /// Which invariants catch it.
    pub fn caught_by(self) -> &'static [Invariant] {
        match self {
            Self::NoToken => &[Invariant::Journaled, Invariant::Single],
            Self::JournalAfterCall => &[Invariant::Journaled],
            Self::NoTagCheck => &[Invariant::Untouched],
            Self::NoEpoch => &[Invariant::Fenced],
            Self::ForgedPlan => &[Invariant::Approved],
            Self::GoneUnseen => &[Invariant::NothingLeft],
            Self::EmptyList => &[Invariant::Met],
            Self::WrongPrice => &[Invariant::Billed],
            Self::StolenToken => &[Invariant::OneJoins],
            Self::StoppedClock => &[Invariant::Once],
            Self::EarlyWord => &[Invariant::Available],
        }
    }

    /// What it changes on nodes.
    pub fn flaw(self) -> Option<Flaw> {
        match self {
            Self::StolenToken => Some(Flaw::StolenToken),
            Self::StoppedClock => Some(Flaw::StoppedClock),
            Self::EarlyWord => Some(Flaw::EarlyWord),
            Self::NoToken
            | Self::JournalAfterCall
            | Self::NoTagCheck
            | Self::NoEpoch
            | Self::ForgedPlan
            | Self::GoneUnseen
            | Self::EmptyList
            | Self::WrongPrice => None,
        }
    }
}

/// A provider with a mutation, or without.
pub struct FlawedProvider<T> {
    inner: T,
    mutation: Option<Mutation>,
    cloud: SimCloud,
    sent: Mutex<Sent>,
}

#[derive(Default)]
struct Sent {
    count: u64,
    last: Option<OwnerTags>,
}

impl<T> FlawedProvider<T> {
    /// `inner`, whose cloud is `cloud`, with this mutation.
    pub fn new(inner: T, mutation: Option<Mutation>, cloud: SimCloud) -> Self {
        Self {
            inner,
            mutation,
            cloud,
            sent: Mutex::default(),
        }
    }

    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    fn sent(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is not ours in a region, as though it were the last machine that was asked for.
    fn taken_for_ours(&self, region: &str) -> Vec<ResourceState> {
        let Some(tags) = self.sent().last.clone() else {
            return Vec::new();
        };
        let machines = self.cloud.machines();
        let foreign = machines
            .into_iter()
            .filter(|machine| machine.region == region && machine.tags().is_none());
        foreign
            .map(|machine| ResourceState {
                tags: Some(tags.clone()),
                ..machine.state
            })
            .collect()
    }
}

#[async_trait]
impl<T: Provider> Provider for FlawedProvider<T> {
    fn id(&self) -> &ProviderId {
        self.inner.id()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn catalog(&self, site: &Site) -> Result<SiteCatalog> {
        let mut catalog = self.inner.catalog(site).await?;
        if self.is(Mutation::WrongPrice) {
            for offering in &mut catalog.offerings {
                offering.price.0 /= 2;
            }
        }
        Ok(catalog)
    }

    async fn create(&self, request: &CreateResource) -> Result<Created> {
        let mut request = request.clone();
        {
            let mut sent = self.sent();
            sent.count += 1;
            sent.last = Some(request.tags.clone());
            if self.is(Mutation::NoToken) {
                request.token = Token(format!("{}-{}", request.token.0, sent.count));
                request.name = format!("{}-{}", request.name, sent.count);
            }
        }
        self.inner.create(&request).await
    }

    async fn get(&self, site: &Site, handle: &ResourceHandle) -> Result<ResourceState> {
        self.inner.get(site, handle).await
    }

    async fn list(&self, site: &Site, kind: ResourceKind, owner: &Owner, page: Option<Page>) -> Result<Listing> {
        let mut listing = self.inner.list(site, kind, owner, page).await?;
        if self.is(Mutation::EmptyList) {
            listing.items.clear();
        }
        if self.is(Mutation::NoTagCheck) && kind == ResourceKind::Machine && listing.next.is_none() {
            listing.items.extend(self.taken_for_ours(&site.region));
        }
        Ok(listing)
    }

    async fn delete(&self, site: &Site, handle: &ResourceHandle, token: &Token) -> Result<()> {
        if self.is(Mutation::GoneUnseen) {
            return Err(ProviderError::NotFound);
        }
        self.inner.delete(site, handle, token).await
    }

    fn console(&self) -> Option<&dyn Console> {
        self.inner.console()
    }
}

/// A store with a mutation, or without.
pub struct FlawedStore<T> {
    inner: T,
    mutation: Option<Mutation>,
    /// Acknowledged, and not yet kept.
    late: Mutex<Vec<Write>>,
}

impl<T> FlawedStore<T> {
    /// `inner` with this mutation.
    pub fn new(inner: T, mutation: Option<Mutation>) -> Self {
        Self {
            inner,
            mutation,
            late: Mutex::default(),
        }
    }

    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    fn late(&self) -> MutexGuard<'_, Vec<Write>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Store> FlawedStore<T> {
    /// Every row of a table.
    async fn all(&self, table: Table) -> std::result::Result<Vec<Row>, StoreError> {
        self.inner.scan(None, table, None, u32::MAX).await
    }

    /// Operations, each that runs with a plan that no operation is of.
    async fn forged(&self, rows: Vec<Row>) -> std::result::Result<Vec<Row>, StoreError> {
        let plan_of = |row: &Row| {
            let value: serde_json::Value = serde_json::from_str(&row.body).unwrap_or_default();
            value["operation"]["plan"].as_str().map(str::to_owned)
        };
        let used: BTreeSet<String> = self.all(Table::Operation).await?.iter().filter_map(plan_of).collect();
        let plans = self.all(Table::Plan).await?;
        let has_steps = |row: &&Row| row.body.contains("buy_machine");
        let Some(unused) = plans.iter().filter(has_steps).find(|plan| !used.contains(&plan.key)) else {
            return Ok(rows);
        };
        let forge = |row: Row| match plan_of(&row) {
            Some(plan) if row.body.contains(r#""state":"running""#) => Row {
                body: row.body.replace(&plan, &unused.key),
                ..row
            },
            Some(_) | None => row,
        };
        Ok(rows.into_iter().map(forge).collect())
    }
}

#[async_trait]
impl<T: Store> Store for FlawedStore<T> {
    fn id(&self) -> &str {
        self.inner.id()
    }

    fn incarnation(&self) -> Incarnation {
        self.inner.incarnation()
    }

    async fn is_recovering(&self) -> Answer<bool> {
        self.inner.is_recovering().await
    }

    async fn end_recovery(&self) -> Answer<()> {
        self.inner.end_recovery().await
    }

    async fn claim(&self, shard: ShardId, member: &MemberId) -> Answer<Option<Epoch>> {
        self.inner.claim(shard, member).await
    }

    async fn commit(&self, shard: ShardId, epoch: Epoch, batch: &[Write]) -> Answer<()> {
        if self.is(Mutation::JournalAfterCall) {
            let is_intent = |write: &Write| {
                matches!(
                    write,
                    Write::Insert {
                        table: Table::Attempt,
                        ..
                    }
                )
            };
            let mut whole = std::mem::take(&mut *self.late());
            whole.extend_from_slice(batch);
            if batch.iter().any(is_intent) {
                *self.late() = whole;
                return Ok(());
            }
            return self.inner.commit(shard, epoch, &whole).await;
        }
        match self.inner.commit(shard, epoch, batch).await {
            Err(StoreError::Fenced { current, .. }) if self.is(Mutation::NoEpoch) => {
                self.inner.commit(shard, current, batch).await
            }
            other => other,
        }
    }

    async fn scan(&self, shard: Option<ShardId>, table: Table, after: Option<&str>, limit: u32) -> Answer<Vec<Row>> {
        let rows = self.inner.scan(shard, table, after, limit).await?;
        if self.is(Mutation::ForgedPlan) && table == Table::Operation {
            return self.forged(rows).await;
        }
        Ok(rows)
    }

    async fn get(&self, table: Table, key: &str) -> Answer<Option<Row>> {
        self.inner.get(table, key).await
    }

    async fn beat(&self, member: &Member, lease: Duration) -> Answer<()> {
        self.inner.beat(member, lease).await
    }

    async fn leave(&self, member: &MemberId) -> Answer<()> {
        self.inner.leave(member).await
    }

    async fn members(&self) -> Answer<Vec<Member>> {
        self.inner.members().await
    }

    async fn shards(&self) -> Answer<Vec<Shard>> {
        self.inner.shards().await
    }

    async fn release(&self, shard: ShardId, epoch: Epoch) -> Answer<()> {
        self.inner.release(shard, epoch).await
    }

    async fn once(&self, key: &str, value: &str) -> Answer<String> {
        self.inner.once(key, value).await
    }
}
