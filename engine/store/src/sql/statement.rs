//! The statements about rows and the store itself, for any database that sea-query speaks. Decides nothing; called by
//! [`super`].

pub(super) mod engine;

use isobar_engine_model::id::{Incarnation, ShardId};
use sea_orm::sea_query::{DeleteStatement, InsertStatement, SelectStatement, UpdateStatement};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict, Order, Query};

use super::batch::Put;
use super::schema::{self, Column, Meta, ONLY_ROW, Setting};
use crate::{Row, Table};

/// What databases call a whole number. Epochs and revisions start near 0 and grow by one.
pub(super) fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A shard, as its column holds it.
pub(super) fn number(shard: ShardId) -> i64 {
    i64::from(shard.0)
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

/// Which life of its rows the store is, and whether it recovers.
pub(super) fn life() -> SelectStatement {
    Query::select()
        .columns([Meta::Incarnation, Meta::Recovering])
        .from(Meta::Table)
        .and_where(Expr::col(Meta::Id).eq(ONLY_ROW))
        .to_owned()
}

/// Ends the recovery.
pub(super) fn end_recovery() -> UpdateStatement {
    Query::update()
        .table(Meta::Table)
        .value(Meta::Recovering, 0)
        .and_where(Expr::col(Meta::Id).eq(ONLY_ROW))
        .to_owned()
}

/// Gives the store the name and the life that follow from a backup.
pub(super) fn restore_life(id: &str, incarnation: Incarnation) -> UpdateStatement {
    Query::update()
        .table(Meta::Table)
        .value(Meta::Store, id)
        .value(Meta::Incarnation, whole(incarnation.0))
        .value(Meta::Recovering, 1)
        .and_where(Expr::col(Meta::Id).eq(ONLY_ROW))
        .to_owned()
}

/// Inserts rows as a backup has them.
pub(super) fn restore(table: Table, rows: &[Row]) -> InsertStatement {
    let mut insert = Query::insert();
    insert
        .into_table(schema::name(table))
        .columns([Column::Key, Column::Shard, Column::Revision, Column::Body]);
    for row in rows {
        insert.values_panic([
            row.key.as_str().into(),
            number(row.shard).into(),
            whole(row.revision).into(),
            row.body.as_str().into(),
        ]);
    }
    insert
}

/// Inserts settings as a backup has them.
pub(super) fn restore_settings(settings: &[(String, String)]) -> InsertStatement {
    let mut insert = Query::insert();
    insert
        .into_table(Setting::Table)
        .columns([Setting::Key, Setting::Value]);
    for (key, value) in settings {
        insert.values_panic([key.as_str().into(), value.as_str().into()]);
    }
    insert
}

/// Every setting: key and value. A handful.
pub(super) fn settings() -> SelectStatement {
    Query::select()
        .columns([Setting::Key, Setting::Value])
        .from(Setting::Table)
        .order_by(Setting::Key, Order::Asc)
        .to_owned()
}

/// Sets what is not set yet.
pub(super) fn set_once(key: &str, value: &str) -> InsertStatement {
    Query::insert()
        .into_table(Setting::Table)
        .columns([Setting::Key, Setting::Value])
        .values_panic([key.into(), value.into()])
        .on_conflict(OnConflict::column(Setting::Key).do_nothing().to_owned())
        .to_owned()
}

/// What was set: one row of one column.
pub(super) fn setting(key: &str) -> SelectStatement {
    Query::select()
        .column(Setting::Value)
        .from(Setting::Table)
        .and_where(Expr::col(Setting::Key).eq(key))
        .to_owned()
}

/// Keys, revisions and shards of those of `keys` that exist.
pub(super) fn revisions(table: Table, keys: &[&str]) -> SelectStatement {
    Query::select()
        .columns([Column::Key, Column::Revision, Column::Shard])
        .from(schema::name(table))
        .and_where(Expr::col(Column::Key).is_in(keys.iter().copied()))
        .to_owned()
}

/// Inserts or replaces rows of a shard. A row that another shard has is not touched, and not counted.
pub(super) fn put(shard: ShardId, table: Table, rows: &[Put<'_>]) -> InsertStatement {
    let mut insert = Query::insert();
    insert
        .into_table(schema::name(table))
        .columns([Column::Key, Column::Shard, Column::Revision, Column::Body])
        .on_conflict(
            OnConflict::column(Column::Key)
                .update_columns([Column::Revision, Column::Body])
                .action_and_where(Expr::col((schema::name(table), Column::Shard)).eq(number(shard)))
                .to_owned(),
        );
    for row in rows {
        insert.values_panic([
            row.key.into(),
            number(shard).into(),
            whole(row.revision).into(),
            row.body.into(),
        ]);
    }
    insert
}

/// Removes rows of a shard.
pub(super) fn delete(shard: ShardId, table: Table, keys: &[&str]) -> DeleteStatement {
    Query::delete()
        .from_table(schema::name(table))
        .and_where(Expr::col(Column::Shard).eq(number(shard)))
        .and_where(Expr::col(Column::Key).is_in(keys.iter().copied()))
        .to_owned()
}

/// A page of rows in key order.
pub(super) fn scan(shard: Option<ShardId>, table: Table, after: Option<&str>, limit: u32) -> SelectStatement {
    let mut select = rows(table);
    select.order_by(Column::Key, Order::Asc).limit(u64::from(limit));
    if let Some(shard) = shard {
        select.and_where(Expr::col(Column::Shard).eq(number(shard)));
    }
    if let Some(after) = after {
        select.and_where(Expr::col(Column::Key).gt(after));
    }
    select
}

/// One row.
pub(super) fn get(table: Table, key: &str) -> SelectStatement {
    rows(table).and_where(Expr::col(Column::Key).eq(key)).to_owned()
}

/// The columns of a row, in the order in which they are read.
fn rows(table: Table) -> SelectStatement {
    Query::select()
        .columns([Column::Key, Column::Shard, Column::Revision, Column::Body])
        .from(schema::name(table))
        .to_owned()
}
