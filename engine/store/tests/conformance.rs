//! Every store keeps the one contract, and all answer any sequence of calls alike.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use isobar_engine_model::id::{Epoch, MemberId, ShardId};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_store::conformance::{self, HOME, LONG, claimed, dump};
use isobar_engine_store::memory::MemoryStore;
use isobar_engine_store::sql::SqlStore;
use isobar_engine_store::{Store, StoreError, Table, Write};
use proptest::prelude::*;

/// Every function of the suite as a test of each store.
macro_rules! keeps {
    ($($fact:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $fact() {
                super::conformance::$fact(&super::memory_store()).await;
            })+
        }
        mod sqlite {
            $(#[tokio::test]
            async fn $fact() {
                let folder = tempfile::tempdir().unwrap();
                let store = super::SqlStore::open(folder.path(), "store").await.unwrap();
                super::conformance::$fact(&store).await;
            })+
        }
        mod postgres {
            $(#[tokio::test]
            async fn $fact() {
                let database = isobar_tests_postgres::database();
                let store = super::SqlStore::connect(&database.url, "store").await.unwrap();
                super::conformance::$fact(&store).await;
                store.close().await.unwrap();
            })+
        }
    };
}

keeps!(
    rows_carry_revisions,
    stale_batches_write_nothing,
    batches_apply_in_order,
    earlier_epochs_are_fenced,
    scans_page_in_key_order,
    tables_are_apart,
    shards_are_apart,
    large_batches_are_atomic,
    a_new_store_is_free,
    members_live_by_their_beats,
    claims_respect_the_living,
    released_shards_are_free,
    the_first_value_stays,
);

fn memory_store() -> MemoryStore {
    MemoryStore::new("store", Arc::new(|| Timestamp(1_800_000_000_000)))
}

/// Adds one to a row so often, reading again whenever another was faster.
async fn count(store: Arc<dyn Store>, epoch: Epoch, times: u32) {
    for _ in 0..times {
        loop {
            let row = store.get(Table::Cluster, "counter").await.unwrap().unwrap();
            let next = (row.body.parse::<u32>().unwrap() + 1).to_string();
            match store
                .commit(
                    HOME,
                    epoch,
                    &[conformance::update(Table::Cluster, "counter", row.revision, &next)],
                )
                .await
            {
                Ok(()) => break,
                Err(StoreError::Stale { .. }) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_beside_each_other_lose_no_update() {
    let folder = tempfile::tempdir().unwrap();
    let sql: Arc<dyn Store> = Arc::new(SqlStore::open(folder.path(), "store").await.unwrap());
    let memory: Arc<dyn Store> = Arc::new(memory_store());
    let database = isobar_tests_postgres::database();
    let postgres: Arc<dyn Store> = Arc::new(SqlStore::connect(&database.url, "store").await.unwrap());
    for store in [sql, memory, postgres] {
        let epoch = claimed(&*store, HOME).await;
        store
            .commit(HOME, epoch, &[conformance::insert(Table::Cluster, "counter", "0")])
            .await
            .unwrap();
        let writers: Vec<_> = (0..8)
            .map(|_| tokio::spawn(count(Arc::clone(&store), epoch, 10)))
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        let row = store.get(Table::Cluster, "counter").await.unwrap().unwrap();
        assert_eq!((row.body.as_str(), row.revision), ("80", 81));
    }
}

/// What a random caller does next.
#[derive(Debug, Clone)]
enum Step {
    /// A member beats for long, or for no time at all: then it is dead at once.
    Beat {
        member: &'static str,
        lives: bool,
    },
    Leave(&'static str),
    Claim(ShardId, &'static str),
    /// With the epoch of the last claim, or one so far behind.
    Release {
        shard: ShardId,
        behind: u64,
    },
    Once(&'static str, String),
    Commit {
        shard: ShardId,
        behind: u64,
        batch: Vec<Write>,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let table = prop::sample::select(vec![Table::Machine, Table::Attempt, Table::Plan]);
    // Few keys and low revisions, so that about half of the writes fit.
    let key = prop::sample::select(vec!["a", "a/b", "A", "é", "日", "🦀", "a'b"]);
    let write = (table, key, 0u64..4, "[a-z\\PC]{0,4}", 0..10u8).prop_map(|(table, key, expect, body, kind)| {
        let body: String = body;
        match kind {
            0..5 => Write::Insert {
                table,
                key: key.to_owned(),
                body,
            },
            5..8 => Write::Update {
                table,
                key: key.to_owned(),
                expect,
                body,
            },
            _ => Write::Delete {
                table,
                key: key.to_owned(),
                expect,
            },
        }
    });
    let behind = || prop_oneof![9 => Just(0u64), 1 => 1u64..3];
    let shard = || (0..2u16).prop_map(ShardId);
    let member = || prop::sample::select(vec!["a", "b"]);
    let commit = (shard(), behind(), prop::collection::vec(write, 0..4))
        .prop_map(|(shard, behind, batch)| Step::Commit { shard, behind, batch });
    let step = prop_oneof![
        20 => commit,
        2 => (member(), any::<bool>()).prop_map(|(member, lives)| Step::Beat { member, lives }),
        1 => member().prop_map(Step::Leave),
        4 => (shard(), member()).prop_map(|(shard, member)| Step::Claim(shard, member)),
        1 => (shard(), behind()).prop_map(|(shard, behind)| Step::Release { shard, behind }),
        1 => (member(), "[ab]").prop_map(|(key, value)| Step::Once(key, value)),
    ];
    prop::collection::vec(step, 0..60)
}

/// What every store must answer alike.
fn told<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    match answer {
        Ok(value) => format!("{value:?}"),
        Err(refusal) => refusal.to_string(),
    }
}

async fn answers(store: &dyn Store, steps: &[Step]) -> Vec<String> {
    let mut epochs = [claimed(store, ShardId(0)).await, claimed(store, ShardId(1)).await];
    let mut answers = Vec::new();
    for step in steps {
        let epoch_of = |shard: &ShardId, behind: u64| Epoch(epochs[usize::from(shard.0)].0.saturating_sub(behind));
        answers.push(match step {
            Step::Beat { member, lives } => {
                let lease = if *lives { LONG } else { Duration::ZERO };
                told(store.beat(&conformance::member(member), lease).await)
            }
            Step::Leave(member) => told(store.leave(&MemberId::new(*member)).await),
            Step::Claim(shard, member) => {
                let claim = store.claim(*shard, &MemberId::new(*member)).await;
                if let Ok(Some(epoch)) = &claim {
                    epochs[usize::from(shard.0)] = *epoch;
                }
                told(claim)
            }
            Step::Release { shard, behind } => told(store.release(*shard, epoch_of(shard, *behind)).await),
            Step::Once(key, value) => told(store.once(key, value).await),
            Step::Commit { shard, behind, batch } => told(store.commit(*shard, epoch_of(shard, *behind), batch).await),
        });
        answers.push(told(store.members().await));
        answers.push(told(store.shards().await));
    }
    // As an engine that stops: what is reopened knows no members.
    for member in store.members().await.unwrap() {
        store.leave(&member.id).await.unwrap();
    }
    answers
}

/// Opens a folder that was just freed. A child that another test forks at this moment has the lock until it runs its
/// program.
async fn reopen(folder: &Path) -> SqlStore {
    loop {
        match SqlStore::open(folder, "store").await {
            Err(StoreError::InUse { holder, .. }) if holder == Some(std::process::id()) => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            opened => return opened.unwrap(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn stores_answer_alike_and_end_with_the_same_rows(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let sql = SqlStore::open(folder.path(), "store").await.unwrap();
            let memory = memory_store();
            let expected = answers(&memory, &steps).await;
            let rows = dump(&memory).await.unwrap();
            prop_assert_eq!(&answers(&sql, &steps).await, &expected);
            prop_assert_eq!(&dump(&sql).await.unwrap(), &rows);
            sql.close().await.unwrap();
            let reopened = reopen(folder.path()).await;
            prop_assert_eq!(&rows, &dump(&reopened).await.unwrap());
            Ok(())
        })?;
    }

}

proptest! {
    // Each case makes a database.
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn postgresql_answers_as_memory_does(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let database = isobar_tests_postgres::database();
            let postgres = SqlStore::connect(&database.url, "store").await.unwrap();
            let memory = memory_store();
            prop_assert_eq!(answers(&postgres, &steps).await, answers(&memory, &steps).await);
            prop_assert_eq!(dump(&postgres).await.unwrap(), dump(&memory).await.unwrap());
            postgres.close().await.unwrap();
            Ok(())
        })?;
    }
}
