//! Importing: states are read and redacted here and go to the engine in pages; its lines come back as one report. Nothing
//! leaves this process but what stands on a list: addresses, ids, accounts, regions.

mod handed;
mod pages;
mod phases;
mod source;
mod written;

use std::collections::BTreeMap;

use anyhow::Result;
use isobar_engine_control::api::{ImportFound, ImportLine, QueryRequest, QueryWhat};
use isobar_engine_model::id::{ClusterName, SiteName};
use isobar_engine_model::spec::{SiteSpec, Spec};
use isobar_mcp::client::{Client, ClientError};
use isobar_terraform_compat::account::{Account, Standing, settle_owners};
use serde::Serialize;

use super::offline::read_spec;
use crate::cli;
use crate::exit::Exit;
use crate::session::Context;
use crate::show;

/// What an import found, a state at a time.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) cluster: ClusterName,
    pub(crate) states: Vec<StateReport>,
    /// Whether every object is accounted for as it is.
    pub(crate) complete: bool,
}

/// What was found of a state: of each of its objects one line, of one kind or the other.
#[derive(Debug, Serialize)]
pub(crate) struct StateReport {
    pub(crate) name: String,
    pub(crate) lineage: String,
    pub(crate) serial: Option<u64>,
    /// What the engine found in the clouds.
    pub(crate) found: Vec<ImportLine>,
    /// What was not asked for: its address and why.
    pub(crate) left: Vec<Left>,
    /// What has to be answered with `--answer`, by the provider's configuration.
    pub(crate) questions: Vec<Question>,
}

/// An object that no cloud was asked for.
#[derive(Debug, Serialize)]
pub(crate) struct Left {
    pub(crate) address: String,
    pub(crate) because: String,
    /// Whether somebody has to do something about it.
    pub(crate) open: bool,
}

/// What a provider's configuration leaves open.
#[derive(Debug, Serialize)]
pub(crate) struct Question {
    pub(crate) provider: String,
    pub(crate) ask: String,
}

pub(super) async fn import(context: &Context<'_>, args: cli::Import) -> Result<Exit> {
    match args {
        cli::Import::Terraform(args) => terraform(context, args).await,
        cli::Import::HandOver(args) => phases::hand_over(context, args).await,
        cli::Import::Confirm(args) => phases::confirm(context, args).await,
        cli::Import::Release(args) => phases::release(context, args).await,
    }
}

async fn terraform(context: &Context<'_>, args: cli::ImportTerraform) -> Result<Exit> {
    if let Some(file) = &args.write_spec {
        written::is_new(file)?;
    }
    let told = source::told(&args.answer)?;
    let mut accounts = source::accounts(&args.path, &told)?;
    settle_owners(&mut accounts);
    let sites = match &args.spec {
        Some(file) => read_spec(file)?.sites,
        None => BTreeMap::new(),
    };
    let client = context.connect().await?;
    let importing = take_over(context, &client, (&args.cluster, &sites), &accounts);
    let report = tokio::select! {
        biased;
        pressed = tokio::signal::ctrl_c() => {
            pressed?;
            return Ok(Exit::Interrupted);
        }
        report = importing => report?,
    };
    if let Some(file) = &args.write_spec {
        let stored = stored(&client, &args.cluster).await?;
        written::write(file, &report, stored, sites)?;
        context
            .output
            .note(&format!("what it changes: isobar plan {}", file.display()))?;
    }
    context.output.result(&report, || show::import::report(&report))?;
    Ok(if report.complete { Exit::Done } else { Exit::Unaccounted })
}

async fn take_over(
    context: &Context<'_>,
    client: &Client,
    (cluster, sites): (&ClusterName, &BTreeMap<SiteName, SiteSpec>),
    accounts: &[Account],
) -> Result<Report> {
    let mut states = Vec::new();
    for account in accounts {
        let mut found = Vec::new();
        for request in pages::of(account, cluster, sites) {
            found.extend(client.import_terraform(&request).await?.lines);
            context
                .output
                .note(&format!("{}: {} objects looked at", account.name, found.len()))?;
        }
        let questions = account.questions().into_iter().map(|(provider, ask)| Question {
            provider: provider.to_owned(),
            ask: ask.to_owned(),
        });
        states.push(StateReport {
            name: account.name.clone(),
            lineage: account.header.lineage.clone(),
            serial: account.header.serial,
            found,
            left: account.lines.iter().filter_map(pages::left).collect(),
            questions: questions.collect(),
        });
    }
    let complete = states.iter().all(StateReport::is_complete);
    Ok(Report {
        cluster: cluster.clone(),
        states,
        complete,
    })
}

/// The spec that the cluster has already.
async fn stored(client: &Client, cluster: &ClusterName) -> Result<Option<Spec>> {
    let request = QueryRequest {
        what: QueryWhat::Cluster,
        cluster: cluster.clone(),
        after: None,
        limit: None,
    };
    match client.query(&request).await {
        Ok(answer) => Ok(answer.spec),
        Err(ClientError::Refused(refused)) if refused.is_unknown_cluster() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl StateReport {
    fn is_complete(&self) -> bool {
        self.questions.is_empty()
            && !self.left.iter().any(|left| left.open)
            && self.found.iter().all(|line| match line.found {
                ImportFound::Adopted(_)
                | ImportFound::Tainted(_)
                | ImportFound::Deposed
                | ImportFound::AlreadyOwned { .. }
                | ImportFound::Unsupported { .. } => true,
                ImportFound::Drifted(_)
                | ImportFound::Missing { .. }
                | ImportFound::Unreachable { .. }
                | ImportFound::Asked { .. } => false,
            })
    }
}

/// In words, why no cloud is asked for an object; none if one is.
fn why_not(standing: &Standing) -> Option<(String, bool)> {
    use isobar_terraform_compat::account::Refusal;

    match standing {
        Standing::Candidate { .. } => None,
        Standing::Tainted { identified } | Standing::Deposed { identified, .. } => match identified {
            Some(_) => None,
            None => Some(("tainted or deposed, and not managed by Isobar".to_owned(), false)),
        },
        Standing::AlreadyOwned { state, by, .. } => Some((format!("already owned: {state} has it at {by}"), false)),
        Standing::Reported { .. } => Some(("in a cloud without a provider".to_owned(), false)),
        Standing::Unmanaged { .. } => Some(("not managed by Isobar".to_owned(), false)),
        Standing::Data => Some(("looked up, not made".to_owned(), false)),
        Standing::Refused { why: Refusal::NoId } => Some(("its id is not in the state".to_owned(), true)),
        Standing::Refused { why: Refusal::Twice } => Some(("it is in the state twice".to_owned(), true)),
    }
}
