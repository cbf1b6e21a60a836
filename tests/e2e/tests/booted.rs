//! One cluster over AWS, Azure and GCP whose machines really boot: each is born in the call that its cloud was sent, finds
//! home by that cloud's metadata, joins, runs containers, and ends when its cloud is told to end it.

#![cfg(feature = "vm")]

use std::collections::BTreeMap;
use std::net::SocketAddr;

use isobar_tests_cloudbox::booted::Machine;
use isobar_tests_clouds::world::Cloud;
use isobar_tests_e2e::engine::{Engine, Setup};
use isobar_tests_e2e::guests::{Guests, has_ended, page};
use isobar_tests_e2e::registry::Registry;
use isobar_tests_e2e::wait::{SOON, within};
use serde_json::{Value, json};

/// A machine in each cloud and so many spare ones in any, with a replica on each.
fn spec(clouds: &Guests, image: &str, spare: u32) -> Value {
    let pool = |cloud: Cloud| {
        let pool = json!({ "sites": [cloud.name()], "machines": { "min": 1, "max": 1 } });
        (cloud.name(), pool)
    };
    let mut pools = BTreeMap::from(Cloud::ALL.map(pool));
    pools.insert("spare", json!({ "machines": { "min": spare, "max": 1 } }));
    json!({
        "cluster": "shop",
        "sites": clouds.world().sites(),
        "pools": pools,
        "workloads": { "web": {
            "kind": { "service": { "replicas": 3 + spare } },
            "image": image,
            "resources": { "cpu": "100m", "memory": "64MiB" },
            "ports": { "http": { "container": 8080, "publish": "auto" } },
            "health": { "probe": { "http": { "port": "http", "path": "/" } }, "interval_seconds": 1 },
            "placement": { "spread": ["machine"] },
        } },
    })
}

/// Every machine that a cloud has, with whose it is.
fn machines(clouds: &Guests) -> BTreeMap<String, (Cloud, Machine)> {
    let of = |cloud: Cloud| {
        let named = move |machine: Machine| {
            let name = machine.machine.clone().expect("an engine made it");
            (name.to_string(), (cloud, machine))
        };
        clouds.machines(cloud).into_iter().map(named)
    };
    Cloud::ALL.into_iter().flat_map(of).collect()
}

fn pid(machine: &Machine) -> u32 {
    machine.guest.as_ref().expect("it runs").pid
}

/// Asks every replica for its page, where this computer reaches its machine, and returns the names of those machines.
fn serving(engine: &Engine, clouds: &Guests) -> Vec<String> {
    let machines = machines(clouds);
    let answer = engine.json(&["query", "replicas"]);
    let mut serving: Vec<String> = Vec::new();
    for view in answer["replicas"].as_array().expect("a list") {
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let replica = text(&view["replica"]["id"]);
        if view["replica"]["phase"]["phase"] != "running" {
            continue;
        }
        let machine = text(&view["replica"]["machine"]);
        let inside: SocketAddr = text(&view["addresses"]["http"]).parse().expect("an address");
        let guest = machines[&machine].1.guest.as_ref().expect("it runs");
        let page = page((guest.host_address, inside.port()).into()).expect("it serves");
        assert!(page.contains(&format!("hello from {replica}")), "{replica}: {page}");
        serving.push(machine);
    }
    serving.sort();
    serving
}

#[test]
fn machines_of_three_clouds_boot_join_serve_and_end_with_their_calls() {
    let registry = Registry::start();
    let clouds = Guests::open();
    let engine = Setup::with_machines()
        .registry(&registry)
        .clouds(clouds.world())
        .start();
    let three = engine.keep_spec(&spec(&clouds, &registry.image(), 0).to_string());
    engine.json(&["apply", &three, "--yes"]);
    let first = machines(&clouds);
    for cloud in Cloud::ALL {
        let (on, machine) = &first[&format!("{}-1", cloud.name())];
        assert_eq!(*on, cloud);
        let console = clouds.console(cloud, &machine.handle);
        assert!(
            console.contains(&format!("Metadata({cloud:?})")),
            "{cloud:?}: {console}"
        );
    }
    assert_eq!(serving(&engine, &clouds), ["aws-1", "azure-1", "gcp-1"]);

    // The cloud of the plan has room when it is made, and none when it is carried out.
    let four = engine.keep_spec(&spec(&clouds, &registry.image(), 1).to_string());
    let plan = engine.json(&["plan", &four]);
    let planned = planned_site(&plan);
    clouds.world().set_room(planned, 0);
    let id = plan["plan"]["id"].as_str().expect("a plan has an id");
    engine.json(&["apply", "--plan", id, "--yes"]);
    let (elsewhere, spare) = machines(&clouds).remove("spare-1").expect("it is bought");
    assert_ne!(elsewhere, planned);
    let events = engine.json(&["query", "events", "--cluster", "shop"]).to_string();
    for words in [&format!("{} refused", planned.name()), "/h more than planned"] {
        assert!(events.contains(words), "{words}: {events}");
    }
    assert_eq!(serving(&engine, &clouds), ["aws-1", "azure-1", "gcp-1", "spare-1"]);

    // What the engine terminates in its cloud takes its guest with it.
    engine.run(&["destroy", "shop", "--yes"]).done();
    for machine in first.values().map(|(_, machine)| machine).chain([&spare]) {
        has_ended(pid(machine));
    }
    within(SOON, "every cloud is empty", || {
        let parts = Cloud::ALL.map(|cloud| clouds.world().cloud(cloud).parts().len());
        let left = (machines(&clouds).len(), parts);
        if left == (0, [0; 3]) {
            Ok(())
        } else {
            Err(format!("{left:?}"))
        }
    });
}

/// Where a plan buys its only machine, if it can.
fn planned_site(plan: &Value) -> Cloud {
    let steps = plan["plan"]["body"]["steps"].as_array().expect("a list");
    let text = steps
        .iter()
        .map(Value::to_string)
        .find(|step| step.contains("candidates"));
    let step: Value = serde_json::from_str(&text.expect("a machine is bought")).expect("it was JSON");
    let site = first_candidate(&step).expect("it has candidates")["site"].clone();
    let named = Cloud::ALL.into_iter().find(|cloud| site == cloud.name());
    named.expect("a site of a cloud")
}

fn first_candidate(value: &Value) -> Option<&Value> {
    match value {
        Value::Object(fields) => match fields.get("candidates") {
            Some(candidates) => candidates.get(0),
            None => fields.values().find_map(first_candidate),
        },
        Value::Array(items) => items.iter().find_map(first_candidate),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}
