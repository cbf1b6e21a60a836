//! A disk that is really full: a small file system in memory. Needs root to mount one, and is skipped with a word without.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test panics where it fails and says where it is skipped"
)]

use std::fs;
use std::path::{Path, PathBuf};

use isobar_engine_store::conformance::{HOME, claimed, dump, insert};
use isobar_engine_store::sql::SqlStore;
use isobar_engine_store::{Store, StoreError, Table, Write};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// A mounted file system of 2 MiB, gone when dropped.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        match mount(
            Some("isobar-test"),
            folder.path(),
            Some("tmpfs"),
            MsFlags::empty(),
            Some("size=2m"),
        ) {
            Ok(()) => Some(Self { folder }),
            Err(error) => {
                println!("skipped: no small disk can be mounted here ({error})");
                None
            }
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Takes all the room there is; removing the file gives it back.
    fn fill(&self) -> PathBuf {
        let ballast = self.folder.path().join("ballast");
        let mut length = 0;
        for step in [65_536, 4_096, 1] {
            while append(&ballast, step) {
                length += step;
            }
        }
        assert!(length > 0, "there was no room to take");
        ballast
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        umount2(self.folder.path(), MntFlags::MNT_DETACH).expect("what was mounted can be unmounted");
    }
}

fn append(file: &Path, bytes: usize) -> bool {
    use std::io::Write as _;
    let open = fs::OpenOptions::new().append(true).create(true).open(file);
    open.and_then(|mut file| file.write_all(&vec![0; bytes])).is_ok()
}

fn batch(number: usize) -> Vec<Write> {
    let body = "x".repeat(2_000);
    (0..20)
        .map(|n| insert(Table::Attempt, &format!("{number:04}/{n:02}"), &body))
        .collect()
}

#[tokio::test]
async fn a_full_disk_refuses_whole_batches_loses_nothing_and_ends_when_room_is_made() {
    let Some(disk) = SmallDisk::mount() else { return };
    let store = SqlStore::open(&disk.data(), "store").await.unwrap();
    let epoch = claimed(&store, HOME).await;
    for number in 0..10 {
        store.commit(HOME, epoch, &batch(number)).await.unwrap();
    }
    let before = dump(&store).await.unwrap();
    let ballast = disk.fill();
    let mut written = 10;
    let refusal = loop {
        match store.commit(HOME, epoch, &batch(written)).await {
            Ok(()) => written += 1,
            Err(refusal) => break refusal,
        }
        assert!(written < 1_000, "the disk is never full");
    };
    assert!(matches!(refusal, StoreError::Full(_)), "{refusal:?}");
    let rows = dump(&store).await.unwrap();
    assert_eq!(rows.len(), written * 20, "acknowledged batches, whole ones only");
    assert!(before.iter().all(|row| rows.contains(row)), "a row from before is gone");
    fs::remove_file(ballast).unwrap();
    store.commit(HOME, epoch, &batch(written)).await.unwrap();
    store.close().await.unwrap();
    let store = SqlStore::open(&disk.data(), "store").await.unwrap();
    assert_eq!(dump(&store).await.unwrap().len(), (written + 1) * 20);
}

#[tokio::test]
async fn a_store_is_not_half_made_on_a_full_disk() {
    let Some(disk) = SmallDisk::mount() else { return };
    let ballast = disk.fill();
    let refusal = SqlStore::open(&disk.data(), "store")
        .await
        .expect_err("a store without room");
    assert!(matches!(refusal, StoreError::Full(_)), "{refusal:?}");
    fs::remove_file(ballast).unwrap();
    let store = SqlStore::open(&disk.data(), "store").await.unwrap();
    assert_eq!(claimed(&store, HOME).await.0, 1);
}
