//! Engines that share a store, a real Redis, and what the cloud saw of their sweeps. The crate's ring is whole, cut off or
//! in two parts: no round is done twice, and rounds go on.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod process;
mod server;
mod witness;

use std::time::Duration;

use crate::process::{PERIOD_MS, Process, World};
use crate::server::Redis;

/// Things come about within so long.
const PATIENCE: Duration = Duration::from_secs(40);
/// So long are rounds counted.
const WINDOW_PERIODS: u64 = 8;
/// Rounds that an engine which is told of none leaves out before it goes by its interval, and one for where periods begin.
const LATE_PERIODS: u64 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn rounds_are_asked_for_by_several_engines_and_done_once_a_period() {
    let redis = Redis::start();
    let world = World::new();
    let engines = [world.join("a", &redis.url()).await, world.join("b", &redis.url()).await];
    world.settle(&engines).await;
    told_by(&engines).await;

    let before = engines.each_ref().map(Process::asked);
    let counted = world.count(WINDOW_PERIODS).await;
    for (engine, before) in engines.iter().zip(before) {
        assert!(engine.asked() > before, "the ring gives each engine a part");
    }
    counted.assert_between(WINDOW_PERIODS - LATE_PERIODS, WINDOW_PERIODS + 1);
    // Each round is asked for by one of them: look and sweep, of eight shards, in periods of equal length.
    let asked: u64 = engines.iter().map(Process::asked).sum::<u64>() - before.iter().sum::<u64>();
    assert!(
        asked <= 16 * (WINDOW_PERIODS + 1),
        "{asked} rounds in {WINDOW_PERIODS} periods"
    );
    world.end(engines).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_off_from_redis_no_round_is_done_twice_and_rounds_go_on() {
    let mut redis = Redis::start();
    let world = World::new();
    let engines = [world.join("a", &redis.url()).await, world.join("b", &redis.url()).await];
    world.settle(&engines).await;
    told_by(&engines).await;

    redis.freeze();
    let counted = world.count(WINDOW_PERIODS).await;
    counted.assert_between(WINDOW_PERIODS - LATE_PERIODS, WINDOW_PERIODS + 1);
    redis.kill();
    let counted = world.count(WINDOW_PERIODS).await;
    counted.assert_between(WINDOW_PERIODS - LATE_PERIODS, WINDOW_PERIODS + 1);

    redis.start_again();
    told_by(&engines).await;
    let counted = world.count(WINDOW_PERIODS).await;
    counted.assert_between(WINDOW_PERIODS - LATE_PERIODS, WINDOW_PERIODS + 1);
    world.end(engines).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rings_that_each_ask_for_everything_have_no_round_done_twice() {
    let (one, other) = (Redis::start(), Redis::start());
    let world = World::new();
    let engines = [world.join("a", &one.url()).await, world.join("b", &other.url()).await];
    world.settle(&engines).await;
    told_by(&engines).await;

    let before = engines.each_ref().map(Process::asked);
    let counted = world.count(WINDOW_PERIODS).await;
    for (engine, before) in engines.iter().zip(before) {
        // More than half of all rounds: the two parts overlap.
        let asked = engine.asked() - before;
        assert!(asked > 8 * WINDOW_PERIODS, "the brain is whole: {asked} rounds");
    }
    counted.assert_between(WINDOW_PERIODS - LATE_PERIODS, WINDOW_PERIODS + 1);
    world.end(engines).await;
}

#[test]
fn a_url_that_is_none_of_redis_is_refused() {
    for url in ["", "no url", "http://127.0.0.1", "postgres://127.0.0.1/x"] {
        assert!(isobar_spread::Server::read(url).is_err(), "{url}");
    }
    isobar_spread::Server::read("redis://user:word@127.0.0.1:6379/1").unwrap();
}

/// Returns when each has asked for a round from now on.
async fn told_by(engines: &[Process]) {
    let before: Vec<u64> = engines.iter().map(Process::asked).collect();
    process::eventually("each engine asks for rounds", async || {
        engines
            .iter()
            .zip(&before)
            .all(|(engine, before)| engine.asked() > *before)
    })
    .await;
    tokio::time::sleep(Duration::from_millis(PERIOD_MS)).await;
}
