//! A store that is damaged, held or of another version is refused, with what to do; a whole one keeps its rows.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use isobar_engine_store::conformance::{HOME, claimed, dump, insert};
use isobar_engine_store::sql::SqlStore;
use isobar_engine_store::{Store, StoreError, Table, Write};
use sea_orm::ConnectionTrait;
use tempfile::TempDir;

const PAGE: usize = 4096;

/// Some hundred pages of rows.
fn rows() -> Vec<Write> {
    let body = format!("\"{}\"", "x".repeat(300));
    (0..2_000)
        .map(|n| insert(Table::Machine, &format!("shop/{n:05}"), &body))
        .collect()
}

/// A folder with a store of [`rows`], closed.
async fn stored() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqlStore::open(folder.path(), "first").await.unwrap();
    let epoch = claimed(&store, HOME).await;
    store.commit(HOME, epoch, &rows()).await.unwrap();
    store.close().await.unwrap();
    let file = folder.path().join("isobar.db");
    (folder, file)
}

async fn refusal(folder: &Path) -> StoreError {
    SqlStore::open(folder, "again").await.expect_err("the store was opened")
}

/// Runs SQL on a closed store, as another program would.
async fn tamper(file: &Path, sql: &str) {
    let connection = sea_orm::Database::connect(format!("sqlite:{}?mode=rwc", file.display()))
        .await
        .unwrap();
    connection.execute_unprepared(sql).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_reopened_store_has_its_id_its_epoch_and_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqlStore::open(folder.path(), "first").await.unwrap();
    let epoch = claimed(&store, HOME).await;
    store.commit(HOME, epoch, &rows()).await.unwrap();
    let before = dump(&store).await.unwrap();
    store.close().await.unwrap();
    let store = SqlStore::open(folder.path(), "second").await.unwrap();
    assert_eq!(store.id(), "first");
    assert_eq!(dump(&store).await.unwrap(), before);
    assert_eq!(claimed(&store, HOME).await.0, epoch.0 + 1);
}

#[tokio::test]
async fn folder_and_files_are_their_owners_only() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    let store = SqlStore::open(&folder, "store").await.unwrap();
    claimed(&store, HOME).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let files: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(files.len() >= 3, "file, log and lock: {files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn a_second_engine_is_refused_until_the_first_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let first = SqlStore::open(folder.path(), "store").await.unwrap();
    let refusal = refusal(folder.path()).await;
    let StoreError::InUse { path, holder } = &refusal else {
        panic!("{refusal:?}")
    };
    assert_eq!(path, &folder.path().display().to_string());
    assert_eq!(*holder, Some(std::process::id()));
    first.close().await.unwrap();
    SqlStore::open(folder.path(), "store").await.unwrap();
}

#[tokio::test]
async fn a_cut_file_is_refused() {
    let (folder, file) = stored().await;
    let whole = fs::read(&file).unwrap();
    for length in [
        0,
        1,
        50,
        100,
        PAGE - 1,
        PAGE,
        whole.len() / 2,
        whole.len() - PAGE,
        whole.len() - 1,
    ] {
        fs::write(&file, &whole[..length]).unwrap();
        let refusal = refusal(folder.path()).await;
        assert!(
            matches!(refusal, StoreError::Corrupt { .. }),
            "cut to {length} of {}: {refusal:?}",
            whole.len()
        );
        assert_eq!(
            fs::metadata(&file).unwrap().len(),
            u64::try_from(length).unwrap(),
            "the evidence was changed"
        );
    }
    fs::write(&file, &whole).unwrap();
    SqlStore::open(folder.path(), "again").await.unwrap();
}

#[tokio::test]
async fn an_overwritten_page_is_refused() {
    let (folder, file) = stored().await;
    let whole = fs::read(&file).unwrap();
    let pages = whole.len() / PAGE;
    assert!(pages > 100, "{pages} pages");
    for page in (0..pages).step_by(13) {
        let mut damaged = whole.clone();
        damaged[page * PAGE..(page + 1) * PAGE].fill(0xa5);
        fs::write(&file, damaged).unwrap();
        let refusal = refusal(folder.path()).await;
        assert!(
            matches!(refusal, StoreError::Corrupt { .. }),
            "page {page} of {pages}: {refusal:?}"
        );
    }
}

#[tokio::test]
async fn a_garbage_header_is_refused_with_the_file_and_what_to_do() {
    let (folder, file) = stored().await;
    let mut damaged = fs::read(&file).unwrap();
    damaged[..16].copy_from_slice(b"not a database!!");
    fs::write(&file, damaged).unwrap();
    let refusal = refusal(folder.path()).await;
    let StoreError::Corrupt { path, .. } = &refusal else {
        panic!("{refusal:?}")
    };
    assert_eq!(path, &file.display().to_string());
    let hint = refusal.hint().unwrap_or_default();
    assert!(hint.contains("restore a backup"), "{hint}");
}

#[tokio::test]
async fn damage_under_a_running_engine_is_told_by_the_read_that_meets_it() {
    let (folder, file) = stored().await;
    let store = SqlStore::open(folder.path(), "store").await.unwrap();
    let length = fs::metadata(&file).unwrap().len();
    let mut under = OpenOptions::new().write(true).open(&file).unwrap();
    let quarter = length / 4 / 4096 * 4096;
    under.seek(SeekFrom::Start(quarter)).unwrap();
    under
        .write_all(&vec![0xa5; usize::try_from(length / 2).unwrap()])
        .unwrap();
    let refusal = dump(&store).await.expect_err("damaged rows were read");
    assert!(matches!(refusal, StoreError::Corrupt { .. }), "{refusal:?}");
}

#[tokio::test]
async fn a_log_without_its_file_is_no_new_store() {
    let (folder, file) = stored().await;
    fs::rename(&file, folder.path().join("isobar.db-wal")).unwrap();
    let refusal = refusal(folder.path()).await;
    assert!(matches!(refusal, StoreError::Corrupt { .. }), "{refusal:?}");
    assert!(!file.exists(), "a new store was made over a lost one");
}

#[tokio::test]
async fn a_database_of_someone_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    tamper(&folder.path().join("isobar.db"), "CREATE TABLE songs (title TEXT)").await;
    let refusal = refusal(folder.path()).await;
    let StoreError::Corrupt { detail, .. } = &refusal else {
        panic!("{refusal:?}")
    };
    assert!(detail.contains("no store of isobar"), "{detail}");
}

#[tokio::test]
async fn a_store_of_a_later_version_is_refused_untouched() {
    let (folder, file) = stored().await;
    tamper(&file, "UPDATE meta SET schema = schema + 1").await;
    let before = fs::read(&file).unwrap();
    let refusal = refusal(folder.path()).await;
    assert!(matches!(refusal, StoreError::Newer { .. }), "{refusal:?}");
    assert!(fs::read(&file).unwrap() == before, "the file was changed");
}

#[tokio::test]
async fn a_half_made_store_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("isobar.db.new"), b"half").unwrap();
    fs::write(folder.path().join("isobar.db.new-journal"), b"half").unwrap();
    let store = SqlStore::open(folder.path(), "store").await.unwrap();
    assert_eq!(store.id(), "store");
    assert!(!folder.path().join("isobar.db.new").exists());
}
