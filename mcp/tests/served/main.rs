//! The server over real HTTP, with real clients, against a real engine on a store in memory and a simulated cloud.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod backend;
mod copies;
mod handed_over;
mod refusals;
mod running;

use expect_test::expect;
use isobar_engine_control::api::{ApplyRequest, ExplainRequest, OperationGet, PlanRequest, QueryRequest, QueryWhat};
use isobar_engine_model::id::ClusterName;
use isobar_engine_model::intent::{Intent, Limits};
use isobar_engine_model::operation::OperationState;
use isobar_mcp::client::{Client, ClientError};
use isobar_mcp::folder::{DataFolder, Token};
use isobar_mcp::{http, stdio};
use rmcp::ServiceExt;
use rmcp::model::{CallToolRequestParams, ClientConfig};
use serde_json::{Value, json};

use crate::running::{Running, spec};

const MODERN: &str = "2026-07-28";
const LEGACY: &str = "2025-03-26";

#[tokio::test(flavor = "multi_thread")]
async fn without_the_token_nothing_is_answered() {
    let running = Running::start().await;
    for path in ["/mcp", "/mcp/", "/", "/health"] {
        let url = running.url.replace("/mcp", path);
        for token in [None, Some(Token::random().as_str().to_owned()), Some(String::new())] {
            for method in [reqwest::Method::GET, reqwest::Method::POST, reqwest::Method::DELETE] {
                let mut request = running.http.request(method.clone(), &url);
                if let Some(token) = &token {
                    request = request.bearer_auth(token);
                }
                let answer = request.send().await.unwrap();
                assert_eq!(answer.status(), 401, "{method} {path}");
                let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
                assert!(challenge.starts_with("Bearer realm=\"isobar\""), "{challenge}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_hosts_and_origins_are_refused_even_with_the_token() {
    let running = Running::start().await;
    let status = async |header: &'static str, value: &'static str| {
        running
            .post(LEGACY, &initialize())
            .header(header, value)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(status("host", "evil.example").await, 403);
    assert_eq!(status("host", "localhost:1").await, 200);
    assert_eq!(status("origin", "http://evil.example").await, 403);
    assert_eq!(status("origin", "null").await, 403);
    assert_eq!(status("origin", "https://127.0.0.1.evil.example").await, 403);
    assert_eq!(status("origin", "http://localhost:8080").await, 200);
    assert_eq!(status("origin", "http://127.0.0.1:8080").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_beyond_the_limit_is_refused() {
    let running = Running::start().await;
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "discover",
        "arguments": {"pad": "x".repeat(http::BODY_MAX_BYTES)}}});
    let answer = running.post(LEGACY, &body).send().await.unwrap();
    assert_eq!(answer.status(), 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_the_oldest_and_the_newest_revision_are_served() {
    let running = Running::start().await;
    let hello = running.send(LEGACY, &initialize()).await;
    assert_eq!(hello["result"]["protocolVersion"], LEGACY);
    assert!(hello["result"]["instructions"].as_str().unwrap().contains("discover"));
    let listed = running.call(LEGACY, "tools/list", json!({})).await;
    assert_eq!(listed["result"]["tools"][0]["name"], "discover");

    let found = running.call(MODERN, "server/discover", json!({})).await;
    assert!(
        found["result"]["supportedVersions"]
            .as_array()
            .unwrap()
            .contains(&json!(MODERN)),
        "{found}"
    );
    let listed = running.call(MODERN, "tools/list", json!({})).await;
    assert_eq!(listed["result"]["cacheScope"], "private");
    assert!(listed["result"]["ttlMs"].as_u64().unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tool_says_what_it_takes_gives_and_changes() {
    let running = Running::start().await;
    let listed = running.call(LEGACY, "tools/list", json!({})).await;
    let lines: String = listed["result"]["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| {
            for schema in ["inputSchema", "outputSchema"] {
                assert_eq!(tool[schema]["type"], "object", "{schema} of {}", tool["name"]);
            }
            assert_eq!(tool["inputSchema"]["additionalProperties"], false, "{}", tool["name"]);
            let hints = &tool["annotations"];
            let name = tool["name"].as_str().unwrap();
            let (reads, destroys) = (&hints["readOnlyHint"], &hints["destructiveHint"]);
            format!(
                "{name}: reads only {reads}, may destroy {destroys}, idempotent {}\n",
                hints["idempotentHint"]
            )
        })
        .collect();
    expect![[r#"
        discover: reads only true, may destroy false, idempotent true
        query: reads only true, may destroy false, idempotent true
        plan: reads only true, may destroy false, idempotent true
        apply: reads only false, may destroy true, idempotent true
        operation_get: reads only true, may destroy false, idempotent true
        operation_cancel: reads only false, may destroy false, idempotent true
        explain: reads only true, may destroy false, idempotent true
        import_terraform: reads only false, may destroy false, idempotent true
        import_hand_over: reads only false, may destroy false, idempotent true
        leaks: reads only true, may destroy false, idempotent true
        recover: reads only true, may destroy false, idempotent true
        recover_adopt: reads only false, may destroy false, idempotent true
        recover_release: reads only false, may destroy true, idempotent true
        recover_end: reads only false, may destroy false, idempotent true
        logs: reads only true, may destroy false, idempotent true
        audit: reads only true, may destroy false, idempotent true
        terraform_states: reads only true, may destroy false, idempotent true
        terraform_state_read: reads only true, may destroy false, idempotent true
        terraform_unlock: reads only false, may destroy true, idempotent true
    "#]]
    .assert_eq(&lines);
    let unknown = running.call(LEGACY, "tools/list", json!({"cursor": "nowhere"})).await;
    assert_eq!(unknown["error"]["code"], -32602);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_becomes_an_operation_once_however_often_it_is_applied() {
    let running = Running::start().await;
    let client = running.client().await;
    let shop = ClusterName::new("shop").unwrap();
    assert!(client.discover().await.unwrap().clusters.is_empty());

    let intent = Intent::Deploy { spec: Box::new(spec()) };
    let answer = client
        .plan(&PlanRequest {
            intent,
            limits: Limits::default(),
        })
        .await
        .unwrap();
    assert!(!answer.converged);
    assert!(answer.plan.is_intact());
    assert!(!answer.outline.is_empty());

    let request = ApplyRequest {
        plan: answer.plan.id.clone(),
        idempotency_key: "k".into(),
        why: Some("a test".into()),
    };
    let first = client.apply(&request).await.unwrap();
    let second = client.apply(&request).await.unwrap();
    assert_eq!(first.operation.id, second.operation.id);

    let id = first.operation.id;
    let news = OperationGet {
        operation: id.clone(),
        seen: Some(first.revision),
        wait_ms: Some(5_000),
    };
    let view = client.operation_get(&news).await.unwrap();
    assert_ne!(view.revision, first.revision);
    let cancelled = client.operation_cancel(&id).await.unwrap();
    assert!(
        !matches!(cancelled.state, OperationState::Running),
        "{:?}",
        cancelled.state
    );

    let machines = QueryRequest {
        what: QueryWhat::Machines,
        cluster: shop.clone(),
        after: None,
        limit: Some(1),
    };
    let page = client.query(&machines).await.unwrap();
    assert_eq!(page.machines.unwrap().len(), 1);
    let explanation = client
        .explain(&ExplainRequest {
            cluster: shop,
            about: None,
        })
        .await
        .unwrap();
    assert!(!explanation.state.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_keep_to_the_published_schemas() {
    let running = Running::start().await;
    let listed = running.call(LEGACY, "tools/list", json!({})).await;
    let check = async |tool: &str, arguments: Value| {
        let answer = running
            .call(LEGACY, "tools/call", json!({"name": tool, "arguments": arguments}))
            .await;
        assert_eq!(answer["result"]["isError"], false, "{answer}");
        let content = answer["result"]["structuredContent"].clone();
        let said = listed["result"]["tools"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["name"] == tool)
            .unwrap();
        let schema = jsonschema::validator_for(&said["outputSchema"]).unwrap();
        let errors: Vec<String> = schema.iter_errors(&content).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{tool}: {errors:?} in {content}");
        content
    };
    let intent = json!({"intent": "deploy", "spec": spec()});
    let planned = check("plan", json!({"intent": intent})).await;
    let begun = check("apply", json!({"plan": planned["plan"]["id"], "idempotency_key": "k"})).await;
    check("operation_get", json!({"operation": begun["operation"]["id"]})).await;
    check("discover", json!({})).await;
    for what in [
        "cluster",
        "machines",
        "replicas",
        "operations",
        "attempts",
        "offerings",
        "events",
    ] {
        check("query", json!({"what": what, "cluster": "shop"})).await;
    }
    check("explain", json!({"cluster": "shop"})).await;
    check("operation_cancel", json!({"operation": begun["operation"]["id"]})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_another_token_or_no_engine_is_told_what_to_do() {
    let running = Running::start().await;
    let dir = tempfile::tempdir().unwrap();
    let other = DataFolder::new(dir.path());
    assert!(matches!(Client::connect(&other).await, Err(ClientError::Folder(_))));
    other.token_or_new().unwrap();
    other.publish_endpoint(&running.url).unwrap();
    let error = Client::connect(&other).await.err().unwrap();
    assert!(matches!(error, ClientError::Unauthorized { .. }), "{error:?}");
    running.stop().await;
    let error = Client::connect(&other).await.err().unwrap();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("isobar serve"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_outlives_the_engine_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let folder = DataFolder::new(dir.path());
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (input, output) = tokio::io::split(theirs);
    let relay = tokio::spawn(stdio::relay_over(folder.clone(), input, output));
    // The plain handshake of older clients.
    let client = ClientConfig::default().serve(ours).await.unwrap();
    let discover = async || client.call_tool(CallToolRequestParams::new("discover")).await.unwrap();

    let away = discover().await;
    assert_eq!(away.is_error, Some(true));
    let content = away.structured_content.unwrap();
    assert_eq!(content["code"], "unavailable");
    assert!(content["hint"].as_str().unwrap().contains("isobar serve"));

    let first = Running::start_in(folder.clone()).await;
    assert_eq!(discover().await.is_error, Some(false));
    let through = client.list_tools(None).await.unwrap().tools;
    let direct = first.call(LEGACY, "tools/list", json!({})).await;
    let direct = direct["result"]["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| tool["name"].as_str());
    let through: Vec<_> = through.iter().map(|tool| Some(tool.name.as_ref())).collect();
    assert_eq!(through, direct.collect::<Vec<_>>());
    let unknown = client
        .call_tool(CallToolRequestParams::new("reboot"))
        .await
        .unwrap_err();
    assert!(unknown.to_string().contains("unknown tool `reboot`"), "{unknown}");
    first.stop().await;
    assert_eq!(discover().await.is_error, Some(true));
    let _second = Running::start_in(folder).await;
    assert_eq!(discover().await.is_error, Some(false));

    client.cancel().await.unwrap();
    relay.await.unwrap().unwrap();
}

fn initialize() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}})
}
