//! The tables and columns of a store as they are now. Reads and writes nothing; called by [`super::statement`], and by
//! whoever makes or opens a store.

use sea_orm_migration::prelude::*;

use super::migration;
use crate::Table as StoreTable;

/// The columns of a table of rows.
#[derive(Clone, Copy, DeriveIden)]
pub(super) enum Column {
    /// Primary key.
    Key,
    /// Whose writer may change it.
    Shard,
    /// 1 when inserted.
    Revision,
    /// JSON.
    Body,
}

/// Who may write: one row a shard.
#[derive(Clone, Copy, DeriveIden)]
pub(super) enum Shard {
    /// The table.
    Table,
    /// Primary key.
    Id,
    /// The epoch whose commits are taken.
    Epoch,
    /// How many commits there were.
    Commits,
    /// The member that claimed it and has not released it.
    Holder,
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
    /// Which life of its rows this is.
    Incarnation,
    /// 1 from a restore to the end of its recovery.
    Recovering,
}

/// The engines: one row each.
#[derive(Clone, Copy, DeriveIden)]
pub(super) enum Member {
    /// The table.
    Table,
    /// Primary key.
    Id,
    /// Where other members reach it.
    Peers,
    /// Where nodes reach it.
    Nodes,
    /// When its lease runs out: milliseconds since 1970 by the database's clock.
    Until,
}

/// What the first writer decided: one row each.
#[derive(Clone, Copy, DeriveIden)]
pub(super) enum Setting {
    /// The table.
    Table,
    /// Primary key.
    Key,
    /// Never changed.
    Value,
}

/// The id of the one row of `meta`.
pub(super) const ONLY_ROW: i64 = 0;

/// The name of a table of rows, in the database and in backups.
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
        StoreTable::Event => "event",
        StoreTable::Audit => "audit",
        StoreTable::Orphan => "orphan",
        StoreTable::Adopted => "adopted",
        StoreTable::TerraformState => "terraform_state",
        StoreTable::TerraformBody => "terraform_body",
        StoreTable::TerraformAdopted => "terraform_adopted",
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
        vec![
            Box::new(migration::Rows),
            Box::new(migration::Shards),
            Box::new(migration::Adopted),
            Box::new(migration::Terraform),
        ]
    }
}
