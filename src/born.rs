//! `isobar born`: the engine on a machine that was bought for it. Until its owner has claimed it, it shows who it is and
//! waits; from then on, whenever it is started, it serves.
//!
//! Started by the agent of the engine image, on a data disk of its own. What a claim does is done whole: the file that
//! says how it was claimed is written last, and without it all begins anew.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context as _, Result};
use isobar_engine_control::Births;
use isobar_engine_control::authority::Authority;
use isobar_engine_provider::Clock;
use isobar_mcp::claim::door::{self, Claimed};
use isobar_mcp::claim::{Claim, Derived};
use isobar_mcp::folder::DataFolder;
use isobar_node_image_protocol::identity::{Birth, EngineIdentity};
use serde::{Deserialize, Serialize};

use crate::exit::{Complaint, Exit};
use crate::serve::{self, Special};
use crate::system::SystemClock;
use crate::{cli, wire};

/// In the data folder of an engine that waits: all else there is nobody's.
const WAITING: &str = "waiting";
/// In the data folder of one that was claimed: how.
const CLAIMED: &str = "claimed.json";
/// The backup that its owner brought.
const BACKUP: &str = "claim.backup";
/// What the store's key is called in the data folder.
const KEY: &str = "key";
/// No identity is longer, in bytes.
const IDENTITY_MAX_BYTES: u64 = 64 * 1024;
const OTHERS: u32 = 0o077;

/// How an engine was claimed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    hosts: Vec<String>,
    nodes: Vec<String>,
}

/// Waits if need be, then serves until SIGINT or SIGTERM.
pub(crate) async fn born(folder: DataFolder, args: cli::Born) -> Result<Exit> {
    serve::log(&args.log)?;
    let identity = identity(&args.identity)?;
    let derived = Derived::parse(&identity.claim_hash_hex, &identity.proof_key_hex)?;
    folder.make()?;
    let kept = match kept(&folder)? {
        Some(kept) => kept,
        None => {
            tokio::select! {
                biased;
                signal = serve::stop_signal() => {
                    signal?;
                    return Ok(Exit::Done);
                }
                claimed = wait(&folder, &args, &derived) => claimed?,
            }
            kept(&folder)?.context("the claim vanished")?
        }
    };
    let special = Special {
        births: Births::Nodes,
        bought: Some(derived),
        hosts: kept.hosts,
    };
    let serving = serving(&args, kept.nodes, identity);
    let announce = |listening: &serve::Listening| {
        tracing::info!(mcp = listening.mcp, nodes = %listening.nodes, "serves");
        Ok(())
    };
    serve::run(folder, (serving, special), announce, serve::stop_signal()).await?;
    Ok(Exit::Done)
}

/// What the machine was born with.
fn identity(file: &Path) -> Result<EngineIdentity> {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|file| {
        let mode = file.metadata()?.mode();
        file.take(IDENTITY_MAX_BYTES).read_to_end(&mut bytes)?;
        Ok(mode)
    });
    let place = file.display();
    let mode = read.with_context(|| format!("read {place}"))?;
    if mode & OTHERS != 0 {
        return Err(Complaint::new(Exit::Refused, format!("{place} may be read by others"))
            .hint(format!("chmod 600 {place}"))
            .into());
    }
    match Birth::parse(&bytes).with_context(|| format!("{place} is no identity"))? {
        Birth::Engine(identity) => Ok(identity),
        Birth::Node(_) => Err(
            Complaint::new(Exit::Usage, format!("{place} is the identity of a node"))
                .hint("a node runs `isobar-node daemon --identity`")
                .into(),
        ),
    }
}

fn kept(folder: &DataFolder) -> Result<Option<Kept>> {
    let Some(text) = folder.read(CLAIMED)? else {
        return Ok(None);
    };
    let kept = serde_json::from_str(&text);
    kept.with_context(|| format!("read {}", folder.path().join(CLAIMED).display()))
        .map(Some)
}

async fn wait(folder: &DataFolder, args: &cli::Born, derived: &Derived) -> Result<()> {
    empty(folder)?;
    let now = SystemClock.now();
    let identity = Authority::generate(WAITING, now)?.mcp_identity(&["localhost".to_owned()], now)?;
    let listener = serve::bind(args.listen, "--listen").await?;
    tracing::info!(address = %args.listen, "waits to be claimed");
    let backup = folder.path().join(BACKUP);
    let settle = async |claimed: Claimed| {
        let settled = settle(folder, claimed, &backup).await;
        settled.map_err(|error| {
            tracing::warn!(error = format!("{error:#}"), "a claim could not be settled");
            format!("{error:#}")
        })
    };
    Ok(door::wait(listener, derived.clone(), (&identity, &backup), settle).await?)
}

/// Does what the owner said, from an empty folder on; claimed with its last write.
async fn settle(folder: &DataFolder, Claimed { token, claim }: Claimed, backup: &Path) -> Result<()> {
    let Claim { hosts, nodes, .. } = claim;
    clear(folder, &[WAITING, BACKUP])?;
    folder.write(KEY, &claim.key.0)?;
    let mut store = wire::sql_store(folder, None).await?;
    if claim.restore {
        let file = File::open(backup).context("read the backup: none was brought")?;
        store.restore(file).await?;
    }
    wire::opens(folder, &store).await?;
    drop(store);
    folder.write("token", token.as_str())?;
    folder.write(CLAIMED, &serde_json::to_string(&Kept { hosts, nodes })?)?;
    clear_backup(backup);
    tracing::info!("claimed");
    Ok(())
}

/// Makes sure that nothing in the folder is anybody's.
fn empty(folder: &DataFolder) -> Result<()> {
    let is_waiting = folder.read(WAITING)?.is_some();
    let begun = fs::read_dir(folder.path())?.next().is_some();
    if begun && !is_waiting {
        let place = folder.path().display();
        return Err(Complaint::new(
            Exit::Refused,
            format!("{place} holds something that is no waiting engine's"),
        )
        .hint("give the engine of a new machine a folder of its own")
        .into());
    }
    folder.write(WAITING, "what is here is thrown away when the engine is claimed")?;
    clear(folder, &[WAITING])
}

fn clear(folder: &DataFolder, stays: &[&str]) -> Result<()> {
    for entry in fs::read_dir(folder.path())? {
        let entry = entry?;
        if stays.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let path = entry.path();
        let removed = match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(&path),
            false => fs::remove_file(&path),
        };
        removed.with_context(|| format!("remove {}", path.display()))?;
    }
    Ok(())
}

/// What it holds is in the store now; left behind, it would only take room.
fn clear_backup(backup: &Path) {
    match fs::remove_file(backup) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => tracing::warn!(%error, "the backup stays on the disk"),
        Ok(()) | Err(_) => {}
    }
}

/// As `isobar serve` would be told it.
fn serving(args: &cli::Born, nodes: Vec<String>, identity: EngineIdentity) -> cli::Serve {
    cli::Serve {
        listen: args.listen,
        node_listen: args.node_listen,
        advertise: nodes,
        unproven_address: false,
        image: None,
        store: None,
        spread: None,
        key_file: None,
        machines: None,
        insecure_registries: identity.insecure_registries,
        allowed_endpoints: identity.allowed_endpoints,
        terraform_force_unlock: false,
        log: args.log.clone(),
    }
}
