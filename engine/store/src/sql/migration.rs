//! The migrations, which make the tables of a store and bring older stores up to date. The same for both databases: they
//! name what stood in a store at their time, and use nothing of [`super::schema`] that could change. Called by its
//! `Migrator` only.

mod adopted;
mod rows;
mod shards;
mod terraform;

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

pub(super) use self::adopted::Adopted;
pub(super) use self::rows::Rows;
pub(super) use self::shards::Shards;
pub(super) use self::terraform::Terraform;

/// Makes a table of rows as they have been since migration 2.
async fn rows_in_shards(manager: &SchemaManager<'_>, table: &'static str) -> Result<(), DbErr> {
    let mut rows = Table::create();
    rows.table(table)
        .col(by_bytes(manager, "key").not_null().primary_key())
        .col(ColumnDef::new("revision").big_integer().not_null())
        .col(ColumnDef::new("body").text().not_null())
        .col(ColumnDef::new("shard").big_integer().not_null().default(0));
    manager.create_table(rows).await
}

/// Rows of one shard are found in the order of their keys.
async fn by_shard(manager: &SchemaManager<'_>, table: &'static str) -> Result<(), DbErr> {
    let mut index = Index::create();
    index
        .name(format!("{table}_by_shard"))
        .table(table)
        .col("shard")
        .col("key");
    manager.create_index(index).await
}

/// A column of text that is compared by its bytes. SQLite does so anyway; PostgreSQL asks the database's locale.
fn by_bytes(manager: &SchemaManager<'_>, column: impl IntoIden) -> ColumnDef {
    let mut column = ColumnDef::new(column);
    if manager.get_database_backend() == DbBackend::Postgres {
        column.custom(Alias::new(r#"text COLLATE "C""#));
    } else {
        column.text();
    }
    column
}
