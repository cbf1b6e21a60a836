//! The clusters that runs are about: the demo's shop, and others beside it in other shards.

use std::sync::OnceLock;

use isobar_engine_model::id::{ClusterName, SiteName, WorkloadName};
use isobar_engine_model::spec::{Spec, WorkloadKind, text};

/// A cluster, with its service that may be moved and the one that may run only once. No two have a pool's or a
/// workload's name in common, so that machines and replicas are told apart by their ids alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stall {
    /// The demo's.
    Shop,
    /// A second one.
    Blog,
    /// A third one.
    Wiki,
}

impl Stall {
    /// All of them, each in another shard.
    pub const ALL: [Self; 3] = [Self::Shop, Self::Blog, Self::Wiki];

    /// Its cluster's name.
    pub fn cluster(self) -> ClusterName {
        self.spec().cluster
    }

    /// The service that is moved and scaled.
    pub fn web(self) -> WorkloadName {
        self.named("web")
    }

    /// The service that may run only once.
    pub fn ledger(self) -> WorkloadName {
        self.named("ledger")
    }

    fn named(self, base: &str) -> WorkloadName {
        let name = match self {
            Self::Shop => base.to_owned(),
            Self::Blog => format!("blog-{base}"),
            Self::Wiki => format!("wiki-{base}"),
        };
        WorkloadName::new(name).expect("a name")
    }

    /// As it is first asked for.
    pub fn spec(self) -> Spec {
        static SHOP: OnceLock<Spec> = OnceLock::new();
        static BLOG: OnceLock<Spec> = OnceLock::new();
        static WIKI: OnceLock<Spec> = OnceLock::new();
        let read = |yaml: &str| text::read("shop.yaml", yaml).expect("a good spec");
        let beside = |name: &str| {
            let renamed = |line: &str| match line.trim() {
                "web:" | "ledger:" | "migrate:" | "general:" => line.replacen("  ", &format!("  {name}-"), 1),
                "cluster: shop" => format!("cluster: {name}"),
                "machines: { min: 3, max: 6 }" => line.replace("min: 3", "min: 2"),
                _ => line.to_owned(),
            };
            read(&SHOP_YAML.lines().map(renamed).collect::<Vec<_>>().join("\n"))
        };
        match self {
            Self::Shop => SHOP.get_or_init(|| read(SHOP_YAML)).clone(),
            Self::Blog => BLOG.get_or_init(|| beside("blog")).clone(),
            Self::Wiki => WIKI.get_or_init(|| beside("wiki")).clone(),
        }
    }

    /// With so many replicas of its service in this site.
    pub fn with(self, site: &SiteName, replicas: u32) -> Spec {
        let mut spec = self.spec();
        let web = spec.workloads.get_mut(&self.web()).expect("every stall has it");
        web.placement.sites = Some(vec![site.clone()]);
        web.kind = WorkloadKind::Service {
            replicas,
            min_available: Some(replicas - 1),
        };
        spec
    }
}

/// The demo's cluster on the simulated provider, with a service that may run only once.
pub fn shop() -> Spec {
    Stall::Shop.spec()
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use isobar_engine_model::id::shard_of;

    use super::*;

    #[test]
    fn every_stall_is_in_another_shard_and_has_names_of_its_own() {
        let shards: BTreeSet<_> = Stall::ALL.iter().map(|stall| shard_of(&stall.cluster())).collect();
        assert_eq!(shards.len(), Stall::ALL.len());
        let specs = Stall::ALL.map(Stall::spec);
        let workloads: BTreeSet<_> = specs.iter().flat_map(|spec| spec.workloads.keys()).collect();
        let pools: BTreeSet<_> = specs.iter().flat_map(|spec| spec.pools.keys()).collect();
        assert_eq!((workloads.len(), pools.len()), (9, 3));
    }
}
