//! A store that version 1 wrote is brought up to date: every row is where its cluster is, and none is lost.
//!
//! `fixtures/version-1.db.zst` was written by the last engine of that version on a simulated cloud: five clusters, one of
//! them destroyed and one being built when the engine stopped.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::collections::BTreeMap;
use std::path::Path;

use isobar_engine_model::id::{ClusterName, Epoch, Incarnation, ShardId, shard_of};
use isobar_engine_store::conformance::{HOME, claimed, dump, insert};
use isobar_engine_store::sql::SqlStore;
use isobar_engine_store::{Store, Table};
use sea_orm::{ConnectionTrait, Database, Statement};
use serde_json::Value;

const VERSION_1: &[u8] = include_bytes!("fixtures/version-1.db.zst");

fn version_1(folder: &Path) {
    std::fs::write(folder.join("isobar.db"), zstd::decode_all(VERSION_1).unwrap()).unwrap();
}

/// Key, revision and body of every row, by the name that its table has now.
async fn rows_of_version_1(folder: &Path) -> Vec<(Table, String, u64, String)> {
    let url = format!("sqlite:{}", folder.join("isobar.db").display());
    let database = Database::connect(url).await.unwrap();
    let mut rows = Vec::new();
    for (table, name) in [
        (Table::Cluster, "cluster"),
        (Table::Machine, "machine"),
        (Table::Replica, "replica"),
        (Table::Plan, "plan"),
        (Table::Operation, "operation"),
        (Table::Step, "step"),
        (Table::Attempt, "attempt"),
        (Table::Credential, "credential"),
        (Table::Event, "audit"),
    ] {
        let select = format!("SELECT key, revision, body FROM \"{name}\" ORDER BY key");
        let select = Statement::from_string(database.get_database_backend(), select);
        let found = database.query_all_raw(select).await.unwrap();
        assert!(!found.is_empty(), "the fixture has no rows in {name}");
        for row in found {
            let revision: i64 = row.try_get_by_index(1).unwrap();
            let revision = revision.try_into().unwrap();
            rows.push((
                table,
                row.try_get_by_index(0).unwrap(),
                revision,
                row.try_get_by_index(2).unwrap(),
            ));
        }
    }
    database.close().await.unwrap();
    rows
}

/// The cluster that a row is of, read independently of the migration: by its key where that names one.
fn cluster(table: Table, key: &str, body: &str, operations: &BTreeMap<String, String>) -> String {
    let body: Value = serde_json::from_str(body).unwrap();
    let named = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
    match table {
        Table::Plan => named("/plan/body/cluster"),
        Table::Operation => named("/operation/cluster"),
        Table::Step => operations[key.split('/').next().unwrap()].clone(),
        Table::Cluster
        | Table::Machine
        | Table::Replica
        | Table::Attempt
        | Table::Credential
        | Table::Event
        | Table::Audit
        | Table::Orphan
        | Table::Adopted
        | Table::TerraformState
        | Table::TerraformBody
        | Table::TerraformAdopted => key.split('/').next().unwrap().to_owned(),
    }
}

#[tokio::test]
async fn every_row_of_version_1_is_in_its_clusters_shard() {
    let folder = tempfile::tempdir().unwrap();
    version_1(folder.path());
    let before = rows_of_version_1(folder.path()).await;
    let store = SqlStore::open(folder.path(), "another").await.unwrap();
    assert_eq!(store.id(), "0123456789abcdef");
    let after = dump(&store).await.unwrap();
    let kept: Vec<_> = after
        .iter()
        .map(|(table, row)| (*table, row.key.clone(), row.revision, row.body.clone()))
        .collect();
    assert_eq!(kept, before);
    let of_operations: BTreeMap<String, String> = before
        .iter()
        .filter(|(table, ..)| *table == Table::Operation)
        .map(|(_, key, _, body)| (key.clone(), cluster(Table::Operation, key, body, &BTreeMap::new())))
        .collect();
    let mut shards: BTreeMap<ShardId, usize> = BTreeMap::new();
    for (table, row) in &after {
        let cluster = cluster(*table, &row.key, &row.body, &of_operations);
        let shard = shard_of(&ClusterName::new(cluster).unwrap());
        assert_eq!(row.shard, shard, "{table:?} `{}`", row.key);
        *shards.entry(shard).or_default() += 1;
    }
    assert!(shards.len() >= 4, "too few shards to show anything: {shards:?}");
    for shard in ShardId::all() {
        let mut rows = 0;
        for table in Table::ALL {
            rows += store.scan(Some(shard), table, None, 1_000).await.unwrap().len();
        }
        assert_eq!(rows, shards.get(&shard).copied().unwrap_or(0), "shard {shard}");
    }
}

#[tokio::test]
async fn a_migrated_store_is_free_to_claim_above_every_epoch_it_knew() {
    let folder = tempfile::tempdir().unwrap();
    version_1(folder.path());
    let store = SqlStore::open(folder.path(), "another").await.unwrap();
    assert_eq!(store.incarnation(), Incarnation(1));
    assert!(!store.is_recovering().await.unwrap());
    for shard in ShardId::all() {
        assert_eq!(claimed(&store, shard).await, Epoch(2), "its one writer had epoch 1");
    }
    store
        .commit(HOME, Epoch(2), &[insert(Table::Audit, "shop/1", "{}")])
        .await
        .unwrap();
    store.close().await.unwrap();
    let store = SqlStore::open(folder.path(), "another").await.unwrap();
    assert_eq!(store.members().await.unwrap(), [], "those who are gone are forgotten");
    assert_eq!(claimed(&store, HOME).await, Epoch(3));
}
