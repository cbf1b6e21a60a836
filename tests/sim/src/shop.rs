//! The cluster that runs are about.

use isobar_engine_model::spec::{Spec, text};

/// The demo's cluster on the simulated provider, with a service that may run only once.
pub fn shop() -> Spec {
    static SHOP: std::sync::OnceLock<Spec> = std::sync::OnceLock::new();
    SHOP.get_or_init(|| text::read("shop.yaml", SHOP_YAML).expect("a good spec"))
        .clone()
}

const SHOP_YAML: &str = r#"
cluster: shop
sites:
  north: { provider: sim, region: north }
  south: { provider: sim, region: south }
pools:
  general:
    machines: { min: 3, max: 6 }
workloads:
  web:
    kind: { service: { replicas: 4, min_available: 3 } }
    image: registry:5000/shop/web:1
    resources: { cpu: 200m, memory: 64MiB }
    ports: { http: { container: 8080, publish: auto } }
    placement: { sites: [north], spread: [machine] }
  ledger:
    kind: { service: { replicas: 1 } }
    singleton: true
    image: registry:5000/shop/ledger:1
    resources: { cpu: 100m, memory: 64MiB }
  migrate:
    kind: { job: { attempts: 2 } }
    image: registry:5000/shop/web:1
    command: [migrate]
    resources: { cpu: 100m, memory: 64MiB }
"#;
