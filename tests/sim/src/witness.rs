//! Sees everything that truly happens in a run (what is sent to the cloud, what is committed, which nodes join, which
//! containers run), keeps its history, and checks the invariants at each event.
//!
//! Knows the truth that no engine knows. Changes nothing. Fed by the boundaries in [`crate::watched`] and by
//! [`crate::nodes`]; asked by [`crate::run`].

mod cloud;
mod journal;
mod nodes;
mod tenure;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Arguments, Display};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use isobar_engine_control::node::Peer;
use isobar_engine_model::id::{Epoch, MachineId, PlanId, ResourceHandle, ShardId};
use isobar_engine_provider::{CreateResource, OwnerTags};
use isobar_engine_store::Write;
use isobar_providers_sim::{MachineEvent, SimMachine};
use tokio::time::Instant;

use crate::history::History;
use crate::invariant::{Invariant, Violation};
use journal::Journal;
pub use tenure::Handovers;
use tenure::Tenures;

/// Violations of a run beyond so many are not kept.
const VIOLATIONS_MAX: usize = 20;

/// See the module. A clone is the same witness.
#[derive(Clone)]
pub struct Witness(Arc<Mutex<State>>);

/// A container that runs.
#[derive(Debug, Clone)]
struct Running {
    machine: MachineId,
    workload: String,
}

/// What is true.
struct State {
    /// The store's own id: whose tags are ours.
    store: String,
    history: History,
    violations: Vec<Violation>,
    journal: Journal,
    tenures: Tenures,
    /// Machines in the cloud that are not gone, with their tags.
    machines: BTreeMap<ResourceHandle, Option<OwnerTags>>,
    /// Machines that were made when their attempts were over.
    late: BTreeSet<ResourceHandle>,
    joined: BTreeMap<MachineId, BTreeSet<ResourceHandle>>,
    running: BTreeMap<(ResourceHandle, String), Running>,
    /// When a workload last lost a replica that nobody had asked to stop.
    fell: BTreeMap<String, Instant>,
    /// Fewest running replicas of each workload since it was asked for.
    fewest: BTreeMap<String, usize>,
    /// Plans that somebody accepted.
    accepted: BTreeSet<PlanId>,
    starts: BTreeMap<String, u64>,
}

impl Witness {
    /// A witness of a run that begins now, on the store of this id.
    pub fn new(store: &str) -> Self {
        Self(Arc::new(Mutex::new(State {
            store: store.to_owned(),
            history: History::new(),
            violations: Vec::new(),
            journal: Journal::default(),
            tenures: Tenures::default(),
            machines: BTreeMap::new(),
            late: BTreeSet::new(),
            joined: BTreeMap::new(),
            running: BTreeMap::new(),
            fell: BTreeMap::new(),
            fewest: BTreeMap::new(),
            accepted: BTreeSet::new(),
            starts: BTreeMap::new(),
        })))
    }

    /// A line of the history.
    pub fn note(&self, who: impl Display, what: Arguments<'_>) {
        self.lock().history.note(who, what);
    }

    /// Something did not hold.
    pub fn violated(&self, invariant: Invariant, what: String) {
        self.lock().violated(invariant, what);
    }

    /// What did not hold.
    pub fn violations(&self) -> Vec<Violation> {
        self.lock().violations.clone()
    }

    /// The history until now.
    pub fn history(&self) -> String {
        self.lock().history.text().to_owned()
    }

    /// Somebody is about to accept a plan.
    pub fn accepts(&self, plan: &PlanId) {
        self.lock().accepted.insert(plan.clone());
    }

    /// A process is about to start that may act only while it has a lease.
    pub fn needs_lease(&self, engine: u64) {
        self.lock().tenures.needs_lease(engine);
    }

    /// The store granted a process a lease from now on.
    pub fn leased(&self, engine: u64, lease: Duration) {
        self.lock().tenures.leased(engine, lease);
    }

    /// The store ended a process's lease.
    pub fn left(&self, engine: u64) {
        self.lock().tenures.left(engine);
    }

    /// A process that stood still goes on.
    pub fn woke(&self, engine: u64) {
        self.lock().tenures.woke(engine);
    }

    /// A process took a shard.
    pub fn claimed(&self, engine: u64, shard: ShardId, epoch: Epoch) {
        self.lock().claimed(engine, shard, epoch);
    }

    /// A shard was given back.
    pub fn released(&self, shard: ShardId, epoch: Epoch) {
        self.lock().tenures.released(shard, epoch);
    }

    /// How shards came to other processes.
    pub fn handovers(&self) -> Handovers {
        self.lock().tenures.handovers()
    }

    /// A batch was truly committed by an engine.
    pub fn committed(&self, engine: u64, claim: (ShardId, Epoch), batch: &[Write]) {
        self.lock().committed(engine, claim, batch);
    }

    /// An engine renews a node's lease.
    pub fn renews(&self, engine: u64, peer: &Peer) {
        self.lock().may_act(engine, &peer.cluster, "renews a node's lease");
    }

    /// An engine sends a create.
    pub fn creates(&self, engine: u64, request: &CreateResource) {
        self.lock().creates(engine, request);
    }

    /// An engine sends a deletion.
    pub fn deletes(&self, engine: u64, handle: &ResourceHandle) {
        self.lock().deletes(engine, handle);
    }

    /// Something became of a machine. `now`: as it is, unless it is gone.
    pub fn machine(&self, event: &MachineEvent, now: Option<&SimMachine>) {
        self.lock().machine(event, now);
    }

    /// An engine let a node join.
    pub fn joined(&self, handle: &ResourceHandle, peer: &Peer) {
        self.lock().joined(handle, peer);
    }

    /// A container runs on a machine.
    pub fn started(&self, on: (&ResourceHandle, &MachineId), id: &str) {
        self.lock().started(on, id);
    }

    /// A container ended.
    pub fn ended(&self, handle: &ResourceHandle, id: &str) {
        self.lock().ended(handle, id);
    }

    /// A machine is off, and with it its containers.
    pub fn machine_off(&self, handle: &ResourceHandle) {
        self.lock().machine_off(handle);
    }

    /// Resources that ever joined, by machine.
    pub fn joined_machines(&self) -> BTreeMap<MachineId, BTreeSet<ResourceHandle>> {
        self.lock().joined.clone()
    }

    /// The containers that run now: where, and which.
    pub fn running(&self) -> Vec<(ResourceHandle, String)> {
        self.lock().running.keys().cloned().collect()
    }

    /// How often a container of each replica was started.
    pub fn starts(&self) -> BTreeMap<String, u64> {
        self.lock().starts.clone()
    }

    /// From now on, the fewest replicas of each workload are counted anew.
    pub fn count_anew(&self) {
        self.lock().fewest.clear();
    }

    /// The fewest running replicas of a workload since [`Self::count_anew`].
    pub fn fewest(&self, workload: &str) -> Option<usize> {
        self.lock().fewest.get(workload).copied()
    }

    /// Whether a machine was made when its attempt was over.
    pub fn is_late(&self, handle: &ResourceHandle) -> bool {
        self.lock().late.contains(handle)
    }

    /// Whether the journal still has an attempt that may have made what carries these tags.
    pub fn may_live(&self, tags: &OwnerTags) -> bool {
        self.lock().journal.may_live(tags)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn violated(&mut self, invariant: Invariant, what: String) {
        let at_ms = self.history.now_ms();
        self.history.note("VIOLATION", format_args!("{invariant}: {what}"));
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(Violation { invariant, at_ms, what });
        }
    }

    fn is_ours(&self, tags: &OwnerTags) -> bool {
        tags.owner.store == self.store
    }
}
