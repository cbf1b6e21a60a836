//! A command's connection to the engine: where its data folder is, and which cluster is meant.

use std::env;
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::Result;
use isobar_engine_model::id::ClusterName;
use isobar_engine_model::quantity::Timestamp;
use isobar_mcp::client::Client;
use isobar_mcp::folder::DataFolder;

use crate::exit::{Complaint, Exit};
use crate::output::Output;

/// What every command has.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    /// The data folder that was named.
    pub(crate) data: Option<PathBuf>,
    /// Where results go.
    pub(crate) output: &'a Output,
}

impl Context<'_> {
    /// The data folder that was named, or the user's own.
    pub(crate) fn folder(&self) -> Result<DataFolder> {
        if let Some(path) = &self.data {
            return Ok(DataFolder::new(std::path::absolute(path)?));
        }
        let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let base = set("XDG_DATA_HOME").or_else(|| set("HOME").map(|home| home.join(".local/share")));
        match base {
            Some(base) => Ok(DataFolder::new(base.join("isobar"))),
            None => Err(Complaint::new(
                Exit::Usage,
                "there is no data folder: neither XDG_DATA_HOME nor HOME is set",
            )
            .hint("name one with --data or ISOBAR_DATA")
            .into()),
        }
    }

    /// A connection to the engine.
    pub(crate) async fn connect(&self) -> Result<Client> {
        Ok(Client::connect(&self.folder()?).await?)
    }
}

/// The cluster that was named, or the only one there is.
pub(crate) async fn cluster(client: &Client, named: Option<ClusterName>) -> Result<ClusterName> {
    if let Some(name) = named {
        return Ok(name);
    }
    let clusters = client.discover().await?.clusters;
    let names: Vec<&str> = clusters.iter().map(|summary| summary.cluster.as_str()).collect();
    match clusters.as_slice() {
        [only] => Ok(only.cluster.clone()),
        [] => Err(Complaint::new(Exit::Refused, "there is no cluster")
            .hint("make one: isobar apply SPEC")
            .into()),
        [_, _, ..] => Err(Complaint::new(Exit::Usage, "there is more than one cluster")
            .hint(format!("name one of them: {}", names.join(", ")))
            .into()),
    }
}

/// The time here, for ages. The engine runs on the same machine.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
