//! States of Terraform as tables.

use isobar_engine_control::api::{StateVersion, StateView};
use isobar_engine_model::quantity::Timestamp;

use super::age;
use super::table::{Cell, Table};
use crate::output::{BAD, DIM, SOME};

/// A state in a line each.
pub(crate) fn states(states: &[StateView], now: Timestamp) -> String {
    if states.is_empty() {
        return "no state is kept here\n".to_owned();
    }
    let headings = [
        "STATE",
        "SERIAL",
        "LINEAGE",
        "VERSIONS",
        "AGE",
        "LOCK",
        "HELD BY",
        "LAST REFUSAL",
    ];
    let mut table = Table::new(headings);
    for state in states {
        let head = state.head.as_ref();
        let lock = state.lock.as_ref();
        table.row([
            state.state.as_str().into(),
            head.map_or_else(String::new, serial).into(),
            head.map_or("", |head| &head.lineage).into(),
            state.kept.to_string().into(),
            head.map_or_else(String::new, |head| age(now, head.at)).into(),
            Cell::new(lock.map_or("", |lock| &lock.id), SOME),
            lock.map_or("", |lock| &lock.who).into(),
            Cell::new(state.refused.as_deref().unwrap_or(""), BAD),
        ]);
    }
    table.text()
}

/// A version in a line each, newest first.
pub(crate) fn versions(versions: &[StateVersion], now: Timestamp) -> String {
    let mut table = Table::new(["VERSION", "AGE", "SERIAL", "BYTES", "BY", "SHA-256", "NOTE"]);
    for version in versions {
        table.row([
            version.version.to_string().into(),
            age(now, version.at).into(),
            serial(version).into(),
            version.bytes.to_string().into(),
            version.by.as_deref().unwrap_or("").into(),
            version.sha256.as_str().into(),
            Cell::new(if version.encrypted { "encrypted" } else { "" }, DIM),
        ]);
    }
    table.text()
}

fn serial(version: &StateVersion) -> String {
    version.serial.map_or_else(String::new, |serial| serial.to_string())
}
