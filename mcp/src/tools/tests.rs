//! What callers are told of wrong arguments, tool by tool.

use expect_test::{Expect, expect};
use isobar_engine_model::spec::text::SpecErrors;
use serde_json::json;

use super::*;

fn check<A: DeserializeOwned + JsonSchema>(arguments: Value, expect: Expect) {
    let schema = Value::Object(schema_of::<A>(SchemaSettings::draft2020_12()));
    let told = match shape::read::<A>(&arguments, &schema) {
        Ok(_) => "fine".to_owned(),
        Err(problems) => SpecErrors::of_value("arguments", &problems).to_string(),
    };
    expect.assert_eq(&told);
}

/// What the walk that reads arguments understands or may ignore.
const KEYWORDS: [&str; 21] = [
    "$defs",
    "$ref",
    "$schema",
    "additionalProperties",
    "anyOf",
    "const",
    "default",
    "description",
    "format",
    "items",
    "maximum",
    "minimum",
    "oneOf",
    "pattern",
    "patternProperties",
    "properties",
    "required",
    "title",
    "type",
    // The engine says itself when there are too many.
    "maxItems",
    // A set: what is said twice is taken once, which no caller minds.
    "uniqueItems",
];

fn keywords(schema: &Value, found: &mut std::collections::BTreeSet<String>) {
    for (keyword, value) in schema.as_object().into_iter().flatten() {
        found.insert(keyword.clone());
        match keyword.as_str() {
            // Their entries are schemas under names of ours.
            "$defs" | "properties" | "patternProperties" => {
                let named = value.as_object().into_iter().flatten();
                named.for_each(|(_, schema)| keywords(schema, found));
            }
            "default" => {}
            _ => match value.as_array() {
                Some(schemas) => schemas.iter().for_each(|schema| keywords(schema, found)),
                None => keywords(value, found),
            },
        }
    }
}

#[test]
fn no_tool_asks_for_what_the_walk_does_not_understand() {
    for entry in table() {
        let mut found = std::collections::BTreeSet::new();
        keywords(&Value::Object((*entry.tool.input_schema).clone()), &mut found);
        found.retain(|keyword| !KEYWORDS.contains(&keyword.as_str()));
        assert!(found.is_empty(), "{}: {found:?}", entry.tool.name);
    }
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
            arguments: limit: 0 is out of range: 1 to 500 are allowed
            arguments: what: unknown word `machine`
              hint: did you mean `machines`? allowed: cluster, machines, replicas, operations, attempts, offerings, adopted, events
            arguments: clustr: unknown field
              hint: did you mean `cluster`? allowed: after, cluster, limit, what"#]],
    );
    check::<OperationGet>(
        json!({"operation": 5, "wait_ms": 99999}),
        expect![[r#"
            arguments: operation: expected text, found the number 5
              hint: put it in quotes: "5"
            arguments: wait_ms: 99999 is out of range: 0 to 20000 are allowed"#]],
    );
}

#[test]
fn the_tag_says_which_shape_was_meant() {
    check::<PlanRequest>(
        json!({"intent": {"intent": "mov", "cluster": "shop"}}),
        expect![[r#"
            arguments: intent.intent: unknown word `mov`
              hint: did you mean `move`? allowed: deploy, move, scale, drain, destroy"#]],
    );
    check::<PlanRequest>(
        json!({"intent": {"cluster": "shop"}}),
        expect![[r#"
            arguments: intent: missing field `intent`
              hint: allowed: deploy, move, scale, drain, destroy"#]],
    );
    check::<PlanRequest>(
        json!({"intent": {"intent": "move", "cluster": "Shop", "workload": "web", "too": ["a"]}}),
        expect![[r#"
            arguments: intent.cluster: `Shop` is not a name: use 1 to 32 of a-z, 0-9 and `-`, starting with a letter and not ending with `-`
            arguments: intent.too: unknown field
              hint: did you mean `to`? allowed: cluster, from, intent, to, workload"#]],
    );
}

#[test]
fn what_is_read_is_told_by_the_one_field_that_names_it() {
    check::<LogsRequest>(
        json!({"cluster": "shop", "source": {"replica": "web-1"}}),
        expect![["fine"]],
    );
    check::<LogsRequest>(
        json!({"cluster": "shop", "source": {"consol": "general-1"}}),
        expect![[r#"
            arguments: source.consol: unknown field
              hint: did you mean `console`? allowed: replica, console"#]],
    );
    check::<LogsRequest>(
        json!({"cluster": "shop", "source": "web-1"}),
        expect![[r#"
        arguments: source: unknown word `web-1`
          hint: allowed: replica, console"#]],
    );
    check::<PlanRequest>(
        json!({"intent": "destroy"}),
        expect!["arguments: intent: expected a map, found the text `destroy`"],
    );
    check::<PlanRequest>(
        json!({"intent": {"intent": 5}}),
        expect![[r#"
        arguments: intent.intent: expected a word, found the number 5
          hint: allowed: deploy, move, scale, drain, destroy"#]],
    );
}

#[test]
fn an_object_without_fields_takes_none() {
    check::<NoArguments>(
        json!({"all": 1, "any": {}}),
        expect![[r#"
            arguments: all: unknown field
              hint: nothing goes in here: write `{}`
            arguments: any: unknown field
              hint: nothing goes in here: write `{}`"#]],
    );
    check::<NoArguments>(json!({}), expect![["fine"]]);
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
            arguments: intent.spec.pools.general.requirments: unknown field
              hint: did you mean `requirements`? allowed: machines, requirements, sites
            arguments: intent.spec.workloads.web.kind.service.replica: unknown field
              hint: did you mean `replicas`? allowed: min_available, replicas
            arguments: intent.spec.workloads.web.ports.http.publish: unknown word `atuo`
              hint: did you mean `auto`? allowed: no, auto, port"#]],
    );
    check::<PlanRequest>(
        spec(json!({"servce": {"replicas": 4}}), json!("lots")),
        expect![[r#"
            arguments: intent.spec.pools.general.requirments: unknown field
              hint: did you mean `requirements`? allowed: machines, requirements, sites
            arguments: intent.spec.workloads.web.kind.servce: unknown field
              hint: did you mean `service`? allowed: service, job, daemon
            arguments: intent.spec.workloads.web.ports.http.publish: unknown word `atuo`
              hint: did you mean `auto`? allowed: no, auto, port
            arguments: intent.spec.workloads.web.resources.cpu: `lots` is not a processor share: write `250m` or `2`"#]],
    );
}
