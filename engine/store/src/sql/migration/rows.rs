//! Migration 1: nine tables of rows, one writer. Called by [`super`].

use sea_orm_migration::prelude::*;

use super::by_bytes;

/// The tables of rows at this time.
const TABLES: [&str; 9] = [
    "cluster",
    "machine",
    "replica",
    "plan",
    "operation",
    "step",
    "attempt",
    "credential",
    "audit",
];

/// The tables of rows, `shard` and `meta`.
pub(in crate::sql) struct Rows;

impl MigrationName for Rows {
    fn name(&self) -> &str {
        "m0001_rows"
    }
}

#[expect(
    elided_lifetimes_in_paths,
    reason = "async_trait makes a written lifetime another one than the trait's"
)]
#[async_trait::async_trait]
impl MigrationTrait for Rows {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES {
            let mut rows = Table::create();
            rows.table(table)
                .col(by_bytes(manager, "key").not_null().primary_key())
                .col(ColumnDef::new("revision").big_integer().not_null())
                .col(ColumnDef::new("body").text().not_null());
            manager.create_table(rows).await?;
        }
        let mut shard = Table::create();
        shard
            .table("shard")
            .col(ColumnDef::new("id").big_integer().not_null().primary_key())
            .col(ColumnDef::new("epoch").big_integer().not_null())
            .col(ColumnDef::new("commits").big_integer().not_null());
        manager.create_table(shard).await?;
        let mut meta = Table::create();
        meta.table("meta")
            .col(ColumnDef::new("id").big_integer().not_null().primary_key())
            .col(ColumnDef::new("store").text().not_null())
            .col(ColumnDef::new("schema").big_integer().not_null());
        manager.create_table(meta).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
