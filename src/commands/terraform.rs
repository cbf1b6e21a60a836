//! The states of Terraform that the engine keeps: what there is, a version as a file, a dead client's lock.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use isobar_engine_control::api::{StateRead, StateRelease, StateView, StatesRequest};
use isobar_mcp::client::Client;

use crate::cli;
use crate::exit::Exit;
use crate::session::{self, Context};
use crate::show;

/// A file with secrets is its owner's alone.
const OWNER_ONLY: u32 = 0o600;

pub(super) async fn terraform(context: &Context<'_>, command: cli::Terraform) -> Result<Exit> {
    let client = context.connect().await?;
    match command {
        cli::Terraform::States => {
            let states = all(&client).await?;
            context
                .output
                .result(&states, || show::terraform::states(&states, session::now()))?;
        }
        cli::Terraform::History(of) => {
            let request = StatesRequest {
                state: Some(of.state),
                ..StatesRequest::default()
            };
            let states = client.terraform_states(&request).await?.states;
            let versions = states.into_iter().flat_map(|state| state.versions).collect::<Vec<_>>();
            context
                .output
                .result(&versions, || show::terraform::versions(&versions, session::now()))?;
        }
        cli::Terraform::Get(get) => write_version(context, &client, get).await?,
        cli::Terraform::Unlock(unlock) => self::unlock(context, &client, unlock).await?,
    }
    Ok(Exit::Done)
}

/// Every state, page by page.
async fn all(client: &Client) -> Result<Vec<StateView>> {
    let (mut states, mut request) = (Vec::new(), StatesRequest::default());
    loop {
        let page = client.terraform_states(&request).await?;
        states.extend(page.states);
        match page.next {
            Some(next) => request.after = Some(next),
            None => return Ok(states),
        }
    }
}

async fn write_version(context: &Context<'_>, client: &Client, get: cli::TerraformGet) -> Result<()> {
    let mut request = StateRead {
        state: get.of.state,
        version: get.version,
        offset: 0,
    };
    let mut bytes = Vec::new();
    let version = loop {
        let part = client.terraform_state_read(&request).await?;
        bytes.extend(
            STANDARD
                .decode(&part.base64)
                .context("the engine's answer is not in base64")?,
        );
        match part.next {
            // A newer version may be written meanwhile.
            Some(next) => (request.version, request.offset) = (Some(part.version), next),
            None => break part.version,
        }
    };
    match &get.to {
        None => io::stdout().lock().write_all(&bytes)?,
        Some(path) => {
            let file: io::Result<File> = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(OWNER_ONLY)
                .open(path);
            let written = file.and_then(|mut file| file.write_all(&bytes));
            written.with_context(|| format!("write {}", path.display()))?;
            context.output.note(&format!(
                "version {version} of {} is in {}",
                request.state,
                path.display()
            ))?;
        }
    }
    Ok(())
}

async fn unlock(context: &Context<'_>, client: &Client, unlock: cli::TerraformUnlock) -> Result<()> {
    let request = StateRelease {
        state: unlock.of.state,
        lock: unlock.lock,
    };
    let released = client.terraform_unlock(&request).await?;
    let words = || format!("{} is not locked by {}\n", released.state, released.lock);
    Ok(context.output.result(&released, words)?)
}
