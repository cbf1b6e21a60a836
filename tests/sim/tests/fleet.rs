//! Several processes on one store: who has a cluster when one dies, stands still, stops, joins or loses the store; and
//! that nothing on the machines is stopped or started for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use isobar_engine_control::{Bounds, Engine, Fleet};
use isobar_engine_model::intent::Intent;
use isobar_engine_store::memory::{Fault as StoreFault, Request};
use isobar_providers_sim::{Fault, Operation};
use isobar_tests_sim::World;
use isobar_tests_sim::clock::Skew;
use isobar_tests_sim::faulty::CutOff;
use isobar_tests_sim::held::{GIVEN_WITHIN, HELD_WITHIN, without};
use isobar_tests_sim::life::Life;
use isobar_tests_sim::shop::shop;
use isobar_tests_sim::world::start::Place;
use tokio::time::{Instant, sleep};

/// What is not there yet is looked for so often.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A dead process's shards are another's after its lease and two looks of the other.
const TAKEN_WITHIN: Duration = Duration::from_secs(15);

/// One process of a test.
struct Member {
    number: u64,
    address: String,
    fleet: Arc<Fleet>,
    life: Life,
}

async fn join(world: &World, address: &str, cut: Option<CutOff>) -> Member {
    let place = Place {
        address: address.to_owned(),
        skew: Skew::NONE,
        cut,
    };
    let life = Life::long();
    let number = world.next_process();
    let started = world.start_fleet(number, &place, &life).await;
    Member {
        number,
        address: place.address,
        fleet: started.expect("it lives").expect("the store answers"),
        life,
    }
}

/// Two processes, the first of which has the shop; the shop runs.
async fn shop_of_two(world: &World) -> [Member; 2] {
    let first = join(world, "a:7421", None).await;
    let second = join(world, "b:7421", None).await;
    // The first one has everything, and gives the second its part.
    sleep(HELD_WITHIN).await;
    held_again(world, LOOK_EVERY).await;
    let engine = engine(world).await;
    world.deploy_shop(&engine).await;
    // What has ended by itself is known.
    sleep(HELD_WITHIN).await;
    if has_shop(world, &first) {
        [first, second]
    } else {
        [second, first]
    }
}

fn has_shop(world: &World, member: &Member) -> bool {
    let living = world.living().borrow().clone();
    let process = living.get(&member.address);
    process.is_some_and(|process| process.number == member.number && process.works_for(&shop().cluster))
}

async fn engine(world: &World) -> Arc<Engine> {
    world.engine_of(&shop().cluster).await.expect("somebody has it")
}

/// How long it took until every shard had an engine again.
async fn held_again(world: &World, bound: Duration) -> Duration {
    let began = Instant::now();
    loop {
        let left = without(&world.living().borrow());
        if left.is_empty() {
            return began.elapsed();
        }
        assert!(
            began.elapsed() < bound,
            "{left:?} after {bound:?}\n{}",
            world.witness.history()
        );
        sleep(LOOK_EVERY).await;
    }
}

/// How often each replica was started, and how many machines were made. What is fenced is not counted: a take-over may take
/// longer than what was left of its node's lease, and then it was stopped.
fn done(world: &World) -> (BTreeMap<String, u64>, u64) {
    let mut starts = world.witness.starts();
    starts.retain(|replica, _| !replica.starts_with("ledger"));
    (starts, world.cloud.counters().machines_made)
}

/// All is as it was, and stays so.
async fn nothing_was_done(world: &World, before: &(BTreeMap<String, u64>, u64)) {
    sleep(Duration::from_secs(120)).await;
    let engine = engine(world).await;
    world.converge(&engine, &shop().cluster).await;
    world.check(&engine, &shop().cluster).await;
    assert_eq!(done(world), *before, "{}", world.witness.history());
    assert_eq!(world.witness.violations(), []);
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_process_had_is_another_s_after_its_lease() {
    for seed in 0..4 {
        let world = World::new(seed);
        let [mine, other] = shop_of_two(&world).await;
        let before = done(&world);
        mine.life.end();
        let took = held_again(&world, TAKEN_WITHIN).await;
        let lease = Duration::from_millis(Bounds::default().member_lease_ms);
        assert!(took > lease / 2, "not while it may live: {took:?}");
        assert!(has_shop(&world, &other));
        nothing_was_done(&world, &before).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_process_had_that_stops_is_another_s_at_once() {
    for seed in 0..4 {
        let world = World::new(seed);
        let [mine, other] = shop_of_two(&world).await;
        let before = done(&world);
        world.hang_up(&mine.address);
        mine.fleet.shutdown().await;
        mine.life.end();
        held_again(&world, GIVEN_WITHIN).await;
        assert!(has_shop(&world, &other));
        nothing_was_done(&world, &before).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_stood_still_is_fenced_when_it_wakes_and_has_its_part_again() {
    for seed in 0..4 {
        let world = World::new(seed);
        let [mine, other] = shop_of_two(&world).await;
        let before = done(&world);
        mine.life.freeze();
        held_again(&world, TAKEN_WITHIN).await;
        assert!(has_shop(&world, &other));
        sleep(Duration::from_secs(30)).await;
        world.witness.woke(mine.number);
        mine.life.thaw();
        sleep(HELD_WITHIN).await;
        assert!(has_shop(&world, &mine), "{}", world.witness.history());
        nothing_was_done(&world, &before).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_whose_release_is_lost_is_given_back_later() {
    let mut world = World::new(1);
    let mut lost = 0;
    world.store = world.store.with_faults(move |call| {
        let loses = matches!(call.request, Request::Release(_)) && lost < 8;
        lost += u32::from(loses);
        loses.then_some(StoreFault::Unavailable)
    });
    shop_of_two(&world).await;
    assert_eq!(world.witness.violations(), []);
}

#[tokio::test(start_paused = true)]
async fn a_create_that_is_sent_again_and_again_ends_with_the_lease() {
    /// Four of each of three machines' creates: then the pause is long enough to stand still in.
    const REFUSALS: u32 = 12;
    let world = World::new(1);
    let refuse = || (0..REFUSALS).for_each(|_| world.cloud.fail_next(Operation::Create, Fault::Refused));
    refuse();
    let cut = CutOff {
        from: Duration::from_millis(500),
        until: Duration::from_secs(60),
    };
    let mine = join(&world, "a:7421", Some(cut)).await;
    let deploy = Intent::Deploy { spec: Box::new(shop()) };
    let applied = world.apply(&engine(&world).await, deploy).await;
    applied.expect("a good spec");
    while world.cloud.counters().of(Fault::Refused) < u64::from(REFUSALS) {
        sleep(Duration::from_millis(1)).await;
    }
    mine.life.freeze();
    let other = join(&world, "b:7421", None).await;
    sleep(TAKEN_WITHIN).await;
    assert!(has_shop(&world, &other), "{}", world.witness.history());
    refuse();
    world.witness.woke(mine.number);
    mine.life.thaw();
    // Both are well again, and have their parts.
    sleep(HELD_WITHIN * 2).await;
    let engine = engine(&world).await;
    world.converge(&engine, &shop().cluster).await;
    world.check(&engine, &shop().cluster).await;
    assert_eq!(world.witness.violations(), [], "{}", world.witness.history());
}
