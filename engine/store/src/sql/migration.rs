//! The migrations, which make the tables of a store and bring older stores up to date. The same for both databases: they
//! name what stood in a store at their time, and use nothing of [`super::schema`] that could change. Called by its
//! `Migrator` only.

mod adopted;
mod rows;
mod shards;

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

pub(super) use self::adopted::Adopted;
pub(super) use self::rows::Rows;
pub(super) use self::shards::Shards;

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
