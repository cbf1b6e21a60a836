//! Carries a scenario out, from an empty world to its last check. Nothing in here depends on real time, on threads or
//! on unseeded randomness.

use std::sync::Arc;
use std::time::Duration;

use isobar_engine_control::Engine;
use isobar_engine_control::api::{OperationCancel, QueryWhat};
use isobar_engine_model::id::{
    AttemptNo, ClusterName, Epoch, ImageId, MachineId, OfferingId, OperationId, ProviderId, ResourceHandle, SiteName,
    WorkloadName, Zone,
};
use isobar_engine_model::intent::Intent;
use isobar_engine_model::observed::MachinePhase;
use isobar_engine_model::spec::{Spec, WorkloadKind};
use isobar_engine_provider::{CreateResource, MachineRequest, Owner, OwnerTags, ResourceSpec, Secret, Site, Token};
use isobar_providers_sim::{FaultRates, SIM_IMAGE};
use tokio::time::{sleep, timeout};

use crate::dice::Dice;
use crate::ending;
use crate::invariant::Invariant;
use crate::life::{Crossing, Life, Moment, Point, Turn};
use crate::scenario::{Part, Scenario, Where, Wish};
use crate::shop::shop;
use crate::tally::{Outcome, Stops};
use crate::world::World;

/// A wish that the engine does not take is tried so often.
const TRIES_MAX: u32 = 15;
/// Between two tries.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(3);
/// A user waits so long for an engine's answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// How the engine begins to say that a cluster is not there.
const NO_CLUSTER: &str = "there is no cluster";
/// Before an engine that could not start is started again.
const START_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Carries a scenario out.
pub fn run(scenario: &Scenario) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let outcome = runtime.block_on(play(scenario));
    // Engines that were killed hang in tasks of it.
    drop(runtime);
    outcome
}

async fn play(scenario: &Scenario) -> Outcome {
    let stage = Stage {
        world: World::open(scenario.setup.clone()),
        dice: Dice::new(scenario.seed, "stage"),
    };
    let foreign = stage.add_foreign(scenario.foreign);
    let mut stops = Stops::default();
    tokio::select! {
        biased;
        never = stage.operate(&scenario.parts, &mut stops) => match never {},
        () = stage.wish(&scenario.wishes) => {}
    }
    stage
        .world
        .witness
        .note("weather", format_args!("nothing goes wrong any more"));
    stage.world.cloud.set_faults(FaultRates::none());
    stage.world.net.heal();
    stage.world.store_faults.stop();
    for life in &stops.frozen {
        life.thaw();
    }
    if let Some(engine) = stage.fresh(&mut stops).await {
        stage.last_wish(&engine, scenario.last).await;
        ending::check(&stage.world, &engine, &foreign).await;
    }
    Outcome::of(scenario.seed, &stage.world, &stops)
}

/// Where a run plays.
struct Stage {
    world: World,
    dice: Dice,
}

impl Stage {
    /// Machines without tags, and one of another engine with the same cluster's name.
    fn add_foreign(&self, count: u64) -> Vec<ResourceHandle> {
        let mut handles = Vec::new();
        for number in 0..count {
            let region = if number % 2 == 0 { "north" } else { "south" };
            let made = if number == 2 {
                self.world.cloud.add_of_another(request_of_another(region))
            } else {
                self.world.cloud.add_foreign(region, &format!("theirs-{number}"))
            };
            handles.push(made.expect("the region is there"));
        }
        handles
    }

    /// Keeps an engine running, and another, as the scenario has it. Never returns.
    async fn operate(&self, parts: &[Part], stops: &mut Stops) -> std::convert::Infallible {
        for part in parts {
            let life = Life::with(part.point, part.turn);
            match self.world.try_start(life.clone()).await {
                Some(Ok(_)) => {
                    // Its turn, or somebody starts another beside it.
                    let turned = timeout(Duration::from_millis(part.replaced_after_ms), life.stopped()).await;
                    let what = match (turned, life.is_frozen()) {
                        (Ok(()), true) => "stands still",
                        (Ok(()), false) => "is killed",
                        (Err(_), _) => "is replaced while it lives",
                    };
                    self.world.witness.note("operator", format_args!("the engine {what}"));
                }
                Some(Err(_)) => sleep(START_AGAIN_AFTER).await,
                None => self
                    .world
                    .witness
                    .note("operator", format_args!("the engine stops while it starts")),
            }
            stops.note(&life);
            sleep(Duration::from_millis(part.pause_ms)).await;
            if life.is_frozen() {
                let wake_after = Duration::from_millis(part.thaw_after_ms);
                tokio::spawn(async move {
                    sleep(wake_after).await;
                    life.thaw();
                });
            }
        }
        loop {
            let life = Life::long();
            match self.world.try_start(life).await {
                Some(Ok(_)) => return std::future::pending().await,
                Some(Err(_)) | None => sleep(START_AGAIN_AFTER).await,
            }
        }
    }

    /// An engine for the end: whichever lives is stopped first, so that what it believed cannot help.
    async fn fresh(&self, stops: &mut Stops) -> Option<Arc<Engine>> {
        let living = self.world.living().borrow().clone();
        if let Some((_, life)) = living
            && self.dice.happens(500)
        {
            life.end();
        }
        let life = Life::with(Point::Never, Turn::End);
        stops.engines = self.world.engines() + 1;
        match self.world.try_start(life).await {
            Some(Ok(engine)) => Some(engine),
            Some(Err(error)) => {
                let what = format!("no engine starts on a store that works: {error}");
                self.world.witness.violated(Invariant::Met, what);
                None
            }
            None => None,
        }
    }

    async fn wish(&self, wishes: &[(u64, Wish)]) {
        for (pause_ms, wish) in wishes {
            sleep(Duration::from_millis(*pause_ms)).await;
            for _ in 0..TRIES_MAX {
                if self.try_wish(*wish).await {
                    break;
                }
                sleep(TRY_AGAIN_AFTER).await;
            }
        }
        // What was accepted last has some time to go wrong.
        sleep(Duration::from_millis(self.dice.within(1_000, 60_000))).await;
    }

    /// Whether it was taken, or can never be.
    async fn try_wish(&self, wish: Wish) -> bool {
        let living = self.world.living().borrow().clone();
        let Some((engine, life)) = living else { return false };
        let done = tokio::select! {
            biased;
            () = life.stopped() => None,
            done = timeout(ANSWER_MAX, self.fulfil(&engine, wish)) => done.ok(),
        };
        let answer = match done {
            Some(Ok(())) => "done".to_owned(),
            Some(Err(why)) => why,
            None => "no answer".to_owned(),
        };
        let taken = answer == "done";
        self.world.witness.note("user", format_args!("{wish:?}: {answer}"));
        taken
    }

    async fn last_wish(&self, engine: &Arc<Engine>, wish: Wish) {
        let wishing = async {
            loop {
                match self.fulfil(engine, wish).await {
                    Ok(()) => return,
                    Err(why) => self.world.witness.note("user", format_args!("{wish:?}: {why}")),
                }
                sleep(TRY_AGAIN_AFTER).await;
            }
        };
        if timeout(ending::BOUND, wishing).await.is_err() {
            let what = format!("{wish:?} was not accepted");
            return self.world.witness.violated(Invariant::Met, what);
        }
        self.world
            .witness
            .note("user", format_args!("{wish:?}: done, and the last"));
    }

    async fn fulfil(&self, engine: &Arc<Engine>, wish: Wish) -> Result<(), String> {
        let cluster = shop().cluster;
        let intent = match wish {
            Wish::Deploy(site, replicas) => deploy(site, replicas),
            Wish::Look(replicas) => {
                let looked = self.world.plan(engine, deploy(Where::South, replicas + 3)).await;
                return looked.map(|_| ()).map_err(|error| error.to_string());
            }
            Wish::Scale(replicas) => Intent::Scale {
                cluster,
                workload: web(),
                replicas,
            },
            Wish::Move(to) => Intent::Move {
                cluster,
                workload: web(),
                to: vec![site_name(to)],
                from: Vec::new(),
            },
            Wish::Drain => match self.some_machine(engine).await {
                Some(machine) => Intent::Drain { cluster, machine },
                None => return Ok(()),
            },
            Wish::Destroy => Intent::Destroy { cluster },
            Wish::Cancel => return self.cancel(engine).await,
            Wish::LoseMachine | Wish::RemoveMachine => {
                self.lose(wish);
                return Ok(());
            }
        };
        match self.world.apply(engine, intent).await {
            Ok(_) => Ok(()),
            // There is no such cluster, or nothing of it is left.
            Err(error) if error.message.starts_with(NO_CLUSTER) && !matches!(wish, Wish::Deploy(..)) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Some machine that the engine calls ready.
    async fn some_machine(&self, engine: &Engine) -> Option<MachineId> {
        let answer = self.world.try_query(engine, &shop().cluster, QueryWhat::Machines).await;
        let ready =
            |machine: &isobar_engine_model::observed::Machine| matches!(machine.phase, MachinePhase::Ready { .. });
        let machines = answer.ok()?.machines?;
        machines.into_iter().find(ready).map(|machine| machine.id)
    }

    async fn cancel(&self, engine: &Engine) -> Result<(), String> {
        let answer = self.world.try_query(engine, &shop().cluster, QueryWhat::Cluster).await;
        let running: Option<OperationId> = answer
            .ok()
            .and_then(|answer| answer.cluster)
            .and_then(|summary| summary.operation);
        let Some(operation) = running else { return Ok(()) };
        let cancelled = engine.operation_cancel(OperationCancel { operation }).await;
        cancelled.map(|_| ()).map_err(|error| error.to_string())
    }

    fn lose(&self, wish: Wish) {
        let ours: Vec<ResourceHandle> = self
            .world
            .cloud
            .machines()
            .into_iter()
            .filter(|machine| {
                machine
                    .tags()
                    .is_some_and(|tags| tags.owner.store == crate::world::STORE)
            })
            .map(|machine| machine.handle)
            .collect();
        if ours.is_empty() {
            return;
        }
        let victim = self.dice.pick(&ours);
        self.world.witness.note("weather", format_args!("{wish:?}: {victim}"));
        if wish == Wish::RemoveMachine {
            self.world.cloud.remove(victim);
        } else {
            self.world.cloud.kill(victim);
        }
    }
}

fn web() -> WorkloadName {
    WorkloadName::new("web").expect("a name")
}

fn site_name(site: Where) -> SiteName {
    SiteName::new(site.name()).expect("a name")
}

/// The shop so.
pub fn shop_with(site: Where, replicas: u32) -> Spec {
    let mut spec = shop();
    let web = spec.workloads.get_mut(&web()).expect("the shop has it");
    web.placement.sites = Some(vec![site_name(site)]);
    web.kind = WorkloadKind::Service {
        replicas,
        min_available: Some(replicas - 1),
    };
    spec
}

fn deploy(site: Where, replicas: u32) -> Intent {
    Intent::Deploy {
        spec: Box::new(shop_with(site, replicas)),
    }
}

/// A machine of an engine with another store, for a cluster of the same name.
fn request_of_another(region: &str) -> CreateResource {
    CreateResource {
        site: Site {
            name: SiteName::new(region).expect("a name"),
            provider: ProviderId::new("sim").expect("a name"),
            region: region.to_owned(),
            settings: std::collections::BTreeMap::new(),
        },
        name: "of-another".to_owned(),
        token: Token("of-another".to_owned()),
        tags: OwnerTags {
            owner: Owner {
                store: "another-store".to_owned(),
                cluster: ClusterName::new("shop").expect("a name"),
            },
            machine: MachineId::new("general-1"),
            operation: OperationId::new("op-1"),
            attempt: AttemptNo(1),
            epoch: Epoch(1),
        },
        spec: ResourceSpec::Machine(MachineRequest {
            zone: Zone::new(format!("{region}-a")),
            offering: OfferingId::new(format!("sim.small@{region}-a")),
            image: ImageId::new(SIM_IMAGE),
            identity: Secret(Vec::new()),
            open_ports: (30_000, 30_001),
        }),
    }
}

/// Where a life took its turn, in words of the coverage.
pub fn point_name((crossing, moment): (Crossing, Moment)) -> String {
    format!("{}/{}", crossing.name(), moment.name())
}
