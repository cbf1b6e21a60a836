//! What the planner's tests share: specs and catalogs in a line, and a tiny model of the world that plans act on.

use std::collections::BTreeMap;

use isobar_engine_model::catalog::{Architecture, Catalog, Image, Offering, Purchase, SiteCatalog};
use isobar_engine_model::id::{
    AttemptNo, ClusterName, Generation, ImageId, OfferingId, OperationId, PoolName, ProviderId, ResourceHandle,
    SiteName, Version, WorkloadName, Zone,
};
use isobar_engine_model::intent::{Intent, Limits};
use isobar_engine_model::observed::{Bought, Machine, MachinePhase, Observed, Replica, ReplicaPhase};
use isobar_engine_model::plan::{Action, Plan, Step};
use isobar_engine_model::quantity::{Mebibytes, MicroUsdPerHour, MilliCpus, Resources, Timestamp};
use isobar_engine_model::spec::{
    MachineCount, PlacementSpec, PoolSpec, PortSpec, Publish, Requirements, RestartPolicy, SiteSpec, Spec, Spread,
    WorkloadKind, WorkloadSpec,
};
use isobar_engine_planner::{PlanError, PlanInput, Wish, WorkBudget, outline, plan};

/// The time at which every test plans.
pub(crate) const NOW: Timestamp = Timestamp(1_000_000);

pub(crate) fn site(name: &str) -> SiteName {
    SiteName::new(name).unwrap()
}

pub(crate) fn pool(name: &str) -> PoolName {
    PoolName::new(name).unwrap()
}

pub(crate) fn workload(name: &str) -> WorkloadName {
    WorkloadName::new(name).unwrap()
}

pub(crate) fn resources(cpu: u32, memory: u32) -> Resources {
    Resources {
        cpu: MilliCpus(cpu),
        memory: Mebibytes(memory),
    }
}

/// A service that takes a quarter of a small machine and publishes a port.
pub(crate) fn service(replicas: u32, min_available: Option<u32>) -> WorkloadSpec {
    WorkloadSpec {
        kind: WorkloadKind::Service {
            replicas,
            min_available,
        },
        image: "registry/web:1".into(),
        command: Vec::new(),
        env: BTreeMap::new(),
        resources: resources(200, 100),
        ports: BTreeMap::from([(
            "http".to_owned(),
            PortSpec {
                container: 80,
                publish: Publish::Auto,
            },
        )]),
        health: None,
        restart: Some(RestartPolicy::Always),
        placement: PlacementSpec {
            sites: None,
            pools: None,
            spread: vec![Spread::Site, Spread::Machine],
        },
        stop_grace_seconds: 10,
        singleton: false,
    }
}

pub(crate) fn job(attempts: u32) -> WorkloadSpec {
    WorkloadSpec {
        kind: WorkloadKind::Job { attempts },
        ports: BTreeMap::new(),
        restart: Some(RestartPolicy::Never),
        placement: PlacementSpec::default(),
        ..service(1, None)
    }
}

pub(crate) fn daemon() -> WorkloadSpec {
    WorkloadSpec {
        kind: WorkloadKind::Daemon {},
        resources: resources(50, 20),
        ..job(1)
    }
}

/// Two sites, one pool of `min` to `max` machines, and these workloads.
pub(crate) fn spec(min: u32, max: u32, workloads: &[(&str, WorkloadSpec)]) -> Spec {
    let there = |region: &str| SiteSpec {
        provider: ProviderId::new("sim").unwrap(),
        region: region.into(),
        settings: BTreeMap::new(),
    };
    let general = PoolSpec {
        sites: None,
        machines: MachineCount { min, max },
        requirements: Requirements::default(),
    };
    Spec {
        cluster: ClusterName::new("shop").unwrap(),
        sites: BTreeMap::from([(site("north"), there("north")), (site("south"), there("south"))]),
        pools: BTreeMap::from([(pool("general"), general)]),
        workloads: workloads
            .iter()
            .map(|(name, spec)| (workload(name), spec.clone()))
            .collect(),
        adopted: BTreeMap::new(),
    }
}

/// The shop: three machines, four replicas of a service, a job.
pub(crate) fn shop() -> Spec {
    spec(3, 4, &[("migrate", job(2)), ("web", service(4, None))])
}

/// A small and a large offering in two zones of each of two sites.
pub(crate) fn catalog() -> Catalog {
    let sites = ["north", "south"].map(|name| {
        let offerings = ["a", "b"].into_iter().flat_map(|zone| {
            [("small", 1000, 500, 5_000), ("large", 2000, 2000, 12_000)].map(|(size, cpu, memory, price)| Offering {
                id: OfferingId::new(format!("{size}.{zone}")),
                instance_type: size.into(),
                zone: Zone::new(zone),
                purchase: Purchase::OnDemand,
                architecture: Architecture::X86_64,
                total: resources(cpu, memory),
                allocatable: resources(cpu, memory - 48),
                price: MicroUsdPerHour(price),
                priced: NOW,
            })
        });
        SiteCatalog {
            site: site(name),
            as_of: NOW,
            offerings: offerings.collect(),
            images: vec![Image {
                id: ImageId::new("node-1"),
                architecture: Architecture::X86_64,
            }],
            machines_left: None,
        }
    });
    Catalog {
        sites: sites.into(),
        silent: Vec::new(),
    }
}

/// What is, and how plans change it.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) observed: Observed,
    pub(crate) catalog: Catalog,
}

impl World {
    pub(crate) fn empty() -> Self {
        let observed = Observed {
            cluster: ClusterName::new("shop").unwrap(),
            generation: Generation(0),
            spec: None,
            machines: Vec::new(),
            replicas: Vec::new(),
            networks: Default::default(),
            adopted: Vec::new(),
            next_machine: BTreeMap::new(),
            next_replica: BTreeMap::new(),
        };
        Self {
            observed,
            catalog: catalog(),
        }
    }

    /// A world in which `spec` was deployed and everything runs.
    pub(crate) fn of(spec: &Spec) -> Self {
        let mut world = Self::empty();
        world.carry_out(&world.deploy(spec));
        world
    }

    pub(crate) fn wish(&self, wish: Wish<'_>, limits: Limits) -> Result<Plan, PlanError> {
        let input = PlanInput {
            wish,
            observed: &self.observed,
            catalog: &self.catalog,
            limits,
            now: NOW,
            validity_ms: 600_000,
            budget: WorkBudget::default(),
        };
        plan(&input)
    }

    pub(crate) fn ask(&self, intent: &Intent) -> Plan {
        self.wish(Wish::Asked(intent), Limits::default()).unwrap()
    }

    pub(crate) fn deploy(&self, spec: &Spec) -> Plan {
        self.ask(&Intent::Deploy {
            spec: Box::new(spec.clone()),
        })
    }

    pub(crate) fn reconcile(&self) -> Plan {
        self.wish(Wish::Reconcile, Limits::default()).unwrap()
    }

    /// Carries a plan out in its own order.
    pub(crate) fn carry_out(&mut self, plan: &Plan) {
        self.accept(plan);
        for step in &plan.body.steps {
            self.carry_out_step(plan, step);
        }
    }

    /// What changes once a plan is accepted, before its first step.
    pub(crate) fn accept(&mut self, plan: &Plan) {
        if self.observed.spec != plan.body.spec {
            self.observed.generation.0 += 1;
            self.observed.spec.clone_from(&plan.body.spec);
        }
    }

    pub(crate) fn carry_out_step(&mut self, plan: &Plan, step: &Step) {
        match &step.action {
            Action::BuyMachine {
                machine,
                pool,
                candidates,
            } => {
                let first = &candidates[0];
                let bought = Bought {
                    operation: OperationId::new("op-1"),
                    attempt: AttemptNo(1),
                    site: first.site.clone(),
                    zone: first.zone.clone(),
                    offering: first.offering.clone(),
                    purchase: first.purchase,
                    price: first.price,
                    allocatable: first.allocatable,
                };
                let handle = ResourceHandle::new(machine.as_str());
                self.observed.machines.push(Machine {
                    id: machine.clone(),
                    pool: pool.clone(),
                    version: Version(1),
                    bought: Some(bought),
                    phase: MachinePhase::Ready { since: NOW, handle },
                    node: None,
                });
                self.observed.machines.sort_by(|a, b| a.id.cmp(&b.id));
                *self.observed.next_machine.entry(pool.clone()).or_insert(1) += 1;
            }
            Action::ReleaseMachine { machine } => self.observed.machines.retain(|m| m.id != *machine),
            Action::StartReplica {
                replica,
                workload,
                revision,
                machine,
                ports,
            } => {
                let spec = &plan.body.spec.as_ref().unwrap().workloads[workload];
                self.observed.replicas.push(Replica {
                    id: replica.clone(),
                    workload: workload.clone(),
                    revision: revision.clone(),
                    version: Version(1),
                    machine: machine.clone(),
                    resources: spec.resources,
                    ports: ports.clone(),
                    phase: ReplicaPhase::Running {
                        since: NOW,
                        healthy: true,
                        restarts: 0,
                    },
                });
                self.observed.replicas.sort_by(|a, b| a.id.cmp(&b.id));
                *self.observed.next_replica.entry(workload.clone()).or_insert(1) += 1;
            }
            Action::StopReplica { replica, .. } => self.observed.replicas.retain(|r| r.id != *replica),
            Action::RemoveNetwork { site } => {
                self.observed.networks.remove(site);
            }
            Action::DeleteOrphan { .. } | Action::ChangeAdopted { .. } | Action::ReleaseAdopted { .. } => {}
        }
    }

    /// Takes a machine away, as a cut power line does.
    pub(crate) fn lose(&mut self, machine: &str) {
        let machine = self
            .observed
            .machines
            .iter_mut()
            .find(|m| m.id.as_str() == machine)
            .unwrap();
        let handle = machine.handle().cloned();
        machine.phase = MachinePhase::Lost {
            since: NOW,
            handle,
            reason: "its node is silent".into(),
        };
        machine.version.0 += 1;
    }

    /// Takes every machine of a site away.
    pub(crate) fn lose_site(&mut self, lost: &str) {
        let there = |m: &&Machine| m.bought.as_ref().is_some_and(|b| b.site.as_str() == lost);
        let ids: Vec<String> = self
            .observed
            .machines
            .iter()
            .filter(there)
            .map(|m| m.id.to_string())
            .collect();
        for id in ids {
            self.lose(&id);
        }
    }

    pub(crate) fn set_phase(&mut self, replica: &str, phase: ReplicaPhase) {
        self.observed
            .replicas
            .iter_mut()
            .find(|r| r.id.as_str() == replica)
            .unwrap()
            .phase = phase;
    }

    /// Site of each replica, as `web-1 general-1 north`.
    pub(crate) fn places(&self) -> Vec<String> {
        let site = |replica: &Replica| {
            let machine = self.observed.machines.iter().find(|m| m.id == replica.machine);
            machine
                .and_then(|m| m.bought.as_ref())
                .map_or("?", |b| b.site.as_str())
                .to_owned()
        };
        self.observed
            .replicas
            .iter()
            .map(|r| format!("{} {} {}", r.id, r.machine, site(r)))
            .collect()
    }
}

/// A plan as people read it: steps, cost, risks, what is unmet, and why.
pub(crate) fn read(plan: &Plan) -> String {
    let body = &plan.body;
    let mut lines = outline(plan);
    if lines.is_empty() {
        lines.push("nothing to do".into());
    }
    lines.push(format!(
        "cost {} -> {}, at most {}",
        body.cost.before, body.cost.after, body.cost.ceiling
    ));
    lines.extend(
        body.risks
            .iter()
            .map(|risk| format!("risk {}", serde_json::to_string(risk).unwrap())),
    );
    lines.extend(body.unmet.iter().map(|unmet| {
        let nearest = unmet.nearest.as_deref().unwrap_or("nothing comes near");
        format!(
            "unmet {}: {} missing: {} ({nearest})",
            unmet.about, unmet.missing, unmet.requirement
        )
    }));
    lines.extend(
        body.reasons
            .iter()
            .map(|reason| format!("why {}: {}", reason.about, reason.because)),
    );
    lines.join("\n")
}
