//! Both stores keep the one contract, and answer any sequence of batches alike.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::sync::Arc;

use isobar_engine_model::id::Epoch;
use isobar_engine_store::conformance::{self, dump};
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
                super::conformance::$fact(&super::MemoryStore::new("store")).await;
            })+
        }
        mod sql {
            $(#[tokio::test]
            async fn $fact() {
                let folder = tempfile::tempdir().unwrap();
                let store = super::SqlStore::open(folder.path(), "store").await.unwrap();
                super::conformance::$fact(&store).await;
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
    large_batches_are_atomic,
);

/// Adds one to a row so often, reading again whenever another was faster.
async fn count(store: Arc<dyn Store>, epoch: Epoch, times: u32) {
    for _ in 0..times {
        loop {
            let row = store.get(Table::Cluster, "counter").await.unwrap().unwrap();
            let next = (row.body.parse::<u32>().unwrap() + 1).to_string();
            match store
                .commit(
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
    let memory: Arc<dyn Store> = Arc::new(MemoryStore::new("store"));
    for store in [sql, memory] {
        let epoch = store.take_over().await.unwrap();
        store
            .commit(epoch, &[conformance::insert(Table::Cluster, "counter", "0")])
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
    TakeOver,
    /// With an epoch so far behind the current one.
    Commit {
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
    let behind = prop_oneof![9 => Just(0u64), 1 => 1u64..3];
    let commit =
        (behind, prop::collection::vec(write, 0..4)).prop_map(|(behind, batch)| Step::Commit { behind, batch });
    prop::collection::vec(prop_oneof![1 => Just(Step::TakeOver), 12 => commit], 0..40)
}

/// What both stores must answer alike.
fn told(answer: Result<(), StoreError>) -> String {
    match answer {
        Ok(()) => "written".to_owned(),
        Err(refusal) => refusal.to_string(),
    }
}

async fn answers(store: &dyn Store, steps: &[Step]) -> Vec<String> {
    let mut epoch = store.take_over().await.unwrap();
    let mut answers = Vec::new();
    for step in steps {
        answers.push(match step {
            Step::TakeOver => {
                epoch = store.take_over().await.unwrap();
                format!("{epoch:?}")
            }
            Step::Commit { behind, batch } => told(store.commit(Epoch(epoch.0.saturating_sub(*behind)), batch).await),
        });
    }
    answers
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_stores_answer_alike_and_end_with_the_same_rows(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let sql = SqlStore::open(folder.path(), "store").await.unwrap();
            let memory = MemoryStore::new("store");
            prop_assert_eq!(answers(&sql, &steps).await, answers(&memory, &steps).await);
            let rows = dump(&sql).await.unwrap();
            prop_assert_eq!(&rows, &dump(&memory).await.unwrap());
            sql.close().await.unwrap();
            let reopened = SqlStore::open(folder.path(), "store").await.unwrap();
            prop_assert_eq!(&rows, &dump(&reopened).await.unwrap());
            Ok(())
        })?;
    }
}
