//! What every store must do with engines: leases, claims and what the first one decides.

use std::time::Duration;

use isobar_engine_model::id::{Epoch, Incarnation, MemberId, SHARDS, ShardId};

use super::{HOME, LONG, insert, member, ok};
use crate::{Member, Store, StoreError, Table};

/// A new store has every shard, free and never claimed, and is in its first incarnation.
pub async fn a_new_store_is_free(store: &dyn Store) {
    let shards = ok(store.shards().await);
    let ids: Vec<u16> = shards.iter().map(|shard| shard.id.0).collect();
    assert_eq!(ids, (0..SHARDS).collect::<Vec<_>>());
    for shard in shards {
        assert_eq!((shard.epoch, shard.holder), (Epoch(0), None), "{}", shard.id);
    }
    assert!(ok(store.members().await).is_empty());
    assert_eq!(store.incarnation(), Incarnation(1));
    assert!(!ok(store.is_recovering().await));
    ok(store.end_recovery().await);
    assert!(!ok(store.is_recovering().await));
}

/// Members are there from their first beat until their lease runs out or they leave.
pub async fn members_live_by_their_beats(store: &dyn Store) {
    let (a, b) = (member("a"), member("b"));
    ok(store.beat(&b, LONG).await);
    ok(store.beat(&a, LONG).await);
    assert_eq!(ok(store.members().await), [a.clone(), b.clone()]);
    let moved = Member {
        nodes: vec!["elsewhere:1".to_owned()],
        ..b.clone()
    };
    ok(store.beat(&moved, LONG).await);
    assert_eq!(ok(store.members().await), [a.clone(), moved]);
    ok(store.beat(&b, Duration::ZERO).await);
    assert_eq!(
        ok(store.members().await),
        std::slice::from_ref(&a),
        "a lease that has run out"
    );
    ok(store.beat(&b, LONG).await);
    assert_eq!(ok(store.members().await), [a.clone(), b.clone()], "a late beat");
    ok(store.leave(&b.id).await);
    ok(store.leave(&b.id).await);
    ok(store.leave(&MemberId::new("never")).await);
    assert_eq!(ok(store.members().await), [a]);
}

/// A shard goes to who lives, unless another who lives has it.
pub async fn claims_respect_the_living(store: &dyn Store) {
    let (a, b) = (member("a"), member("b"));
    assert_eq!(ok(store.claim(HOME, &a.id).await), None, "a claim without a lease");
    ok(store.beat(&a, Duration::ZERO).await);
    assert_eq!(ok(store.claim(HOME, &a.id).await), None, "a lease that has run out");
    ok(store.beat(&a, LONG).await);
    ok(store.beat(&b, LONG).await);
    assert_eq!(ok(store.claim(HOME, &a.id).await), Some(Epoch(1)));
    expect_shard(store, HOME, 1, Some("a")).await;
    assert_eq!(ok(store.claim(HOME, &b.id).await), None, "a lives");
    expect_shard(store, HOME, 1, Some("a")).await;
    assert_eq!(ok(store.claim(HOME, &a.id).await), Some(Epoch(2)), "its own, again");
    ok(store.beat(&a, Duration::ZERO).await);
    ok(store.commit(HOME, Epoch(2), &[]).await);
    assert_eq!(ok(store.claim(HOME, &b.id).await), Some(Epoch(3)), "a is dead");
    expect_fenced(
        store.commit(HOME, Epoch(2), &[insert(Table::Plan, "p", "late")]).await,
        3,
    );
    ok(store.beat(&a, LONG).await);
    assert_eq!(ok(store.claim(HOME, &a.id).await), None, "a woke up, and b lives");
    ok(store.leave(&b.id).await);
    expect_shard(store, HOME, 3, Some("b")).await;
    assert_eq!(ok(store.claim(HOME, &a.id).await), Some(Epoch(4)), "b has left");
    expect_shard(store, ShardId(1), 0, None).await;
    assert_eq!(ok(store.claim(ShardId(SHARDS), &a.id).await), None, "no such shard");
    expect_fenced(store.commit(ShardId(SHARDS), Epoch(1), &[]).await, 0);
}

/// A released shard is free for everybody, and only its holder releases it.
pub async fn released_shards_are_free(store: &dyn Store) {
    let (a, b) = (member("a"), member("b"));
    ok(store.beat(&a, LONG).await);
    ok(store.beat(&b, LONG).await);
    let first = ok(store.claim(HOME, &a.id).await).expect("it is free");
    ok(store.release(HOME, first).await);
    expect_shard(store, HOME, 1, None).await;
    let second = ok(store.claim(HOME, &b.id).await).expect("it is free");
    assert_eq!(second, Epoch(2));
    expect_fenced(store.release(HOME, first).await, 2);
    expect_shard(store, HOME, 2, Some("b")).await;
    expect_fenced(store.release(ShardId(SHARDS), first).await, 0);
}

/// What all engines share is what the first one says.
pub async fn the_first_value_stays(store: &dyn Store) {
    assert_eq!(ok(store.once("authority", "first").await), "first");
    assert_eq!(ok(store.once("authority", "second").await), "first");
    assert_eq!(ok(store.once("key", "other").await), "other");
    assert_eq!(ok(store.once("empty", "").await), "");
    assert_eq!(ok(store.once("empty", "full").await), "");
}

async fn expect_shard(store: &dyn Store, id: ShardId, epoch: u64, holder: Option<&str>) {
    let shards = ok(store.shards().await);
    let shard = shards
        .into_iter()
        .find(|shard| shard.id == id)
        .expect("every shard is told");
    assert_eq!(shard.epoch, Epoch(epoch), "the epoch of shard {id}");
    assert_eq!(shard.holder, holder.map(MemberId::new), "the holder of shard {id}");
}

#[track_caller]
fn expect_fenced(result: Result<(), StoreError>, by: u64) {
    match result {
        Err(StoreError::Fenced { current, .. }) => assert_eq!(current, Epoch(by), "who fences"),
        other => panic!("not fenced: {other:?}"),
    }
}
