//! Migration 2: rows get their shards, engines their leases; events leave the name `audit` to the chained log. Called by
//! [`super`].

use std::collections::BTreeMap;

use isobar_engine_model::id::{ClusterName, SHARDS, ShardId, shard_of};
use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbErr};
use serde::Deserialize;

use super::{by_bytes, by_shard, rows_in_shards};

/// The tables that were there, by their new names.
const OLD: [&str; 9] = [
    "cluster",
    "machine",
    "replica",
    "plan",
    "operation",
    "step",
    "attempt",
    "credential",
    "event",
];
/// The new tables of rows.
const NEW: [&str; 2] = ["audit", "orphan"];
/// Rows that are read and assigned at a time.
const PAGE_ROWS: u64 = 1_000;

/// The column `shard`, the shards themselves, and the tables `audit`, `orphan`, `member` and `setting`.
pub(in crate::sql) struct Shards;

impl MigrationName for Shards {
    fn name(&self) -> &str {
        "m0002_shards"
    }
}

#[expect(
    elided_lifetimes_in_paths,
    reason = "async_trait makes a written lifetime another one than the trait's"
)]
#[async_trait::async_trait]
impl MigrationTrait for Shards {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .rename_table(Table::rename().table("audit", "event").to_owned())
            .await?;
        for table in OLD {
            let mut shard = ColumnDef::new("shard");
            shard.big_integer().not_null().default(0);
            manager
                .alter_table(Table::alter().table(table).add_column(shard).to_owned())
                .await?;
        }
        for table in NEW {
            rows_in_shards(manager, table).await?;
        }
        for table in OLD.into_iter().chain(NEW) {
            by_shard(manager, table).await?;
        }
        engines(manager).await?;
        claimable(manager).await?;
        assign(manager).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

/// What engines have beside rows.
async fn engines(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let mut member = Table::create();
    member
        .table("member")
        .col(by_bytes(manager, "id").not_null().primary_key())
        .col(ColumnDef::new("peers").text().not_null())
        .col(ColumnDef::new("nodes").text().not_null())
        .col(ColumnDef::new("until").big_integer().not_null());
    manager.create_table(member).await?;
    let mut setting = Table::create();
    setting
        .table("setting")
        .col(by_bytes(manager, "key").not_null().primary_key())
        .col(ColumnDef::new("value").text().not_null());
    manager.create_table(setting).await?;
    for (name, default) in [("incarnation", 1), ("recovering", 0)] {
        let mut column = ColumnDef::new(name);
        column.big_integer().not_null().default(default);
        manager
            .alter_table(Table::alter().table("meta").add_column(column).to_owned())
            .await?;
    }
    let mut holder = by_bytes(manager, "holder");
    holder.null();
    manager
        .alter_table(Table::alter().table("shard").add_column(holder).to_owned())
        .await
}

/// Every shard gets its row, at the epoch that the one writer had: no epoch comes twice for any row.
async fn claimable(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    let one = Query::select().columns(["id", "epoch"]).from("shard").to_owned();
    let (mut first, mut epoch) = (0, 0i64);
    if let Some(row) = connection.query_one(&one).await? {
        (first, epoch) = (1, row.try_get_by_index(1)?);
    }
    let mut insert = Query::insert();
    insert.into_table("shard").columns(["id", "epoch", "commits"]);
    for id in first..SHARDS {
        insert.values_panic([i64::from(id).into(), epoch.into(), 0i64.into()]);
    }
    connection.execute(&insert).await?;
    Ok(())
}

/// What of a body says whose it is.
#[derive(Deserialize)]
struct Of {
    cluster: ClusterName,
}

/// A plan's body.
#[derive(Deserialize)]
struct OfPlan {
    plan: Within,
}

#[derive(Deserialize)]
struct Within {
    body: Of,
}

/// An operation's body.
#[derive(Deserialize)]
struct OfOperation {
    operation: Of,
}

/// A step's body.
#[derive(Deserialize)]
struct OfStep {
    operation: String,
}

/// Puts every row into the shard of its cluster. A row that names none stays in shard 0, where its reader complains.
async fn assign(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let mut operations: BTreeMap<String, ShardId> = BTreeMap::new();
    for table in OLD {
        let mut after: Option<String> = None;
        loop {
            let rows = page(manager, table, after.as_deref()).await?;
            let Some((last, _)) = rows.last() else { break };
            after = Some(last.clone());
            let mut moved: BTreeMap<ShardId, Vec<String>> = BTreeMap::new();
            for (key, body) in rows {
                let shard = home(table, &body, &operations);
                if table == "operation" {
                    operations.extend(shard.map(|shard| (key.clone(), shard)));
                }
                match shard {
                    Some(shard) => moved.entry(shard).or_default().push(key),
                    None => tracing::warn!(table, key, "a row names no cluster; it stays in shard 0"),
                }
            }
            for (shard, keys) in moved {
                let update = Query::update()
                    .table(table)
                    .value("shard", i64::from(shard.0))
                    .and_where(Expr::col("key").is_in(keys))
                    .to_owned();
                manager.get_connection().execute(&update).await?;
            }
        }
    }
    Ok(())
}

/// Operations come before their steps in [`OLD`].
fn home(table: &str, body: &str, operations: &BTreeMap<String, ShardId>) -> Option<ShardId> {
    let cluster = match table {
        "step" => {
            let step: OfStep = serde_json::from_str(body).ok()?;
            return operations.get(&step.operation).copied();
        }
        "plan" => serde_json::from_str::<OfPlan>(body).ok()?.plan.body.cluster,
        "operation" => serde_json::from_str::<OfOperation>(body).ok()?.operation.cluster,
        _ => serde_json::from_str::<Of>(body).ok()?.cluster,
    };
    Some(shard_of(&cluster))
}

async fn page(
    manager: &SchemaManager<'_>,
    table: &'static str,
    after: Option<&str>,
) -> Result<Vec<(String, String)>, DbErr> {
    let mut select = Query::select();
    select
        .columns(["key", "body"])
        .from(table)
        .order_by("key", Order::Asc)
        .limit(PAGE_ROWS);
    if let Some(after) = after {
        select.and_where(Expr::col("key").gt(after));
    }
    let rows = manager.get_connection().query_all(&select).await?;
    rows.iter()
        .map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?)))
        .collect()
}
