//! The statements of the store, for any database that sea-query speaks. Decides nothing; called by [`super`].

use isobar_engine_model::id::Epoch;
use sea_orm::sea_query::{DeleteStatement, InsertStatement, SelectStatement, UpdateStatement};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict, Order, Query};

use super::batch::Put;
use super::schema::{self, Column, Meta, ONLY_ROW, Shard};
use crate::Table;

/// What databases call a whole number. Epochs and revisions start near 0 and grow by one.
pub(super) fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Counts a commit, if `epoch` is current: one row or none.
pub(super) fn fence(epoch: Epoch) -> UpdateStatement {
    Query::update()
        .table(Shard::Table)
        .value(Shard::Commits, Expr::col(Shard::Commits).add(1))
        .and_where(Expr::col(Shard::Id).eq(ONLY_ROW))
        .and_where(Expr::col(Shard::Epoch).eq(whole(epoch.0)))
        .to_owned()
}

/// Raises the epoch by one.
pub(super) fn raise_epoch() -> UpdateStatement {
    Query::update()
        .table(Shard::Table)
        .value(Shard::Epoch, Expr::col(Shard::Epoch).add(1))
        .and_where(Expr::col(Shard::Id).eq(ONLY_ROW))
        .to_owned()
}

/// The current epoch: one row of one column.
pub(super) fn epoch() -> SelectStatement {
    Query::select()
        .column(Shard::Epoch)
        .from(Shard::Table)
        .and_where(Expr::col(Shard::Id).eq(ONLY_ROW))
        .to_owned()
}

/// The shard of a new store.
pub(super) fn new_shard() -> InsertStatement {
    Query::insert()
        .into_table(Shard::Table)
        .columns([Shard::Id, Shard::Epoch, Shard::Commits])
        .values_panic([ONLY_ROW.into(), 0i64.into(), 0i64.into()])
        .to_owned()
}

/// The name and the schema of a new store.
pub(super) fn new_meta(id: &str, schema: i64) -> InsertStatement {
    Query::insert()
        .into_table(Meta::Table)
        .columns([Meta::Id, Meta::Store, Meta::Schema])
        .values_panic([ONLY_ROW.into(), id.into(), schema.into()])
        .to_owned()
}

/// Notes how many migrations the store has had.
pub(super) fn set_schema(schema: i64) -> UpdateStatement {
    Query::update()
        .table(Meta::Table)
        .value(Meta::Schema, schema)
        .and_where(Expr::col(Meta::Id).eq(ONLY_ROW))
        .to_owned()
}

/// The store's id and schema.
pub(super) fn meta() -> SelectStatement {
    Query::select()
        .columns([Meta::Store, Meta::Schema])
        .from(Meta::Table)
        .and_where(Expr::col(Meta::Id).eq(ONLY_ROW))
        .to_owned()
}

/// Keys and revisions of those of `keys` that exist.
pub(super) fn revisions(table: Table, keys: &[&str]) -> SelectStatement {
    Query::select()
        .columns([Column::Key, Column::Revision])
        .from(schema::name(table))
        .and_where(Expr::col(Column::Key).is_in(keys.iter().copied()))
        .to_owned()
}

/// Inserts or replaces rows.
pub(super) fn put(table: Table, rows: &[Put<'_>]) -> InsertStatement {
    let mut insert = Query::insert();
    insert
        .into_table(schema::name(table))
        .columns([Column::Key, Column::Revision, Column::Body])
        .on_conflict(
            OnConflict::column(Column::Key)
                .update_columns([Column::Revision, Column::Body])
                .to_owned(),
        );
    for row in rows {
        insert.values_panic([row.key.into(), whole(row.revision).into(), row.body.into()]);
    }
    insert
}

/// Removes rows.
pub(super) fn delete(table: Table, keys: &[&str]) -> DeleteStatement {
    Query::delete()
        .from_table(schema::name(table))
        .and_where(Expr::col(Column::Key).is_in(keys.iter().copied()))
        .to_owned()
}

/// A page of rows in key order.
pub(super) fn scan(table: Table, after: Option<&str>, limit: u32) -> SelectStatement {
    let mut select = Query::select();
    select
        .columns([Column::Key, Column::Revision, Column::Body])
        .from(schema::name(table))
        .order_by(Column::Key, Order::Asc)
        .limit(u64::from(limit));
    if let Some(after) = after {
        select.and_where(Expr::col(Column::Key).gt(after));
    }
    select
}

/// One row.
pub(super) fn get(table: Table, key: &str) -> SelectStatement {
    Query::select()
        .columns([Column::Key, Column::Revision, Column::Body])
        .from(schema::name(table))
        .and_where(Expr::col(Column::Key).eq(key))
        .to_owned()
}
