//! Waiting for the engine on its machine, bringing it a backup, claiming it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use isobar_mcp::claim::owner::{Known, Owner, OwnerError};
use isobar_mcp::claim::{Claim, RestoreKey, Standing};
use isobar_mcp::client::Client;
use isobar_mcp::folder::Token;
use isobar_node_image_protocol::identity::{ENGINE_MCP_PORT, ENGINE_NODE_PORT};
use tokio::time::Instant;

use super::machine;
use crate::cli;
use crate::exit::{Complaint, Exit};
use crate::output::Output;

/// From the machine's running to its engine's serving.
const SERVES_MAX: Duration = Duration::from_secs(15 * 60);
/// Between two looks.
const LOOK_PAUSE: Duration = Duration::from_secs(2);
/// No key's file is longer, in bytes.
const KEY_FILE_MAX_BYTES: u64 = 16 * 1024;

/// An engine that serves.
pub(super) struct Served {
    /// Where it serves MCP: `host:port`.
    pub(super) address: String,
    /// Where nodes reach it.
    pub(super) nodes: Vec<String>,
    /// By what it is known.
    pub(super) authority_pem: String,
    /// Whether its store comes from a backup that was brought just now.
    pub(super) restored: bool,
}

/// A backup and its key.
pub(super) struct Restore {
    backup: PathBuf,
    key: RestoreKey,
}

impl Restore {
    /// What is to be restored, if anything; read before anything is bought.
    pub(super) fn of(args: &cli::Bootstrap) -> Result<Option<Self>> {
        let (Some(backup), Some(key)) = (&args.restore, &args.key_file) else {
            return Ok(None);
        };
        let readable = std::fs::File::open(backup);
        readable.with_context(|| format!("read {}", backup.display()))?;
        Ok(Some(Self {
            backup: backup.clone(),
            key: RestoreKey(read_key(key)?),
        }))
    }
}

fn read_key(file: &Path) -> Result<String> {
    use std::io::Read;
    let mut text = String::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(KEY_FILE_MAX_BYTES).read_to_string(&mut text));
    read.with_context(|| format!("read {}", file.display()))?;
    Ok(text.trim().to_owned())
}

/// How nodes reach the engine, and under which hosts callers know it.
fn said(args: &cli::Bootstrap, endpoints: &std::collections::BTreeMap<u16, String>) -> Option<(String, Claim)> {
    let address = endpoints.get(&ENGINE_MCP_PORT)?.clone();
    let nodes = match args.advertise.as_slice() {
        [] => vec![endpoints.get(&ENGINE_NODE_PORT)?.clone()],
        given => given.to_vec(),
    };
    let of = |address: &String| {
        address
            .rsplit_once(':')
            .map(|(host, _)| host.trim_matches(['[', ']']).to_owned())
    };
    let hosts = of(&address).into_iter().collect();
    let restore = None;
    Some((address, Claim { hosts, nodes, restore }))
}

/// Claims the engine as soon as it answers. None: somebody pressed Ctrl-C.
pub(super) async fn claim(
    client: &Client,
    output: &Output,
    (args, token, restore): (&cli::Bootstrap, &Token, Option<Restore>),
) -> Result<Option<Served>> {
    output.note("waiting for its engine")?;
    let begun = Instant::now();
    let (mut restored, mut last) = (false, None);
    while begun.elapsed() < SERVES_MAX {
        let endpoints = match machine::standing(client).await? {
            machine::Standing::Runs(endpoints) => endpoints,
            machine::Standing::Lost(reason) => {
                return Err(
                    Complaint::new(Exit::OperationFailed, format!("the engine's machine is lost: {reason}"))
                        .hint("run it again to buy another one; give --restore to bring the engine's store back")
                        .into(),
                );
            }
        };
        if let Some((address, claim)) = said(args, &endpoints) {
            let owner = Owner::new(address.clone(), token.clone());
            match owner.standing().await {
                Ok((Standing::Serves(_), _)) if restore.is_some() && !restored => return Err(serves_already(&address)),
                Ok((Standing::Serves(authority_pem), _)) => {
                    return Ok(Some(Served {
                        address,
                        nodes: claim.nodes,
                        authority_pem,
                        restored,
                    }));
                }
                Ok((Standing::Waiting, known)) => {
                    settle(output, (&owner, &known), claim, restore.as_ref()).await?;
                    restored = restore.is_some();
                    continue;
                }
                // It boots.
                Err(error @ OwnerError::Silent { .. }) => last = Some(error),
                Err(error) => return Err(complaint(error)),
            }
        }
        tokio::select! {
            biased;
            pressed = tokio::signal::ctrl_c() => {
                pressed?;
                output.note("its machine stays: run it again to go on, or give it back with --destroy")?;
                return Ok(None);
            }
            () = tokio::time::sleep(LOOK_PAUSE) => {}
        }
    }
    let silent = Complaint::new(
        Exit::Unreachable,
        format!("its engine did not answer within {} s", SERVES_MAX.as_secs()),
    )
    .hint("see the machine's console in its cloud, and whether this computer reaches the machine's address; run it again to go on, or give the machine back with --destroy");
    Err(match last {
        Some(error) => silent.because(error).into(),
        None => silent.into(),
    })
}

async fn settle(
    output: &Output,
    (owner, known): (&Owner, &Known),
    mut claim: Claim,
    restore: Option<&Restore>,
) -> Result<()> {
    if let Some(Restore { backup, key }) = restore {
        output.note(&format!("bringing {}", backup.display()))?;
        let file = tokio::fs::File::open(backup).await;
        let file = file.with_context(|| format!("read {}", backup.display()))?;
        owner.bring(known, file).await.map_err(complaint)?;
        claim.restore = Some(key.clone());
    }
    owner.claim(known, &claim).await.map_err(complaint)
}

fn serves_already(address: &str) -> anyhow::Error {
    Complaint::new(
        Exit::Refused,
        format!("the engine at {address} has a store already: nothing was restored"),
    )
    .hint("a backup goes to the engine of a new machine; if this one has it from an earlier run, leave --restore out")
    .into()
}

fn complaint(error: OwnerError) -> anyhow::Error {
    let (exit, hint) = match &error {
        OwnerError::Silent { .. } => (Exit::Unreachable, "run it again: it goes on where it was"),
        OwnerError::Stranger { .. } => (
            Exit::Refused,
            "nothing was shown to it: look who has that address, or give the machine back with --destroy",
        ),
        OwnerError::Refused { .. } => (
            Exit::Refused,
            "put that right and run it again: it goes on where it was",
        ),
        OwnerError::Backup(_) => (
            Exit::Usage,
            "give another backup and run it again: it goes on where it was",
        ),
        OwnerError::Unprepared(_) => (Exit::Internal, "run it again"),
    };
    Complaint::new(exit, error.to_string()).hint(hint).because(error).into()
}
