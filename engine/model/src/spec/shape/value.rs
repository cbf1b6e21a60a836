//! What a schema says of one value, whatever is in it: its type, its range, its form. Called by the walk over documents.

use serde_json::Value;

use crate::id::{SiteName, StateName};
use crate::quantity::{Mebibytes, MilliCpus};
use crate::spec::problem::{Pointer, Problem};
use crate::spec::tree::{Kind, Node};

/// Whether values of this kind are of the schema's type.
pub(super) fn takes(schema: &Value, kind: &Kind) -> bool {
    let is = |name: &str| schema["type"] == name || strings(&schema["type"]).any(|t| t == name);
    if schema["oneOf"].is_array() {
        return !matches!(kind, Kind::Nothing);
    }
    match kind {
        Kind::Nothing => is("null"),
        Kind::Bool(_) => is("boolean"),
        Kind::Number(n) => is("number") || is("integer") && !n.is_f64(),
        Kind::Text(_) => is("string"),
        Kind::List(_) => is("array"),
        Kind::Map(_) => is("object"),
    }
}

pub(super) fn wrong_type(node: &Node, forms: &[&Value], at: &Pointer) -> Problem {
    let mut expected: Vec<&str> = Vec::new();
    for name in forms
        .iter()
        .flat_map(|f| f["type"].as_str().into_iter().chain(strings(&f["type"])))
    {
        match name {
            "boolean" => expected.push("true or false"),
            "integer" => expected.push("a whole number"),
            "number" => expected.push("a number"),
            "string" => expected.push("text"),
            "array" => expected.push("a list"),
            "object" => expected.push("a map"),
            _ => {}
        }
    }
    let message = format!("expected {}, found {}", expected.join(" or "), node.kind.words());
    let problem = Problem::value(at.clone(), message);
    match &node.kind {
        Kind::Nothing => problem.hint("give it a value or remove it"),
        Kind::Number(n) if expected.contains(&"a whole number") => match expected.contains(&"text") {
            true => problem.hint("thousandths of a CPU are written `250m`"),
            false => problem.hint(format!("{n} is not whole")),
        },
        Kind::Number(n) if expected == ["text"] => problem.hint(format!("put it in quotes: \"{n}\"")),
        Kind::Bool(b) if expected == ["text"] => problem.hint(format!("put it in quotes: \"{b}\"")),
        Kind::Text(text) if expected == ["a whole number"] && text.parse::<u64>().is_ok() => problem.hint(format!(
            "remove the quotes and leading zeros: {}",
            text.trim_start_matches('0')
        )),
        Kind::Text(text) if expected == ["a list"] => problem.hint(format!("write `[{text}]`")),
        Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::List(_) | Kind::Map(_) => problem,
    }
}

pub(super) fn out_of_range(number: &serde_json::Number, schema: &Value, at: &Pointer) -> Option<Problem> {
    let widest = match schema["format"].as_str() {
        Some("uint16") => i64::from(u16::MAX),
        Some("uint32") => i64::from(u32::MAX),
        Some(_) | None => i64::MAX,
    };
    let min = schema["minimum"].as_i64().unwrap_or(i64::MIN);
    let max = schema["maximum"].as_i64().unwrap_or(i64::MAX).min(widest);
    match number.as_i64() {
        Some(n) if (min..=max).contains(&n) => None,
        Some(_) | None => {
            let message = format!("{number} is out of range: {min} to {max} are allowed");
            Some(Problem::value(at.clone(), message))
        }
    }
}

pub(super) fn malformed(text: &str, schema: &Value, at: &Pointer) -> Option<Problem> {
    let pattern = schema["pattern"].as_str()?;
    pattern_problem(text, pattern).map(|message| Problem::value(at.clone(), message))
}

/// What is wrong with text of one pattern, as the type behind the pattern says it. A test keeps this list complete.
pub(super) fn pattern_problem(text: &str, pattern: &str) -> Option<String> {
    let text = text.to_owned();
    let parsed = match pattern {
        NAME_PATTERN => SiteName::new(text).map(drop).map_err(|e| e.to_string()),
        MEMORY_PATTERN => Mebibytes::try_from(text).map(drop).map_err(|e| e.to_string()),
        CPU_PATTERN => serde_json::from_value::<MilliCpus>(Value::String(text))
            .map(drop)
            .map_err(|e| e.to_string()),
        STATE_PATTERN => StateName::new(text).map(drop).map_err(|e| e.to_string()),
        _ => Ok(()),
    };
    parsed.err()
}

const NAME_PATTERN: &str = r"^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$";
const MEMORY_PATTERN: &str = r"^[1-9][0-9]*(MiB|GiB)$";
const CPU_PATTERN: &str = r"^[1-9][0-9]*m?$";
const STATE_PATTERN: &str = r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?(/[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?){0,3}$";

pub(super) fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;

    fn patterns(schema: &Value, found: &mut Vec<String>) {
        match schema {
            Value::Object(entries) => {
                found.extend(entries.get("pattern").and_then(Value::as_str).map(str::to_owned));
                found.extend(
                    entries
                        .get("patternProperties")
                        .and_then(Value::as_object)
                        .into_iter()
                        .flat_map(Map::keys)
                        .cloned(),
                );
                entries.values().for_each(|v| patterns(v, found));
            }
            Value::Array(items) => items.iter().for_each(|v| patterns(v, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn every_pattern_of_the_schema_is_understood() {
        let mut found = Vec::new();
        patterns(&crate::spec::text::schema(), &mut found);
        assert!(!found.is_empty());
        patterns(&serde_json::json!(schemars::schema_for!(StateName)), &mut found);
        for pattern in found {
            assert!(pattern_problem("\u{0}", &pattern).is_some(), "{pattern}");
        }
    }
}
