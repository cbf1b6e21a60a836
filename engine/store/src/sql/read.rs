//! From a database's answers to what the store tells. Decides nothing; called by everything in [`super`] that reads.

use isobar_engine_model::id::{Epoch, Incarnation, MemberId, ShardId};
use sea_orm::{ConnectionTrait, DbErr, QueryResult, TryGetable};

use super::place::Place;
use super::{failure, statement};
use crate::{Member, Row, Shard, StoreError};

/// The store's id and schema.
pub(super) async fn meta(place: &Place, connection: &impl ConnectionTrait) -> Result<(String, i64), StoreError> {
    let row = connection.query_one(&statement::meta()).await;
    let row = row.map_err(|error| failure::before_commit(place, error))?;
    let row = row.ok_or_else(|| failure::corrupt(place, "the table `meta` is empty"))?;
    Ok((value(place, &row, 0)?, value(place, &row, 1)?))
}

/// The store's incarnation, and whether it recovers.
pub(super) async fn life(place: &Place, connection: &impl ConnectionTrait) -> Result<(Incarnation, bool), StoreError> {
    let row = connection.query_one(&statement::life()).await;
    let row = row.map_err(|error| failure::before_commit(place, error))?;
    let row = row.ok_or_else(|| failure::corrupt(place, "the table `meta` is empty"))?;
    Ok((Incarnation(whole(place, &row, 0)?), whole(place, &row, 1)? != 0))
}

/// A row of a table of rows.
pub(super) fn row(place: &Place, row: &QueryResult) -> Result<Row, StoreError> {
    Ok(Row {
        key: value(place, row, 0)?,
        shard: shard_id(place, row, 1)?,
        revision: whole(place, row, 2)?,
        body: value(place, row, 3)?,
    })
}

/// A row of `shard`.
pub(super) fn shard(place: &Place, row: &QueryResult) -> Result<Shard, StoreError> {
    Ok(Shard {
        id: shard_id(place, row, 0)?,
        epoch: Epoch(whole(place, row, 1)?),
        holder: value::<Option<String>>(place, row, 2)?.map(MemberId::new),
    })
}

/// A row of `member`.
pub(super) fn member(place: &Place, row: &QueryResult) -> Result<Member, StoreError> {
    Ok(Member {
        id: MemberId::new(value::<String>(place, row, 0)?),
        peers: value(place, row, 1)?,
        nodes: addresses(&value::<String>(place, row, 2)?),
    })
}

/// Each of the addresses in a column: see [`crate::sql::statement::engine::beat`].
fn addresses(column: &str) -> Vec<String> {
    column.split(',').map(str::to_owned).collect()
}

/// A column that holds a shard.
pub(super) fn shard_id(place: &Place, row: &QueryResult, index: usize) -> Result<ShardId, StoreError> {
    let number: i64 = value(place, row, index)?;
    let number = u16::try_from(number).map_err(|_| failure::corrupt(place, &format!("there is no shard {number}")))?;
    Ok(ShardId(number))
}

/// A column that holds a number that grows from 0.
pub(super) fn whole(place: &Place, row: &QueryResult, index: usize) -> Result<u64, StoreError> {
    let number: i64 = value(place, row, index)?;
    u64::try_from(number).map_err(|_| failure::corrupt(place, "a revision or epoch is below 0"))
}

/// A column of this type.
pub(super) fn value<T: TryGetable>(place: &Place, row: &QueryResult, index: usize) -> Result<T, StoreError> {
    row.try_get_by_index(index)
        .map_err(|error: DbErr| failure::corrupt(place, &error.to_string()))
}
