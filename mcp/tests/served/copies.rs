//! A copy of the engine's store, brought to whoever has its token.

use std::fs;

use isobar_mcp::copy::{self, CopyError};
use isobar_mcp::folder::{DataFolder, Token};
use serde_json::json;

use crate::running::Running;

/// More than goes in one piece.
const LENGTH: usize = 3 * 1024 * 1024 + 7;

#[tokio::test]
async fn a_copy_is_brought_whole_or_not_at_all() {
    let running = Running::start().await;
    let mut brought = Vec::new();
    let refused = copy::fetch(&running.folder, &mut brought).await.unwrap_err();
    assert!(
        matches!(&refused, CopyError::Refused { reason, .. } if reason.starts_with("read the store: ")),
        "{refused}"
    );
    assert!(brought.is_empty());

    let store: Vec<u8> = (0..LENGTH).map(|at| u8::try_from(at % 251).unwrap()).collect();
    fs::write(running.folder.path().join("store"), &store).unwrap();
    let summary = copy::fetch(&running.folder, &mut brought).await.unwrap();
    assert_eq!(summary, json!({ "length": LENGTH }));
    assert!(brought == store);
    running.stop().await;
}

#[tokio::test]
async fn nobody_without_the_token_gets_a_copy() {
    let running = Running::start().await;
    fs::write(running.folder.path().join("store"), "all of it").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let stranger = DataFolder::new(dir.path().join("stranger"));
    stranger.make().unwrap();
    stranger.publish_endpoint(&running.url).unwrap();
    stranger.write("token", Token::random().as_str()).unwrap();
    let mut brought = Vec::new();
    let refused = copy::fetch(&stranger, &mut brought).await;
    assert!(matches!(refused, Err(CopyError::Client(_))), "{refused:?}");
    assert!(brought.is_empty());
    running.stop().await;
}
