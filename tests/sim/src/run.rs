//! Carries a scenario out, from an empty world to its last check. Nothing in here depends on real time, on threads or
//! on unseeded randomness.

use std::sync::Arc;
use std::time::Duration;

use isobar_engine_control::Engine;
use isobar_engine_control::api::{OperationCancel, QueryWhat};
use isobar_engine_model::id::{
    AttemptNo, ClusterName, Epoch, ImageId, MachineId, OfferingId, OperationId, ProviderId, ResourceHandle, SiteName,
    Zone,
};
use isobar_engine_model::intent::Intent;
use isobar_engine_model::observed::MachinePhase;
use isobar_engine_provider::{CreateResource, MachineRequest, Owner, OwnerTags, ResourceSpec, Secret, Site, Token};
use isobar_providers_sim::{FaultRates, SIM_IMAGE};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::dice::Dice;
use crate::ending;
use crate::faulty::StoreRates;
use crate::held::Held;
use crate::hosts::Hosts;
use crate::invariant::Invariant;
use crate::life::{Crossing, Moment};
use crate::process::Process;
use crate::scenario::{Scenario, Where, Wish};
use crate::shop::Stall;
use crate::tally::Outcome;
use crate::world::World;

/// A wish that the engine does not take is tried so often.
const TRIES_MAX: u32 = 15;
/// Between two tries.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(3);
/// A user waits so long for an engine's answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// How the engine begins to say that a cluster is not there.
const NO_CLUSTER: &str = "there is no cluster";

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
    let world = Arc::new(World::open(scenario.setup.clone()));
    let held = Held::new(scenario.setup.store == StoreRates::default());
    tokio::spawn(held.clone().watch(world.living(), world.witness.clone()));
    let hosts = Hosts::new(world.clone(), held);
    let stage = Stage {
        world,
        dice: Dice::new(scenario.seed, "stage"),
    };
    let foreign = stage.add_foreign(scenario.foreign);
    let mut operators = JoinSet::new();
    for host in &scenario.hosts {
        operators.spawn(hosts.clone().operate(host.clone()));
    }
    stage.wish(&scenario.wishes).await;
    drop(operators);
    stage.clear_up();
    hosts.calm();
    if let Some((_, process)) = stage.world.living().borrow().first_key_value()
        && stage.dice.happens(500)
    {
        // What it believed cannot help.
        process.life.end();
    }
    for host in &scenario.hosts {
        hosts.keep(host).await;
    }
    for (stall, wish) in &scenario.last {
        stage.last_wish(*stall, *wish).await;
    }
    let stalls: Vec<Stall> = scenario.last.iter().map(|(stall, _)| *stall).collect();
    ending::check(&stage.world, &stalls, &foreign).await;
    Outcome::of(scenario.seed, &stage.world, &hosts.ends())
}

/// Where a run plays.
struct Stage {
    world: Arc<World>,
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

    /// From now on nothing goes wrong any more.
    fn clear_up(&self) {
        self.world
            .witness
            .note("weather", format_args!("nothing goes wrong any more"));
        self.world.cloud.set_faults(FaultRates::none());
        self.world.net.heal();
        self.world.store_faults.stop();
    }

    async fn wish(&self, wishes: &[(u64, Stall, Wish)]) {
        for (pause_ms, stall, wish) in wishes {
            sleep(Duration::from_millis(*pause_ms)).await;
            for _ in 0..TRIES_MAX {
                if self.try_wish(*stall, *wish).await {
                    break;
                }
                sleep(TRY_AGAIN_AFTER).await;
            }
        }
        // What was accepted last has some time to go wrong.
        sleep(Duration::from_millis(self.dice.within(1_000, 60_000))).await;
    }

    /// Whether it was taken, or can never be. Whichever process is asked.
    async fn try_wish(&self, stall: Stall, wish: Wish) -> bool {
        let living: Vec<Process> = self.world.living().borrow().values().cloned().collect();
        if living.is_empty() {
            return false;
        }
        let process = self.dice.pick(&living);
        let asking = async {
            let (engine, life) = self.world.through(process, &stall.cluster()).await?;
            tokio::select! {
                biased;
                () = life.stopped() => Err("its process has stopped".to_owned()),
                done = self.fulfil(&engine, stall, wish) => done,
            }
        };
        let done = tokio::select! {
            biased;
            () = process.life.stopped() => None,
            done = timeout(ANSWER_MAX, asking) => done.ok(),
        };
        let answer = match done {
            Some(Ok(())) => "done".to_owned(),
            Some(Err(why)) => why,
            None => "no answer".to_owned(),
        };
        let taken = answer == "done";
        let number = process.number;
        let what = format_args!("{wish:?} of {stall:?}, through engine {number}: {answer}");
        self.world.witness.note("user", what);
        taken
    }

    async fn last_wish(&self, stall: Stall, wish: Wish) {
        let wishing = async {
            loop {
                let done = match self.world.engine_of(&stall.cluster()).await {
                    Ok(engine) => self.fulfil(&engine, stall, wish).await,
                    Err(why) => Err(why),
                };
                match done {
                    Ok(()) => return,
                    Err(why) => self
                        .world
                        .witness
                        .note("user", format_args!("{wish:?} of {stall:?}: {why}")),
                }
                sleep(TRY_AGAIN_AFTER).await;
            }
        };
        if timeout(ending::BOUND, wishing).await.is_err() {
            let what = format!("{wish:?} of {stall:?} was not accepted");
            return self.world.witness.violated(Invariant::Met, what);
        }
        self.world
            .witness
            .note("user", format_args!("{wish:?} of {stall:?}: done, and the last"));
    }

    async fn fulfil(&self, engine: &Arc<Engine>, stall: Stall, wish: Wish) -> Result<(), String> {
        let cluster = stall.cluster();
        let intent = match wish {
            Wish::Deploy(site, replicas) => deploy(stall, site, replicas),
            Wish::Look(replicas) => {
                let looked = self.world.plan(engine, deploy(stall, Where::South, replicas + 3)).await;
                return looked.map(|_| ()).map_err(|error| error.to_string());
            }
            Wish::Scale(replicas) => Intent::Scale {
                cluster,
                workload: stall.web(),
                replicas,
            },
            Wish::Move(to) => Intent::Move {
                cluster,
                workload: stall.web(),
                to: vec![to.site()],
                from: Vec::new(),
            },
            Wish::Drain => match self.some_machine(engine, &cluster).await {
                Some(machine) => Intent::Drain { cluster, machine },
                None => return Ok(()),
            },
            Wish::Destroy => Intent::Destroy { cluster },
            Wish::Cancel => return self.cancel(engine, &cluster).await,
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
    async fn some_machine(&self, engine: &Engine, cluster: &ClusterName) -> Option<MachineId> {
        let answer = self.world.try_query(engine, cluster, QueryWhat::Machines).await;
        let ready =
            |machine: &isobar_engine_model::observed::Machine| matches!(machine.phase, MachinePhase::Ready { .. });
        let machines = answer.ok()?.machines?;
        machines.into_iter().find(ready).map(|machine| machine.id)
    }

    async fn cancel(&self, engine: &Engine, cluster: &ClusterName) -> Result<(), String> {
        let answer = self.world.try_query(engine, cluster, QueryWhat::Cluster).await;
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

fn deploy(stall: Stall, site: Where, replicas: u32) -> Intent {
    Intent::Deploy {
        spec: Box::new(stall.with(&site.site(), replicas)),
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
            network: Default::default(),
        }),
    }
}

/// Where a life took its turn, in words of the coverage.
pub fn point_name((crossing, moment): (Crossing, Moment)) -> String {
    format!("{}/{}", crossing.name(), moment.name())
}
