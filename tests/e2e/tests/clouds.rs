//! One spec over AWS, Azure and GCP, by the real command over the wire, and what clouds do on bad days. The clouds are
//! strict ones on this computer; no machine boots in these.

use std::time::Duration;

use isobar_tests_clouds::world::Cloud;
use isobar_tests_e2e::emulated::Emulated;
use isobar_tests_e2e::engine::{Engine, Setup};
use isobar_tests_e2e::wait::within;
use serde_json::{Value, json};

/// A machine that a cloud has lost is noticed and replaced within this.
const HEALED_MAX: Duration = Duration::from_secs(180);

/// Real clouds on loopback, and an engine that knows them.
fn open() -> (Emulated, Engine) {
    let clouds = Emulated::open(|_, config| config);
    let engine = Setup::without_machines().clouds(&clouds.world).start();
    (clouds, engine)
}

/// A service over every cloud: a pool of `machines` machines in each, and a replica on each of them at least.
fn everywhere(clouds: &Emulated, machines: u32, replicas: u32) -> Value {
    let pool = |cloud: Cloud| {
        let pool = json!({ "sites": [cloud.name()], "machines": { "min": machines, "max": machines + 2 } });
        (cloud.name().to_owned(), pool)
    };
    json!({
        "cluster": "shop",
        "sites": clouds.world.sites(),
        "pools": std::collections::BTreeMap::from(Cloud::ALL.map(pool)),
        "workloads": { "web": web(replicas) },
    })
}

/// One pool that may buy anywhere, for nothing yet.
fn anywhere(clouds: &Emulated, machines: u32) -> Value {
    json!({
        "cluster": "shop",
        "sites": clouds.world.sites(),
        "pools": { "general": { "machines": { "min": machines, "max": machines + 2 } } },
    })
}

fn web(replicas: u32) -> Value {
    json!({
        "kind": { "service": { "replicas": replicas } },
        "image": "registry.example/shop/web:1",
        "resources": { "cpu": "100m", "memory": "64MiB" },
        "placement": { "spread": ["site", "machine"] },
    })
}

/// Applies a spec and says what became of its operation.
fn apply(engine: &Engine, spec: &Value) -> Value {
    let file = engine.keep_spec(&spec.to_string());
    engine.json(&["apply", &file, "--yes"])
}

/// How many healthy replicas each cloud has.
fn healthy(engine: &Engine) -> [usize; 3] {
    let answer = engine.json(&["query", "replicas"]);
    Cloud::ALL.map(|cloud| {
        let here = |view: &&Value| {
            let phase = &view["replica"]["phase"];
            phase["phase"] == "running" && phase["healthy"] == true && view["site"] == cloud.name()
        };
        answer["replicas"].as_array().into_iter().flatten().filter(here).count()
    })
}

fn count(clouds: &Emulated) -> [usize; 3] {
    Cloud::ALL.map(|cloud| clouds.machines(cloud))
}

/// Nothing is left anywhere: no machine, no disk, no card, no address.
fn is_empty(clouds: &Emulated) {
    for cloud in Cloud::ALL {
        assert!(clouds.world.cloud(cloud).parts().is_empty(), "{cloud:?}");
    }
    assert_eq!(count(clouds), [0, 0, 0]);
}

#[test]
fn one_spec_is_one_cluster_over_three_clouds_until_it_is_destroyed() {
    let (clouds, engine) = open();
    let file = engine.keep_spec(&everywhere(&clouds, 1, 3).to_string());
    let planned = engine.json(&["plan", &file]);
    assert_ne!(planned["steps"], json!([]), "{planned}");
    assert_eq!(count(&clouds), [0, 0, 0], "a plan changes nothing");

    apply(&engine, &everywhere(&clouds, 1, 3));
    assert_eq!(count(&clouds), [1, 1, 1]);
    assert_eq!(healthy(&engine), [1, 1, 1]);

    apply(&engine, &everywhere(&clouds, 2, 6));
    assert_eq!(count(&clouds), [2, 2, 2]);
    assert_eq!(healthy(&engine), [2, 2, 2]);

    engine.run(&["move", "web", "--from", "azure", "--yes"]).done();
    let [aws, azure, gcp] = healthy(&engine);
    assert_eq!((azure, aws + gcp), (0, 6));

    engine.run(&["destroy", "shop", "--yes"]).done();
    is_empty(&clouds);
}

#[test]
fn want_of_room_moves_on_to_another_cloud_and_says_so() {
    let (clouds, engine) = open();
    for cloud in [Cloud::Aws, Cloud::Azure] {
        clouds.world.set_room(cloud, 0);
    }
    apply(&engine, &anywhere(&clouds, 3));
    assert_eq!(count(&clouds), [0, 0, 3]);
    let events = engine.json(&["query", "events", "--cluster", "shop"]).to_string();
    for words in [
        "aws refused (the provider has none left",
        "azure refused (the provider has none left",
        "trying e2-small",
    ] {
        assert!(events.contains(words), "{words}: {events}");
    }
    engine.run(&["destroy", "shop", "--yes"]).done();
    is_empty(&clouds);
}

#[test]
fn a_quota_of_nothing_moves_on_as_well() {
    let (clouds, engine) = open();
    clouds.world.cloud(Cloud::Gcp).set_quota(Cloud::Gcp.region(), 0);
    clouds.world.cloud(Cloud::Azure).set_quota(Cloud::Azure.region(), 0);
    apply(&engine, &anywhere(&clouds, 2));
    assert_eq!(count(&clouds), [2, 0, 0]);
    engine.run(&["destroy", "shop", "--yes"]).done();
    is_empty(&clouds);
}

#[test]
fn nodes_that_reach_only_the_second_address_of_their_engine_join_there() {
    let clouds = Emulated::open(|_, config| config);
    // At the first nobody listens: the engine is at 127.0.0.1 alone.
    let hosts = ["127.0.0.2", "127.0.0.1"];
    let engine = Setup::without_machines()
        .clouds(&clouds.world)
        .advertised_at(&hosts)
        .start();
    apply(&engine, &everywhere(&clouds, 1, 3));
    assert_eq!(healthy(&engine), [1, 1, 1]);
}

#[test]
fn a_token_that_counts_no_more_in_the_middle_is_renewed() {
    let (clouds, engine) = open();
    apply(&engine, &everywhere(&clouds, 1, 3));
    clouds.world.expire_tokens();
    apply(&engine, &everywhere(&clouds, 2, 6));
    assert_eq!(count(&clouds), [2, 2, 2]);
}

#[test]
fn a_machine_that_somebody_deletes_by_hand_is_replaced() {
    let (clouds, engine) = open();
    apply(&engine, &everywhere(&clouds, 1, 3));
    for cloud in Cloud::ALL {
        let machine = clouds.world.cloud(cloud).machines().remove(0);
        clouds.world.cloud(cloud).remove(&machine.handle);
    }
    within(HEALED_MAX, "every machine is replaced", || {
        let healthy = healthy(&engine);
        let whole = count(&clouds) == [1, 1, 1] && healthy == [1, 1, 1];
        let found = (healthy, count(&clouds));
        if whole { Ok(()) } else { Err(format!("{found:?}")) }
    });
    within(HEALED_MAX, "the last healing has ended, and all is destroyed", || {
        let destroyed = engine.run(&["destroy", "shop", "--yes"]);
        if destroyed.code == Some(0) {
            Ok(())
        } else {
            Err(destroyed.stderr)
        }
    });
    is_empty(&clouds);
}

#[test]
fn who_has_no_credentials_is_told_which_were_looked_for() {
    let clouds = Emulated::open(|_, config| config);
    let mut setup = Setup::without_machines().clouds(&clouds.world);
    setup.forget_environment();
    let engine = setup.start();
    let words = [
        (Cloud::Aws, ["not allowed", "environment, profile"]),
        (Cloud::Azure, ["not allowed", "AZURE_TENANT_ID is not set"]),
        (Cloud::Gcp, ["not allowed", "application_default_credentials.json"]),
    ];
    for (cloud, words) in words {
        let mut spec = everywhere(&clouds, 1, 1);
        spec["pools"] = json!({ "only": { "sites": [cloud.name()], "machines": { "min": 1, "max": 1 } } });
        spec["sites"] = json!({ cloud.name(): clouds.world.site(cloud) });
        let file = engine.keep_spec(&spec.to_string());
        let refused = engine.run(&["plan", &file]);
        assert_ne!(refused.code, Some(0), "{cloud:?}");
        refused.says(&words);
    }
    is_empty(&clouds);
}

#[test]
fn credentials_do_not_go_where_the_engine_was_not_told_that_they_may() {
    let clouds = Emulated::open(|_, config| config);
    let mut setup = Setup::without_machines().clouds(&clouds.world);
    setup.forget_endpoints();
    let engine = setup.start();
    let file = engine.keep_spec(&everywhere(&clouds, 1, 3).to_string());
    let refused = engine.run(&["plan", &file]);
    assert_ne!(refused.code, Some(0));
    refused.says(&["--allow-endpoint"]);
    for cloud in Cloud::ALL {
        assert!(clouds.world.calls(cloud).all().is_empty(), "{cloud:?} was asked");
    }
}
