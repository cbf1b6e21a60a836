//! Checks on what nodes do: who joins, what runs, what is stopped.

use std::time::Duration;

use isobar_engine_control::node::Peer;
use isobar_engine_model::id::{MachineId, ResourceHandle};
use isobar_engine_model::observed::ReplicaPhase;
use tokio::time::Instant;

use super::journal::ReplicaRow;
use super::{Running, State};
use crate::invariant::Invariant;

/// Within so long the engine has planned around a replica that was lost: its lease and margin, a look, a plan, a new
/// machine. What is stopped meanwhile was decided before.
const LOSS_KNOWN_WITHIN: Duration = Duration::from_secs(300);

impl State {
    pub(super) fn joined(&mut self, handle: &ResourceHandle, peer: &Peer) {
        let (machine, attempt) = (&peer.machine, peer.attempt);
        self.history
            .note(handle, format_args!("joins as attempt {} of {machine}", attempt.0));
        let is_itself = self
            .machines
            .get(handle)
            .and_then(Option::as_ref)
            .is_none_or(|tags| tags.machine == *machine && tags.attempt == attempt);
        if !is_itself {
            self.violated(
                Invariant::OneJoins,
                format!("{handle} joins as {machine}, which it is not"),
            );
        }
        let joined = self.joined.entry(machine.clone()).or_default();
        joined.insert(handle.clone());
        if joined.len() > 1 {
            let what = format!("{machine} was joined by {joined:?}");
            self.violated(Invariant::OneJoins, what);
        }
    }

    pub(super) fn started(&mut self, (handle, machine): (&ResourceHandle, &MachineId), id: &str) {
        self.history.note(handle, format_args!("runs {id}"));
        *self.starts.entry(id.to_owned()).or_default() += 1;
        let Some(row) = self.journal.replica(id).cloned() else {
            return self.violated(
                Invariant::Approved,
                format!("{id} runs on {machine}, and no plan started it"),
            );
        };
        let workload = row.replica.workload.to_string();
        let beside = self
            .running
            .iter()
            .find(|((at, known), running)| running.workload == workload && (at, known.as_str()) != (handle, id));
        if let Some(((at, other), _)) = beside.filter(|_| row.is_fenced()) {
            let what = format!("{id} runs on {handle} beside {other} on {at}");
            self.violated(Invariant::Once, what);
        }
        let running = Running {
            machine: machine.clone(),
            workload: workload.clone(),
        };
        self.running.insert((handle.clone(), id.to_owned()), running);
        let now = self.count(&workload);
        let fewest = self.fewest.entry(workload).or_insert(now);
        *fewest = now.min(*fewest);
    }

    pub(super) fn ended(&mut self, handle: &ResourceHandle, id: &str) {
        let Some(running) = self.running.remove(&(handle.clone(), id.to_owned())) else {
            return;
        };
        self.history.note(handle, format_args!("{id} ends"));
        if self.journal.is_wanted(&running.machine, id) {
            self.fell.insert(running.workload.clone(), Instant::now());
        }
        let now = self.count(&running.workload);
        let fewest = self.fewest.entry(running.workload).or_insert(now);
        *fewest = now.min(*fewest);
    }

    pub(super) fn machine_off(&mut self, handle: &ResourceHandle) {
        let here: Vec<String> = self
            .running
            .keys()
            .filter(|(at, _)| at == handle)
            .map(|(_, id)| id.clone())
            .collect();
        for id in here {
            self.ended(handle, &id);
        }
    }

    fn count(&self, workload: &str) -> usize {
        self.running
            .values()
            .filter(|running| running.workload == workload)
            .count()
    }

    /// The engine has committed that it stops a replica. Only one that an engine had `heard` of as healthy counts: what came
    /// to serve while nobody listened, an engine that takes over at this moment cannot know of.
    pub(super) fn stopping(&mut self, engine: u64, row: &ReplicaRow, heard: bool) {
        let (id, workload) = (&row.replica.id, &row.replica.workload);
        self.history.note(
            format_args!("engine {engine}"),
            format_args!("stops {id} on {}", row.replica.machine),
        );
        if self.journal.is_lost(&row.cluster, &row.replica.machine) {
            // Its node is out of reach or dead: what runs there is lost, whether it still serves or not.
            self.fell.insert(workload.to_string(), Instant::now());
            return;
        }
        let Some(min) = self.journal.must_leave(&row.cluster, workload) else {
            return;
        };
        let min = usize::try_from(min).unwrap_or(usize::MAX);
        let stays = |((_, known), running): &(&(ResourceHandle, String), &Running)| {
            let row = self.journal.replica(known);
            let stopping = row.is_some_and(|row| matches!(row.replica.phase, ReplicaPhase::Stopping { .. }));
            running.workload == workload.as_str() && known != id.as_str() && !stopping
        };
        let left = self.running.iter().filter(stays).count();
        let lost_lately = self
            .fell
            .get(workload.as_str())
            .is_some_and(|at| at.elapsed() < LOSS_KNOWN_WITHIN);
        let runs = self.running.keys().any(|(_, known)| known == id.as_str());
        // What was below it before is no stop's doing.
        if heard && runs && left + 1 == min && !lost_lately {
            self.violated(
                Invariant::Available,
                format!("{id} is stopped, and {left} of {workload} are left, fewer than {min}"),
            );
        }
    }
}
