//! Checks a call's arguments against the schema that was published, and says everything that is wrong with them at once.
//!
//! serde alone names only the first error, and a choice between shapes ("one of these objects") only says that none
//! fits: here the shape that was meant is found by its tag, and its errors are told. Called by the table of tools.

use jsonschema::error::ValidationErrorKind as Kind;
use jsonschema::{ValidationError, Validator};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::refused::Problem;

/// At most so many problems are told in one answer.
pub(crate) const PROBLEMS_MAX_ITEMS: usize = 20;
/// A value inside a message is cut after so many characters.
const VALUE_MAX_CHARS: usize = 60;
/// A word is taken for a typo of another from this Jaro-Winkler similarity on.
const TYPO_MIN_SIMILARITY: f64 = 0.75;

/// Reads arguments of one tool.
pub(crate) struct Checker {
    schema: Value,
    validator: Validator,
}

impl Checker {
    /// For a schema that our own types gave.
    pub(crate) fn new(schema: Value) -> Self {
        let validator = jsonschema::validator_for(&schema).expect("schemars writes valid schemas");
        Self { schema, validator }
    }

    /// The typed request, or everything that is wrong.
    pub(crate) fn read<A: DeserializeOwned>(&self, arguments: Value) -> Result<A, Vec<Problem>> {
        let problems = self.problems(&arguments);
        if !problems.is_empty() {
            return Err(problems);
        }
        // What a schema cannot say, such as a limit on a sum, is found here, one at a time.
        serde_path_to_error::deserialize(arguments).map_err(|error| {
            let pointer = error
                .path()
                .iter()
                .map(|segment| format!("/{}", escaped(&segment.to_string())))
                .collect();
            let message = error.inner().to_string();
            vec![Problem {
                pointer,
                message,
                allowed: Vec::new(),
                nearest: None,
            }]
        })
    }

    fn problems(&self, arguments: &Value) -> Vec<Problem> {
        let mut problems = Vec::new();
        for error in self.validator.iter_errors(arguments) {
            self.tell(arguments, &error, &mut problems);
            if problems.len() >= PROBLEMS_MAX_ITEMS {
                break;
            }
        }
        problems.truncate(PROBLEMS_MAX_ITEMS);
        problems
    }

    fn tell(&self, arguments: &Value, error: &ValidationError<'_>, problems: &mut Vec<Problem>) {
        if let Kind::OneOfNotValid { context } | Kind::AnyOf { context } = error.kind() {
            match meant(context, error.instance_path().as_str()) {
                Some(branch) => branch.iter().for_each(|error| self.tell(arguments, error, problems)),
                None => problems.push(self.no_shape_fits(error, context)),
            }
        } else if let Kind::AdditionalProperties { unexpected } = error.kind() {
            let allowed = self.properties_beside(error);
            problems.extend(unexpected.iter().map(|name| unknown(error, name, allowed.clone())));
        } else if let Kind::FalseSchema = error.kind() {
            // An object that takes no fields at all: the error names none, so each is told.
            let object = arguments
                .pointer(error.instance_path().as_str())
                .and_then(Value::as_object);
            let names = object.into_iter().flat_map(|object| object.keys());
            problems.extend(names.map(|name| unknown(error, name, Vec::new())));
        } else {
            problems.push(simple(error));
        }
    }

    /// None of several shapes fits, and the tag does not say which was meant.
    fn no_shape_fits(&self, error: &ValidationError<'_>, context: &[Vec<ValidationError<'static>>]) -> Problem {
        let at = error.instance_path().as_str();
        let all = || context.iter().flatten();
        let wrong_tags: Vec<&ValidationError<'_>> = all()
            .filter(|inner| matches!(inner.kind(), Kind::Constant { .. } | Kind::Enum { .. }))
            .collect();
        let missing = unique(all().filter_map(|inner| missing_at(inner, at)));
        if let Some(first) = wrong_tags.first() {
            let tag_at = first.instance_path().as_str();
            let objects = if tag_at == at { missing } else { Vec::new() };
            let allowed = wrong_tags
                .iter()
                .flat_map(|inner| constants(inner))
                .chain(objects.into_iter().map(|name| format!("{{{name}: ...}}")));
            return choice(tag_at, first.instance(), unique(allowed));
        }
        let tag = missing.iter().find(|name| {
            context
                .iter()
                .all(|branch| branch.iter().any(|e| missing_at(e, at).as_ref() == Some(name)))
        });
        match (tag, first_key(error.instance())) {
            (Some(tag), _) => {
                let allowed = unique(all().filter_map(|inner| self.tag_value(inner, tag)));
                Problem {
                    pointer: at.to_owned(),
                    message: format!("`{tag}` is missing"),
                    allowed,
                    nearest: None,
                }
            }
            (None, Some(key)) if !missing.is_empty() => unknown(error, key, missing),
            (None, Some(_) | None) if !missing.is_empty() => choice(at, error.instance(), missing),
            (None, Some(_) | None) => choice(at, error.instance(), unique(all().flat_map(types))),
        }
    }

    /// The properties that the object schema around a keyword allows.
    fn properties_beside(&self, error: &ValidationError<'_>) -> Vec<String> {
        self.schema_beside(error)
            .and_then(|schema| schema.get("properties")?.as_object())
            .map(|properties| properties.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// The values that a missing tag could have had in this shape.
    fn tag_value(&self, error: &ValidationError<'_>, tag: &str) -> Option<String> {
        let constant = self.schema_beside(error)?.get("properties")?.get(tag)?.get("const")?;
        Some(plain(constant))
    }

    fn schema_beside(&self, error: &ValidationError<'_>) -> Option<&Value> {
        let (parent, _) = error.schema_path().as_str().rsplit_once('/')?;
        self.schema.pointer(parent)
    }
}

/// The one of several shapes that was meant: first by its tag, then by having no field missing or too many.
fn meant<'a>(context: &'a [Vec<ValidationError<'static>>], at: &str) -> Option<&'a [ValidationError<'static>]> {
    let here = |error: &ValidationError<'_>| error.instance_path().as_str() == at;
    let tagged = |branch: &&Vec<ValidationError<'static>>| {
        !branch.iter().any(|error| {
            let tag = here(error) || parent(error.instance_path().as_str()) == Some(at);
            (tag && matches!(error.kind(), Kind::Constant { .. })) || (here(error) && is_type(error))
        })
    };
    let whole = |branch: &&Vec<ValidationError<'static>>| {
        !branch.iter().any(|error| {
            here(error) && matches!(error.kind(), Kind::Required { .. } | Kind::AdditionalProperties { .. })
        })
    };
    let by_tag: Vec<_> = context.iter().filter(tagged).collect();
    match by_tag.as_slice() {
        [one] if context.len() > 1 => Some(one),
        [] => None,
        several => {
            let by_fields: Vec<_> = several.iter().copied().filter(whole).collect();
            match by_fields.as_slice() {
                [one] => Some(one),
                [] | [_, ..] => None,
            }
        }
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the crate's words serve for every other keyword"
)]
fn simple(error: &ValidationError<'_>) -> Problem {
    let at = error.instance_path().as_str();
    match error.kind() {
        Kind::Constant { .. } | Kind::Enum { .. } => {
            choice(at, error.instance(), constants(error).into_iter().collect())
        }
        Kind::Required { property } => {
            let message = format!("`{}` is missing", plain(property));
            Problem {
                pointer: at.to_owned(),
                message,
                allowed: Vec::new(),
                nearest: None,
            }
        }
        Kind::Type { .. } => {
            let allowed: Vec<String> = types(error).into_iter().collect();
            let message = format!(
                "`{}` is not of type {}",
                shortened(error.instance()),
                allowed.join(" or ")
            );
            Problem {
                pointer: at.to_owned(),
                message,
                allowed,
                nearest: None,
            }
        }
        Kind::Pattern { pattern } => {
            let message = format!("`{}` is not of the form {pattern}", shortened(error.instance()));
            Problem {
                pointer: at.to_owned(),
                message,
                allowed: Vec::new(),
                nearest: None,
            }
        }
        _ => {
            let message = error
                .masked_with(format!("`{}`", shortened(error.instance())))
                .to_string();
            Problem {
                pointer: at.to_owned(),
                message,
                allowed: Vec::new(),
                nearest: None,
            }
        }
    }
}

fn unknown(error: &ValidationError<'_>, name: &str, allowed: Vec<String>) -> Problem {
    let pointer = format!("{}/{}", error.instance_path().as_str(), escaped(name));
    let nearest = nearest(name, &allowed);
    Problem {
        pointer,
        message: format!("unknown field `{name}`"),
        allowed,
        nearest,
    }
}

fn choice(pointer: &str, value: &Value, allowed: Vec<String>) -> Problem {
    let nearest = value.as_str().and_then(|text| nearest(text, &allowed));
    let message = format!("`{}` is not one of the allowed values", shortened(value));
    Problem {
        pointer: pointer.to_owned(),
        message,
        allowed,
        nearest,
    }
}

fn constants(error: &ValidationError<'_>) -> Vec<String> {
    if let Kind::Constant { expected_value } = error.kind() {
        vec![plain(expected_value)]
    } else if let Kind::Enum { options } = error.kind() {
        options
            .as_array()
            .map(|options| options.iter().map(plain).collect())
            .unwrap_or_default()
    } else {
        Vec::new()
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "no other keyword names types")]
fn types(error: &ValidationError<'_>) -> Vec<String> {
    use jsonschema::error::TypeKind;
    match error.kind() {
        Kind::Type {
            kind: TypeKind::Single(one),
        } => vec![one.to_string()],
        Kind::Type {
            kind: TypeKind::Multiple(several),
        } => several.iter().map(|one| one.to_string()).collect(),
        _ => Vec::new(),
    }
}

fn is_type(error: &ValidationError<'_>) -> bool {
    matches!(error.kind(), Kind::Type { .. })
}

fn missing_at(error: &ValidationError<'_>, at: &str) -> Option<String> {
    if let Kind::Required { property } = error.kind() {
        (error.instance_path().as_str() == at).then(|| plain(property))
    } else {
        None
    }
}

fn unique(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut unique = Vec::new();
    for name in names {
        if !unique.contains(&name) {
            unique.push(name);
        }
    }
    unique
}

fn first_key(value: &Value) -> Option<&String> {
    value.as_object()?.keys().next()
}

fn parent(pointer: &str) -> Option<&str> {
    pointer.rsplit_once('/').map(|(parent, _)| parent)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn shortened(value: &Value) -> String {
    let text = plain(value);
    match text.char_indices().nth(VALUE_MAX_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn escaped(segment: &str) -> String {
    segment.replace('~', "~0").replace('/', "~1")
}

fn nearest(word: &str, candidates: &[String]) -> Option<String> {
    candidates
        .iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= TYPO_MIN_SIMILARITY)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate.clone())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use isobar_engine_control::api::{OperationGet, PlanRequest, QueryRequest};
    use schemars::JsonSchema;
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    fn check<A: DeserializeOwned + JsonSchema>(arguments: Value, expect: Expect) {
        let checker = Checker::new(schemars::schema_for!(A).to_value());
        let told = match checker.read::<A>(arguments) {
            Ok(_) => "fine".to_owned(),
            Err(problems) => problems
                .iter()
                .map(|p| {
                    let nearest = p.nearest.as_deref().unwrap_or("-");
                    format!("{} | {} | {} | {nearest}\n", p.pointer, p.message, p.allowed.join(","))
                })
                .collect(),
        };
        expect.assert_eq(&told);
    }

    #[test]
    fn good_arguments_pass() {
        check::<QueryRequest>(json!({"what": "machines", "cluster": "shop"}), expect![["fine"]]);
        check::<PlanRequest>(
            json!({"intent": {"intent": "destroy", "cluster": "shop"}, "limits": {"max_dearer_percent": 10}}),
            expect![["fine"]],
        );
    }

    #[test]
    fn every_error_is_told_with_its_place() {
        check::<QueryRequest>(
            json!({"what": "machine", "clustr": "shop", "limit": 0}),
            expect![[r#"
             | `cluster` is missing |  | -
            /limit | `0` is less than the minimum of 1 |  | -
            /what | `machine` is not one of the allowed values | cluster,machines,replicas,operations,attempts,offerings,events | machines
            /clustr | unknown field `clustr` | after,cluster,limit,what | cluster
        "#]],
        );
        check::<OperationGet>(
            json!({"operation": 5, "wait_ms": 99999}),
            expect![[r#"
            /operation | `5` is not of type string | string | -
            /wait_ms | `99999` is greater than the maximum of 20000 |  | -
        "#]],
        );
    }

    #[test]
    fn the_tag_says_which_shape_was_meant() {
        check::<PlanRequest>(
            json!({"intent": {"intent": "mov", "cluster": "shop"}}),
            expect![[r#"
            /intent/intent | `mov` is not one of the allowed values | deploy,move,scale,drain,destroy | move
        "#]],
        );
        check::<PlanRequest>(
            json!({"intent": {"cluster": "shop"}}),
            expect![[r#"
            /intent | `intent` is missing | deploy,move,scale,drain,destroy | -
        "#]],
        );
        check::<PlanRequest>(
            json!({"intent": {"intent": "move", "cluster": "Shop", "workload": "web", "too": ["a"]}}),
            expect![[r#"
                /intent/cluster | `Shop` is not of the form ^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$ |  | -
                /intent/too | unknown field `too` | cluster,from,intent,to,workload | to
            "#]],
        );
    }

    #[test]
    fn an_object_without_fields_takes_none() {
        #[derive(Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}
        check::<Nothing>(
            json!({"all": 1, "any": {}}),
            expect![[r#"
            /all | unknown field `all` |  | -
            /any | unknown field `any` |  | -
        "#]],
        );
        check::<Nothing>(json!({}), expect![["fine"]]);
    }

    #[test]
    fn errors_deep_in_a_spec_have_their_place() {
        let spec = |kind: Value, cpu: Value| {
            json!({"intent": {"intent": "deploy", "spec": {
                "cluster": "shop",
                "sites": {"east": {"provider": "local", "region": "x"}},
                "pools": {"general": {"machines": {"min": 1, "max": 3}, "requirments": {}}},
                "workloads": {"web": {"kind": kind, "image": "a/b", "resources": {"cpu": cpu, "memory": "64MiB"},
                    "ports": {"http": {"container": 80, "publish": "atuo"}}}},
            }}})
        };
        check::<PlanRequest>(
            spec(json!({"service": {"replica": 4}}), json!("100m")),
            expect![[r#"
            /intent/spec/pools/general/requirments | unknown field `requirments` | machines,requirements,sites | requirements
            /intent/spec/workloads/web/kind/service/replica | unknown field `replica` | min_available,replicas | replicas
            /intent/spec/workloads/web/kind/service | `replicas` is missing |  | -
            /intent/spec/workloads/web/ports/http/publish | `atuo` is not one of the allowed values | no,auto | auto
        "#]],
        );
        check::<PlanRequest>(
            spec(json!({"servce": {"replicas": 4}}), json!("lots")),
            expect![[r#"
            /intent/spec/pools/general/requirments | unknown field `requirments` | machines,requirements,sites | requirements
            /intent/spec/workloads/web/kind/servce | unknown field `servce` | service,job,daemon | service
            /intent/spec/workloads/web/ports/http/publish | `atuo` is not one of the allowed values | no,auto | auto
            /intent/spec/workloads/web/resources/cpu | `lots` is not of the form ^[1-9][0-9]*m?$ |  | -
        "#]],
        );
    }
}
