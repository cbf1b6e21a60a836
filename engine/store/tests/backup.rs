//! Backups: whole, of one moment, restored all or not at all, from any database to any other.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::io::{Cursor, Read};
use std::sync::Arc;

use isobar_engine_model::id::{Epoch, Incarnation, ShardId};
use isobar_engine_store::backup::BackupError;
use isobar_engine_store::conformance::{HOME, LONG, claimed, dump, insert, member, update};
use isobar_engine_store::sql::SqlStore;
use isobar_engine_store::{Store, StoreError, Table, Write};
use isobar_tests_postgres::{Database, database};
use tempfile::TempDir;

/// A store, and what keeps it alive.
struct Kept {
    store: SqlStore,
    folder: Option<TempDir>,
    database: Option<Database>,
}

async fn sqlite() -> Kept {
    let folder = tempfile::tempdir().unwrap();
    Kept {
        store: SqlStore::open(folder.path(), "the-sqlite").await.unwrap(),
        folder: Some(folder),
        database: None,
    }
}

async fn postgres() -> Kept {
    let database = database();
    Kept {
        store: SqlStore::connect(&database.url, "the-postgres").await.unwrap(),
        folder: None,
        database: Some(database),
    }
}

/// Rows in every table and several shards, settings, claims of different heights.
async fn fill(store: &SqlStore) {
    for shard in ShardId::all() {
        for _ in 0..=shard.0 {
            claimed(store, shard).await;
        }
        let epoch = Epoch(u64::from(shard.0) + 1);
        let mut batch: Vec<Write> = Table::ALL
            .into_iter()
            .map(|table| insert(table, &format!("{shard}/é'🦀"), "{\"a\":\"\\u0000\n\"}"))
            .collect();
        batch.push(update(Table::Plan, &format!("{shard}/é'🦀"), 1, "{}"));
        let many = if shard == HOME { 1_203 } else { 3 };
        batch.extend((0..many).map(|n| insert(Table::Attempt, &format!("{shard}/{n:05}"), "[]")));
        store.commit(shard, epoch, &batch).await.unwrap();
    }
    store.once("authority", "sealed").await.unwrap();
    store.once("key", "hash").await.unwrap();
}

async fn backup(store: &SqlStore) -> Vec<u8> {
    store.backup(Vec::new()).await.unwrap().0
}

async fn restores(from: Kept, mut to: Kept) {
    fill(&from.store).await;
    let (file, taken) = from.store.backup(Vec::new()).await.unwrap();
    assert_eq!(
        (taken.store.as_str(), taken.incarnation),
        (from.store.id(), Incarnation(1))
    );
    let restored = to.store.restore(Cursor::new(file)).await.unwrap();
    assert_eq!(restored, taken);
    let store = &to.store;
    assert_eq!(dump(store).await.unwrap(), dump(&from.store).await.unwrap());
    assert_eq!((store.id(), store.incarnation()), (from.store.id(), Incarnation(2)));
    assert_eq!(store.once("authority", "new").await.unwrap(), "sealed");
    assert_eq!(store.members().await.unwrap(), []);
    for shard in store.shards().await.unwrap() {
        assert_eq!(
            (shard.epoch.0, shard.holder),
            (u64::from(shard.id.0) + 2, None),
            "shard {}",
            shard.id
        );
    }
    let late = store.commit(HOME, Epoch(1), &[]).await;
    assert!(matches!(late, Err(StoreError::Fenced { .. })), "{late:?}");
    assert!(store.is_recovering().await.unwrap());
    assert_eq!(claimed(store, HOME).await, Epoch(3));
    // Its own backup is the next life's, and ending the recovery lasts.
    store.end_recovery().await.unwrap();
    let again = backup(store).await;
    let folder = tempfile::tempdir().unwrap();
    let mut third = SqlStore::open(folder.path(), "third").await.unwrap();
    assert_eq!(
        third.restore(Cursor::new(again)).await.unwrap().incarnation,
        Incarnation(2)
    );
    assert_eq!(third.incarnation(), Incarnation(3));
    third.close().await.unwrap();
    let reopened = SqlStore::open(folder.path(), "third").await.unwrap();
    assert_eq!(
        (reopened.id(), reopened.incarnation()),
        (from.store.id(), Incarnation(3))
    );
    assert!(reopened.is_recovering().await.unwrap());
    drop((to.folder, to.database));
}

#[tokio::test]
async fn a_backup_of_sqlite_is_restored_into_sqlite() {
    restores(sqlite().await, sqlite().await).await;
}

#[tokio::test]
async fn a_backup_of_sqlite_is_restored_into_postgresql() {
    restores(sqlite().await, postgres().await).await;
}

#[tokio::test]
async fn a_backup_of_postgresql_is_restored_into_sqlite() {
    restores(postgres().await, sqlite().await).await;
}

/// Commits until told to stop: each commit changes the same two rows in two tables, and adds one.
async fn keep_committing(store: Arc<SqlStore>, stop: Arc<std::sync::atomic::AtomicBool>) {
    let epoch = claimed(&*store, HOME).await;
    let first = [
        insert(Table::Cluster, "count", "1"),
        insert(Table::Orphan, "count", "1"),
    ];
    store.commit(HOME, epoch, &first).await.unwrap();
    let mut n = 1u64;
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        let body = (n + 1).to_string();
        let batch = [
            update(Table::Cluster, "count", n, &body),
            update(Table::Orphan, "count", n, &body),
            insert(Table::Plan, &format!("{n:08}"), "{}"),
        ];
        store.commit(HOME, epoch, &batch).await.unwrap();
        n += 1;
    }
}

async fn of_one_moment(kept: Kept) {
    let store = Arc::new(kept.store);
    let stop = Arc::default();
    let writer = tokio::spawn(keep_committing(Arc::clone(&store), Arc::clone(&stop)));
    while store.get(Table::Plan, "00000020").await.unwrap().is_none() {}
    for _ in 0..5 {
        let file = match (&kept.folder, &kept.database) {
            (Some(folder), _) => SqlStore::backup_folder(folder.path(), Vec::new()).await,
            (None, Some(database)) => SqlStore::backup_database(&database.url, Vec::new()).await,
            (None, None) => unreachable!("it is somewhere"),
        };
        let folder = tempfile::tempdir().unwrap();
        let mut copy = SqlStore::open(folder.path(), "copy").await.unwrap();
        copy.restore(Cursor::new(file.unwrap().0)).await.unwrap();
        let count = copy.get(Table::Cluster, "count").await.unwrap().unwrap();
        let last = copy.get(Table::Orphan, "count").await.unwrap().unwrap();
        assert_eq!(
            (count.revision, &count.body),
            (last.revision, &last.body),
            "of two moments"
        );
        let plans = copy.scan(None, Table::Plan, None, u32::MAX).await.unwrap();
        assert_eq!(u64::try_from(plans.len()).unwrap() + 1, count.revision);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    writer.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_backup_beside_a_running_engine_is_of_one_moment() {
    of_one_moment(sqlite().await).await;
    of_one_moment(postgres().await).await;
}

/// Restores into an empty store and tells why not; the store must be as it was.
async fn refusal(target: &mut SqlStore, file: Vec<u8>, what: &str) -> BackupError {
    let (rows, shards) = (dump(target).await.unwrap(), target.shards().await.unwrap());
    let (id, incarnation) = (target.id().to_owned(), target.incarnation());
    let refusal = target.restore(Cursor::new(file)).await.expect_err(what);
    assert_eq!(dump(target).await.unwrap(), rows, "{what}");
    assert_eq!(target.shards().await.unwrap(), shards, "{what}");
    assert_eq!(
        (target.id(), target.incarnation()),
        (id.as_str(), incarnation),
        "{what}"
    );
    assert!(!target.is_recovering().await.unwrap(), "{what}");
    refusal
}

fn repacked(file: &[u8], change: impl FnOnce(String) -> String) -> Vec<u8> {
    let mut text = String::new();
    zstd::Decoder::new(file).unwrap().read_to_string(&mut text).unwrap();
    zstd::encode_all(change(text).as_bytes(), 3).unwrap()
}

async fn bad_files_are_refused(mut target: Kept) {
    let from = sqlite().await;
    fill(&from.store).await;
    let whole = backup(&from.store).await;
    let target_store = &mut target.store;
    for length in [0, 1, 3, 4, 20, whole.len() / 3, whole.len() - 200, whole.len() - 1] {
        let refusal = refusal(target_store, whole[..length].to_vec(), &format!("cut to {length}")).await;
        assert!(
            matches!(refusal, BackupError::Truncated),
            "cut to {length}: {refusal:?}"
        );
    }
    let without_trailer = repacked(&whole, |text| {
        let end = text.trim_end().rfind('\n').unwrap();
        text[..=end].to_owned()
    });
    let said = refusal(target_store, without_trailer, "without its trailer").await;
    assert!(matches!(said, BackupError::Truncated), "{said:?}");
    for at in (8..whole.len()).step_by(whole.len() / 23) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        let said = refusal(target_store, flipped, &format!("a bit at {at}")).await;
        let is_told = matches!(said, BackupError::Altered { .. } | BackupError::Truncated);
        assert!(is_told, "a bit at {at}: {said:?}");
    }
    wrong_lines_are_refused(target_store, &whole).await;
    target_store.restore(Cursor::new(whole)).await.unwrap();
}

/// Files that zstd finds whole.
async fn wrong_lines_are_refused(target: &mut SqlStore, whole: &[u8]) {
    type Change = fn(String) -> String;
    let changes: [(&str, Change); 6] = [
        ("a revision", |text| {
            text.replacen("\"revision\":1", "\"revision\":7", 1)
        }),
        ("a header", |text| text.replacen("the-sqlite", "somebody's", 1)),
        ("a lost line", |text| {
            let (first, rest) = text.split_once('\n').unwrap();
            format!("{first}\n{}", rest.split_once('\n').unwrap().1)
        }),
        ("a line too many", |text| {
            text.replacen("{\"row\"", "{\"setting\":{\"key\":\"k\",\"value\":\"v\"}}\n{\"row\"", 1)
        }),
        ("a line after the last", |text| format!("{text}{{}}\n")),
        ("a table of nobody", |text| {
            text.replacen("\"table\":\"plan\"", "\"table\":\"song\"", 1)
        }),
    ];
    for (what, change) in changes {
        let said = refusal(target, repacked(whole, change), what).await;
        assert!(matches!(said, BackupError::Altered { .. }), "{what}: {said:?}");
    }
    let foreign: [(&str, Vec<u8>); 3] = [
        ("text", b"CREATE TABLE songs".to_vec()),
        (
            "another zstd file",
            zstd::encode_all(&b"{\"title\":1}\n"[..], 3).unwrap(),
        ),
        ("a database", vec![0; 100_000]),
    ];
    for (what, file) in foreign {
        let said = refusal(target, file, what).await;
        assert!(matches!(said, BackupError::Foreign { .. }), "{what}: {said:?}");
        assert!(said.hint().unwrap().contains("isobar backup"));
    }
    let later: [(&str, Change); 2] = [
        ("a later format", |text| {
            text.replacen("isobar-backup-1", "isobar-backup-2", 1)
        }),
        ("a later schema", |text| text.replacen("\"schema\":", "\"schema\":9", 1)),
    ];
    for (what, change) in later {
        let said = refusal(target, repacked(whole, change), what).await;
        assert!(matches!(said, BackupError::Newer), "{what}: {said:?}");
    }
}

#[tokio::test]
async fn a_bad_file_leaves_sqlite_as_it_was() {
    bad_files_are_refused(sqlite().await).await;
}

#[tokio::test]
async fn a_bad_file_leaves_postgresql_as_it_was() {
    bad_files_are_refused(postgres().await).await;
}

#[tokio::test]
async fn only_an_empty_store_is_filled() {
    let from = sqlite().await;
    fill(&from.store).await;
    let file = backup(&from.store).await;
    for mut target in [sqlite().await, postgres().await] {
        let store = &mut target.store;
        store.beat(&member("engine"), LONG).await.unwrap();
        let said = refusal(store, file.clone(), "an engine lives").await;
        assert!(said.to_string().contains("an engine that runs"), "{said}");
        let epoch = store.claim(HOME, &member("engine").id).await.unwrap().unwrap();
        store.leave(&member("engine").id).await.unwrap();
        store
            .commit(HOME, epoch, &[insert(Table::Audit, "a", "{}")])
            .await
            .unwrap();
        let said = refusal(store, file.clone(), "a row").await;
        assert!(said.to_string().contains("rows in `audit`"), "{said}");
    }
    let mut settled = sqlite().await;
    settled.store.once("authority", "mine").await.unwrap();
    let said = refusal(&mut settled.store, file.clone(), "a setting").await;
    assert!(matches!(said, BackupError::NotEmpty { .. }), "{said:?}");
    let mut claimed_before = sqlite().await;
    for _ in 0..20 {
        claimed(&claimed_before.store, HOME).await;
    }
    claimed_before.store.leave(&member("engine").id).await.unwrap();
    claimed_before.store.restore(Cursor::new(file)).await.unwrap();
    let shards = claimed_before.store.shards().await.unwrap();
    assert_eq!(shards[0].epoch, Epoch(21), "above its own as well");
}

#[tokio::test]
async fn there_is_no_backup_of_what_is_no_store_of_this_version() {
    let folder = tempfile::tempdir().unwrap();
    let said = SqlStore::backup_folder(folder.path(), Vec::new()).await.unwrap_err();
    assert!(
        matches!(said, BackupError::Store(StoreError::Unsuitable { .. })),
        "{said:?}"
    );
    let version_1 = include_bytes!("fixtures/version-1.db.zst");
    std::fs::write(
        folder.path().join("isobar.db"),
        zstd::decode_all(&version_1[..]).unwrap(),
    )
    .unwrap();
    let said = SqlStore::backup_folder(folder.path(), Vec::new()).await.unwrap_err();
    assert!(matches!(said, BackupError::Older { .. }), "{said:?}");
    let empty = database();
    let said = SqlStore::backup_database(&empty.url, Vec::new()).await.unwrap_err();
    assert!(
        matches!(said, BackupError::Store(StoreError::Unsuitable { .. })),
        "{said:?}"
    );
}

/// A disk that is full after so many bytes.
struct Small(usize);

impl std::io::Write for Small {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_backup_that_finds_no_room_says_so() {
    let from = sqlite().await;
    fill(&from.store).await;
    let whole = backup(&from.store).await.len();
    // The time in its header makes it a little longer or shorter.
    for room in [0, 10, whole / 2, whole - 50] {
        let Err(said) = from.store.backup(Small(room)).await else {
            panic!("{room} of {whole} bytes are enough")
        };
        let BackupError::Write(cause) = &said else {
            panic!("{said:?}")
        };
        assert_eq!(cause.kind(), std::io::ErrorKind::StorageFull);
    }
    assert!(from.store.backup(Small(whole + 100)).await.is_ok());
}
