//! Placement at the size that Isobar is built for: ten thousand machines within the default work budget.
//!
//! Nothing is timed here. The budget bounds the work: a search that looked at every machine for every replica would
//! need a hundred million looks and run out of it.

#![expect(
    clippy::unwrap_used,
    reason = "a test stops at the first thing that is not as it should be"
)]

use std::collections::{BTreeMap, BTreeSet};

use isobar_engine_model::catalog::{Architecture, Catalog, Image, Offering, Purchase, SiteCatalog};
use isobar_engine_model::id::{
    AttemptNo, ClusterName, Generation, ImageId, OfferingId, OperationId, PoolName, ProviderId, ResourceHandle,
    SiteName, Version, WorkloadName, Zone,
};
use isobar_engine_model::observed::{Bought, Machine, MachinePhase, Observed, Replica, ReplicaPhase};
use isobar_engine_model::quantity::{Mebibytes, MicroUsdPerHour, MilliCpus, Resources, Timestamp};
use isobar_engine_model::spec::{
    MachineCount, PlacementSpec, PoolSpec, PortSpec, Publish, Requirements, SiteSpec, Spec, Spread, WorkloadKind,
    WorkloadSpec,
};
use isobar_engine_scheduler::{Placement, PlacementInput, WorkBudget, place};

const MACHINES: u32 = 10_000;
const NOW: Timestamp = Timestamp(1_000);

fn spec(replicas: u32, publish: Publish) -> Spec {
    let general = PoolSpec {
        sites: None,
        machines: MachineCount {
            min: MACHINES,
            max: MACHINES + 500,
        },
        requirements: Requirements::default(),
    };
    let web = WorkloadSpec {
        kind: WorkloadKind::Service {
            replicas,
            min_available: Some(replicas - replicas / 10),
        },
        image: "registry/web:1".into(),
        command: Vec::new(),
        env: BTreeMap::new(),
        resources: Resources {
            cpu: MilliCpus(300),
            memory: Mebibytes(128),
        },
        ports: BTreeMap::from([("http".to_owned(), PortSpec { container: 80, publish })]),
        health: None,
        restart: None,
        placement: PlacementSpec {
            sites: None,
            pools: None,
            spread: vec![Spread::Site, Spread::Machine],
        },
        stop_grace_seconds: 10,
        singleton: false,
    };
    let there = |region: &str| SiteSpec {
        provider: ProviderId::new("sim").unwrap(),
        region: region.into(),
        settings: BTreeMap::new(),
    };
    Spec {
        cluster: ClusterName::new("big").unwrap(),
        sites: ["east", "west"]
            .into_iter()
            .map(|name| (SiteName::new(name).unwrap(), there(name)))
            .collect(),
        pools: BTreeMap::from([(PoolName::new("general").unwrap(), general)]),
        workloads: BTreeMap::from([(WorkloadName::new("web").unwrap(), web)]),
        adopted: BTreeMap::new(),
    }
}

fn catalog() -> Catalog {
    let room = Resources {
        cpu: MilliCpus(1000),
        memory: Mebibytes(512),
    };
    let offering = Offering {
        id: OfferingId::new("small"),
        instance_type: "small".into(),
        zone: Zone::new("a"),
        purchase: Purchase::OnDemand,
        architecture: Architecture::X86_64,
        total: room,
        allocatable: room,
        price: MicroUsdPerHour(5_000),
        priced: NOW,
    };
    let sites = ["east", "west"].map(|name| SiteCatalog {
        site: SiteName::new(name).unwrap(),
        as_of: NOW,
        offerings: vec![offering.clone()],
        images: vec![Image {
            id: ImageId::new("node-1"),
            architecture: Architecture::X86_64,
        }],
        machines_left: None,
    });
    Catalog {
        sites: sites.into(),
        silent: Vec::new(),
    }
}

fn nothing() -> Observed {
    Observed {
        cluster: ClusterName::new("big").unwrap(),
        generation: Generation(0),
        spec: None,
        machines: Vec::new(),
        replicas: Vec::new(),
        networks: Default::default(),
        adopted: Vec::new(),
        next_machine: BTreeMap::new(),
        next_replica: BTreeMap::new(),
    }
}

/// What is once `placement` is carried out.
fn after(placement: &Placement, spec: &Spec) -> Observed {
    let machines = placement.buys.iter().map(|buy| Machine {
        id: buy.machine.clone(),
        pool: buy.pool.clone(),
        version: Version(1),
        bought: Some(Bought {
            operation: OperationId::new("op-1"),
            attempt: AttemptNo(1),
            site: buy.candidates[0].site.clone(),
            zone: buy.candidates[0].zone.clone(),
            offering: buy.candidates[0].offering.clone(),
            purchase: buy.candidates[0].purchase,
            price: buy.candidates[0].price,
            allocatable: buy.candidates[0].allocatable,
        }),
        phase: MachinePhase::Ready {
            since: NOW,
            handle: ResourceHandle::new("m"),
        },
        node: None,
    });
    let replicas = placement.assignments.iter().map(|a| Replica {
        id: a.replica.clone(),
        workload: a.workload.clone(),
        revision: a.revision.clone(),
        version: Version(1),
        machine: a.machine.clone(),
        resources: spec.workloads[&a.workload].resources,
        ports: a.ports.clone(),
        phase: ReplicaPhase::Running {
            since: NOW,
            healthy: true,
            restarts: 0,
        },
    });
    let mut observed = Observed {
        machines: machines.collect(),
        replicas: replicas.collect(),
        ..nothing()
    };
    observed.machines.sort_by(|a, b| a.id.cmp(&b.id));
    observed.replicas.sort_by(|a, b| a.id.cmp(&b.id));
    observed.next_machine.insert(PoolName::new("general").unwrap(), 20_000);
    observed.next_replica.insert(WorkloadName::new("web").unwrap(), 50_000);
    observed
}

fn placed(spec: &Spec, observed: &Observed) -> Placement {
    let (leaving, catalog) = (BTreeSet::new(), catalog());
    let budget = WorkBudget::default();
    place(&PlacementInput {
        spec,
        observed,
        catalog: &catalog,
        leaving: &leaving,
        ceiling: None,
        now: NOW,
        budget,
    })
}

#[test]
fn ten_thousand_machines_are_filled_and_then_left_alone() {
    let spec = spec(25_000, Publish::Auto);
    let first = placed(&spec, &nothing());
    assert_eq!(
        (first.buys.len(), first.assignments.len(), first.unmet.len()),
        (10_000, 25_000, 0)
    );
    let again = placed(&spec, &after(&first, &spec));
    assert_eq!(
        (
            again.buys.len(),
            again.assignments.len(),
            again.stops.len(),
            again.kept.len()
        ),
        (0, 0, 0, 25_000)
    );
}

#[test]
fn a_roll_out_over_ten_thousand_full_machines_goes_in_waves() {
    let mut spec = spec(30_000, Publish::Auto);
    let observed = after(&placed(&spec, &nothing()), &spec);
    spec.workloads
        .values_mut()
        .for_each(|web| web.image = "registry/web:2".into());
    let rolled = placed(&spec, &observed);
    assert_eq!(
        (rolled.assignments.len(), rolled.stops.len(), rolled.unmet.len()),
        (30_000, 30_000, 0)
    );
    assert!(
        rolled.buys.is_empty(),
        "the tenth that may be missing makes room for the rest"
    );
}

#[test]
fn a_fixed_port_takes_one_replica_a_machine() {
    let spec = spec(10_200, Publish::Port(30_000));
    let placement = placed(&spec, &nothing());
    let machines: BTreeSet<_> = placement.assignments.iter().map(|a| &a.machine).collect();
    assert_eq!(
        (placement.buys.len(), machines.len(), placement.unmet.len()),
        (10_200, 10_200, 0)
    );
}

#[test]
fn a_small_budget_ends_the_search_and_says_so() {
    let (spec, leaving, catalog) = (spec(1_000, Publish::No), BTreeSet::new(), catalog());
    let observed = nothing();
    let budget = WorkBudget(100);
    let input = PlacementInput {
        spec: &spec,
        observed: &observed,
        catalog: &catalog,
        leaving: &leaving,
        ceiling: None,
        now: NOW,
        budget,
    };
    let placement = place(&input);
    assert_eq!(placement.unmet[0].requirement, "more than 100 places looked at");
}
