//! What is refused, and what the caller is told.

use expect_test::expect;
use isobar_engine_control::api::{ErrorCode, PlanRequest};
use isobar_engine_model::id::{ClusterName, OperationId, WorkloadName};
use isobar_engine_model::intent::{Intent, Limits};
use isobar_mcp::client::ClientError;
use serde_json::{Value, json};

use crate::LEGACY;
use crate::running::{Running, spec};

#[tokio::test(flavor = "multi_thread")]
async fn wrong_arguments_are_all_told_and_unknown_tools_refused() {
    let running = Running::start().await;
    let arguments = json!({"what": "machine", "clustr": "shop"});
    let answer = running
        .call(LEGACY, "tools/call", json!({"name": "query", "arguments": arguments}))
        .await;
    let result = &answer["result"];
    assert_eq!(result["isError"], true);
    assert_eq!(result["structuredContent"]["code"], "invalid_argument");
    let told: Vec<(&str, Option<&str>)> = result["structuredContent"]["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| (problem["pointer"].as_str().unwrap(), problem["hint"].as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("/what", Some("did you mean `machines`?")),
            ("/clustr", Some("did you mean `cluster`?"))
        ]
    );

    let answer = running
        .call(LEGACY, "tools/call", json!({"name": "rm", "arguments": {}}))
        .await;
    assert_eq!(answer["error"]["code"], -32602);
    let answer = running
        .call(
            LEGACY,
            "tools/call",
            json!({"name": "discover", "arguments": {"all": 1}}),
        )
        .await;
    assert_eq!(answer["result"]["structuredContent"]["pointer"], "/all");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_wrong_with_a_spec_is_told_at_once() {
    let running = Running::start().await;
    let mut spec = json!(spec());
    spec["pools"]["general"]["machines"] = json!({"min": 3, "max": 2});
    spec["workloads"]["web"]["kind"]["service"]["min_available"] = json!(9);
    spec["workloads"]["web"]["placement"]["sites"] = json!(["nroth"]);
    let arguments = json!({"intent": {"intent": "deploy", "spec": spec}});
    let answer = running
        .call(LEGACY, "tools/call", json!({"name": "plan", "arguments": arguments}))
        .await;
    let result = &answer["result"];
    assert_eq!(result["structuredContent"]["code"], "invalid_argument", "{answer}");
    let pointers: Vec<&str> = result["structuredContent"]["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| problem["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(
        pointers,
        [
            "/intent/spec/pools/general/machines/min",
            "/intent/spec/workloads/web/kind/service/min_available",
            "/intent/spec/workloads/web/placement/sites/0"
        ]
    );
    assert_eq!(result["structuredContent"]["problems"][2]["allowed"], json!(["north"]));
    expect![[r#"
        arguments: intent.spec.pools.general.machines.min: min 3 is more than max 2
        arguments: intent.spec.workloads.web.kind.service.min_available: min_available 9 is more than replicas 2
        arguments: intent.spec.workloads.web.placement.sites[0]: the cluster has no site `nroth`
          hint: did you mean `north`? allowed: north"#]]
    .assert_eq(result["content"][0]["text"].as_str().unwrap());
    // The typed client has them too.
    let client = running.client().await;
    let mut typed = crate::running::spec();
    typed.pools.values_mut().for_each(|pool| pool.machines.min = 3);
    let intent = Intent::Deploy { spec: Box::new(typed) };
    let Err(ClientError::Refused(error)) = client
        .plan(&PlanRequest {
            intent,
            limits: Limits::default(),
        })
        .await
    else {
        panic!("min is more than max");
    };
    assert_eq!(error.problems.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_engine_refuses_comes_as_its_error() {
    let running = Running::start().await;
    let client = running.client().await;
    let cluster = ClusterName::new("nowhere").unwrap();
    let workload = WorkloadName::new("web").unwrap();
    let intent = Intent::Scale {
        cluster,
        workload,
        replicas: 2,
    };
    let Err(ClientError::Refused(error)) = client
        .plan(&PlanRequest {
            intent,
            limits: Limits::default(),
        })
        .await
    else {
        panic!("there is no such cluster");
    };
    assert_eq!(error.code, ErrorCode::NotFound);
    let operation = OperationId::new("op-0");
    let Err(ClientError::Refused(error)) = client.operation_cancel(&operation).await else {
        panic!("there is no such operation");
    };
    assert_eq!(error.code, ErrorCode::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_nothing_has_is_not_found_and_the_nearest_is_told() {
    let running = Running::start().await;
    let call = async |tool: &str, arguments: Value| {
        let params = json!({"name": tool, "arguments": arguments});
        running.call(LEGACY, "tools/call", params).await["result"]["structuredContent"].clone()
    };
    let planned = call("plan", json!({"intent": {"intent": "deploy", "spec": spec()}})).await;
    call("apply", json!({"plan": planned["plan"]["id"], "idempotency_key": "k"})).await;
    let mut told = String::new();
    for (tool, arguments) in [
        (
            "plan",
            json!({"intent": {"intent": "scale", "cluster": "shp", "workload": "web", "replicas": 1}}),
        ),
        (
            "plan",
            json!({"intent": {"intent": "scale", "cluster": "shop", "workload": "wbe", "replicas": 1}}),
        ),
        (
            "plan",
            json!({"intent": {"intent": "move", "cluster": "shop", "workload": "web", "to": ["nroth"]}}),
        ),
        (
            "plan",
            json!({"intent": {"intent": "drain", "cluster": "shop", "machine": "genral-1"}}),
        ),
        ("query", json!({"what": "machines", "cluster": "elsewhere"})),
        ("logs", json!({"cluster": "shop", "source": {"console": "general-11"}})),
        ("logs", json!({"cluster": "shop", "source": {"replica": "web-1"}})),
        ("explain", json!({"cluster": "shop", "about": "generl"})),
    ] {
        let error = call(tool, arguments).await;
        let text = |field: &str| error[field].as_str().unwrap_or("-").to_owned();
        told.push_str(&format!(
            "{} {}: {} {} ({})\n",
            text("code"),
            text("pointer"),
            text("message"),
            error["allowed"],
            text("hint")
        ));
    }
    expect![[r#"
        not_found /intent/cluster: there is no cluster `shp` ["shop"] (did you mean `shop`?)
        not_found /intent/workload: cluster has no workload wbe ["web"] (did you mean `web`?)
        not_found /intent/to/0: cluster has no site nroth ["north"] (did you mean `north`?)
        not_found /intent/machine: cluster has no machine genral-1 ["general-1","general-2"] (did you mean `general-1`?)
        not_found /cluster: there is no cluster `elsewhere` ["shop"] (`isobar status` lists them; `isobar apply FILE` makes one)
        not_found /source/console: there is no machine `general-11` ["general-1","general-2"] (did you mean `general-1`?)
        not_found /source/replica: there is no replica `web-1` null (`isobar query replicas` lists them)
        not_found /about: there is no part of shop called `generl` ["web","general","general-1","general-2"] (did you mean `general`?)
    "#]]
    .assert_eq(&told);
}
