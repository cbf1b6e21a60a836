//! What holds of every plan, whatever the spec, the world and the order in which its steps are carried out.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{NOW, World, daemon, job, read, resources, service, site, spec};
use isobar_engine_model::id::{MachineId, ReplicaId, StepId, WorkloadName};
use isobar_engine_model::intent::{Intent, Limits};
use isobar_engine_model::observed::{Machine, MachinePhase, PortBinding, Replica, ReplicaPhase};
use isobar_engine_model::plan::{Action, Plan, Step};
use isobar_engine_model::quantity::Resources;
use isobar_engine_model::spec::{PlacementSpec, Publish, Spec, Spread, WorkloadKind, WorkloadSpec};
use isobar_engine_planner::Wish;
use proptest::prelude::*;
use proptest::sample::Index;

/// After so many plans, each carried out, nothing is left to do.
const PLANS_TO_CONVERGE_MAX: usize = 8;

fn some_service() -> impl Strategy<Value = WorkloadSpec> {
    let sizes = prop::sample::select(vec![
        resources(100, 50),
        resources(200, 100),
        resources(500, 226),
        resources(900, 1500),
    ]);
    let publish = prop::sample::select(vec![
        Publish::No,
        Publish::Auto,
        Publish::Port(30_000),
        Publish::Port(30_001),
    ]);
    let spread = prop::sample::select(vec![
        vec![],
        vec![Spread::Site],
        vec![Spread::Machine],
        vec![Spread::Site, Spread::Machine],
        vec![Spread::Zone, Spread::Machine],
        vec![Spread::Machine, Spread::Site],
    ]);
    let sites = prop::sample::select(vec![None, None, Some(vec![site("north")]), Some(vec![site("south")])]);
    let numbers = (0..7u32, prop::option::of(0..7u32), 1..3u8, prop::bool::weighted(0.1));
    (numbers, sizes, publish, spread, sites).prop_map(
        |((replicas, minimum, image, singleton), size, publish, spread, sites)| {
            let replicas = if singleton { 1 } else { replicas };
            let mut made = service(replicas, minimum.map(|minimum| minimum.min(replicas)));
            made.image = format!("registry/web:{image}");
            made.resources = size;
            made.ports.get_mut("http").unwrap().publish = publish;
            made.placement = PlacementSpec {
                sites,
                pools: None,
                spread,
            };
            made.singleton = singleton;
            made
        },
    )
}

fn some_spec() -> impl Strategy<Value = Spec> {
    let workloads = (
        some_service(),
        prop::option::of(some_service()),
        any::<bool>(),
        any::<bool>(),
    );
    (0..4u32, 0..5u32, workloads).prop_map(|(min, more, (web, api, with_daemon, with_job))| {
        let mut made = spec(min, (min + more).max(1), &[("web", web)]);
        let name = |text: &str| WorkloadName::new(text).unwrap();
        made.workloads.extend(api.map(|api| (name("api"), api)));
        made.workloads.extend(with_daemon.then(|| (name("logs"), daemon())));
        made.workloads.extend(with_job.then(|| (name("migrate"), job(2))));
        made
    })
}

/// Something that goes wrong with a world.
#[derive(Debug, Clone)]
enum Trouble {
    MachineLost(Index),
    SiteLost(&'static str),
    Unhealthy(Index),
    Failed(Index),
    Stopping(Index),
}

fn some_trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        any::<Index>().prop_map(Trouble::MachineLost),
        prop::sample::select(vec!["north", "south"]).prop_map(Trouble::SiteLost),
        any::<Index>().prop_map(Trouble::Unhealthy),
        any::<Index>().prop_map(Trouble::Failed),
        any::<Index>().prop_map(Trouble::Stopping),
    ]
}

fn strike(world: &mut World, trouble: &Trouble) {
    let mut phase = |index: &Index, phase: ReplicaPhase| {
        if !world.observed.replicas.is_empty() {
            index.get_mut(&mut world.observed.replicas).phase = phase;
        }
    };
    match trouble {
        Trouble::MachineLost(index) if !world.observed.machines.is_empty() => {
            let id = index.get(&world.observed.machines).id.to_string();
            world.lose(&id);
        }
        Trouble::MachineLost(_) => {}
        Trouble::SiteLost(site) => world.lose_site(site),
        Trouble::Unhealthy(index) => phase(
            index,
            ReplicaPhase::Running {
                since: NOW,
                healthy: false,
                restarts: 1,
            },
        ),
        Trouble::Failed(index) => phase(
            index,
            ReplicaPhase::Failed {
                since: NOW,
                reason: "exit code 1".into(),
            },
        ),
        Trouble::Stopping(index) => phase(index, ReplicaPhase::Stopping { since: NOW }),
    }
}

/// A world that came about by deploying a spec, in which some things went wrong.
fn some_world() -> impl Strategy<Value = World> {
    (some_spec(), prop::collection::vec(some_trouble(), 0..3)).prop_map(|(spec, troubles)| {
        let mut world = World::of(&spec);
        for trouble in &troubles {
            strike(&mut world, trouble);
        }
        world
    })
}

/// Carries a plan out in an order that its needs allow, one beginning or end of a step at a time.
struct Execution<'p> {
    plan: &'p Plan,
    begun: BTreeSet<StepId>,
    done: BTreeSet<StepId>,
    /// What takes room on each machine, by replica.
    room: BTreeMap<ReplicaId, (MachineId, Resources, BTreeMap<String, PortBinding>)>,
    allocatable: BTreeMap<MachineId, Resources>,
    was_healthy: BTreeSet<ReplicaId>,
    healthy: BTreeMap<WorkloadName, u32>,
    floor: BTreeMap<WorkloadName, u32>,
}

impl<'p> Execution<'p> {
    fn new(world: &World, plan: &'p Plan) -> Self {
        let observed = &world.observed;
        let up = |m: &&Machine| matches!(m.phase, MachinePhase::Ready { .. });
        let machines: Vec<_> = observed.machines.iter().filter(up).collect();
        let is_up = |replica: &&Replica| machines.iter().any(|machine| machine.id == replica.machine);
        let mut was_healthy = BTreeSet::new();
        let mut healthy: BTreeMap<WorkloadName, u32> = BTreeMap::new();
        for replica in observed
            .replicas
            .iter()
            .filter(is_up)
            .filter(|replica| replica.is_healthy())
        {
            *healthy.entry(replica.workload.clone()).or_default() += 1;
            was_healthy.insert(replica.id.clone());
        }
        let workloads = plan.body.spec.iter().flat_map(|spec| &spec.workloads);
        let floor = workloads
            .map(|(name, spec)| {
                (
                    name.clone(),
                    spec.min_available().min(healthy.get(name).copied().unwrap_or(0)),
                )
            })
            .collect();
        Self {
            plan,
            begun: BTreeSet::new(),
            done: BTreeSet::new(),
            room: observed
                .replicas
                .iter()
                .filter(is_up)
                .filter(|replica| replica.takes_room())
                .map(|r| (r.id.clone(), (r.machine.clone(), r.resources, r.ports.clone())))
                .collect(),
            allocatable: machines
                .iter()
                .map(|machine| (machine.id.clone(), machine.bought.as_ref().unwrap().allocatable))
                .collect(),
            was_healthy,
            healthy,
            floor,
        }
    }

    fn run(&mut self, picks: &[Index]) -> Result<(), TestCaseError> {
        let mut picks = picks.iter().cycle();
        while self.done.len() < self.plan.body.steps.len() {
            let ready: Vec<&Step> = self.plan.body.steps.iter().filter(|step| self.is_ready(step)).collect();
            prop_assert!(!ready.is_empty(), "the steps that are left wait for each other");
            let step = picks.next().unwrap().get(&ready);
            if self.begun.insert(step.id) {
                self.begin(step)?
            } else {
                self.end(step)
            }
            self.check(step)?;
        }
        Ok(())
    }

    fn is_ready(&self, step: &Step) -> bool {
        !self.done.contains(&step.id) && step.needs.iter().all(|need| self.done.contains(need))
    }

    fn begin(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match &step.action {
            Action::StartReplica {
                replica,
                workload,
                machine,
                ports,
                ..
            } => {
                prop_assert!(
                    self.allocatable.contains_key(machine),
                    "{replica} starts where no machine is"
                );
                let need = self.plan.body.spec.as_ref().unwrap().workloads[workload].resources;
                self.room
                    .insert(replica.clone(), (machine.clone(), need, ports.clone()));
            }
            Action::StopReplica { replica, workload, .. } => {
                if self.was_healthy.contains(replica) {
                    *self.healthy.get_mut(workload).unwrap() -= 1;
                }
            }
            Action::ReleaseMachine { machine } => {
                let left = self.room.values().any(|(on, _, _)| on == machine);
                prop_assert!(!left, "{machine} is released with replicas on it");
            }
            Action::BuyMachine { .. } | Action::RemoveNetwork { .. } => {}
            Action::DeleteOrphan { name, .. } => prop_assert!(false, "no wish deletes {name}"),
            Action::ChangeAdopted { object, .. } | Action::ReleaseAdopted { object } => {
                prop_assert!(false, "nothing was adopted, {object} least of all");
            }
        }
        Ok(())
    }

    fn end(&mut self, step: &Step) {
        self.done.insert(step.id);
        match &step.action {
            Action::BuyMachine {
                machine, candidates, ..
            } => {
                // The least of the candidates must do.
                let least = candidates
                    .iter()
                    .map(|c| c.allocatable)
                    .min_by_key(|room| (room.memory, room.cpu))
                    .unwrap();
                self.allocatable.insert(machine.clone(), least);
            }
            Action::ReleaseMachine { machine } => {
                self.allocatable.remove(machine);
            }
            Action::StartReplica { workload, .. } => *self.healthy.entry(workload.clone()).or_default() += 1,
            Action::StopReplica { replica, .. } => {
                self.room.remove(replica);
            }
            Action::RemoveNetwork { .. }
            | Action::DeleteOrphan { .. }
            | Action::ChangeAdopted { .. }
            | Action::ReleaseAdopted { .. } => {}
        }
    }

    fn check(&self, step: &Step) -> Result<(), TestCaseError> {
        for (workload, floor) in &self.floor {
            let healthy = self.healthy.get(workload).copied().unwrap_or(0);
            prop_assert!(
                healthy >= *floor,
                "{healthy} of {workload} are healthy after step {}, not {floor}",
                step.id
            );
        }
        let mut used: BTreeMap<&MachineId, (u32, u32, BTreeSet<u16>)> = BTreeMap::new();
        for (replica, (machine, room, ports)) in &self.room {
            let used = used.entry(machine).or_default();
            used.0 += room.cpu.0;
            used.1 += room.memory.0;
            for binding in ports.values() {
                prop_assert!(
                    used.2.insert(binding.node),
                    "port {} of {machine} twice: {replica}",
                    binding.node
                );
            }
        }
        for (machine, (cpu, memory, _)) in used {
            let Some(has) = self.allocatable.get(machine) else {
                continue;
            };
            prop_assert!(
                cpu <= has.cpu.0 && memory <= has.memory.0,
                "{machine} is over its room after step {}",
                step.id
            );
        }
        Ok(())
    }
}

/// The nodes finish what they had begun to stop.
fn settle(world: &mut World) {
    world
        .observed
        .replicas
        .retain(|replica| !matches!(replica.phase, ReplicaPhase::Stopping { .. }));
    for replica in &mut world.observed.replicas {
        if let ReplicaPhase::Running { healthy, .. } = &mut replica.phase {
            *healthy = true;
        }
    }
}

fn deploy(spec: &Spec) -> Intent {
    Intent::Deploy {
        spec: Box::new(spec.clone()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_order_breaks_capacity_ports_or_availability(
        world in some_world(),
        wish in prop::option::of(some_spec()),
        picks in prop::collection::vec(any::<Index>(), 64),
    ) {
        let plan = match &wish {
            Some(spec) => world.deploy(spec),
            None => world.reconcile(),
        };
        let result = Execution::new(&world, &plan).run(&picks);
        prop_assert!(result.is_ok(), "{}\n{}\n{}", result.unwrap_err(), world.places().join("\n"), read(&plan));
    }

    #[test]
    fn needs_are_earlier_steps_and_ids_count_from_one(world in some_world(), wish in some_spec()) {
        let plan = world.deploy(&wish);
        for (ix, step) in plan.body.steps.iter().enumerate() {
            prop_assert_eq!(usize::try_from(step.id.0).unwrap(), ix + 1);
            prop_assert!(step.needs.iter().all(|need| *need < step.id));
        }
    }

    #[test]
    fn the_same_input_gives_the_same_bytes(world in some_world(), wish in some_spec()) {
        let bytes = |plan: &Plan| serde_json::to_vec(plan).unwrap();
        prop_assert_eq!(bytes(&world.deploy(&wish)), bytes(&world.clone().deploy(&wish)));
    }

    #[test]
    fn plans_converge(mut world in some_world(), wish in some_spec()) {
        world.carry_out(&world.deploy(&wish));
        for _ in 1..PLANS_TO_CONVERGE_MAX {
            settle(&mut world);
            world.carry_out(&world.reconcile());
        }
        settle(&mut world);
        let plan = world.reconcile();
        prop_assert!(plan.body.steps.is_empty(), "{}\n{}", world.places().join("\n"), read(&plan));
    }

    #[test]
    fn what_can_be_met_is_met(mut world in some_world(), wish in some_spec()) {
        let plan = world.deploy(&wish);
        if !plan.body.unmet.is_empty() {
            return Ok(());
        }
        world.carry_out(&plan);
        settle(&mut world);
        // What nothing could stand in for was left running: it stops once that has come.
        if plan.body.reasons.iter().any(|reason| reason.because.starts_with("left running")) {
            world.carry_out(&world.reconcile());
        }
        let again = world.reconcile();
        prop_assert!(again.body.steps.is_empty(), "after\n{}\nthere is\n{}", read(&plan), read(&again));
        for (name, workload) in &wish.workloads {
            let there = world.observed.replicas.iter().filter(|replica| replica.workload == *name);
            if let WorkloadKind::Service { replicas, .. } = workload.kind {
                prop_assert_eq!(u32::try_from(there.count()).unwrap(), replicas, "{}", name);
            }
        }
    }

    #[test]
    fn a_price_ceiling_holds_whichever_fallback_is_taken(wish in some_spec(), ceiling in 0..60_000i64) {
        let limits = Limits { max_dearer_percent: None, max_micro_usd_per_hour: Some(ceiling) };
        let plan = World::empty().wish(Wish::Asked(&deploy(&wish)), limits).unwrap();
        prop_assert!(plan.body.cost.ceiling.0 <= ceiling, "{}", read(&plan));
    }

    #[test]
    fn a_lost_site_is_healed_on_the_other_one(min in 1..4u32, replicas in 1..8u32) {
        let mut world = World::of(&spec(min, min + 4, &[("web", service(replicas, None))]));
        world.lose_site("north");
        for there in &mut world.catalog.sites {
            if there.site == site("north") {
                there.machines_left = Some(0);
            }
        }
        let plan = world.reconcile();
        prop_assert!(plan.body.unmet.is_empty(), "{}", read(&plan));
        world.carry_out(&plan);
        prop_assert!(world.places().iter().all(|place| place.ends_with("south")), "{}", world.places().join("\n"));
        prop_assert_eq!(world.places().len(), usize::try_from(replicas).unwrap());
        prop_assert!(world.reconcile().body.steps.is_empty());
    }
}
