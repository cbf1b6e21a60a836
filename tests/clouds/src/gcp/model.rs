//! Google's own description of its calls, and what of a call is not as it says: unknown fields, wrong types, values that are
//! not in a list, fields that only the cloud may write, parameters that are missing.
//!
//! The description is a part of the discovery document of Compute Engine (data/NOTICE, tools/models/gcp.py). Requests and the
//! strict cloud's own answers go through the same check.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The packed part of the discovery document.
const PACKED: &[u8] = include_bytes!("../../data/gcp-compute.json.zst");
/// It is no larger unpacked, in bytes.
const DOCUMENT_MAX_BYTES: usize = 4 << 20;
/// Where every path starts: the document's `servicePath`.
const SERVICE_PATH: &str = "/compute/v1/";
/// Parameters of every method that the document leaves out: <https://cloud.google.com/apis/docs/system-parameters>
const SYSTEM_PARAMETERS: [&str; 2] = ["$alt", "$apiVersion"];

/// The description.
#[derive(Debug)]
pub(super) struct Model {
    document: Value,
}

/// A call as the description names it.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// `instances.insert`
    pub(super) method: String,
    /// Within the project: `zones/europe-west1-b/instances/web`.
    pub(super) path: String,
    /// Of the path and of the query, by name.
    pub(super) parameters: BTreeMap<String, String>,
}

impl Call {
    pub(super) fn get(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }
}

impl Model {
    pub(super) fn new() -> Self {
        let text = zstd::bulk::decompress(PACKED, DOCUMENT_MAX_BYTES).expect("packed by tools/models/gcp.py");
        Self {
            document: serde_json::from_slice(&text).expect("JSON, by tools/models/gcp.py"),
        }
    }

    /// Which method a request is of; absent: none that the description has.
    pub(super) fn call(&self, verb: &str, path: &str, query: &[(String, String)]) -> Option<Call> {
        let path = path.strip_prefix(SERVICE_PATH)?;
        let methods = self.document["methods"].as_object()?;
        let (name, of_path) = methods.iter().find_map(|(name, method)| {
            let same = method["httpMethod"] == verb;
            let found = same.then(|| matched(method["path"].as_str()?, path)).flatten()?;
            Some((name, found))
        })?;
        Some(Call {
            method: name.clone(),
            path: path.splitn(3, '/').nth(2).unwrap_or_default().to_owned(),
            parameters: of_path.into_iter().chain(query.iter().cloned()).collect(),
        })
    }

    /// What of a request is not as the description says.
    pub(super) fn request_faults(&self, call: &Call, body: Option<&Value>) -> Vec<String> {
        let method = &self.document["methods"][&call.method];
        let mut faults = Faults {
            schemas: &self.document["schemas"],
            written_by_client: method["id"].as_str(),
            found: Vec::new(),
        };
        faults.parameters(&method["parameters"], call);
        match (method.get("request"), body) {
            (Some(schema), Some(body)) => faults.value("body", schema, body),
            (None, Some(Value::Object(empty))) if empty.is_empty() => {}
            (None, None) => {}
            (Some(_), None) => faults.add("body", "is missing"),
            (None, Some(_)) => faults.add("body", "is not asked for"),
        }
        faults.found
    }

    /// What of an answer is not as the description says.
    pub(super) fn answer_faults(&self, call: &Call, answer: &Value) -> Vec<String> {
        let mut faults = Faults {
            schemas: &self.document["schemas"],
            written_by_client: None,
            found: Vec::new(),
        };
        faults.value("answer", &self.document["methods"][&call.method]["response"], answer);
        faults.found
    }
}

/// The path's parameters, if it is of this template.
fn matched(template: &str, path: &str) -> Option<Vec<(String, String)>> {
    let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    if template.len() != path.len() {
        return None;
    }
    let mut found = Vec::new();
    for (wanted, given) in template.into_iter().zip(path) {
        match wanted.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) => found.push((name.to_owned(), given.to_owned())),
            None if wanted == given => {}
            None => return None,
        }
    }
    Some(found)
}

struct Faults<'a> {
    schemas: &'a Value,
    /// The method's id where a client wrote what is checked.
    written_by_client: Option<&'a str>,
    found: Vec<String>,
}

impl Faults<'_> {
    fn add(&mut self, place: &str, what: &str) {
        self.found.push(format!("{place} {what}"));
    }

    fn parameters(&mut self, known: &Value, call: &Call) {
        for (name, text) in &call.parameters {
            match known.get(name) {
                Some(schema) => self.text(name, schema, text),
                None if SYSTEM_PARAMETERS.contains(&name.as_str()) => {}
                None => self.add(name, "is no parameter"),
            }
        }
        for (name, schema) in known.as_object().into_iter().flatten() {
            if schema["required"] == true && !call.parameters.contains_key(name) {
                self.add(name, "is missing");
            }
        }
    }

    /// A parameter: text, whatever its type.
    fn text(&mut self, place: &str, schema: &Value, text: &str) {
        let value = match schema["type"].as_str() {
            Some("boolean" | "integer" | "number") => serde_json::from_str(text).unwrap_or(Value::Null),
            Some(_) | None => Value::String(text.to_owned()),
        };
        self.value(place, schema, &value);
    }

    fn value(&mut self, place: &str, schema: &Value, value: &Value) {
        if let Some(name) = schema["$ref"].as_str() {
            let schemas = self.schemas;
            return self.value(place, &schemas[name], value);
        }
        let fits = match (schema["type"].as_str(), value) {
            (Some("object"), Value::Object(fields)) => return self.object(place, schema, fields),
            (Some("array"), Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.value(&format!("{place}[{index}]"), &schema["items"], item);
                }
                return;
            }
            (Some("string"), Value::String(text)) => self.is_text(schema, text),
            (Some("integer"), Value::Number(number)) => number.as_i64().is_some_and(|n| within(schema, n)),
            (Some("number"), Value::Number(_)) | (Some("boolean"), Value::Bool(_)) | (Some("any"), _) => true,
            (Some(_) | None, _) => false,
        };
        if !fits {
            self.add(place, &format!("is {value}, not a {} as described", schema["type"]));
        }
    }

    fn object(&mut self, place: &str, schema: &Value, fields: &Map<String, Value>) {
        let properties = schema["properties"].as_object();
        for (name, value) in fields {
            let inside = format!("{place}.{name}");
            match (
                properties.and_then(|known| known.get(name)),
                schema.get("additionalProperties"),
            ) {
                (Some(known), _) if self.written_by_client.is_some() && known["readOnly"] == true => {
                    self.add(&inside, "is the cloud's to write");
                }
                (Some(known), _) => self.value(&inside, known, value),
                (None, Some(any)) => self.value(&inside, any, value),
                (None, None) => self.add(&inside, "is no field"),
            }
        }
        let Some(method) = self.written_by_client else { return };
        for (name, known) in properties.into_iter().flatten() {
            let required = known["annotations"]["required"].as_array().into_iter().flatten();
            if required.into_iter().any(|of| of == method) && !fields.contains_key(name) {
                self.add(&format!("{place}.{name}"), "is missing");
            }
        }
    }

    fn is_text(&self, schema: &Value, text: &str) -> bool {
        let of_list = schema["enum"]
            .as_array()
            .is_none_or(|list| list.iter().any(|value| value == text));
        let of_format = match schema["format"].as_str() {
            Some("int64") => text.parse::<i64>().is_ok(),
            Some("uint64") => text.parse::<u64>().is_ok(),
            Some("byte") => is_base64(text),
            Some(_) | None => true,
        };
        of_list && of_format
    }
}

fn within(schema: &Value, number: i64) -> bool {
    let bound = |name: &str| schema[name].as_str().and_then(|text| text.parse::<i64>().ok());
    bound("minimum").is_none_or(|least| least <= number) && bound("maximum").is_none_or(|most| number <= most)
}

fn is_base64(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=');
    text.len().is_multiple_of(4) && text.bytes().all(letter)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(body: &Value) -> Vec<String> {
        let model = Model::new();
        let path = "/compute/v1/projects/shop-1/zones/europe-west1-b/instances";
        let call = model.call("POST", path, &[]).expect("a method");
        assert_eq!(
            (call.method.as_str(), call.get("zone")),
            ("instances.insert", "europe-west1-b")
        );
        model.request_faults(&call, Some(body))
    }

    #[test]
    fn what_is_not_as_described_is_named() {
        let good = json!({ "name": "a", "disks": [{ "boot": true, "diskSizeGb": "10" }], "labels": { "x": "y" } });
        assert_eq!(faults(&good), Vec::<String>::new());
        for (wrong, expected) in [
            (json!({ "name": "a", "nmae": "b" }), "body.nmae is no field"),
            (json!({ "name": 1 }), "body.name is 1"),
            (
                json!({ "name": "a", "disks": [{ "boot": "yes" }] }),
                "body.disks[0].boot is \"yes\"",
            ),
            (
                json!({ "name": "a", "disks": [{ "diskSizeGb": 10 }] }),
                "body.disks[0].diskSizeGb is 10",
            ),
            (json!({ "name": "a", "labels": { "x": 1 } }), "body.labels.x is 1"),
            (
                json!({ "name": "a", "status": "RUNNING" }),
                "body.status is the cloud's to write",
            ),
            (
                json!({ "name": "a", "scheduling": { "provisioningModel": "CHEAP" } }),
                "body.scheduling.provisioningModel is \"CHEAP\"",
            ),
            (json!({}), "body.name is missing"),
        ] {
            let found = faults(&wrong);
            assert_eq!(found.len(), 1, "{wrong}: {found:?}");
            assert!(found[0].starts_with(expected), "{found:?}");
        }
    }

    #[test]
    fn a_parameter_is_known_and_of_its_type() {
        let model = Model::new();
        let path = "/compute/v1/projects/p/aggregated/instances";
        let with = |name: &str, value: &str| {
            let call = model
                .call("GET", path, &[(name.to_owned(), value.to_owned())])
                .expect("a method");
            model.request_faults(&call, None)
        };
        assert!(with("maxResults", "500").is_empty());
        assert_eq!(with("maxResults", "many").len(), 1);
        assert_eq!(with("limit", "5"), ["limit is no parameter"]);
        assert!(model.call("PATCH", path, &[]).is_none());
    }
}
