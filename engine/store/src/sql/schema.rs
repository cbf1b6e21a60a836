//! The tables of the store's file and the migrations that make them. Reads and writes no rows of the engine; called by
//! [`super::open`] when a store is made or opened.

use sea_orm_migration::prelude::*;

use crate::Table as StoreTable;

/// The columns of a table of rows.
#[derive(Clone, Copy, DeriveIden)]
pub(super) enum Column {
    /// Primary key.
    Key,
    /// 1 when inserted.
    Revision,
    /// JSON.
    Body,
}

/// Who may write: one row.
#[derive(Clone, Copy, DeriveIden)]
pub(super) enum Shard {
    /// The table.
    Table,
    /// Always [`ONLY_ROW`].
    Id,
    /// The epoch whose commits are taken.
    Epoch,
    /// How many commits there were.
    Commits,
}

/// What this store is: one row.
#[derive(Clone, Copy, DeriveIden)]
pub(super) enum Meta {
    /// The table.
    Table,
    /// Always [`ONLY_ROW`].
    Id,
    /// The store's own id.
    Store,
    /// How many migrations it has had.
    Schema,
}

/// The id of the one row of `shard` and of `meta`.
pub(super) const ONLY_ROW: i64 = 0;

/// The name of a table of rows, in the file.
pub(super) const fn name(table: StoreTable) -> &'static str {
    match table {
        StoreTable::Cluster => "cluster",
        StoreTable::Machine => "machine",
        StoreTable::Replica => "replica",
        StoreTable::Plan => "plan",
        StoreTable::Operation => "operation",
        StoreTable::Step => "step",
        StoreTable::Attempt => "attempt",
        StoreTable::Credential => "credential",
        StoreTable::Orphan => "orphan",
        StoreTable::Audit => "audit",
    }
}

/// How many migrations this version knows.
pub(super) fn known() -> i64 {
    let count = Migrator::migrations().len();
    count.try_into().expect("a handful of migrations")
}

/// Every migration, oldest first. One that has been released is never changed.
pub(super) struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(Rows)]
    }
}

/// The tables of rows, `shard` and `meta`.
struct Rows;

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
        for table in StoreTable::ALL {
            let mut rows = Table::create();
            rows.table(name(table))
                .col(ColumnDef::new(Column::Key).text().not_null().primary_key())
                .col(ColumnDef::new(Column::Revision).big_integer().not_null())
                .col(ColumnDef::new(Column::Body).text().not_null());
            manager.create_table(rows).await?;
        }
        let mut shard = Table::create();
        shard
            .table(Shard::Table)
            .col(ColumnDef::new(Shard::Id).big_integer().not_null().primary_key())
            .col(ColumnDef::new(Shard::Epoch).big_integer().not_null())
            .col(ColumnDef::new(Shard::Commits).big_integer().not_null());
        manager.create_table(shard).await?;
        let mut meta = Table::create();
        meta.table(Meta::Table)
            .col(ColumnDef::new(Meta::Id).big_integer().not_null().primary_key())
            .col(ColumnDef::new(Meta::Store).text().not_null())
            .col(ColumnDef::new(Meta::Schema).big_integer().not_null());
        manager.create_table(meta).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}
