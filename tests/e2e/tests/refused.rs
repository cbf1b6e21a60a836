//! What is refused, with a clear answer and without losing anything: wrong specs, wrong callers, stale plans. No machine
//! boots in these.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use isobar_tests_e2e::engine::{Engine, Setup};
use isobar_tests_e2e::spec;
use serde_json::Value;

/// Ids of the clusters that an engine knows.
fn clusters(engine: &Engine) -> Vec<String> {
    let status = engine.json(&["status"]);
    let clusters = status["clusters"].as_array().expect("a list");
    clusters
        .iter()
        .map(|one| one["cluster"].as_str().expect("a name").to_owned())
        .collect()
}

fn generation(engine: &Engine) -> u64 {
    engine.json(&["status"])["clusters"][0]["generation"]
        .as_u64()
        .expect("a number")
}

fn plan_id(plan: &Value) -> String {
    plan["plan"]["id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_typo_in_a_spec_is_told_with_its_place_and_changes_nothing() {
    let engine = Setup::without_machines().start();
    let file = engine.keep_spec(&spec::idle(1).replace("replicas", "replics"));
    engine
        .run(&["apply", &file, "--yes"])
        .ended_with(2)
        .says(&[&format!("{file}:8:"), "replics", "replicas"]);
    assert_eq!(clusters(&engine), [""; 0]);
}

#[test]
fn a_demand_that_nothing_meets_is_named_with_what_comes_nearest() {
    let engine = Setup::without_machines().start();
    let spec = spec::one_site(1, "").replace("max: 1 }", "max: 1 }, requirements: { memory: 64GiB }");
    let file = engine.keep_spec(&spec);
    let plan = engine.json(&["plan", &file]);
    let unmet = &plan["plan"]["body"]["unmet"][0];
    assert_eq!(unmet["about"], "pool general", "{unmet}");
    assert_eq!(unmet["requirement"], "an offering with 64GiB of memory");
    assert_eq!(unmet["nearest"], "the largest is local.large with 2GiB");

    engine
        .run(&["apply", &file, "--yes"])
        .ended_with(3)
        .says(&["64GiB", "hint: "]);
    assert_eq!(clusters(&engine), [""; 0]);
    assert!(engine.vms().is_empty());
}

#[test]
fn a_plan_is_stale_once_the_cluster_has_changed() {
    let engine = Setup::without_machines().start();
    let (first, second) = (engine.keep_spec(&spec::idle(1)), engine.keep_spec(&spec::idle(2)));
    let overtaken = plan_id(&engine.json(&["plan", &first]));
    engine.json(&["apply", &second, "--yes"]);
    let refused = engine.run(&["apply", "--plan", &overtaken, "--yes"]).ended_with(3);
    refused.says(&["has changed since the plan was made", "hint: plan again"]);
    assert_eq!(generation(&engine), 1);
    let stored = engine.json(&["query", "cluster"]);
    assert_eq!(stored["spec"]["workloads"]["web"]["image"], "localhost:5000/box:2");
}

#[test]
fn a_plan_that_is_applied_twice_is_one_operation() {
    let mut engine = Setup::without_machines().start();
    let plan = plan_id(&engine.json(&["plan", &engine.keep_spec(&spec::idle(1))]));
    let apply = ["apply", "--plan", &plan, "--yes"];
    let first = engine.json(&apply)["operation"]["id"].clone();
    assert!(first.is_string());
    assert_eq!(engine.json(&apply)["operation"]["id"], first);
    // Also for the engine that comes after this one.
    engine.kill();
    engine.start_again();
    assert_eq!(engine.json(&apply)["operation"]["id"], first);
    assert_eq!(generation(&engine), 1);
    let operations = engine.json(&["query", "operations"]);
    assert_eq!(operations["operations"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_second_engine_leaves_the_first_ones_folder_alone() {
    let mut first = Setup::without_machines().start();
    first.json(&["apply", &first.keep_spec(&spec::idle(1)), "--yes"]);
    let mut second = Setup::without_machines().data(first.data()).prepare();
    let refused = second.serve().expect_err("the folder is held").ended_with(3);
    refused.says(&["is in use by another engine", "stop that engine"]);
    assert_eq!(clusters(&first), ["box"]);
    // A folder whose engine was killed is free.
    first.kill();
    second.start();
    assert_eq!(clusters(&second), ["box"]);
}

#[test]
fn an_engine_whose_port_is_taken_loses_nothing() {
    let mut engine = Setup::without_machines().start();
    engine.json(&["apply", &engine.keep_spec(&spec::idle(1)), "--yes"]);
    engine.stop();
    let taken = std::net::TcpListener::bind(&engine.at().nodes).expect("the engine has left it");
    let refused = engine.serve().expect_err("the port is taken").ended_with(3);
    refused.says(&["--node-listen", "another program has that port"]);
    drop(taken);
    engine.start();
    assert_eq!(clusters(&engine), ["box"]);
}

#[test]
fn a_damaged_store_is_named_and_a_backup_brings_it_back() {
    let mut engine = Setup::without_machines().start();
    engine.json(&["apply", &engine.keep_spec(&spec::idle(1)), "--yes"]);
    engine.stop();
    // The log is part of the store.
    let backup =
        ["isobar.db", "isobar.db-wal"].map(|name| (name, fs::read(engine.data().join(name)).unwrap_or_default()));
    let mut damaged = backup[0].1.clone();
    let half = damaged.len() / 2;
    damaged[half / 2..half].fill(0xAA);
    fs::write(engine.data().join("isobar.db"), &damaged).expect("the folder can be written");

    // Nothing is mended behind anybody's back: the second start says the same.
    for _ in 0..2 {
        let refused = engine.serve().expect_err("the store is damaged").ended_with(3);
        refused.says(&["isobar.db", "is damaged", "restore a backup"]);
    }

    for (name, bytes) in backup {
        fs::write(engine.data().join(name), bytes).expect("the folder can be written");
    }
    engine.start();
    assert_eq!(clusters(&engine), ["box"]);
}

#[test]
fn a_file_that_is_no_store_is_named_and_left_as_it_is() {
    let mut engine = Setup::without_machines().start();
    engine.stop();
    let file = engine.data().join("isobar.db");
    fs::write(&file, "not a database").expect("the folder can be written");
    engine
        .serve()
        .expect_err("the file is no store")
        .says(&["is damaged", "restore a backup"]);
    assert_eq!(fs::read(&file).expect("it is there"), b"not a database");
}

#[test]
fn only_the_folders_own_token_is_taken() {
    let engine = Setup::without_machines().start();
    let other = Setup::without_machines().start();
    fs::copy(other.data().join("token"), engine.data().join("token")).expect("the folder can be written");
    engine
        .run(&["status"])
        .ended_with(4)
        .says(&["refuses the token", "hint: "]);
    for authorization in ["", "Authorization: Bearer 00\r\n", "Authorization: Basic aTppCg==\r\n"] {
        let answer = post(&engine.at().mcp_address, authorization);
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        assert!(!answer.contains("discover"), "{answer}");
    }
    assert_eq!(clusters(&other), [""; 0]);
}

/// Asks for the list of tools over a plain connection.
fn post(address: &str, header: &str) -> String {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let mut connection = TcpStream::connect(address).expect("the engine listens");
    write!(
        connection,
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nAccept: application/json\r\n\
         Connection: close\r\n{header}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("the engine reads");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("the engine answers");
    answer
}

#[test]
fn where_no_engine_runs_any_more_the_error_says_how_to_start_one() {
    let mut engine = Setup::without_machines().start();
    engine.kill();
    // The endpoint's file is still there: nobody could take it away.
    assert!(engine.data().join("endpoint").exists());
    engine
        .run(&["status"])
        .ended_with(4)
        .says(&["no engine answers", "hint: start the engine with `isobar serve`"]);
}
