//! What is SQLite's own: the bound of the file, and commits that are dropped half way.

use super::SqlStore;
use crate::conformance::{HOME, claimed, delete, dump, insert};
use crate::{Store, StoreError, Table, Write};

/// 200 pages: enough for the tables and some hundred rows.
const PAGES_MAX: u32 = 200;

#[tokio::test]
async fn a_file_at_its_bound_refuses_a_batch_whole_and_takes_the_next_that_fits() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqlStore::open_bounded(folder.path(), "store", PAGES_MAX).await.unwrap();
    let epoch = claimed(&store, HOME).await;
    let body = "x".repeat(2_000);
    let mut written = 0u64;
    let refusal = loop {
        let batch: Vec<Write> = (0..50)
            .map(|n| insert(Table::Attempt, &format!("{written:04}/{n}"), &body))
            .collect();
        match store.commit(HOME, epoch, &batch).await {
            Ok(()) => written += 1,
            Err(refusal) => break refusal,
        }
        assert!(written < 100, "the bound does not hold");
    };
    assert!(matches!(refusal, StoreError::Full(_)), "{refusal:?}");
    assert!(written > 0, "not even one batch fits");
    let rows = dump(&store).await.unwrap();
    assert_eq!(u64::try_from(rows.len()).unwrap(), written * 50);
    store
        .commit(HOME, epoch, &[delete(Table::Attempt, "0000/0", 1)])
        .await
        .unwrap();
    store
        .commit(HOME, epoch, &[insert(Table::Audit, "fits", "{}")])
        .await
        .unwrap();
}

#[tokio::test]
async fn a_commit_dropped_at_any_point_is_whole_or_absent_and_the_next_one_goes_through() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqlStore::open(folder.path(), "store").await.unwrap();
    let epoch = claimed(&store, HOME).await;
    let mut finished = false;
    for polls in 0..40 {
        let (one, two) = (format!("{polls}/1"), format!("{polls}/2"));
        let batch = [insert(Table::Attempt, &one, "{}"), insert(Table::Audit, &two, "{}")];
        finished |= poll_times(store.commit(HOME, epoch, &batch), polls).await;
        store
            .commit(HOME, epoch, &[insert(Table::Plan, &one, "{}")])
            .await
            .unwrap();
        let first = store.get(Table::Attempt, &one).await.unwrap();
        let second = store.get(Table::Audit, &two).await.unwrap();
        assert_eq!(first.is_some(), second.is_some(), "dropped after {polls} polls");
    }
    assert!(finished, "no commit was let through: too few polls");
}

/// Polls a future so often, whenever it can go on, then drops it. Whether it was ready.
async fn poll_times<T>(future: impl Future<Output = T>, times: u32) -> bool {
    let mut future = std::pin::pin!(future);
    let mut left = times;
    std::future::poll_fn(|context| {
        if left == 0 {
            return std::task::Poll::Ready(false);
        }
        left -= 1;
        let answer = future.as_mut().poll(context);
        if answer.is_pending() && left == 0 {
            context.waker().wake_by_ref();
        }
        answer.map(|_| true)
    })
    .await
}
