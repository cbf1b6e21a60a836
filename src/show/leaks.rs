//! What sweeps found, as tables.

use isobar_engine_control::api::{Fate, LeaksAnswer, Sweep};
use isobar_engine_model::quantity::Timestamp;

use super::table::{Cell, Table};
use super::{age, until};
use crate::output::DIM;

/// What was found and when each site was swept.
pub(crate) fn answer(answer: &LeaksAnswer, now: Timestamp) -> String {
    let mut text = if answer.leaks.is_empty() {
        "nothing was left behind\n".to_owned()
    } else {
        leaks(answer, now)
    };
    text += "\n";
    text += &sweeps(&answer.sweeps, now);
    text
}

fn leaks(answer: &LeaksAnswer, now: Timestamp) -> String {
    let mut table = Table::new(["SITE", "KIND", "NAME", "HANDLE", "FOUND", "FATE", "BECAUSE"]);
    for leak in &answer.leaks {
        table.row([
            leak.site.as_str().into(),
            leak.kind.as_str().into(),
            leak.name.as_str().into(),
            leak.handle.as_str().into(),
            format!("{} ago", age(now, leak.found)).into(),
            fate(&leak.fate, now).into(),
            Cell::new(leak.because.as_str(), DIM),
        ]);
    }
    table.text()
}

fn fate(fate: &Fate, now: Timestamp) -> String {
    match fate {
        Fate::Quarantined { until: then } => format!("deleted {}", until(now, *then)),
        Fate::Asking { plan } => format!("waits for: isobar apply --plan {plan}"),
        Fate::Deleting { operation } => format!("being deleted by {operation}"),
        Fate::Gone { since } => format!("gone {} ago", age(now, *since)),
    }
}

fn sweeps(sweeps: &[Sweep], now: Timestamp) -> String {
    if sweeps.is_empty() {
        return "no site was swept yet\n".to_owned();
    }
    let mut table = Table::new(["SITE", "SWEPT", "RESOURCES", "NOTE"]);
    for sweep in sweeps {
        table.row([
            sweep.site.as_str().into(),
            format!("{} ago", age(now, sweep.at)).into(),
            sweep
                .resources
                .map_or_else(|| "?".to_owned(), |count| count.to_string())
                .into(),
            Cell::new(sweep.error.as_deref().unwrap_or(""), DIM),
        ]);
    }
    table.text()
}
