//! What an import found, for people: a table a state, then what has to be answered.

use isobar_engine_control::api::{HandOverAnswer, ImportFound};

use super::table::Table;
use crate::commands::import::{Report, StateReport};
use crate::output::HEAD;

/// Everything.
pub(crate) fn report(report: &Report) -> String {
    let mut text = String::new();
    for state in &report.states {
        text += &format!("{HEAD}{}{HEAD:#}\n", state.name);
        text += &objects(state);
        for question in &state.questions {
            text += &format!("to answer: {} ({})\n", question.ask, question.provider);
        }
    }
    text
}

/// Whose objects are now.
pub(crate) fn handed_over(answer: &HandOverAnswer) -> String {
    let mut table = Table::new(["OBJECT", "ADDRESS", "PHASE", "NOTE"]);
    for line in &answer.lines {
        table.row([
            line.name.as_str().into(),
            line.address.as_str().into(),
            line.phase.word().into(),
            line.refused.clone().unwrap_or_default().into(),
        ]);
    }
    if table.is_empty() {
        "nothing to hand over\n".to_owned()
    } else {
        table.text()
    }
}

fn objects(state: &StateReport) -> String {
    let mut table = Table::new(["OBJECT", "FOUND", "NOTE"]);
    for line in &state.found {
        let (word, note) = words(&line.found);
        table.row([line.address.as_str().into(), word.into(), note.into()]);
    }
    for left in &state.left {
        table.row([
            left.address.as_str().into(),
            "left".into(),
            left.because.as_str().into(),
        ]);
    }
    table.text()
}

fn words(found: &ImportFound) -> (&'static str, String) {
    match found {
        ImportFound::Adopted(taken) => ("adopted", format!("as {}", taken.name)),
        ImportFound::Drifted(taken) => {
            let fields: Vec<&str> = taken.drift.iter().map(|drift| drift.field.as_str()).collect();
            (
                "drifted",
                format!("as {}; not as the state says: {}", taken.name, fields.join(", ")),
            )
        }
        ImportFound::Tainted(taken) => ("tainted", format!("as {}; Isobar does not replace it", taken.name)),
        ImportFound::Deposed => ("deposed", "left to Terraform".to_owned()),
        ImportFound::Missing { site } => ("missing", format!("site {site} does not have it")),
        ImportFound::Unsupported { because } => ("unsupported", because.clone()),
        ImportFound::AlreadyOwned { by } => ("already owned", by.clone()),
        ImportFound::Unreachable { because, hint } => ("unreachable", format!("{because}; {hint}")),
        ImportFound::Asked { question } => ("asked", question.clone()),
    }
}
