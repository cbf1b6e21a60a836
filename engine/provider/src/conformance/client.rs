//! A careful client of the provider under test: what every case talks through.
//!
//! Sends again and finds out as the errors say, within the bed's patience. Checks nothing that a case is about.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use isobar_engine_model::id::{AttemptNo, ClusterName, Epoch, MachineId, OperationId, ResourceHandle};

use super::{Broken, TestBed};
use crate::error::Next;
use crate::{
    CreateResource, Created, Owner, OwnerTags, Provider, ProviderError, ResourceKind, ResourceSpec, ResourceState,
    Secret, Token,
};

/// What a provider gives.
type Answer<T> = crate::Result<T>;

/// Between two questions about the same thing.
const POLL_EVERY: Duration = Duration::from_millis(200);
/// So many pages of one list are read at most.
const PAGES_MAX: usize = 1000;

/// One case's view of the provider: its own owner, names and tokens.
pub(super) struct Client<'a> {
    pub(super) bed: &'a dyn TestBed,
    case: &'static str,
    used: Mutex<Used>,
}

/// What has been given out to a case.
#[derive(Default)]
struct Used {
    requests: u32,
    owners: BTreeMap<Owner, ()>,
}

impl<'a> Client<'a> {
    pub(super) fn new(bed: &'a dyn TestBed, case: &'static str) -> Self {
        Self {
            bed,
            case,
            used: Mutex::new(Used::default()),
        }
    }

    pub(super) fn provider(&self) -> Arc<dyn Provider> {
        self.bed.provider()
    }

    /// The case's owner.
    pub(super) fn owner(&self) -> Owner {
        self.owner_named("conformance")
    }

    /// Another owner of the same store.
    pub(super) fn owner_named(&self, cluster: &str) -> Owner {
        let cluster = ClusterName::new(cluster).expect("the suite's cluster names are labels");
        Owner {
            store: self.label(),
            cluster,
        }
    }

    /// A request that was never sent before.
    pub(super) fn request(&self) -> CreateResource {
        self.request_of(self.owner())
    }

    /// A request that was never sent before, of another owner.
    pub(super) fn request_of(&self, owner: Owner) -> CreateResource {
        let number = {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            used.requests += 1;
            used.owners.insert(owner.clone(), ());
            used.requests
        };
        let name = format!("iso-{}-{number}", self.label());
        let mut machine = self.bed.machine();
        machine.identity = Secret(format!("identity of {name}").into_bytes());
        CreateResource {
            site: self.bed.site(),
            token: Token(format!("token-{name}")),
            tags: OwnerTags {
                owner,
                machine: MachineId::new(format!("machine-{number}")),
                operation: OperationId::new("op-00000000c0f02a9c"),
                attempt: AttemptNo(1),
                epoch: Epoch(1),
            },
            name,
            spec: ResourceSpec::Machine(machine),
        }
    }

    /// Sends a create until its outcome is known.
    pub(super) async fn attempt(&self, request: &CreateResource) -> Answer<Created> {
        self.insist(|| async { self.provider().create(request).await }).await
    }

    /// Makes a machine.
    pub(super) async fn create(&self, request: &CreateResource) -> Result<ResourceHandle, Broken> {
        let created = self.attempt(request).await;
        created
            .map(|created| created.handle)
            .map_err(|error| Broken(format!("create failed: {error}")))
    }

    /// Makes a machine and waits until "not found" would count.
    pub(super) async fn create_visible(&self, request: &CreateResource) -> Result<ResourceHandle, Broken> {
        let handle = self.create(request).await?;
        self.let_it_show().await;
        Ok(handle)
    }

    /// Waits as long as a new machine may be hidden.
    pub(super) async fn let_it_show(&self) {
        let delay_ms = self.provider().capabilities().visibility_delay_max_ms;
        if delay_ms > 0 {
            self.bed.clock().sleep(Duration::from_millis(delay_ms)).await;
        }
    }

    /// One machine as the provider shows it.
    pub(super) async fn get(&self, handle: &ResourceHandle) -> Answer<ResourceState> {
        let site = self.bed.site();
        self.insist(|| async { self.provider().get(&site, handle).await }).await
    }

    /// One deletion call.
    pub(super) async fn delete(&self, handle: &ResourceHandle) -> Answer<()> {
        let site = self.bed.site();
        let token = Token(format!("delete-{handle}"));
        self.insist(|| async { self.provider().delete(&site, handle, &token).await })
            .await
    }

    /// Every page of an owner's list.
    pub(super) async fn list(&self, owner: &Owner) -> Result<Vec<ResourceState>, Broken> {
        let site = self.bed.site();
        let mut items = Vec::new();
        let mut page = None;
        for _ in 0..PAGES_MAX {
            let ask = || async {
                self.provider()
                    .list(&site, ResourceKind::Machine, owner, page.clone())
                    .await
            };
            let listing = self
                .insist(ask)
                .await
                .map_err(|error| Broken(format!("list failed: {error}")))?;
            items.extend(listing.items);
            page = listing.next;
            if page.is_none() {
                return Ok(items);
            }
        }
        Err(Broken(format!("a list of more than {PAGES_MAX} pages")))
    }

    /// Asks until `answer` satisfies `enough`, within the bed's patience. What it last saw is the complaint.
    pub(super) async fn eventually<T, Ask, Fut>(
        &self,
        fact: &str,
        ask: Ask,
        enough: impl Fn(&T) -> bool,
    ) -> Result<T, Broken>
    where
        T: Debug,
        Ask: Fn() -> Fut,
        Fut: Future<Output = T>,
    {
        let deadline = self.deadline_ms();
        loop {
            let answer = ask().await;
            if enough(&answer) {
                return Ok(answer);
            }
            if self.bed.clock().now().0 >= deadline {
                return Err(Broken(format!(
                    "{fact}: not within {:?}; last seen: {answer:?}",
                    self.bed.patience()
                )));
            }
            self.bed.clock().sleep(POLL_EVERY).await;
        }
    }

    /// Deletes a machine until it is gone.
    pub(super) async fn delete_until_gone(&self, handle: &ResourceHandle) -> Result<(), Broken> {
        let gone = |answer: &Answer<()>| answer.as_ref().is_err_and(ProviderError::is_absent);
        let _gone = self
            .eventually("the deletion ends in `not found`", || self.delete(handle), gone)
            .await?;
        Ok(())
    }

    /// Deletes everything that the case made.
    pub(super) async fn clean_up(&self) -> Result<(), Broken> {
        let owners: Vec<Owner> = {
            let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            used.owners.keys().cloned().collect()
        };
        if owners.is_empty() {
            return Ok(());
        }
        self.let_it_show().await;
        for owner in owners {
            let sweep = || async {
                let items = self.list(&owner).await?;
                for item in &items {
                    match self.delete(&item.handle).await {
                        Ok(()) => {}
                        Err(error) if error.is_absent() => {}
                        Err(error) => return Err(Broken(format!("clean up of {}: {error}", item.handle))),
                    }
                }
                Ok(items)
            };
            let empty = |swept: &Result<Vec<ResourceState>, Broken>| matches!(swept, Ok(left) if left.is_empty());
            self.eventually("clean up leaves nothing", sweep, empty).await??;
        }
        Ok(())
    }

    /// Sends the same call again while that is what its error asks for.
    pub(super) async fn insist<T, Call, Fut>(&self, call: Call) -> Answer<T>
    where
        Call: Fn() -> Fut,
        Fut: Future<Output = Answer<T>>,
    {
        let deadline = self.deadline_ms();
        loop {
            let error = match call().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let again = match error.next() {
                Next::Again => true,
                Next::FindOut => matches!(error, ProviderError::OutcomeUnknown { .. }),
                Next::Fallback | Next::GiveUp => false,
            };
            if !again || self.bed.clock().now().0 >= deadline {
                return Err(error);
            }
            self.bed.clock().sleep(POLL_EVERY).await;
        }
    }

    /// The run and the case, short enough for a label of any provider: the case by its place in the suite.
    fn label(&self) -> String {
        let place = super::CASES
            .iter()
            .position(|case| case.name == self.case)
            .unwrap_or(super::CASES.len());
        format!("{}-{place}", self.bed.run_id())
    }

    fn deadline_ms(&self) -> u64 {
        let patience_ms = u64::try_from(self.bed.patience().as_millis()).unwrap_or(u64::MAX);
        self.bed.clock().now().plus_ms(patience_ms).0
    }
}

/// Fails the case unless the fact holds.
pub(super) fn ensure(holds: bool, complaint: impl FnOnce() -> String) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken(complaint())) }
}
