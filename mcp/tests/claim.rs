//! An engine and its owner find each other over real TLS, and nobody else does.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;
use std::path::PathBuf;

use isobar_engine_control::authority::{Authority, ServerIdentity};
use isobar_engine_model::quantity::Timestamp;
use isobar_mcp::claim::door::{self, Claimed};
use isobar_mcp::claim::owner::{Owner, OwnerError};
use isobar_mcp::claim::{Claim, Derived, PART_MAX_BYTES, Standing, StoreKey};
use isobar_mcp::folder::Token;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Some moment in 2026.
const NOW: Timestamp = Timestamp(1_790_000_000_000);

fn identity() -> ServerIdentity {
    let authority = Authority::generate("waiting", NOW).unwrap();
    authority.mcp_identity(&["localhost".to_owned()], NOW).unwrap()
}

fn claim() -> Claim {
    Claim {
        hosts: vec!["engine.example".to_owned()],
        nodes: vec!["engine.example:7421".to_owned()],
        key: StoreKey("good".to_owned()),
        restore: false,
    }
}

/// An engine that waits to be claimed.
struct Engine {
    address: SocketAddr,
    backup: PathBuf,
    claims: mpsc::UnboundedReceiver<Claimed>,
    waiting: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Engine {
    /// Refuses claims with a key that it does not like.
    async fn wait(derived: Derived) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let backup = folder.path().join("backup");
        let (sender, claims) = mpsc::unbounded_channel();
        let kept = backup.clone();
        let waiting = tokio::spawn(async move {
            let settle = |claimed: Claimed| {
                let refused = claimed.claim.key.0 == "bad";
                sender.send(claimed).unwrap();
                async move {
                    match refused {
                        true => Err("that key opens nothing".to_owned()),
                        false => Ok(()),
                    }
                }
            };
            door::wait(listener, derived, (&identity(), &kept), settle)
                .await
                .unwrap();
        });
        Self {
            address,
            backup,
            claims,
            waiting,
            _folder: folder,
        }
    }

    fn owner(&self, token: &Token) -> Owner {
        Owner::new(self.address.to_string(), token.clone())
    }
}

#[tokio::test]
async fn whoever_bought_it_brings_a_backup_and_claims_it() {
    let token = Token::random();
    let mut engine = Engine::wait(Derived::from(&token)).await;
    let owner = engine.owner(&token);
    let (standing, known) = owner.standing().await.unwrap();
    assert_eq!(standing, Standing::Waiting);
    let backup: Vec<u8> = (0..PART_MAX_BYTES * 2 + 7)
        .map(|at| u8::try_from(at % 251).unwrap())
        .collect();
    // Brought twice, as by an owner who was interrupted: the second one counts.
    owner.bring(&known, &backup[7..]).await.unwrap();
    owner.bring(&known, &backup[..]).await.unwrap();
    assert!(std::fs::read(&engine.backup).unwrap() == backup);

    let wrong = Claim {
        key: StoreKey("bad".to_owned()),
        ..claim()
    };
    let refused = owner.claim(&known, &wrong).await.unwrap_err();
    assert!(
        matches!(&refused, OwnerError::Refused { reason, .. } if reason == "that key opens nothing"),
        "{refused}"
    );
    owner.claim(&known, &claim()).await.unwrap();
    engine.waiting.await.unwrap();
    assert_eq!(engine.claims.recv().await.unwrap().claim, wrong);
    let claimed = engine.claims.recv().await.unwrap();
    assert_eq!((claimed.claim, claimed.token), (claim(), token));
}

#[tokio::test]
async fn who_did_not_buy_it_is_shown_no_proof_and_opens_nothing() {
    let token = Token::random();
    let mut engine = Engine::wait(Derived::from(&token)).await;
    let stranger = engine.owner(&Token::random());
    assert!(matches!(stranger.standing().await, Err(OwnerError::Stranger { .. })));
    let (_, known) = engine.owner(&token).standing().await.unwrap();
    for refused in [
        stranger.claim(&known, &claim()).await,
        stranger.bring(&known, &b"x"[..]).await,
    ] {
        assert!(
            matches!(&refused, Err(OwnerError::Refused { reason, .. }) if reason.contains("401")),
            "{refused:?}"
        );
    }
    assert!(engine.claims.try_recv().is_err() && !engine.backup.exists());
}

#[tokio::test]
async fn somebody_in_between_is_told_nothing() {
    let token = Token::random();
    let real = Engine::wait(Derived::from(&token)).await;
    let (_, known) = real.owner(&token).standing().await.unwrap();
    // It has the address now, and even what the machine was born with, but not the certificate that was proven.
    let mut other = Engine::wait(Derived::from(&token)).await;
    let told = other.owner(&token).claim(&known, &claim()).await;
    assert!(matches!(told, Err(OwnerError::Silent { .. })), "{told:?}");
    assert!(other.claims.try_recv().is_err());
    // What was not born with it has no proof at all.
    let stranger = Engine::wait(Derived::from(&Token::random())).await;
    let standing = stranger.owner(&token).standing().await;
    assert!(matches!(standing, Err(OwnerError::Stranger { .. })), "{standing:?}");
}
