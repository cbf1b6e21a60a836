//! The audit log as a table, and what a check of it found.

use isobar_engine_control::api::{AuditEntry, AuditVerdict, AuditWhat, AuditWho};
use isobar_engine_model::id::{AdoptedName, ClusterName, OperationId, PlanId};
use isobar_engine_model::quantity::Timestamp;

use super::age;
use super::table::{Cell, Table};
use crate::output::DIM;

/// Entries, as they come.
pub(crate) fn entries(entries: &[AuditEntry], now: Timestamp) -> String {
    if entries.is_empty() {
        return "nothing was changed yet\n".to_owned();
    }
    let mut table = Table::new(["ENTRY", "AGE", "WHO", "WHAT", "CLUSTER", "PLAN", "OPERATION", "WHY"]);
    for entry in entries {
        table.row([
            format!("{}/{}", entry.shard, entry.sequence).into(),
            age(now, entry.at).into(),
            who(&entry.who).into(),
            what(&entry.what).into(),
            entry.cluster.as_ref().map_or("", ClusterName::as_str).into(),
            entry.plan.as_ref().map_or("", PlanId::as_str).into(),
            entry.operation.as_ref().map_or("", OperationId::as_str).into(),
            Cell::new(entry.why.as_deref().unwrap_or(""), DIM),
        ]);
    }
    table.text()
}

/// What a check found.
pub(crate) fn verdict(verdict: Option<&AuditVerdict>) -> String {
    let Some(verdict) = verdict else {
        return "the engine did not check the log\n".to_owned();
    };
    match &verdict.first_bad {
        None => format!("intact: {} entries\n", verdict.checked),
        Some(bad) => format!(
            "tampered with: entry {}/{}: {}\n{} entries are good\n",
            bad.shard, bad.sequence, bad.why, verdict.checked
        ),
    }
}

fn who(who: &AuditWho) -> &'static str {
    match who {
        AuditWho::Client => "client",
        AuditWho::Reconciler => "reconciler",
        AuditWho::Sweeper => "sweeper",
        AuditWho::Engine => "engine",
    }
}

fn what(what: &AuditWhat) -> String {
    match what {
        AuditWhat::Accepted => "accepted".to_owned(),
        AuditWhat::CancelAsked => "cancel asked".to_owned(),
        AuditWhat::Succeeded => "succeeded".to_owned(),
        AuditWhat::Failed { reason } => format!("failed: {reason}"),
        AuditWhat::Cancelled => "cancelled".to_owned(),
        AuditWhat::Adopted { machine, handle } => format!("adopted {machine}, {handle}"),
        AuditWhat::Imported { lineage, objects } => format!("imported {objects} objects of lineage {lineage}"),
        AuditWhat::HandedOver { objects, step } => {
            let names: Vec<&str> = objects.iter().map(AdoptedName::as_str).collect();
            format!("{}: {}", step.word(), names.join(", "))
        }
        AuditWhat::StateWritten {
            state,
            version,
            serial,
            bytes,
            by,
            ..
        } => {
            let serial = serial.map_or_else(String::new, |serial| format!(", serial {serial}"));
            let by = by.as_deref().map_or_else(String::new, |by| format!(", by {by}"));
            format!("state {state} written: version {version}{serial}, {bytes} B{by}")
        }
        AuditWhat::StateUnlocked { state, lock, held_by } => {
            format!("state {state} unlocked: {lock}, held by {held_by}")
        }
        AuditWhat::StateAdopted {
            lineage,
            addresses,
            adopted,
        } => {
            let done = if *adopted { "taken over" } else { "given back" };
            format!("{addresses} addresses of lineage {lineage} {done}")
        }
    }
}
