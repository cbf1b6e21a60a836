//! Reading a spec from text: YAML or JSON in, a `Spec` that keeps every rule out, or everything that is wrong with it,
//! each with its place. Opens no file: whoever has the text names it. Called by the command and by the MCP server.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Spec;
use super::check::check;
use super::problem::{Pointer, Problem};
use super::shape;
use super::tree::Node;

pub use super::tree::Place;

/// Largest text of a spec, in bytes.
pub const TEXT_MAX_BYTES: usize = 1024 * 1024;
/// Most errors reported at once.
pub const ERRORS_MAX: usize = 50;
/// Most allowed values shown on one line.
const ALLOWED_SHOWN_MAX: usize = 24;

/// Everything that is wrong with one text. Shown with file, line and column, an error a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
pub struct SpecErrors {
    /// What the reader calls the text.
    pub file: String,
    /// At least one, in the text's order, and at most [`ERRORS_MAX`].
    pub errors: Vec<SpecError>,
    /// How many more there are.
    pub more: u32,
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SpecError {
    /// Line and column; absent when the spec came as a value, not as text.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Which value, as people write it: `workloads.web.ports.http.container`.
    pub path: String,
    /// Which value, as a JSON pointer.
    pub pointer: Pointer,
    /// What is wrong, on one line.
    pub message: String,
    /// What would be accepted, where that is a list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<String>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Reads a spec from YAML or JSON. `file` is only shown.
pub fn read(file: &str, text: &str) -> Result<Spec, SpecErrors> {
    if text.len() > TEXT_MAX_BYTES {
        let message = format!("the text has {} bytes; a spec has at most {TEXT_MAX_BYTES}", text.len());
        return Err(one(file, None, message, None));
    }
    let document = Node::read(text).map_err(|e| one(file, e.place, e.message, e.hint.map(str::to_owned)))?;
    judge(&document).map_err(|problems| SpecErrors::new(file, &document, problems))
}

/// Reads a spec that came as a JSON value, in an MCP call for one. `file` is only shown.
pub fn read_json(file: &str, value: &Value) -> Result<Spec, SpecErrors> {
    let document = Node::from_json(value);
    judge(&document).map_err(|problems| SpecErrors::new(file, &document, problems))
}

/// The JSON Schema of a spec (draft 2020-12), as `isobar schema` prints it.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(Spec).to_value();
    schema["title"] = "Isobar cluster spec".into();
    schema
}

fn judge(document: &Node) -> Result<Spec, Vec<Problem>> {
    let spec: Spec = shape::read_node(document, &schema())?;
    let problems = check(&spec);
    if problems.is_empty() { Ok(spec) } else { Err(problems) }
}

fn one(file: &str, place: Option<Place>, message: String, hint: Option<String>) -> SpecErrors {
    let error = SpecError {
        place,
        path: String::new(),
        pointer: Pointer::root(),
        message,
        allowed: Vec::new(),
        hint,
    };
    SpecErrors {
        file: file.to_owned(),
        errors: vec![error],
        more: 0,
    }
}

impl SpecErrors {
    /// Everything that is wrong with a value that came without its text. `name` is what the reader calls it.
    pub fn of_value(name: &str, problems: &[Problem]) -> Self {
        Self::new(name, &Node::from_json(&Value::Null), problems.to_vec())
    }

    fn new(file: &str, document: &Node, problems: Vec<Problem>) -> Self {
        let mut errors: Vec<_> = problems.into_iter().map(|p| SpecError::new(document, p)).collect();
        errors.sort_by_key(|e| e.place.map(|p| (p.line, p.column)));
        let more = u32::try_from(errors.len().saturating_sub(ERRORS_MAX)).unwrap_or(u32::MAX);
        errors.truncate(ERRORS_MAX);
        Self {
            file: file.to_owned(),
            errors,
            more,
        }
    }
}

impl SpecError {
    fn new(document: &Node, problem: Problem) -> Self {
        let Problem {
            pointer,
            part,
            message,
            allowed,
            hint,
        } = problem;
        let place = document.place_of(&pointer, part);
        Self {
            place,
            path: pointer.dotted(),
            pointer,
            message,
            allowed,
            hint,
        }
    }
}

impl fmt::Display for SpecErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.errors.iter().enumerate() {
            let newline = if i == 0 { "" } else { "\n" };
            write!(f, "{newline}{}:{error}", self.file)?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\n{}: and {more} more", self.file),
        }
    }
}

impl fmt::Display for SpecError {
    /// `line:column: path: message`, then a line of advice if there is any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Place { line, column }) = self.place {
            write!(f, "{line}:{column}:")?;
        }
        let colon = if self.path.is_empty() { "" } else { ": " };
        write!(f, " {}{colon}{}", self.path, self.message)?;

        let shown = &self.allowed[..self.allowed.len().min(ALLOWED_SHOWN_MAX)];
        let rest = if shown.len() < self.allowed.len() { ", ..." } else { "" };
        match (&self.hint, shown) {
            (None, []) => Ok(()),
            (Some(hint), []) => write!(f, "\n  hint: {hint}"),
            (None, _) => write!(f, "\n  hint: allowed: {}{rest}", shown.join(", ")),
            (Some(hint), _) => {
                let stop = if hint.ends_with('?') { "" } else { ";" };
                write!(f, "\n  hint: {hint}{stop} allowed: {}{rest}", shown.join(", "))
            }
        }
    }
}
