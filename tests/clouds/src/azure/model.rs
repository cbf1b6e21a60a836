//! Requests against Microsoft's own OpenAPI, reduced by `tools/models/azure.py`. What the specification does not have is a
//! violation. Called by the front for each request.

use std::collections::BTreeMap;

use jsonschema::Validator;
use serde::Deserialize;
use serde_json::Value;

static PACKED: &[u8] = include_bytes!("../../data/azure.json.zst");
static CONSOLE: &[u8] = include_bytes!("../../data/azure-console.json");
static OPENAPI: &[u8] = include_bytes!("../../data/azure.openapi.json.zst");
/// The model is not larger unpacked, in bytes.
const MODEL_MAX_BYTES: usize = 1 << 20;
/// The cloud's own, in its next links.
pub(super) const SKIP: &str = "$skiptoken";

/// The same operations as Microsoft has them: an OpenAPI document, for validators that others wrote.
pub fn openapi() -> Vec<u8> {
    zstd::bulk::decompress(OPENAPI, MODEL_MAX_BYTES).expect("the document is packed with zstd")
}

/// The operations that there are.
pub(super) struct Model {
    operations: Vec<Operation>,
    /// By operation; the others have none.
    bodies: BTreeMap<String, Validator>,
}

#[derive(Deserialize)]
struct Reduced {
    operations: Vec<Operation>,
    bodies: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
struct Listed {
    operations: Vec<Operation>,
}

/// An operation of the specification.
#[derive(Debug, Clone, Deserialize)]
struct Operation {
    id: String,
    method: String,
    path: String,
    query: Vec<String>,
}

/// A request that the specification knows.
pub(super) struct Matched {
    pub(super) operation: String,
    pub(super) path: String,
    /// What stood for the names in braces.
    pub(super) parameters: BTreeMap<String, String>,
}

impl Model {
    pub(super) fn read() -> Self {
        let text = zstd::bulk::decompress(PACKED, MODEL_MAX_BYTES).expect("the model is packed with zstd");
        let model: Reduced = serde_json::from_slice(&text).expect("the model is as its script makes it");
        let console: Listed = serde_json::from_slice(CONSOLE).expect("operations in the model's form");
        let validator = |schema| jsonschema::validator_for(schema).expect("the model holds schemas");
        let bodies = model.bodies.iter().map(|(id, schema)| (id.clone(), validator(schema)));
        Self {
            bodies: bodies.collect(),
            operations: model.operations.into_iter().chain(console.operations).collect(),
        }
    }

    /// The operation that a request is; or what the specification has against it.
    pub(super) fn check(
        &self,
        (method, path): (&str, &str),
        query: &BTreeMap<String, String>,
        body: &[u8],
    ) -> Result<Matched, String> {
        let found = self
            .operations
            .iter()
            .filter(|operation| operation.method == method)
            .find_map(|operation| Some((operation, parameters(&operation.path, path)?)));
        let (operation, parameters) = found.ok_or_else(|| format!("there is no operation {method} {path}"))?;
        let known = |name: &&String| *name == SKIP || operation.query.contains(name);
        if let Some(unknown) = query.keys().find(|name| !known(name)) {
            return Err(format!("{} has no parameter {unknown}", operation.id));
        }
        if let Some(validator) = self.bodies.get(&operation.id) {
            let body: Value = serde_json::from_slice(body).map_err(|error| format!("the body is no JSON: {error}"))?;
            let wrong: Vec<String> = validator
                .iter_errors(&body)
                .map(|error| format!("{}: {}", error.instance_path(), error.masked()))
                .collect();
            if !wrong.is_empty() {
                return Err(format!("{}: {}", operation.id, wrong.join("; ")));
            }
        } else if !body.is_empty() {
            return Err(format!("{} has no body", operation.id));
        }
        Ok(Matched {
            operation: operation.id.clone(),
            path: path.to_owned(),
            parameters,
        })
    }
}

/// Segments of a path against those of a template; letters' case does not matter.
/// <https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules>
fn parameters(template: &str, path: &str) -> Option<BTreeMap<String, String>> {
    let (wanted, given): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    if wanted.len() != given.len() {
        return None;
    }
    let mut parameters = BTreeMap::new();
    for (wanted, given) in wanted.into_iter().zip(given) {
        match wanted.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) => {
                parameters.insert(name.to_owned(), given.to_owned());
            }
            None if wanted.eq_ignore_ascii_case(given) => {}
            None => return None,
        }
    }
    Some(parameters)
}
