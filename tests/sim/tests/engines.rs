//! An engine that buys the machine of another one, which calls nobody: killed anywhere, one machine comes of it and nothing
//! is left of it in the end; and what becomes of that machine, nobody decides unasked.

use std::sync::Arc;
use std::time::Duration;

use isobar_engine_control::api::{ErrorCode, QueryWhat};
use isobar_engine_control::{Births, Bounds, Engine};
use isobar_engine_model::intent::Intent;
use isobar_engine_model::observed::{Machine, MachinePhase};
use isobar_engine_model::operation::OperationState;
use isobar_engine_model::spec::{Spec, text};
use isobar_engine_provider::{ResourceKind, ResourceSpec};
use isobar_node_image_protocol::identity::{Birth, ENGINE_MCP_PORT, ENGINE_NODE_PORT, EngineIdentity};
use isobar_providers_sim::{FaultRates, SimConfig};
use isobar_tests_sim::World;
use isobar_tests_sim::life::Life;
use isobar_tests_sim::world::Setup;

/// The cluster whose shard the witness knows.
const SPEC: &str = "cluster: shop\nsites:\n  north: { provider: sim, region: north }\npools:\n  engine: { machines: { min: \
                    1, max: 1 } }\n";
/// Longer than any patience with a silent node.
const LONG: Duration = Duration::from_secs(24 * 60 * 60);

fn spec() -> Spec {
    text::read("engine.yaml", SPEC).expect("a good spec")
}

fn world(seed: u64, faults: FaultRates) -> World {
    let mut cloud = SimConfig::of_regions(seed, &["north"]).with_faults(faults);
    cloud.network = vec![ResourceKind::Network, ResourceKind::Subnet, ResourceKind::Firewall];
    World::open(Setup {
        bounds: Bounds {
            network_idle_ms: 0,
            ..Bounds::default()
        },
        births: Births::Engines(EngineIdentity {
            machine: String::new(),
            claim_hash_hex: "11".repeat(32),
            proof_key_hex: "22".repeat(32),
            insecure_registries: Vec::new(),
            allowed_endpoints: Vec::new(),
        }),
        ..Setup::of(cloud)
    })
}

async fn machine(world: &World, engine: &Engine) -> Option<Machine> {
    let answer = world
        .try_query(engine, &spec().cluster, QueryWhat::Machines)
        .await
        .ok()?;
    let there = |machine: &Machine| !matches!(machine.phase, MachinePhase::Gone { .. });
    answer.machines?.into_iter().find(there)
}

/// Carries an intent to its end, whoever began it. Whether the cluster is known at all afterwards.
async fn ask(world: &World, engine: &Arc<Engine>, intent: Intent) -> bool {
    loop {
        let summary = world.try_query(engine, &spec().cluster, QueryWhat::Cluster).await;
        let busy = summary.as_ref().ok().and_then(|answer| answer.cluster.as_ref());
        if let Some(operation) = busy.and_then(|summary| summary.operation.clone()) {
            let end = world.wait(engine, &operation).await;
            assert!(matches!(end, OperationState::Succeeded { .. }), "{end:?}");
            continue;
        }
        match world.apply(engine, intent.clone()).await {
            Ok(view) => {
                let end = world.wait(engine, &view.operation.id).await;
                assert!(matches!(end, OperationState::Succeeded { .. }), "{end:?}");
                return world
                    .try_query(engine, &spec().cluster, QueryWhat::Cluster)
                    .await
                    .is_ok();
            }
            Err(error) if error.code == ErrorCode::NotFound => return false,
            Err(error) => assert!(matches!(error.code, ErrorCode::Busy | ErrorCode::StalePlan), "{error}"),
        }
    }
}

fn deploy() -> Intent {
    Intent::Deploy { spec: Box::new(spec()) }
}

fn destroy() -> Intent {
    Intent::Destroy {
        cluster: spec().cluster,
    }
}

/// Bought, seen to be the one that it should be, given back.
async fn work(world: &World, engine: &Arc<Engine>, is_bought: &mut bool) {
    if !*is_bought {
        ask(world, engine, deploy()).await;
        let ready = machine(world, engine).await.expect("it was bought");
        assert!(matches!(ready.phase, MachinePhase::Ready { .. }), "{ready:?}");
        let there = world.cloud.machines();
        assert_eq!(there.len(), 1, "one machine");
        let birth = Birth::parse(&there[0].identity.0).expect("a birth");
        assert!(matches!(birth, Birth::Engine(born) if born.machine == ready.id.to_string()));
        *is_bought = true;
    }
    ask(world, engine, destroy()).await;
}

async fn run(seed: u64, last: u64, faults: FaultRates) -> bool {
    let world = world(seed, faults);
    let life = Life::until(last);
    let mut is_bought = false;
    let died = match world.start(life.clone()).await {
        None => true,
        Some(engine) => tokio::select! {
            biased;
            () = life.ended() => true,
            () = work(&world, &engine, &mut is_bought) => false,
        },
    };
    if died {
        let engine = world.start(Life::long()).await.expect("it lives long");
        work(&world, &engine, &mut is_bought).await;
    }
    assert_eq!(world.cloud.machines().len(), 0, "leaked");
    assert_eq!(world.cloud.networks().len(), 0, "leaked");
    assert_eq!(world.witness.violations(), [], "{}", world.witness.history());
    died
}

fn in_virtual_time(run: impl Future<Output = bool>) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(run)
}

#[test]
fn killed_before_and_after_each_call_one_machine_comes_of_it_and_none_is_left() {
    let mut reached = 0;
    for last in 0..20_000 {
        if !in_virtual_time(run(1, last, FaultRates::none())) {
            break;
        }
        reached = last;
    }
    assert!(reached > 50, "only {reached} half-calls were reached");
}

#[test]
fn killed_anywhere_on_a_bad_day_one_machine_comes_of_it_and_none_is_left() {
    for seed in 0..100 {
        in_virtual_time(run(seed, 3 + seed * 7 % 300, FaultRates::rough()));
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_reached_where_its_owner_and_its_nodes_ask_and_nowhere_else() {
    let world = world(1, FaultRates::none());
    let engine = world.start(Life::long()).await.expect("it lives long");
    ask(&world, &engine, deploy()).await;
    let mut parts = world.cloud.networks().into_iter();
    let firewall = parts.find(|part| part.kind == ResourceKind::Firewall);
    let ResourceSpec::Network(firewall) = firewall.expect("it was made").request.spec.clone() else {
        panic!("a part of a network");
    };
    assert_eq!(firewall.open_ports, (ENGINE_MCP_PORT, ENGINE_NODE_PORT));
}

#[tokio::test(start_paused = true)]
async fn neither_silence_nor_a_stop_loses_it() {
    let world = world(1, FaultRates::none());
    let engine = world.start(Life::long()).await.expect("it lives long");
    ask(&world, &engine, deploy()).await;
    let bought = machine(&world, &engine).await.expect("it was bought");
    tokio::time::sleep(LONG).await;
    world.cloud.power_off(&world.cloud.machines()[0].handle);
    tokio::time::sleep(LONG).await;
    let now = machine(&world, &engine).await.expect("it is kept");
    assert_eq!((&now.id, &now.phase), (&bought.id, &bought.phase));
    assert_eq!(world.cloud.machines().len(), 1);
    // Its owner did not ask: nothing is changed either.
    assert_eq!(world.witness.violations(), [], "{}", world.witness.history());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_gone_is_bought_again_by_who_asks_and_by_nobody_else() {
    let world = world(1, FaultRates::none());
    let engine = world.start(Life::long()).await.expect("it lives long");
    ask(&world, &engine, deploy()).await;
    let bought = machine(&world, &engine).await.expect("it was bought");
    world.cloud.remove(&world.cloud.machines()[0].handle);
    tokio::time::sleep(LONG).await;
    let lost = machine(&world, &engine).await.expect("it is known");
    assert!(matches!(lost.phase, MachinePhase::Lost { .. }), "{lost:?}");
    assert_eq!(world.cloud.machines().len(), 0, "nobody asked");

    ask(&world, &engine, deploy()).await;
    let next = machine(&world, &engine).await.expect("it was bought");
    assert!(
        next.id != bought.id && matches!(next.phase, MachinePhase::Ready { .. }),
        "{next:?}"
    );
    assert_eq!(world.cloud.machines().len(), 1);
}
