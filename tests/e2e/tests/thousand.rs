//! A thousand machines in one apply, over three clouds whose accounts are throttled: all are bought and all are gone after,
//! with a number of calls that follows from the number of machines and of looks, and from nothing else.

use std::collections::BTreeMap;

use isobar_tests_clouds::front::Limit;
use isobar_tests_clouds::world::{Cloud, Pages};
use isobar_tests_e2e::emulated::Emulated;
use isobar_tests_e2e::engine::Setup;
use isobar_tests_e2e::shop::{CLUSTER, destroy};
use serde_json::json;

/// In all; the clouds share them.
const MACHINES: [usize; 3] = [334, 333, 333];
/// What each cloud takes of each kind of call.
const LIMIT: Limit = Limit {
    calls_per_second: 20,
    burst_calls: 10,
};

#[test]
fn a_thousand_machines_come_and_go_under_a_throttle() {
    let clouds = Emulated::open(Pages::Whole, |_, config| config);
    for cloud in Cloud::ALL {
        clouds.world.door(cloud).limit(LIMIT);
    }
    let engine = Setup::without_machines().clouds(&clouds.world).start();
    let pools = Cloud::ALL.into_iter().zip(MACHINES).map(|(cloud, machines)| {
        let pool = json!({ "sites": [cloud.name()], "machines": { "min": machines, "max": machines } });
        (cloud.name(), pool)
    });
    let spec = json!({
        "cluster": CLUSTER,
        "sites": clouds.sites(),
        "pools": pools.collect::<BTreeMap<_, _>>(),
    });
    let file = engine.keep_spec(&spec.to_string());
    engine.json(&["apply", &file, "--yes"]);
    assert_eq!(clouds.machines(), MACHINES);
    eprintln!(
        "{:#?}",
        Cloud::ALL.map(|cloud| (
            clouds.world.calls(cloud).all(),
            clouds.world.door(cloud).refused_calls()
        ))
    );

    destroy(&engine);
    clouds.are_empty();
    eprintln!(
        "{:#?}",
        Cloud::ALL.map(|cloud| (
            clouds.world.calls(cloud).all(),
            clouds.world.door(cloud).refused_calls()
        ))
    );
}
