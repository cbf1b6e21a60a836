//! One spec over AWS, Azure and GCP, by the real command over the wire, and clouds that have no room. The clouds are strict
//! ones on this computer; no machine boots in these.

use isobar_tests_clouds::world::{Cloud, Pages};
use isobar_tests_e2e::emulated::Emulated;
use isobar_tests_e2e::engine::Setup;
use isobar_tests_e2e::shop::{anywhere, apply, destroy, events, everywhere};
use serde_json::json;

#[test]
fn one_spec_is_one_cluster_over_three_clouds_until_it_is_destroyed() {
    let (clouds, engine) = Emulated::with_engine();
    let file = engine.keep_spec(&everywhere(&clouds.sites(), 1, 3).to_string());
    let planned = engine.json(&["plan", &file]);
    assert_eq!(planned["outline"].as_array().map(Vec::len), Some(6), "{planned}");
    assert_eq!(clouds.machines(), [0, 0, 0], "a plan changes nothing");

    apply(&engine, &everywhere(&clouds.sites(), 1, 3));
    assert_eq!(clouds.machines(), [1, 1, 1]);
    assert_eq!(clouds.healthy(&engine), [1, 1, 1]);

    apply(&engine, &everywhere(&clouds.sites(), 2, 6));
    assert_eq!(clouds.machines(), [2, 2, 2]);
    assert_eq!(clouds.healthy(&engine), [2, 2, 2]);

    engine.run(&["move", "web", "--from", "azure", "--yes"]).done();
    let [aws, azure, gcp] = clouds.healthy(&engine);
    assert_eq!((azure, aws + gcp), (0, 6));

    destroy(&engine);
    clouds.are_empty();
}

#[test]
fn want_of_room_moves_on_to_another_cloud_and_says_so() {
    let (clouds, engine) = Emulated::with_engine();
    for cloud in [Cloud::Aws, Cloud::Azure] {
        clouds.world.set_room(cloud, 0);
    }
    apply(&engine, &anywhere(&clouds.sites(), 3));
    assert_eq!(clouds.machines(), [0, 0, 3]);
    let events = events(&engine);
    for words in [
        "aws refused (the provider has none left",
        "azure refused (the provider has none left",
        "trying e2-small",
    ] {
        assert!(events.contains(words), "{words}: {events}");
    }
    destroy(&engine);
    clouds.are_empty();
}

#[test]
fn a_quota_of_nothing_moves_on_as_well() {
    let (clouds, engine) = Emulated::with_engine();
    clouds.world.cloud(Cloud::Gcp).set_quota(Cloud::Gcp.region(), 0);
    clouds.world.cloud(Cloud::Azure).set_quota(Cloud::Azure.region(), 0);
    apply(&engine, &anywhere(&clouds.sites(), 2));
    assert_eq!(clouds.machines(), [2, 0, 0]);
    destroy(&engine);
    clouds.are_empty();
}

#[test]
fn nodes_that_reach_only_the_second_address_of_their_engine_join_there() {
    let clouds = Emulated::open(Pages::Small, |_, config| config);
    // At the first nobody listens: the engine is at 127.0.0.1 alone.
    let hosts = ["127.0.0.2", "127.0.0.1"];
    let engine = Setup::without_machines()
        .clouds(&clouds.world)
        .advertised_at(&hosts)
        .start();
    apply(&engine, &everywhere(&clouds.sites(), 1, 3));
    assert_eq!(clouds.healthy(&engine), [1, 1, 1]);
}

#[test]
fn who_has_no_credentials_is_told_which_were_looked_for() {
    let clouds = Emulated::open(Pages::Small, |_, config| config);
    let mut setup = Setup::without_machines().clouds(&clouds.world);
    setup.forget_environment();
    let engine = setup.start();
    let words = [
        (Cloud::Aws, ["not allowed", "environment, profile"]),
        (Cloud::Azure, ["not allowed", "AZURE_TENANT_ID is not set"]),
        (Cloud::Gcp, ["not allowed", "application_default_credentials.json"]),
    ];
    for (cloud, words) in words {
        let mut spec = everywhere(&clouds.sites(), 1, 1);
        spec["pools"] = json!({ "only": { "sites": [cloud.name()], "machines": { "min": 1, "max": 1 } } });
        spec["sites"] = json!({ cloud.name(): clouds.world.site(cloud) });
        let file = engine.keep_spec(&spec.to_string());
        let refused = engine.run(&["plan", &file]);
        assert_ne!(refused.code, Some(0), "{cloud:?}");
        refused.says(&words);
    }
    clouds.are_empty();
}

#[test]
fn credentials_do_not_go_where_the_engine_was_not_told_that_they_may() {
    let clouds = Emulated::open(Pages::Small, |_, config| config);
    let mut setup = Setup::without_machines().clouds(&clouds.world);
    setup.forget_endpoints();
    let engine = setup.start();
    let file = engine.keep_spec(&everywhere(&clouds.sites(), 1, 3).to_string());
    let refused = engine.run(&["plan", &file]);
    assert_ne!(refused.code, Some(0));
    refused.says(&["--allow-endpoint"]);
    for cloud in Cloud::ALL {
        assert!(clouds.world.calls(cloud).all().is_empty(), "{cloud:?} was asked");
    }
}

#[test]
fn nothing_is_bought_where_the_engine_could_never_be_found() {
    let clouds = Emulated::open(Pages::Small, |_, config| config);
    // The same cloud under an address that does not say that it is on this computer.
    let elsewhere = clouds.world.endpoint(Cloud::Aws).replace("127.0.0.1", "0.0.0.0");
    let mut spec = anywhere(&clouds.sites(), 1);
    let mut site = clouds.world.site(Cloud::Aws);
    site["settings"]["endpoint"] = json!(elsewhere);
    spec["sites"] = json!({ "aws": site });
    let plan = |setup: Setup| {
        let engine = setup.clouds(&clouds.world).may_call(&elsewhere).start();
        engine.run(&["plan", &engine.keep_spec(&spec.to_string())])
    };

    let refused = plan(Setup::without_machines());
    assert_ne!(refused.code, Some(0), "{refused:?}");
    refused.says(&[
        "machines in aws could never call this engine",
        "10.0.2.2",
        "--advertise",
    ]);
    let refused = plan(Setup::without_machines().advertised_at(&["localhost", "0.0.0.0", "127.0.0.1", "10.0.2.2"]));
    assert_ne!(refused.code, Some(0), "{refused:?}");
    plan(Setup::without_machines().advertised_at(&["127.0.0.1", "engine.example"])).done();
}

#[test]
fn nothing_is_bought_before_the_engine_answers_where_nodes_are_sent() {
    let clouds = Emulated::open(Pages::Small, |_, config| config);
    let elsewhere = clouds.world.endpoint(Cloud::Aws).replace("127.0.0.1", "0.0.0.0");
    let mut spec = anywhere(&clouds.sites(), 1);
    let mut site = clouds.world.site(Cloud::Aws);
    site["settings"]["endpoint"] = json!(elsewhere);
    spec["sites"] = json!({ "aws": site });
    let setup = Setup::without_machines().clouds(&clouds.world);
    let engine = setup.may_call(&elsewhere).advertised_at(&["engine.invalid"]).start();
    let refused = engine.run(&["apply", &engine.keep_spec(&spec.to_string()), "--yes"]);
    assert_eq!(refused.code, Some(3), "{refused:?}");
    refused.says(&[
        "nothing was bought",
        "engine.invalid",
        "--advertise",
        "--unproven-address",
    ]);
    clouds.are_empty();
}
