//! What every [`Store`] must do, as functions that panic where one does not. Called by this crate's tests for every store.
//!
//! Each takes an empty store. Knows no implementation, so what only one of them can do (faults, files) is tested beside it.
//! Nothing waits: a lease of no length has run out when it is given.

mod members;

use std::time::Duration;

use isobar_engine_model::id::{Epoch, MemberId, ShardId};

pub use self::members::*;
use crate::{Member, Row, Store, StoreError, Table, Write};

/// The shard that tests of rows use.
pub const HOME: ShardId = ShardId(0);
/// Longer than any test.
pub const LONG: Duration = Duration::from_secs(24 * 60 * 60);

/// How many rows [`dump`] reads a page: few, so that small tests page too.
const DUMP_ROWS: u32 = 7;

/// Adds a row to `table`.
pub fn insert(table: Table, key: &str, body: &str) -> Write {
    Write::Insert {
        table,
        key: key.to_owned(),
        body: body.to_owned(),
    }
}

/// Replaces a row of `table`.
pub fn update(table: Table, key: &str, expect: u64, body: &str) -> Write {
    Write::Update {
        table,
        key: key.to_owned(),
        expect,
        body: body.to_owned(),
    }
}

/// Removes a row of `table`.
pub fn delete(table: Table, key: &str, expect: u64) -> Write {
    Write::Delete {
        table,
        key: key.to_owned(),
        expect,
    }
}

/// A member of that id.
pub fn member(id: &str) -> Member {
    Member {
        id: MemberId::new(id),
        peers: format!("{id}:7421"),
        nodes: vec![format!("{id}:7421"), format!("{id}.elsewhere:7421")],
    }
}

/// Beats as `engine` and claims a shard.
pub async fn claimed(store: &dyn Store, shard: ShardId) -> Epoch {
    let engine = member("engine");
    ok(store.beat(&engine, LONG).await);
    let epoch = ok(store.claim(shard, &engine.id).await);
    epoch.expect("nobody else has it")
}

/// Every row of every table, in order, read in pages.
pub async fn dump(store: &dyn Store) -> Result<Vec<(Table, Row)>, StoreError> {
    let mut rows = Vec::new();
    for table in Table::ALL {
        let mut after: Option<String> = None;
        loop {
            let page = store.scan(None, table, after.as_deref(), DUMP_ROWS).await?;
            let Some(last) = page.last() else { break };
            assert!(
                after.as_ref() < Some(&last.key),
                "{table:?}: a page after {after:?} ends with {:?}",
                last.key
            );
            after = Some(last.key.clone());
            rows.extend(page.into_iter().map(|row| (table, row)));
        }
    }
    Ok(rows)
}

/// Revisions start at 1, grow by one with each update, and start again after a delete.
pub async fn rows_carry_revisions(store: &dyn Store) {
    let epoch = claimed(store, HOME).await;
    ok(store.commit(HOME, epoch, &[insert(Table::Machine, "m", "1")]).await);
    expect_row(store, "m", Some((1, "1"))).await;
    ok(store.commit(HOME, epoch, &[update(Table::Machine, "m", 1, "2")]).await);
    expect_row(store, "m", Some((2, "2"))).await;
    ok(store.commit(HOME, epoch, &[delete(Table::Machine, "m", 2)]).await);
    expect_row(store, "m", None).await;
    ok(store.commit(HOME, epoch, &[insert(Table::Machine, "m", "3")]).await);
    expect_row(store, "m", Some((1, "3"))).await;
}

/// One write that does not fit keeps all others of its batch out, wherever it stands, and is named.
pub async fn stale_batches_write_nothing(store: &dyn Store) {
    let epoch = claimed(store, HOME).await;
    ok(store
        .commit(
            HOME,
            epoch,
            &[insert(Table::Machine, "m", "1"), insert(Table::Plan, "p", "1")],
        )
        .await);
    let before = ok(dump(store).await);
    let misfits = [
        insert(Table::Machine, "m", "x"),
        update(Table::Machine, "m", 2, "x"),
        update(Table::Machine, "m", 0, "x"),
        update(Table::Machine, "m", u64::MAX, "x"),
        update(Table::Machine, "absent", 1, "x"),
        update(Table::Machine, "absent", 0, "x"),
        delete(Table::Machine, "m", 2),
        delete(Table::Machine, "absent", 1),
    ];
    let fits = [insert(Table::Audit, "a", "x"), update(Table::Plan, "p", 1, "x")];
    for misfit in misfits {
        for at in 0..=fits.len() {
            let mut batch = fits.to_vec();
            batch.insert(at, misfit.clone());
            let (Write::Insert { key, .. } | Write::Update { key, .. } | Write::Delete { key, .. }) = &misfit;
            match store.commit(HOME, epoch, &batch).await {
                Err(StoreError::Stale {
                    table: Table::Machine,
                    key: named,
                }) => assert_eq!(&named, key, "{misfit:?}"),
                other => panic!("{misfit:?} at {at} of its batch: {other:?}"),
            }
            assert_eq!(ok(dump(store).await), before, "{misfit:?} at {at} of its batch");
        }
    }
}

/// Each write of a batch sees those before it.
pub async fn batches_apply_in_order(store: &dyn Store) {
    let epoch = claimed(store, HOME).await;
    let whole_life = [
        insert(Table::Machine, "m", "1"),
        update(Table::Machine, "m", 1, "2"),
        delete(Table::Machine, "m", 2),
        insert(Table::Machine, "m", "3"),
        update(Table::Machine, "m", 1, "4"),
    ];
    ok(store.commit(HOME, epoch, &whole_life).await);
    expect_row(store, "m", Some((2, "4"))).await;
    ok(store
        .commit(
            HOME,
            epoch,
            &[insert(Table::Machine, "n", "1"), delete(Table::Machine, "n", 1)],
        )
        .await);
    expect_row(store, "n", None).await;
    let twice = [insert(Table::Machine, "o", "1"), insert(Table::Machine, "o", "2")];
    let refused = store.commit(HOME, epoch, &twice).await;
    assert!(
        matches!(&refused, Err(StoreError::Stale { key, .. }) if key == "o"),
        "{refused:?}"
    );
    expect_row(store, "o", None).await;
}

/// A claim raises the epoch by one and shuts out every earlier one, empty batches too.
pub async fn earlier_epochs_are_fenced(store: &dyn Store) {
    let first = claimed(store, HOME).await;
    ok(store.commit(HOME, first, &[insert(Table::Machine, "m", "1")]).await);
    ok(store.commit(HOME, first, &[]).await);
    let second = claimed(store, HOME).await;
    assert_eq!(second, Epoch(first.0 + 1), "the second claim's epoch");
    let late = [update(Table::Machine, "m", 1, "late")];
    let late_and_stale = [update(Table::Machine, "m", 9, "late")];
    let never_given = Epoch(u64::MAX);
    for epoch in [first, Epoch(second.0 + 1), never_given] {
        for batch in [&late[..], &late_and_stale, &[]] {
            match store.commit(HOME, epoch, batch).await {
                Err(StoreError::Fenced { shard, current }) => {
                    assert_eq!((shard, current), (HOME, second), "who fences {epoch:?}");
                }
                other => panic!("{epoch:?} committed {batch:?}: {other:?}"),
            }
        }
    }
    expect_row(store, "m", Some((1, "1"))).await;
    ok(store.commit(HOME, second, &late).await);
    expect_row(store, "m", Some((2, "late"))).await;
}

/// Scans go by the bytes of the key, whatever they spell, and page without gap or repeat.
pub async fn scans_page_in_key_order(store: &dyn Store) {
    let epoch = claimed(store, HOME).await;
    let mut keys = [
        "b", "a", "B", "a/2", "a/10", "", "é", "e\u{301}", "日本", "🦀", "\u{ffff}", "a%", "a_", "a'\"", "ß", "z ",
    ];
    let batch: Vec<Write> = keys.iter().map(|key| insert(Table::Replica, key, key)).collect();
    ok(store.commit(HOME, epoch, &batch).await);
    ok(store
        .commit(HOME, epoch, &[insert(Table::Machine, "elsewhere", "")])
        .await);
    keys.sort_unstable();
    for limit in [1, 2, 5, 16, 1_000, u32::MAX] {
        let mut seen = Vec::new();
        loop {
            let after = seen.last().map(|row: &Row| row.key.clone());
            let page = ok(store.scan(Some(HOME), Table::Replica, after.as_deref(), limit).await);
            assert!(
                u32::try_from(page.len()).is_ok_and(|rows| rows <= limit),
                "a page of more than {limit}"
            );
            let Some(last) = page.last() else { break };
            assert!(
                after.as_ref() < Some(&last.key),
                "a page after {after:?} ends with {:?}",
                last.key
            );
            seen.extend(page);
        }
        let found: Vec<&str> = seen.iter().map(|row| row.key.as_str()).collect();
        assert_eq!(found, keys, "in pages of {limit}");
        assert!(
            seen.iter().all(|row| row.body == row.key && row.revision == 1),
            "{seen:?}"
        );
    }
    assert!(
        ok(store.scan(Some(HOME), Table::Replica, None, 0).await).is_empty(),
        "a page of none"
    );
    let after_absent = ok(store.scan(Some(HOME), Table::Replica, Some("a/1"), 1).await);
    assert_eq!(
        after_absent.first().map(|row| row.key.as_str()),
        Some("a/10"),
        "after a key that is not there"
    );
}

/// The same key in two tables is two rows.
pub async fn tables_are_apart(store: &dyn Store) {
    let epoch = claimed(store, HOME).await;
    let batch: Vec<Write> = Table::ALL
        .iter()
        .map(|table| insert(*table, "k", &format!("{table:?}")))
        .collect();
    ok(store.commit(HOME, epoch, &batch).await);
    for table in Table::ALL {
        let row = ok(store.get(table, "k").await);
        assert_eq!(row.map(|row| row.body), Some(format!("{table:?}")), "{table:?}");
    }
    ok(store.commit(HOME, epoch, &[delete(Table::Cluster, "k", 1)]).await);
    assert_eq!(ok(dump(store).await).len(), Table::ALL.len() - 1, "one was deleted");
}

/// A key is in one shard: no other's batch writes it, and each shard's scan gives its own.
pub async fn shards_are_apart(store: &dyn Store) {
    let away = ShardId(1);
    let (here, there) = (claimed(store, HOME).await, claimed(store, away).await);
    ok(store.commit(HOME, here, &[insert(Table::Machine, "m", "here")]).await);
    ok(store.commit(away, there, &[insert(Table::Machine, "n", "there")]).await);
    for misfit in [
        insert(Table::Machine, "m", "x"),
        update(Table::Machine, "m", 1, "x"),
        delete(Table::Machine, "m", 1),
    ] {
        let batch = [insert(Table::Machine, "o", "x"), misfit];
        let refused = store.commit(away, there, &batch).await;
        assert!(
            matches!(&refused, Err(StoreError::Stale { key, .. }) if key == "m"),
            "{batch:?}: {refused:?}"
        );
    }
    for (shard, keys) in [
        (Some(HOME), &["m"][..]),
        (Some(away), &["n"]),
        (Some(ShardId(2)), &[]),
        (None, &["m", "n"]),
    ] {
        let rows = ok(store.scan(shard, Table::Machine, None, 10).await);
        let found: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
        assert_eq!(found, keys, "in {shard:?}");
    }
    let row = ok(store.get(Table::Machine, "n").await);
    assert_eq!(row.map(|row| row.shard), Some(away));
    ok(store.commit(HOME, here, &[delete(Table::Machine, "m", 1)]).await);
    ok(store.commit(away, there, &[insert(Table::Machine, "m", "moved")]).await);
    let row = ok(store.get(Table::Machine, "m").await);
    assert_eq!(row.map(|row| row.shard), Some(away), "a free key is anybody's");
}

/// A batch of many thousand writes is one commit, and a late misfit undoes all of it.
pub async fn large_batches_are_atomic(store: &dyn Store) {
    let epoch = claimed(store, HOME).await;
    let mut batch: Vec<Write> = (0..5_003)
        .map(|n| insert(Table::Attempt, &format!("{n:05}"), "{}"))
        .collect();
    batch.push(update(Table::Attempt, "absent", 1, "{}"));
    let refused = store.commit(HOME, epoch, &batch).await;
    assert!(
        matches!(&refused, Err(StoreError::Stale { key, .. }) if key == "absent"),
        "{refused:?}"
    );
    assert_eq!(
        ok(store.scan(Some(HOME), Table::Attempt, None, u32::MAX).await).len(),
        0,
        "after the refusal"
    );
    batch.pop();
    ok(store.commit(HOME, epoch, &batch).await);
    assert_eq!(
        ok(store.scan(Some(HOME), Table::Attempt, None, u32::MAX).await).len(),
        5_003,
        "after the commit"
    );
    let updates: Vec<Write> = (0..5_003)
        .map(|n| update(Table::Attempt, &format!("{n:05}"), 1, "[]"))
        .collect();
    ok(store.commit(HOME, epoch, &updates).await);
    let rows = ok(store.scan(Some(HOME), Table::Attempt, None, u32::MAX).await);
    assert!(
        rows.iter().all(|row| row.revision == 2 && row.body == "[]"),
        "every row was updated"
    );
}

async fn expect_row(store: &dyn Store, key: &str, expected: Option<(u64, &str)>) {
    let row = ok(store.get(Table::Machine, key).await);
    let found = row.as_ref().map(|row| (row.revision, row.body.as_str()));
    assert_eq!(found, expected, "the machine `{key}`");
}

#[track_caller]
fn ok<T>(result: Result<T, StoreError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("refused, where the suite's call is sound: {error:?}"),
    }
}
