//! Checks on what is committed, sent to the cloud, and truly there.

use isobar_engine_model::id::{Epoch, ResourceHandle, ShardId};
use isobar_engine_model::plan::Origin;
use isobar_engine_provider::CreateResource;
use isobar_engine_store::Write;
use isobar_providers_sim::{MachineChange, MachineEvent, SimMachine};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::State;
use super::journal::{News, is_running};
use crate::invariant::Invariant;

impl State {
    pub(super) fn committed(&mut self, engine: u64, claim: (ShardId, Epoch), batch: &[Write]) {
        self.holds(engine, claim);
        for write in batch {
            match self.journal.take(write) {
                None => {}
                Some(News::Attempt(row)) => {
                    let what = format!("attempt {} of {} is {}", row.attempt.0, row.machine, row.state.word());
                    self.history.note(format_args!("engine {engine}"), what);
                }
                Some(News::Operation(operation)) => {
                    let state = serde_json::to_value(&operation.state).unwrap_or_default();
                    let word = state["state"].as_str().unwrap_or_default().to_owned();
                    let why = state["reason"].as_str().unwrap_or_default().to_owned();
                    let what = format!("{} is {word} {why}", operation.id);
                    self.history.note(format_args!("engine {engine}"), what);
                }
                Some(News::Lost(machine, why)) => {
                    // It plans without what runs there, though its node may be heard again before that is carried out.
                    let fallen = self.journal.workloads_on(&machine);
                    self.fell
                        .extend(fallen.into_iter().map(|workload| (workload, Instant::now())));
                    let what = format!("counts {machine} as lost: {why}");
                    self.history.note(format_args!("engine {engine}"), what);
                }
                Some(News::Stopping(row, heard)) => self.stopping(engine, &row, heard),
            }
        }
    }

    pub(super) fn creates(&mut self, engine: u64, request: &CreateResource) {
        let tags = &request.tags;
        let (machine, attempt) = (&tags.machine, tags.attempt.0);
        self.history.note(
            format_args!("engine {engine}"),
            format_args!("sends the create of {machine}, attempt {attempt}"),
        );
        self.may_act(engine, &tags.owner.cluster, "sends a create");
        let Some(row) = self.journal.attempt_of_token(&request.token) else {
            let what = format!("the create of {machine}, attempt {attempt}, is not in the journal");
            return self.violated(Invariant::Journaled, what);
        };
        let json = serde_json::to_vec(request).expect("text keys");
        if row.request_hash != hex::encode(Sha256::digest(&json)) {
            let what = format!("the create of {machine}, attempt {attempt}, is not what the journal has");
            return self.violated(Invariant::Journaled, what);
        }
        if !self.tenures.has(engine, &tags.owner.cluster) {
            // It believes what was true when it was fenced; what it makes now is a late duplicate.
            return;
        }
        let row = row.clone();
        let runs = self.journal.operation(&row.operation).is_some_and(is_running);
        // What a machine's deletion finds out is sent by another operation than the one that bought it.
        let wanted =
            runs || self.journal.is_needed(&row) || !matches!(row.state, super::journal::AttemptPhase::Intended);
        let accepted = self
            .journal
            .plan_with_step(&row)
            .is_some_and(|plan| plan.body.origin == Origin::Reconcile || self.accepted.contains(&plan.id));
        if !wanted || !accepted {
            let what = format!("the create of {machine}, attempt {attempt}, is no step of a plan that was accepted");
            self.violated(Invariant::Approved, what);
        }
        if !row.state.may_live() {
            let what = format!(
                "the create of {machine} is sent, and attempt {attempt} is {}",
                row.state.word()
            );
            self.violated(Invariant::Journaled, what);
        }
    }

    pub(super) fn deletes(&mut self, engine: u64, handle: &ResourceHandle) {
        self.history.note(
            format_args!("engine {engine}"),
            format_args!("sends the deletion of {handle}"),
        );
        if let Some(user) = self.journal.user_of(handle)
            && self.tenures.has(engine, &user.cluster)
        {
            let what = format!(
                "{handle} is deleted, and the journal has it as {}, in use",
                user.machine
            );
            return self.violated(Invariant::Journaled, what);
        }
        // Gone already, or a part of a machine or of a network.
        let Some(tags) = self.machines.get(handle) else { return };
        let Some(tags) = tags.clone().filter(|tags| self.is_ours(tags)) else {
            return self.violated(Invariant::Untouched, format!("{handle} is not ours and is deleted"));
        };
        self.may_act(engine, &tags.owner.cluster, "sends a deletion");
        if !self.tenures.has(engine, &tags.owner.cluster) || self.journal.is_closing(&tags, handle) {
            return;
        }
        if !self.journal.may_live(&tags) && self.journal.is_condemned(handle) {
            return;
        }
        let what = format!(
            "{handle} is deleted, and the journal does not say so of attempt {} of {}",
            tags.attempt.0, tags.machine
        );
        self.violated(Invariant::Journaled, what);
    }

    pub(super) fn machine(&mut self, event: &MachineEvent, now: Option<&SimMachine>) {
        let handle = &event.handle;
        match event.change {
            MachineChange::Made => {
                let tags = now.and_then(|now| now.tags().cloned());
                self.made(handle, tags.as_ref());
                self.machines.insert(handle.clone(), tags);
            }
            MachineChange::Running => self.history.note(handle, "runs"),
            MachineChange::Stopped => self.history.note(handle, "stops"),
            MachineChange::Gone => {
                self.history.note(handle, "is gone");
                self.machines.remove(handle);
            }
        }
    }

    fn made(&mut self, handle: &ResourceHandle, tags: Option<&isobar_engine_provider::OwnerTags>) {
        let Some(tags) = tags.filter(|tags| self.is_ours(tags)) else {
            return self.history.note(handle, "is made, and not ours");
        };
        let (machine, attempt) = (&tags.machine, tags.attempt.0);
        self.history
            .note(handle, format_args!("is made: attempt {attempt} of {machine}"));
        let Some(row) = self.journal.attempt_of_tags(tags) else {
            let what = format!("{handle} lives, and the journal has no attempt {attempt} of {machine}");
            return self.violated(Invariant::Journaled, what);
        };
        if !row.state.may_live() {
            // Its request was under way for so long that everybody had given it up: it must never join, and it must go.
            let what = format!(
                "is a late duplicate: attempt {attempt} of {machine} is {}",
                row.state.word()
            );
            self.history.note(handle, what);
            self.late.insert(handle.clone());
            return;
        }
        let same = |(other, known): (&ResourceHandle, &Option<isobar_engine_provider::OwnerTags>)| {
            let known = known.as_ref()?;
            let twin = known.owner == tags.owner && known.machine == *machine && other != handle;
            (twin && self.journal.may_live(known)).then(|| other.clone())
        };
        let twin = self.machines.iter().find_map(same);
        if let Some(twin) = twin {
            self.violated(
                Invariant::Single,
                format!("{machine} is there as {twin} and as {handle}"),
            );
        }
    }
}
