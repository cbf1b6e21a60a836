//! Leases under simulation: what nodes do when nobody renews them, and when somebody does again.

use std::sync::Arc;
use std::time::Duration;

use isobar_engine_control::{Bounds, Engine};
use isobar_engine_provider::ResourceStatus;
use isobar_providers_sim::SimConfig;
use isobar_tests_sim::World;
use isobar_tests_sim::life::Life;
use isobar_tests_sim::nodes::NodeRates;
use isobar_tests_sim::shop::shop;
use isobar_tests_sim::world::Setup;
use tokio::time::{Instant, sleep};

/// Nodes' clocks are as wrong as this.
const SKEW_MAX_PPM: u64 = 10_000;

/// A shop that runs, and the life of its only engine.
async fn running_shop(seed: u64) -> (World, Arc<Engine>, Life) {
    let world = World::open(Setup {
        nodes: NodeRates {
            skew_max_ppm: SKEW_MAX_PPM,
            ..NodeRates::default()
        },
        ..Setup::of(SimConfig::of_regions(seed, &["north", "south"]))
    });
    let life = Life::long();
    let engine = world.start(life.clone()).await.expect("it lives long");
    world.deploy_shop(&engine).await;
    (world, engine, life)
}

fn running(world: &World, workload: &str) -> usize {
    let is_one = |(_, id): &&(_, String)| id.starts_with(workload);
    world.witness.running().iter().filter(is_one).count()
}

/// A span on a node's clock in true time, at most: its clock may be slow, and it looks at it once a second.
fn at_most(ms: u64) -> Duration {
    Duration::from_millis(ms + ms * SKEW_MAX_PPM / 900_000 + 2_000)
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_lost_for_good_stops_what_is_fenced_then_every_node() {
    for seed in 0..4 {
        let (world, _engine, life) = running_shop(seed).await;
        let bounds = Bounds::default();
        life.end();
        let lost = Instant::now();
        while running(&world, "ledger") > 0 {
            sleep(Duration::from_millis(100)).await;
            assert!(lost.elapsed() <= at_most(bounds.lease_ms), "seed {seed}: it runs on");
        }
        assert!(
            lost.elapsed() >= Duration::from_millis(bounds.lease_ms / 2),
            "seed {seed}: too early"
        );
        assert_eq!(running(&world, "web"), 4, "seed {seed}: the rest serves on");
        sleep(Duration::from_millis(bounds.abandon_after_ms / 2)).await;
        assert_eq!(running(&world, "web"), 4, "seed {seed}: for hours");
        sleep(at_most(bounds.lease_ms + bounds.abandon_after_ms) - Duration::from_millis(bounds.abandon_after_ms / 2))
            .await;
        for machine in world.cloud.machines() {
            let off = matches!(machine.state.status, ResourceStatus::Stopped { .. });
            assert!(off, "seed {seed}: {} is {:?}", machine.handle, machine.state.status);
        }
        assert_eq!(world.witness.running(), []);
        assert_eq!(world.witness.violations(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_shorter_than_the_lease_restarts_nothing_and_doubles_nothing() {
    for seed in 0..4 {
        let (world, engine, _life) = running_shop(seed).await;
        let before = (world.witness.starts(), world.cloud.counters().machines_made);
        world.net.cut_all();
        sleep(Duration::from_secs(8)).await;
        world.net.heal();
        sleep(Duration::from_secs(120)).await;
        world.converge(&engine, &shop().cluster).await;
        world.check(&engine, &shop().cluster).await;
        let after = (world.witness.starts(), world.cloud.counters().machines_made);
        assert_eq!(after, before, "seed {seed}:\n{}", world.witness.history());
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_comes_back_within_the_lease_finds_everything_as_it_was() {
    for seed in 0..4 {
        let (world, _engine, life) = running_shop(seed).await;
        let before = (world.witness.starts(), world.cloud.counters().machines_made);
        life.end();
        sleep(Duration::from_secs(8)).await;
        let engine = world.start(Life::long()).await.unwrap();
        sleep(Duration::from_secs(120)).await;
        world.converge(&engine, &shop().cluster).await;
        world.check(&engine, &shop().cluster).await;
        let after = (world.witness.starts(), world.cloud.counters().machines_made);
        assert_eq!(after, before, "seed {seed}:\n{}", world.witness.history());
    }
}
