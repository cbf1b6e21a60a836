//! The account of a state for people. Decides nothing.

use std::fmt::Write as _;

use isobar_engine_model::object::FieldValue;

use crate::account::{Account, Line, Refusal, Standing};
use crate::identity::{Identified, Part};

/// A heading, the counts, what is asked, then a row an object.
pub fn render(account: &Account) -> String {
    let counts = account.counts();
    let mut text = format!("# {}\n\n{} objects: ", plain(&account.name), account.lines.len());
    let named = [
        (counts.candidate, "can be taken over"),
        (counts.tainted, "tainted"),
        (counts.deposed, "deposed"),
        (counts.already_owned, "already owned"),
        (counts.reported, "in a cloud without a provider"),
        (counts.unmanaged, "not managed by Isobar"),
        (counts.data, "data"),
        (counts.refused, "refused"),
    ];
    let named: Vec<String> = named
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{n} {what}"))
        .collect();
    text.push_str(if named.is_empty() { "none" } else { "" });
    text.push_str(&named.join(", "));
    text.push_str(".\n");
    for (number, (provider, ask)) in account.questions().into_iter().enumerate() {
        text.push_str(if number == 0 { "\nTo answer first:\n\n" } else { "" });
        write_line(&mut text, format_args!("- `{}`: {ask}", plain(provider)));
    }
    if !account.lines.is_empty() {
        text.push_str("\n| object | standing | known by | says |\n|---|---|---|---|\n");
    }
    for line in &account.lines {
        let address = plain(&line.address.to_string());
        write_line(
            &mut text,
            format_args!(
                "| `{address}` | {} | {} | {} |",
                standing(line),
                known_by(line),
                said(line)
            ),
        );
    }
    text
}

fn write_line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a String never fails");
}

fn standing(line: &Line) -> String {
    let stale = if line.flatmap { ", attributes of 0.11" } else { "" };
    let standing = match &line.standing {
        Standing::Candidate { .. } => "can be taken over".to_owned(),
        Standing::Tainted { .. } => "tainted".to_owned(),
        Standing::Deposed { key, .. } => format!("deposed {}", plain(key)),
        Standing::AlreadyOwned { state, by, .. } => {
            format!("already owned by `{}` in `{}`", plain(&by.to_string()), plain(state))
        }
        Standing::Reported { .. } => "reported: Isobar has no provider of its cloud".to_owned(),
        Standing::Unmanaged { attached_to } if attached_to.is_empty() => "not managed".to_owned(),
        Standing::Unmanaged { attached_to } => {
            let named: Vec<String> = attached_to.iter().map(|name| format!("`{}`", plain(name))).collect();
            format!("not managed, attached to {}", named.join(", "))
        }
        Standing::Data => "data".to_owned(),
        Standing::Refused { why: Refusal::NoId } => "refused: its id is not in the state".to_owned(),
        Standing::Refused { why: Refusal::Twice } => "refused: it is twice in the state".to_owned(),
    };
    standing + stale
}

fn known_by(line: &Line) -> String {
    line.standing.identified().map(identity).unwrap_or_default()
}

fn identity(identified: &Identified) -> String {
    let part = |part: &Part| match part {
        Part::Known { value, .. } => plain(value),
        Part::Unknown { .. } => "?".to_owned(),
    };
    let zone = identified
        .zone
        .as_deref()
        .map(|zone| format!(" {}", plain(zone)))
        .unwrap_or_default();
    format!(
        "{:?} {} {}{zone} `{}`",
        identified.cloud,
        part(&identified.account),
        part(&identified.region),
        plain(&identified.id)
    )
}

fn said(line: &Line) -> String {
    let fields = line.standing.identified().map(|known| &known.fields);
    let field = |(name, value): (&String, &FieldValue)| format!("{name} `{}`", plain(&value_of(value)));
    let fields: Vec<String> = fields.into_iter().flatten().map(field).collect();
    fields.join(", ")
}

fn value_of(value: &FieldValue) -> String {
    match value {
        FieldValue::Set(set) if set.is_empty() => "none".to_owned(),
        FieldValue::Map(map) if map.is_empty() => "none".to_owned(),
        FieldValue::Text(text) => text.clone(),
        FieldValue::Set(set) => set.iter().map(String::as_str).collect::<Vec<_>>().join("; "),
        FieldValue::Map(map) => {
            let entries: Vec<String> = map.iter().map(|(key, value)| format!("{key}={value}")).collect();
            entries.join("; ")
        }
    }
}

/// No text of a state may break out of its cell.
fn plain(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ").replace('`', "'")
}
