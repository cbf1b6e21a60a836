//! A new version of a state: judged, stored, noted and the oldest forgotten, in one commit.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use isobar_engine_model::id::StateName;
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_store::Table;
use isobar_terraform_compat::backend::{self, Addresses, BODY_MAX_BYTES, Body, Writing};

use super::record::{StateRecord, Version, body_key, lineage_prefix};
use super::{Stopped, outcome};
use crate::api::{ApiError, AuditWhat, AuditWho, ErrorCode, StateOutcome, StatePut, StateVersion};
use crate::audit;
use crate::config::Bounds;
use crate::engine::Engine;
use crate::ledger::Draft;

/// A version that is to be stored.
struct New {
    state: StateName,
    /// The lock that the client shows.
    shown: Option<String>,
    body: Body,
    bytes: u64,
    /// The row of its contents.
    row: String,
    at: Timestamp,
}

impl Engine {
    /// Stores a version, if the backend's rules let it follow the stored one and it brings nothing back that was taken over.
    pub async fn state_put(&self, request: StatePut) -> Result<StateOutcome, ApiError> {
        self.may_change_states()?;
        let state = request.state.clone();
        let new = self.read_new(request)?;
        let bounds = self.config.bounds;
        let written = self.ledger.change(move |draft| store(draft, new, &bounds)).await?;
        let told = outcome(written)?;
        if let StateOutcome::Refused { reason, .. } = &told {
            tracing::warn!(%state, reason, "a write of a Terraform state was refused");
            let reason = reason.clone();
            self.ledger
                .write(move |draft| note_refusal(draft, &state, reason))
                .await?;
        }
        Ok(told)
    }

    fn read_new(&self, request: StatePut) -> Result<New, ApiError> {
        let wrong = |message: String| ApiError::new(ErrorCode::InvalidArgument, message).pointer("/base64");
        let bytes = STANDARD
            .decode(request.base64)
            .map_err(|_| wrong("the state is not in base64".to_owned()))?;
        if bytes.len() > BODY_MAX_BYTES {
            return Err(wrong(format!("the state is longer than {BODY_MAX_BYTES} bytes")));
        }
        let body = Body::of(&bytes).map_err(|error| wrong(error.to_string()).hint(error.hint()))?;
        let row = self.sealed(&request.state, &body.sha256, &bytes);
        Ok(New {
            row: row.map_err(|error| ApiError::new(ErrorCode::Internal, format!("pack the state: {error}")))?,
            state: request.state,
            shown: request.lock,
            bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            body,
            at: self.clock.now(),
        })
    }
}

fn store(draft: &mut Draft, new: New, bounds: &Bounds) -> Result<(), Stopped> {
    let mut record = known_or_new(draft, &new.state, bounds)?;
    let writing = backend::write(record.head(), record.holder(), new.shown.as_deref(), &new.body)
        .map_err(|refusal| Stopped::against(draft, &new.state, refusal))?;
    match writing {
        Writing::Same => return Ok(()),
        Writing::New => {}
    }
    nothing_returns(draft, &new)?;
    let number = record.versions.last().map_or(0, |version| version.told.version) + 1;
    draft.put_beside(Table::TerraformBody, body_key(&new.state, number), new.row);
    let by = record.lock.as_ref().map(|lock| lock.view.who.clone());
    let version = StateVersion {
        version: number,
        at: new.at,
        serial: new.body.serial,
        lineage: new.body.lineage,
        bytes: new.bytes,
        sha256: new.body.sha256,
        by,
        encrypted: new.body.addresses == Addresses::Sealed,
    };
    let what = AuditWhat::StateWritten {
        state: new.state.clone(),
        version: number,
        serial: version.serial,
        lineage: version.lineage.clone(),
        bytes: version.bytes,
        by: version.by.clone(),
    };
    audit::note_of_none(draft, new.at, AuditWho::Client, what);
    record.refused = None;
    record.versions.push(Version {
        told: version,
        empty: new.body.empty,
    });
    let beyond = record.versions.len().saturating_sub(bounds.state_versions_kept.max(1));
    for old in record.versions.drain(..beyond) {
        draft.remove_beside(Table::TerraformBody, body_key(&new.state, old.told.version));
    }
    draft.put(record);
    Ok(())
}

/// That nothing comes back that was taken over from the lineage.
fn nothing_returns(draft: &Draft, new: &New) -> Result<(), Stopped> {
    let adopted: BTreeSet<&str> = draft
        .state()
        .terraform_adopted
        .under(&lineage_prefix(&new.body.lineage))
        .map(|record| record.address.as_str())
        .collect();
    backend::brings_back_none(&new.body, &adopted).map_err(|refusal| Stopped::against(draft, &new.state, refusal))
}

/// The record of a state, or one that is to be.
pub(super) fn known_or_new(draft: &Draft, state: &StateName, bounds: &Bounds) -> Result<StateRecord, Stopped> {
    if let Some(record) = draft.get::<StateRecord>(state.as_str()) {
        return Ok(record.clone());
    }
    let states = draft.state().terraform_states.all().count();
    if states >= bounds.states_max {
        let message = format!("{states} states are kept, and no more are taken");
        return Err(Stopped::Beyond(
            ApiError::new(ErrorCode::Refused, message).hint("keep it in another backend"),
        ));
    }
    Ok(StateRecord::new(state.clone()))
}

fn note_refusal(draft: &mut Draft, state: &StateName, reason: String) {
    if let Some(record) = draft.get::<StateRecord>(state.as_str()) {
        let refused = Some(reason);
        draft.put(StateRecord {
            refused,
            ..record.clone()
        });
    }
}
