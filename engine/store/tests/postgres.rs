//! What only a database that several engines share can do: contests, lost connections, two that make or migrate it at once.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::sync::Arc;

use isobar_engine_model::id::{Epoch, ShardId};
use isobar_engine_store::conformance::{HOME, LONG, claimed, dump, insert, member};
use isobar_engine_store::sql::SqlStore;
use isobar_engine_store::{Store, StoreError, Table, Write};
use isobar_tests_postgres::{Database, Server, database};

/// Engines in a contest.
const ENGINES: u64 = 6;

async fn connect(database: &Database) -> SqlStore {
    SqlStore::connect(&database.url, "store").await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn engines_that_open_an_empty_database_at_once_share_one_store() {
    let database = Arc::new(database());
    let opening: Vec<_> = (0..ENGINES)
        .map(|n| {
            let database = Arc::clone(&database);
            tokio::spawn(async move { SqlStore::connect(&database.url, &format!("store-{n}")).await.unwrap() })
        })
        .collect();
    let mut ids = Vec::new();
    for opened in opening {
        let store = opened.await.unwrap();
        ids.push(store.id().to_owned());
        store.close().await.unwrap();
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "one of them named the store: {ids:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_engines_that_claim_at_once_one_has_the_shard() {
    let database = Arc::new(database());
    let first = connect(&database).await;
    for round in 1..=5u64 {
        let contest: Vec<_> = (0..ENGINES)
            .map(|n| {
                let database = Arc::clone(&database);
                tokio::spawn(async move {
                    let (store, engine) = (connect(&database).await, member(&format!("engine-{round}-{n}")));
                    // Some have just begun to live when the shard is already taken.
                    store.beat(&engine, LONG).await.unwrap();
                    let claimed = store.claim(HOME, &engine.id).await.unwrap();
                    store.close().await.unwrap();
                    claimed.map(|epoch| (epoch, engine.id))
                })
            })
            .collect();
        let mut winners = Vec::new();
        for engine in contest {
            winners.extend(engine.await.unwrap());
        }
        let [(epoch, winner)] = &winners[..] else {
            panic!("{} have it: {winners:?}", winners.len())
        };
        assert_eq!(*epoch, Epoch(round));
        first.leave(winner).await.unwrap();
    }
    first.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_key_that_two_shards_want_at_once_goes_to_one_of_them() {
    let database = Arc::new(database());
    let store = Arc::new(connect(&database).await);
    let mut epochs = Vec::new();
    for shard in ShardId::all() {
        epochs.push((shard, claimed(&*store, shard).await));
    }
    for round in 0..10 {
        let contest: Vec<_> = epochs
            .iter()
            .map(|&(shard, epoch)| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    let batch = [
                        insert(Table::Machine, &format!("{round}/wanted"), &shard.to_string()),
                        insert(Table::Plan, &format!("{round}/{shard}"), "beside it"),
                    ];
                    (shard, store.commit(shard, epoch, &batch).await)
                })
            })
            .collect();
        let mut winners = Vec::new();
        for writer in contest {
            match writer.await.unwrap() {
                (shard, Ok(())) => winners.push(shard),
                (_, Err(StoreError::Stale { table, key })) => {
                    assert_eq!((table, key), (Table::Machine, format!("{round}/wanted")));
                }
                (shard, Err(other)) => panic!("shard {shard}: {other:?}"),
            }
        }
        let [winner] = winners[..] else {
            panic!("{winners:?} wrote it")
        };
        let row = store
            .get(Table::Machine, &format!("{round}/wanted"))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((row.shard, row.body), (winner, winner.to_string()));
        let beside = store.scan(None, Table::Plan, None, 1_000).await.unwrap();
        assert_eq!(beside.len(), round + 1, "a batch that lost left something behind");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_claim_fences_every_commit_that_comes_after_it() {
    let database = database();
    let (old, new) = (Arc::new(connect(&database).await), connect(&database).await);
    let epoch = claimed(&*old, HOME).await;
    let writer = {
        let old = Arc::clone(&old);
        tokio::spawn(async move {
            let mut written = 0usize;
            loop {
                let batch: Vec<Write> = (0..20)
                    .map(|n| insert(Table::Attempt, &format!("{written:06}/{n}"), "{}"))
                    .collect();
                match old.commit(HOME, epoch, &batch).await {
                    Ok(()) => written += 1,
                    Err(StoreError::Fenced { current, .. }) => return (written, current),
                    Err(other) => panic!("{other:?}"),
                }
            }
        })
    };
    while old.scan(None, Table::Attempt, None, 200).await.unwrap().len() < 200 {}
    let claimed = claimed(&new, HOME).await;
    let seen = dump(&new).await.unwrap().len();
    let (written, current) = writer.await.unwrap();
    assert_eq!(current, claimed);
    assert_eq!(
        seen,
        written * 20,
        "all that the old one wrote, and nothing after the claim"
    );
    assert_eq!(dump(&new).await.unwrap().len(), seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_outlives_its_servers_crash_and_its_connections() {
    let server = Arc::new(Server::start().unwrap());
    let url = server.database("crash").unwrap();
    let database = Database { url, server };
    let store = connect(&database).await;
    let epoch = claimed(&store, HOME).await;
    for n in 0..3 {
        store
            .commit(HOME, epoch, &[insert(Table::Plan, &format!("before/{n}"), "{}")])
            .await
            .unwrap();
        let cut_off = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'isobar'";
        database.server.sql(&database, cut_off).unwrap();
    }
    database.server.crash().unwrap();
    let away = store.commit(HOME, epoch, &[insert(Table::Plan, "away", "{}")]).await;
    assert!(matches!(away, Err(StoreError::Unavailable(_))), "{away:?}");
    let away = store.get(Table::Plan, "before/0").await;
    assert!(matches!(away, Err(StoreError::Unavailable(_))), "{away:?}");
    database.server.up().unwrap();
    store
        .commit(HOME, epoch, &[insert(Table::Plan, "after", "{}")])
        .await
        .unwrap();
    let keys: Vec<String> = dump(&store)
        .await
        .unwrap()
        .into_iter()
        .map(|(_, row)| row.key)
        .collect();
    assert_eq!(keys, ["after", "before/0", "before/1", "before/2"]);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_frozen_engine_holds_its_shard_no_longer_than_its_silence() {
    let database = database();
    let (store, other) = (connect(&database).await, connect(&database).await);
    let epoch = claimed(&store, HOME).await;
    {
        // Polled until it holds the lock, then never again: as in a process that was stopped. Comparing its rows comes
        // after the lock, and many rows take many statements.
        let batch: Vec<Write> = (0..50_000)
            .map(|n| insert(Table::Plan, &format!("{n:05}"), "{}"))
            .collect();
        let mut commit = std::pin::pin!(store.commit(HOME, epoch, &batch));
        let compares = r#"SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND state = 'idle in transaction' AND query LIKE 'SELECT "key"%'"#;
        while database.server.sql(&database, compares).unwrap() == "0" {
            tokio::select! {
                biased;
                done = &mut commit => panic!("it was too fast: {done:?}"),
                () = tokio::task::yield_now() => {}
            }
        }
        assert_eq!(claimed(&other, HOME).await, Epoch(epoch.0 + 1));
        let late = commit.await;
        assert!(matches!(late, Err(StoreError::Unavailable(_))), "{late:?}");
    }
    assert!(dump(&other).await.unwrap().is_empty());
    let late = store.commit(HOME, epoch, &[]).await;
    assert!(matches!(late, Err(StoreError::Fenced { .. })), "{late:?}");
}

#[tokio::test]
async fn engines_that_died_long_ago_are_forgotten() {
    let database = database();
    let store = connect(&database).await;
    let members = |sql: &str| database.server.sql(&database, sql).unwrap();
    members("INSERT INTO member VALUES ('old', '', '', 1), ('late', '', '', extract(epoch FROM now()) * 1000 - 1)");
    store.beat(&member("new"), LONG).await.unwrap();
    assert_eq!(
        members("SELECT string_agg(id, ' ' ORDER BY id) FROM member"),
        "late new"
    );
}

#[tokio::test]
async fn a_database_of_a_later_version_is_refused_untouched() {
    let database = database();
    connect(&database).await.close().await.unwrap();
    database
        .server
        .sql(&database, "UPDATE meta SET schema = schema + 1")
        .unwrap();
    let refusal = SqlStore::connect(&database.url, "store")
        .await
        .expect_err("it was opened");
    assert!(matches!(refusal, StoreError::Newer { .. }), "{refusal:?}");
}

#[tokio::test]
async fn a_later_version_that_changes_the_tables_stops_an_engine_that_runs() {
    let database = database();
    let store = connect(&database).await;
    let epoch = claimed(&store, HOME).await;
    database
        .server
        .sql(
            &database,
            "ALTER TABLE orphan RENAME TO stray; ALTER TABLE shard RENAME epoch TO term",
        )
        .unwrap();
    let refusal = store.get(Table::Orphan, "k").await;
    assert!(matches!(refusal, Err(StoreError::Newer { .. })), "{refusal:?}");
    let refusal = store.commit(HOME, epoch, &[]).await;
    assert!(matches!(refusal, Err(StoreError::Newer { .. })), "{refusal:?}");
}

#[tokio::test]
async fn what_is_no_database_for_a_store_is_refused_with_what_would_do() {
    let database = database();
    let of = async |url: &str| {
        let refusal = SqlStore::connect(url, "store").await.expect_err("it was opened");
        format!("{refusal:?} {}", refusal.hint().unwrap_or_default())
    };
    database
        .server
        .sql(&database, "CREATE TABLE songs (title TEXT)")
        .unwrap();
    let said = of(&database.url).await;
    assert!(said.contains("give an empty database"), "{said}");
    let lazy = isobar_tests_postgres::database();
    let name = lazy.url.rsplit('/').next().unwrap();
    let sql = format!("ALTER DATABASE {name} SET synchronous_commit = off");
    lazy.server.sql(&lazy, &sql).unwrap();
    let said = of(&lazy.url).await;
    assert!(said.contains("synchronous_commit"), "{said}");
    let said = of("postgres://engine:secret@localhost:port/isobar").await;
    assert!(said.contains("Unsuitable") && !said.contains("secret"), "{said}");
    let said = of("postgres://engine:secret@127.0.0.1:1/isobar").await;
    assert!(said.contains("Unavailable") && !said.contains("secret"), "{said}");
}
