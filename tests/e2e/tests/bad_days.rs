//! What clouds do on bad days, to a cluster over all three, by the real command over the wire.

use std::net::TcpListener;
use std::time::Duration;

use isobar_providers_sim::{FaultRates, SimConfig};
use isobar_tests_clouds::world::{Cloud, Pages};
use isobar_tests_e2e::emulated::Emulated;
use isobar_tests_e2e::engine::Setup;
use isobar_tests_e2e::shop::{CLUSTER, anywhere, apply, destroy, everywhere};
use isobar_tests_e2e::wait::within;
use serde_json::{Value, json};

/// A machine that a cloud has lost is noticed and replaced within this.
const HEALED_MAX: Duration = Duration::from_secs(180);
/// The first machine of an apply is there within this.
const BEGUN_MAX: Duration = Duration::from_secs(60);

/// What a plan says about a site.
fn said_of(plan: &Value, site: &str) -> Option<String> {
    let reasons = plan["plan"]["body"]["reasons"].as_array()?;
    let reason = reasons.iter().find(|reason| reason["about"] == site)?;
    reason["because"].as_str().map(str::to_owned)
}

#[test]
fn credentials_that_end_in_the_middle_of_an_apply_are_looked_for_anew() {
    let clouds = Emulated::open(Pages::Small, |_, config| config);
    let setup = Setup::without_machines().clouds(&clouds.world);
    let engine = setup.under_a_role(&clouds.world).start();
    let file = engine.keep_spec(&everywhere(&clouds.sites(), 2, 6).to_string());
    let applying = engine.begin(&["apply", &file, "--yes"]);
    within(BEGUN_MAX, "the apply has begun", || match clouds.machines() {
        [0, 0, 0] => Err("nothing is bought".to_owned()),
        _ => Ok(()),
    });
    clouds.world.expire_credentials();
    let ended = applying.wait_with_output().expect("it is our child");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!((clouds.machines(), clouds.healthy(&engine)), ([2; 3], [2; 3]));
    destroy(&engine);
    clouds.are_empty();
}

#[test]
fn a_region_that_is_down_is_named_and_the_others_go_on() {
    let (clouds, engine) = Emulated::with_engine();
    clouds.world.door(Cloud::Azure).shut();
    let file = engine.keep_spec(&anywhere(&clouds.sites(), 3).to_string());
    let plan = engine.json(&["plan", &file]);
    let said = said_of(&plan, "azure").unwrap_or_default();
    assert!(said.contains("not known"), "{said}: {plan}");
    engine.json(&["apply", &file, "--yes"]);
    assert_eq!((clouds.machines().iter().sum::<usize>(), clouds.machines()[1]), (3, 0));

    // Open again, what it offers counts again.
    clouds.world.door(Cloud::Azure).open();
    apply(&engine, &everywhere(&clouds.sites(), 1, 3));
    assert_eq!((clouds.machines(), clouds.healthy(&engine)), ([1; 3], [1; 3]));
    destroy(&engine);
    clouds.are_empty();
}

#[test]
fn a_region_that_takes_no_connection_is_named_and_the_others_go_on() {
    let clouds = Emulated::open(Pages::Small, |_, config| config);
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = format!("http://{}", nobody.local_addr().expect("it is bound"));
    drop(nobody);
    let setup = Setup::without_machines().clouds(&clouds.world);
    let engine = setup.may_call(&endpoint).start();
    let mut sites = clouds.sites();
    sites["gcp"]["settings"]["endpoint"] = json!(endpoint);
    let file = engine.keep_spec(&everywhere(&sites, 1, 2).to_string());
    let plan = engine.json(&["plan", &file]);
    let said = said_of(&plan, "gcp").unwrap_or_default();
    assert!(said.contains("not known"), "{said}: {plan}");
    let unmet = &plan["plan"]["body"]["unmet"];
    assert_eq!(unmet[0]["about"], "pool gcp", "{plan}");
}

#[test]
fn a_list_that_lags_by_a_minute_makes_nobody_buy_twice() {
    // So long until a machine is seen at all, and as old as this is what is seen: half a minute each.
    let lags = |_, config: SimConfig| SimConfig {
        visibility_delay_max_ms: 60_000,
        faults: FaultRates {
            late_visibility: 1_000,
            stale_read: 1_000,
            ..FaultRates::none()
        },
        ..config
    };
    let clouds = Emulated::open(Pages::Small, lags);
    let engine = Setup::without_machines().clouds(&clouds.world).start();
    apply(&engine, &everywhere(&clouds.sites(), 1, 3));
    assert_eq!((clouds.machines(), clouds.healthy(&engine)), ([1; 3], [1; 3]));
    destroy(&engine);
    clouds.are_empty();
    let made = Cloud::ALL.map(|cloud| clouds.world.cloud(cloud).counters().machines_made);
    assert_eq!(made, [1, 1, 1]);
}

#[test]
fn an_instance_type_that_no_cloud_has_is_said_before_anything_is_bought() {
    let (clouds, engine) = Emulated::with_engine();
    let mut spec = anywhere(&clouds.sites(), 1);
    spec["pools"]["general"]["requirements"] = json!({ "offerings": ["t9.colossal@eu-central-1a"] });
    let file = engine.keep_spec(&spec.to_string());
    let plan = engine.json(&["plan", &file]);
    let unmet = &plan["plan"]["body"]["unmet"][0];
    assert_eq!(unmet["about"], "pool general", "{plan}");
    assert!(unmet["requirement"].to_string().contains("t9.colossal"), "{plan}");
    assert_eq!(clouds.machines(), [0, 0, 0]);
}

#[test]
fn user_data_over_a_cloud_s_limit_is_said_before_anything_is_bought() {
    // Longer than 16 KiB, as AWS has it; than 64 KiB in base64, as Azure; than 256 KiB in base64, as Google.
    for (registries, over) in [(80, "aws"), (250, "azure"), (1_000, "gcp")] {
        let clouds = Emulated::open(Pages::Small, |_, config| config);
        let name = |number: usize| format!("{}.{number:04}.example:5000", vec!["a".repeat(60); 4].join("."));
        let setup = Setup::without_machines().clouds(&clouds.world);
        let engine = setup.registries((0..registries).map(name).collect()).start();
        let mut sites = clouds.sites();
        sites.retain(|site, _| site == over);
        let file = engine.keep_spec(&anywhere(&sites, 1).to_string());
        for verb in [&["plan", &file][..], &["apply", &file, "--yes"]] {
            let refused = engine.run(verb);
            assert_ne!(refused.code, Some(0), "{over}");
            refused.says(&[over, "bytes", "--insecure-registry"]);
        }
        let creates = ["RunInstances", "VirtualMachines_CreateOrUpdate", "instances.insert"];
        for (cloud, create) in Cloud::ALL.into_iter().zip(creates) {
            assert_eq!(clouds.world.calls(cloud).of(create), 0, "{over}");
        }
    }
}

#[test]
fn a_machine_that_somebody_deletes_by_hand_is_replaced() {
    let (clouds, engine) = Emulated::with_engine();
    apply(&engine, &everywhere(&clouds.sites(), 1, 3));
    for cloud in Cloud::ALL {
        let machine = clouds.world.cloud(cloud).machines().remove(0);
        clouds.world.cloud(cloud).remove(&machine.handle);
    }
    within(HEALED_MAX, "every machine is replaced", || {
        let healthy = clouds.healthy(&engine);
        let whole = clouds.machines() == [1, 1, 1] && healthy == [1, 1, 1];
        let found = (healthy, clouds.machines());
        if whole { Ok(()) } else { Err(format!("{found:?}")) }
    });
    within(HEALED_MAX, "the last healing has ended, and all is destroyed", || {
        let destroyed = engine.run(&["destroy", CLUSTER, "--yes"]);
        if destroyed.code == Some(0) {
            Ok(())
        } else {
            Err(destroyed.stderr)
        }
    });
    clouds.are_empty();
}
