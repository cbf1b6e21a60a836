//! After a restore: what the backup does not know, and what becomes of it.

use std::collections::BTreeMap;

use anyhow::Result;
use isobar_engine_control::api::{RecoverAnswer, RecoverMachines, RecoverRequest};
use isobar_engine_model::id::{ClusterName, MachineId};
use isobar_mcp::client::Client;

use super::offline::read_spec;
use crate::cli::{self, RecoverDecision};
use crate::exit::{Complaint, Exit};
use crate::follow;
use crate::session::{self, Context};
use crate::show;

pub(super) async fn recover(context: &Context<'_>, args: cli::Recover) -> Result<Exit> {
    let client = context.connect().await?;
    match args.decide {
        None => list(context, &client, args).await,
        Some(RecoverDecision::Adopt(choice)) => adopt(context, &client, choice).await,
        Some(RecoverDecision::Release(release)) => self::release(context, &client, release).await,
        Some(RecoverDecision::End) => {
            let recovered = client.recover_end().await?;
            context.output.result(&recovered, || match recovered.ended {
                true => {
                    "recovered: clusters are healed again; those that adopted machines when their spec is applied\n"
                        .to_owned()
                }
                false => "there is nothing to recover\n".to_owned(),
            })?;
            Ok(Exit::Done)
        }
    }
}

async fn list(context: &Context<'_>, client: &Client, args: cli::Recover) -> Result<Exit> {
    let (named, sites) = match &args.spec {
        Some(file) => {
            let spec = read_spec(file)?;
            (Some(args.of.cluster.unwrap_or(spec.cluster)), spec.sites)
        }
        None => (args.of.cluster, BTreeMap::new()),
    };
    let clusters = match named {
        Some(cluster) => vec![cluster],
        None => client
            .discover()
            .await?
            .clusters
            .into_iter()
            .map(|summary| summary.cluster)
            .collect(),
    };
    let mut answers: BTreeMap<ClusterName, RecoverAnswer> = BTreeMap::new();
    for cluster in clusters {
        let request = RecoverRequest {
            cluster: cluster.clone(),
            sites: sites.clone(),
        };
        answers.insert(cluster, client.recover(&request).await?);
    }
    context.output.result(&answers, || show::recover::answers(&answers))?;
    Ok(Exit::Done)
}

async fn adopt(context: &Context<'_>, client: &Client, choice: cli::RecoverChoice) -> Result<Exit> {
    let wanted = chosen(client, choice, |unknown| unknown.not_adoptable.is_none()).await?;
    let adopted = client.recover_adopt(&wanted).await?;
    context.output.result(&adopted, || {
        let names: Vec<&str> = adopted.machines.iter().map(MachineId::as_str).collect();
        format!("adopted: {}\n", names.join(", "))
    })?;
    Ok(Exit::Done)
}

async fn release(context: &Context<'_>, client: &Client, release: cli::RecoverRelease) -> Result<Exit> {
    let output = context.output;
    let wanted = chosen(client, release.choice, |unknown| !unknown.releasing).await?;
    let names: Vec<&str> = wanted.machines.iter().map(MachineId::as_str).collect();
    if !release.yes {
        if !output.can_ask() {
            return Err(Complaint::new(Exit::Usage, "nobody can be asked here")
                .hint("delete without asking: --yes")
                .into());
        }
        if !output.ask(&format!("delete {} for good?", names.join(", ")))? {
            return Ok(Exit::Refused);
        }
    }
    let begun = client.recover_release(&wanted).await?;
    output.note(&format!("operation {}", begun.operation.id))?;
    let (view, exit) = follow::follow(&context.folder()?, begun, output).await?;
    output.result(&view, || show::progress::standing(&view.operation))?;
    Ok(exit)
}

/// The machines that were named, or all that may be.
async fn chosen(
    client: &Client,
    choice: cli::RecoverChoice,
    may: fn(&isobar_engine_control::api::Unknown) -> bool,
) -> Result<RecoverMachines> {
    let cluster = session::cluster(client, choice.of.cluster).await?;
    let mut machines = choice.machines;
    if choice.all {
        let request = RecoverRequest {
            cluster: cluster.clone(),
            sites: BTreeMap::new(),
        };
        let unknown = client.recover(&request).await?.unknown;
        machines = unknown.into_iter().filter(may).map(|unknown| unknown.machine).collect();
        machines.dedup();
    }
    if machines.is_empty() {
        return Err(
            Complaint::new(Exit::Refused, format!("nothing of {cluster} is unknown"))
                .hint("go on: isobar recover end")
                .into(),
        );
    }
    let names: Vec<&str> = machines.iter().map(MachineId::as_str).collect();
    Ok(RecoverMachines {
        idempotency_key: format!("recover:{cluster}:{}", names.join(",")),
        cluster,
        machines,
        why: None,
    })
}
