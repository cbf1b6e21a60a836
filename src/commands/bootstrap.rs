//! `bootstrap`: puts an engine on a machine that is bought for it, by an engine of this computer that lives as long as the
//! command does, with a journal of its own. Interrupted anywhere, it goes on when it is run again.
//!
//! In the data folder, besides what points to the engine as `isobar connect` writes it: `bootstrap/buyer`, the data folder of
//! the engine that buys, and `bootstrap/owner`, with the token by which machine and owner know each other and the key that
//! seals the engine's store: it opens the store's backups when the machine is lost.

mod buyer;
mod claim;
mod machine;

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context as _, Result};
use isobar_engine_control::Births;
use isobar_engine_control::api::{OperationGet, PlanRequest};
use isobar_engine_model::id::SiteName;
use isobar_engine_model::intent::{Intent, Limits};
use isobar_mcp::claim::Derived;
use isobar_mcp::client::Client;
use isobar_mcp::folder::{DataFolder, Token};
use isobar_mcp::http;
use isobar_node_image_protocol::identity::EngineIdentity;
use serde::Serialize;

use self::claim::{Origin, Served};
use self::machine::Standing;
use super::change;
use super::connect::client_folder;
use crate::cli::{self, Go};
use crate::exit::{Complaint, Exit};
use crate::follow;
use crate::output::{GOOD, Output};
use crate::session::Context;

/// An engine that was put on its machine.
#[derive(Debug, Serialize)]
struct Bootstrapped<'a> {
    mcp: &'a str,
    nodes: &'a [String],
    data: &'a Path,
    version: String,
    restored: bool,
    /// Only where it is new to whoever runs the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

/// The folders of a bootstrap.
struct Yard {
    /// What points to the engine.
    client: DataFolder,
    buyer: DataFolder,
    owner: DataFolder,
}

impl Yard {
    fn of(client: DataFolder) -> Self {
        let within = client.path().join("bootstrap");
        Self {
            buyer: DataFolder::new(within.join("buyer")),
            owner: DataFolder::new(within.join("owner")),
            client,
        }
    }

    /// The token by which machine and owner know each other: made once.
    fn token(&self) -> Result<Token> {
        self.owner.make()?;
        Ok(self.owner.token_or_new()?)
    }
}

/// Buys the machine, claims its engine, points the data folder to it; or gives it back.
pub(super) async fn bootstrap(context: &Context<'_>, args: cli::Bootstrap) -> Result<Exit> {
    let yard = Yard::of(client_folder(context)?);
    match args.destroy {
        true => destroy(context, &yard, &args).await,
        false => build(context, &yard, &args).await,
    }
}

async fn build(context: &Context<'_>, yard: &Yard, args: &cli::Bootstrap) -> Result<Exit> {
    let spec = machine::spec(args)?;
    let token = yard.token()?;
    let origin = Origin::of(args, &yard.owner)?;
    let births = births(args, &token);
    buyer::with(&yard.buyer, births, &args.allowed_endpoints, async |client| {
        match machine::seen(&client).await? {
            Standing::Lost(reason) => may_be_replaced(yard, args, &reason)?,
            Standing::Runs { site, .. } => may_stay(args, site.as_ref())?,
            Standing::Absent | Standing::Unseen => {}
        }
        let intent = Intent::Deploy { spec: Box::new(spec) };
        let exit = carried(context.output, yard, (&client, args), intent).await?;
        if exit != Exit::Done {
            return Ok(exit);
        }
        let Some(served) = claim::claim(&client, context.output, (args, &token, &origin)).await? else {
            return Ok(Exit::Interrupted);
        };
        point(context.output, yard, &token, &served).await
    })
    .await
}

/// Refuses to put an empty engine in the place of one that had a store: nobody would look after its clusters.
fn may_be_replaced(yard: &Yard, args: &cli::Bootstrap, reason: &str) -> Result<()> {
    let was_claimed = yard.client.endpoint().is_ok();
    if was_claimed && args.restore.is_none() {
        return Err(Complaint::new(
            Exit::Refused,
            format!("the engine's machine is lost, and its store with it: {reason}"),
        )
        .hint("bring it back on another one: --restore BACKUP; or give it up: isobar bootstrap --destroy")
        .into());
    }
    Ok(())
}

/// Refuses to move an engine to another site: its machine would go, and its store with it.
fn may_stay(args: &cli::Bootstrap, site: Option<&SiteName>) -> Result<()> {
    match (&args.site, site) {
        (Some(wanted), Some(site)) if wanted != site => Err(Complaint::new(
            Exit::Refused,
            format!("the engine runs in {site}, not in {wanted}, and its store is on its machine"),
        )
        .hint(format!(
            "name its site: --site {site}; to have it elsewhere, take a backup, give the machine back with --destroy, and \
             bring the engine back there with --restore"
        ))
        .into()),
        (Some(_) | None, _) => Ok(()),
    }
}

/// By what the machine and its owner know each other, and what its engine is told at once.
fn births(args: &cli::Bootstrap, token: &Token) -> Births {
    let derived = Derived::from(token);
    Births::Engines(EngineIdentity {
        machine: String::new(),
        claim_hash_hex: derived.hash_hex(),
        proof_key_hex: derived.proof_key_hex(),
        insecure_registries: args.insecure_registries.clone(),
        allowed_endpoints: args.allowed_endpoints.clone(),
    })
}

/// Carries out what is wanted of the engine's machine, after what an earlier run has begun.
async fn carried(
    output: &Output,
    yard: &Yard,
    (client, args): (&Client, &cli::Bootstrap),
    intent: Intent,
) -> Result<Exit> {
    if gone_on(&yard.buyer, (client, output)).await? == Exit::Interrupted {
        return Ok(Exit::Interrupted);
    }
    let request = PlanRequest {
        intent,
        limits: Limits::default(),
    };
    let go = Go {
        yes: args.yes,
        detach: false,
    };
    let changed = change::carried(&yard.buyer, (client, output), request, go).await?;
    if changed.exit() == Exit::Done {
        return Ok(Exit::Done);
    }
    changed.told(output)
}

/// Goes on with what an earlier run has begun, to its end, whatever that is.
async fn gone_on(buyer: &DataFolder, (client, output): (&Client, &Output)) -> Result<Exit> {
    let found = client.discover().await?;
    let Some(operation) = found.clusters.into_iter().find_map(|summary| summary.operation) else {
        return Ok(Exit::Done);
    };
    output.note(&format!("going on with {operation}"))?;
    let request = OperationGet {
        operation,
        seen: None,
        wait_ms: None,
    };
    let begun = client.operation_get(&request).await?;
    let (_, exit) = follow::follow(buyer, begun, output).await?;
    Ok(exit)
}

/// Points the data folder to the engine, once that has answered there.
async fn point(output: &Output, yard: &Yard, token: &Token, served: &Served) -> Result<Exit> {
    let endpoint = format!("https://{}{}", served.address, http::PATH);
    let found = Client::to(endpoint.clone(), Some(&served.authority_pem), token).await?;
    let found = found.discover().await?;
    let is_new = yard.client.token().is_err();
    yard.client.point_to(&endpoint, &served.authority_pem, token)?;
    let bootstrapped = Bootstrapped {
        mcp: &endpoint,
        nodes: &served.nodes,
        data: yard.client.path(),
        version: found.version,
        restored: served.restored,
        token: is_new.then(|| token.as_str()),
    };
    output.result(&bootstrapped, || words(&bootstrapped))?;
    if served.restored {
        output.note("it holds still until what the backup does not know is settled: isobar recover")?;
    }
    Ok(Exit::Done)
}

fn words(done: &Bootstrapped<'_>) -> String {
    let token = done.token.map(|token| {
        format!(
            "\n  token  {token} (shown this once; kept in {})",
            done.data.join("token").display()
        )
    });
    format!(
        "{GOOD}isobar {}{GOOD:#} on its own machine\n  MCP    {}\n  nodes  {}{}\n  commands with --data {} ask it",
        done.version,
        done.mcp,
        done.nodes.join(", "),
        token.unwrap_or_default(),
        done.data.display(),
    )
}

/// Gives the machine back, with everything around it.
async fn destroy(context: &Context<'_>, yard: &Yard, args: &cli::Bootstrap) -> Result<Exit> {
    if !yard.buyer.path().exists() {
        let place = yard.client.path().display();
        return Err(Complaint::new(
            Exit::Refused,
            format!("no engine was bootstrapped with the data folder {place}"),
        )
        .hint("name its folder with --data")
        .into());
    }
    let pointed = yard.client.endpoint().ok();
    if pointed.is_some() {
        keeps_nothing(&yard.client, context.output).await?;
    }
    let births = births(args, &yard.token()?);
    let exit = buyer::with(&yard.buyer, births, &args.allowed_endpoints, async |client| {
        let cluster = machine::cluster();
        let exit = carried(context.output, yard, (&client, args), Intent::Destroy { cluster }).await?;
        if exit == Exit::Done {
            return machine::gone(&client).await;
        }
        Ok(exit)
    })
    .await?;
    if exit == Exit::Done {
        if let Some(endpoint) = pointed {
            yard.client.withdraw_endpoint(&endpoint)?;
        }
        forget(&yard.owner)?;
        context.output.result(&serde_json::json!({ "destroyed": true }), || {
            format!("{GOOD}given back{GOOD:#}: the engine's machine, its disk and its network")
        })?;
    }
    Ok(exit)
}

/// Refuses while the engine has clusters: nobody would look after their machines, and they would be paid for on.
async fn keeps_nothing(folder: &DataFolder, output: &Output) -> Result<()> {
    let found = match Client::connect(folder).await {
        Ok(client) => client.discover().await,
        Err(error) => Err(error),
    };
    let clusters = match found {
        Ok(found) => found.clusters,
        Err(error) => {
            output.note(&format!(
                "its engine does not answer ({error}): whatever clusters it has, nobody looks after them"
            ))?;
            return Ok(());
        }
    };
    let names: Vec<&str> = clusters.iter().map(|summary| summary.cluster.as_str()).collect();
    match names.as_slice() {
        [] => Ok(()),
        [first, ..] => Err(
            Complaint::new(Exit::Refused, format!("the engine looks after {}", names.join(", ")))
                .hint(format!(
                    "destroy them first: isobar destroy {first} --data {}",
                    folder.path().display()
                ))
                .into(),
        ),
    }
}

/// The next machine of this folder is known by another token. The key stays: backups are opened with it.
fn forget(owner: &DataFolder) -> Result<()> {
    let token = owner.path().join("token");
    match fs::remove_file(&token) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", token.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
