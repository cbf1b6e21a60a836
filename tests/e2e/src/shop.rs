//! The cluster of the tests of clouds: `shop`, with a pool a site and a service over all of them, by the real command.
//! Used with every kind of cloud that answers on this computer.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::engine::Engine;

/// Its name.
pub const CLUSTER: &str = "shop";

/// A service over every site: a pool of `machines` machines in each, and a replica on each of them at least.
pub fn everywhere(sites: &Map<String, Value>, machines: u32, replicas: u32) -> Value {
    let pool = |site: &String| {
        let pool = json!({ "sites": [site], "machines": { "min": machines, "max": machines + 2 } });
        (site.clone(), pool)
    };
    json!({
        "cluster": CLUSTER,
        "sites": sites,
        "pools": sites.keys().map(pool).collect::<BTreeMap<_, _>>(),
        "workloads": { "web": web(replicas) },
    })
}

/// One pool that may buy on any site, for nothing yet.
pub fn anywhere(sites: &Map<String, Value>, machines: u32) -> Value {
    json!({
        "cluster": CLUSTER,
        "sites": sites,
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
pub fn apply(engine: &Engine, spec: &Value) -> Value {
    let file = engine.keep_spec(&spec.to_string());
    engine.json(&["apply", &file, "--yes"])
}

/// Ends the cluster.
pub fn destroy(engine: &Engine) {
    engine.run(&["destroy", CLUSTER, "--yes"]).done();
}

/// How many healthy replicas each site has; sites that have none are absent.
pub fn healthy(engine: &Engine) -> BTreeMap<String, usize> {
    let answer = engine.json(&["query", "replicas"]);
    let mut healthy = BTreeMap::new();
    for view in answer["replicas"].as_array().into_iter().flatten() {
        let phase = &view["replica"]["phase"];
        if phase["phase"] == "running" && phase["healthy"] == true {
            let site = view["site"].as_str().unwrap_or_default().to_owned();
            *healthy.entry(site).or_default() += 1;
        }
    }
    healthy
}

/// What the engine says happened, in one text.
pub fn events(engine: &Engine) -> String {
    engine.json(&["query", "events", "--cluster", CLUSTER]).to_string()
}
