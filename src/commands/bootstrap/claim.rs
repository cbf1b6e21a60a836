//! Waiting for the engine on its machine, bringing it a backup, claiming it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use isobar_mcp::claim::owner::{Known, Owner, OwnerError};
use isobar_mcp::claim::{self, Claim, StoreKey};
use isobar_mcp::client::Client;
use isobar_mcp::folder::{DataFolder, Token};
use isobar_node_image_protocol::identity::{ENGINE_MCP_PORT, ENGINE_NODE_PORT};
use tokio::time::Instant;

use super::machine::{self, Standing};
use crate::exit::{Complaint, Exit};
use crate::output::Output;
use crate::system::SystemEntropy;
use crate::{cli, key};

/// From the machine's running to its engine's serving.
const SERVES_MAX: Duration = Duration::from_secs(15 * 60);
/// Between two looks.
const LOOK_PAUSE: Duration = Duration::from_secs(2);

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

/// What the engine's store is made of.
pub(super) struct Origin {
    key: StoreKey,
    backup: Option<PathBuf>,
}

impl Origin {
    /// Read before anything is bought: a key that is not there is made, but not where a backup needs the one that it was
    /// sealed with.
    pub(super) fn of(args: &cli::Bootstrap, owner: &DataFolder) -> Result<Self> {
        let file = args.key_file.clone().unwrap_or_else(|| owner.path().join("key"));
        let key = match &args.restore {
            None => key::made(&file, &SystemEntropy::new())?,
            Some(backup) => {
                let readable = File::open(backup);
                readable.with_context(|| format!("read {}", backup.display()))?;
                key::kept(&file)?.ok_or_else(|| keyless(&file))?
            }
        };
        Ok(Self {
            key: StoreKey(hex::encode(key)),
            backup: args.restore.clone(),
        })
    }
}

fn keyless(file: &Path) -> anyhow::Error {
    Complaint::new(Exit::Usage, format!("there is no key in {}", file.display()))
        .hint("name the file with the key that the backup's store was sealed with: --key-file FILE")
        .into()
}

/// An engine whose machine runs, and what its owner says to it.
struct Said {
    /// Where it serves MCP: `host:port`.
    address: String,
    /// Under which hosts callers know it.
    hosts: Vec<String>,
    /// How nodes reach it.
    nodes: Vec<String>,
}

impl Said {
    /// Absent: the machine's provider has not said yet where it is.
    fn of(args: &cli::Bootstrap, endpoints: &BTreeMap<u16, String>) -> Option<Self> {
        let address = endpoints.get(&ENGINE_MCP_PORT)?.clone();
        let (host, _) = address.rsplit_once(':')?;
        let nodes = match args.advertise.as_slice() {
            [] => vec![endpoints.get(&ENGINE_NODE_PORT)?.clone()],
            given => given.to_vec(),
        };
        Some(Self {
            hosts: vec![host.trim_matches(['[', ']']).to_owned()],
            address,
            nodes,
        })
    }
}

/// How far one look at it brought an engine.
enum Step {
    /// It serves.
    Serves(Served),
    /// It was claimed just now.
    Claimed,
    /// It does not answer: it boots, perhaps.
    Silent(OwnerError),
}

/// Claims the engine as soon as it answers. None: somebody pressed Ctrl-C.
pub(super) async fn claim(
    client: &Client,
    output: &Output,
    (args, token, origin): (&cli::Bootstrap, &Token, &Origin),
) -> Result<Option<Served>> {
    output.note("waiting for its engine")?;
    let begun = Instant::now();
    let (mut claimed, mut last) = (false, None);
    while begun.elapsed() < SERVES_MAX {
        let said = match machine::standing(client).await? {
            Standing::Runs { endpoints, .. } => Said::of(args, &endpoints),
            Standing::Absent | Standing::Unseen => None,
            Standing::Lost(reason) => return Err(lost(&reason)),
        };
        if let Some(said) = said {
            match step(output, (said, token, origin), claimed).await? {
                Step::Serves(served) => return Ok(Some(served)),
                Step::Claimed => claimed = true,
                Step::Silent(error) => last = Some(error),
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
    Err(silent(last))
}

/// Looks once, and does what is next.
async fn step(output: &Output, (said, token, origin): (Said, &Token, &Origin), claimed: bool) -> Result<Step> {
    let owner = Owner::new(said.address.clone(), token.clone());
    match owner.standing().await {
        Ok((claim::Standing::Serves(_), _)) if origin.backup.is_some() && !claimed => {
            Err(serves_already(&said.address))
        }
        Ok((claim::Standing::Serves(authority_pem), _)) => Ok(Step::Serves(Served {
            address: said.address,
            nodes: said.nodes,
            authority_pem,
            restored: origin.backup.is_some(),
        })),
        Ok((claim::Standing::Waiting, known)) => {
            settle(output, (&owner, &known), (said, origin)).await?;
            Ok(Step::Claimed)
        }
        Err(error @ OwnerError::Silent { .. }) => Ok(Step::Silent(error)),
        Err(error) => Err(complaint(error)),
    }
}

async fn settle(output: &Output, (owner, known): (&Owner, &Known), (said, origin): (Said, &Origin)) -> Result<()> {
    if let Some(backup) = &origin.backup {
        output.note(&format!("bringing {}", backup.display()))?;
        let file = tokio::fs::File::open(backup).await;
        let file = file.with_context(|| format!("read {}", backup.display()))?;
        owner.bring(known, file).await.map_err(complaint)?;
    }
    let claim = Claim {
        hosts: said.hosts,
        nodes: said.nodes,
        key: origin.key.clone(),
        restore: origin.backup.is_some(),
    };
    owner.claim(known, &claim).await.map_err(complaint)
}

/// Nothing was claimed on that machine.
pub(super) fn lost(reason: &str) -> anyhow::Error {
    Complaint::new(Exit::OperationFailed, format!("the engine's machine is lost: {reason}"))
        .hint("run it again to buy another one; give --restore to bring the engine's store back")
        .into()
}

fn silent(last: Option<OwnerError>) -> anyhow::Error {
    let silent = Complaint::new(
        Exit::Unreachable,
        format!("its engine did not answer within {} s", SERVES_MAX.as_secs()),
    )
    .hint(
        "see the machine's console in its cloud, and whether this computer reaches the machine's address; run it again \
         to go on, or give the machine back with --destroy",
    );
    match last {
        Some(error) => silent.because(error).into(),
        None => silent.into(),
    }
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
