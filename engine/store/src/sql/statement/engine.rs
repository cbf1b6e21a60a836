//! The statements about engines: their leases and the shards that they hold. Decides nothing; called by [`super::super`].

use std::time::Duration;

use isobar_engine_model::id::{Epoch, MemberId, ShardId};
use sea_orm::sea_query::{DeleteStatement, InsertStatement, SelectStatement, UpdateStatement};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict, Order, Query};

use super::{number, whole};
use crate::Member as Engine;
use crate::sql::place::Kind;
use crate::sql::schema::{Member, Shard};

/// Longer leases are taken for this long: a thousand years, far from where the sum with the time overflows.
const LEASE_MS_MAX: i64 = 1_000 * 365 * 24 * 60 * 60 * 1_000;

/// A member whose lease ran out so long ago is forgotten.
const FORGOTTEN_AFTER_MS: i64 = 24 * 60 * 60 * 1_000;

/// The database's clock in milliseconds since 1970, at the moment at which the statement asks: not when its transaction
/// began, since it may have waited for a lock in between.
fn now(kind: Kind) -> Expr {
    Expr::cust(match kind {
        Kind::Sqlite => "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
        Kind::Postgres => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
    })
}

/// Counts a commit, if `epoch` is current: one row or none. Holds the shard's row until the transaction ends.
pub(in crate::sql) fn fence(shard: ShardId, epoch: Epoch) -> UpdateStatement {
    Query::update()
        .table(Shard::Table)
        .value(Shard::Commits, Expr::col(Shard::Commits).add(1))
        .and_where(Expr::col(Shard::Id).eq(number(shard)))
        .and_where(Expr::col(Shard::Epoch).eq(whole(epoch.0)))
        .to_owned()
}

/// The current epoch: one row of one column.
pub(in crate::sql) fn epoch(shard: ShardId) -> SelectStatement {
    Query::select()
        .column(Shard::Epoch)
        .from(Shard::Table)
        .and_where(Expr::col(Shard::Id).eq(number(shard)))
        .to_owned()
}

/// As [`epoch`], and holds the shard's row until the transaction ends. SQLite has locked everything by then.
pub(in crate::sql) fn lock(shard: ShardId) -> SelectStatement {
    epoch(shard).lock_exclusive().to_owned()
}

/// Raises the epoch and names the holder, if the claim is good: one row or none.
pub(in crate::sql) fn claim(kind: Kind, shard: ShardId, member: &MemberId) -> UpdateStatement {
    let holder = || Expr::col(Shard::Holder);
    let is_free = holder().is_null();
    let is_its_own = holder().eq(member.as_str());
    let is_left = holder().not_in_subquery(living_ids(kind));
    Query::update()
        .table(Shard::Table)
        .value(Shard::Epoch, Expr::col(Shard::Epoch).add(1))
        .value(Shard::Holder, member.as_str())
        .and_where(Expr::col(Shard::Id).eq(number(shard)))
        .and_where(is_free.or(is_its_own).or(is_left))
        .and_where(Expr::val(member.as_str()).in_subquery(living_ids(kind)))
        .to_owned()
}

/// Forgets the holder, if `epoch` is current: one row or none.
pub(in crate::sql) fn release(shard: ShardId, epoch: Epoch) -> UpdateStatement {
    Query::update()
        .table(Shard::Table)
        .value(Shard::Holder, Option::<String>::None)
        .and_where(Expr::col(Shard::Id).eq(number(shard)))
        .and_where(Expr::col(Shard::Epoch).eq(whole(epoch.0)))
        .to_owned()
}

/// Id, epoch and holder of every shard.
pub(in crate::sql) fn shards() -> SelectStatement {
    Query::select()
        .columns([Shard::Id, Shard::Epoch, Shard::Holder])
        .from(Shard::Table)
        .order_by(Shard::Id, Order::Asc)
        .to_owned()
}

/// Id, epoch and number of commits of every shard.
pub(in crate::sql) fn tenancies() -> SelectStatement {
    Query::select()
        .columns([Shard::Id, Shard::Epoch, Shard::Commits])
        .from(Shard::Table)
        .order_by(Shard::Id, Order::Asc)
        .to_owned()
}

/// Frees a shard, at this epoch.
pub(in crate::sql) fn restore(shard: ShardId, epoch: u64, commits: u64) -> UpdateStatement {
    Query::update()
        .table(Shard::Table)
        .value(Shard::Epoch, whole(epoch))
        .value(Shard::Commits, whole(commits))
        .value(Shard::Holder, Option::<String>::None)
        .and_where(Expr::col(Shard::Id).eq(number(shard)))
        .to_owned()
}

/// What time it is: one row of one column.
pub(in crate::sql) fn time(kind: Kind) -> SelectStatement {
    Query::select().expr(now(kind)).to_owned()
}

/// Begins or renews a lease.
pub(in crate::sql) fn beat(kind: Kind, member: &Engine, lease: Duration) -> InsertStatement {
    let lease_ms = u64::try_from(lease.as_millis()).map_or(LEASE_MS_MAX, whole);
    Query::insert()
        .into_table(Member::Table)
        .columns([Member::Id, Member::Peers, Member::Nodes, Member::Until])
        .values_panic([
            member.id.as_str().into(),
            member.peers.as_str().into(),
            // One address was all that there was once: several stand in its column, with commas between.
            member.nodes.join(",").into(),
            now(kind).add(Ord::min(lease_ms, LEASE_MS_MAX)),
        ])
        .on_conflict(
            OnConflict::column(Member::Id)
                .update_columns([Member::Peers, Member::Nodes, Member::Until])
                .to_owned(),
        )
        .to_owned()
}

/// Ends a lease.
pub(in crate::sql) fn leave(member: &MemberId) -> DeleteStatement {
    Query::delete()
        .from_table(Member::Table)
        .and_where(Expr::col(Member::Id).eq(member.as_str()))
        .to_owned()
}

/// Forgets those whose lease ran out a day ago: an engine that was killed never leaves, and is never started again under
/// its id.
pub(in crate::sql) fn forget(kind: Kind) -> DeleteStatement {
    Query::delete()
        .from_table(Member::Table)
        .and_where(Expr::col(Member::Until).lt(now(kind).sub(FORGOTTEN_AFTER_MS)))
        .to_owned()
}

/// Ends every lease.
pub(in crate::sql) fn leave_all() -> DeleteStatement {
    Query::delete().from_table(Member::Table).to_owned()
}

/// Id and addresses of those whose lease has not run out.
pub(in crate::sql) fn living(kind: Kind) -> SelectStatement {
    Query::select()
        .columns([Member::Id, Member::Peers, Member::Nodes])
        .from(Member::Table)
        .and_where(Expr::col(Member::Until).gt(now(kind)))
        .order_by(Member::Id, Order::Asc)
        .to_owned()
}

fn living_ids(kind: Kind) -> SelectStatement {
    Query::select()
        .column(Member::Id)
        .from(Member::Table)
        .and_where(Expr::col(Member::Until).gt(now(kind)))
        .to_owned()
}
