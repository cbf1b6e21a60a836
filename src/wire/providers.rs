//! Every provider that sites may name. Adding a cloud is one line here.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Result;
use isobar_engine_model::id::ProviderId;
use isobar_engine_provider::decorate::{self, Renew};
use isobar_engine_provider::{Clock, Entropy, Provider};
use isobar_mcp::folder::DataFolder;
use isobar_providers_aws::{AwsConfig, AwsProvider, Keys};
use isobar_providers_azure::{AzureConfig, AzureProvider, Credentials};
use isobar_providers_gcp::{GcpConfig, GcpProvider};
use isobar_providers_local::{LocalConfig, LocalProvider};

use crate::cli;

/// All of them, each with its retries, its rate limit, its deadlines and its trace. None asks its cloud anything yet.
pub(super) fn all(
    folder: &DataFolder,
    args: &cli::Serve,
    clock: &Arc<impl Clock + 'static>,
    entropy: &Arc<impl Entropy + 'static>,
) -> Result<Vec<Arc<dyn Provider>>> {
    let provided: Vec<Arc<dyn Provider>> = vec![
        Arc::new(local(folder, args, clock.clone())?),
        Arc::new(Renew::around(Arc::new(aws(args, clock.clone())), clock.clone())),
        Arc::new(Renew::around(Arc::new(azure(args, clock.clone())?), clock.clone())),
        Arc::new(Renew::around(Arc::new(gcp(args, clock.clone())), clock.clone())),
    ];
    Ok(provided
        .into_iter()
        .map(|provider| decorate::standard(provider, clock.clone(), entropy.clone()))
        .collect())
}

/// Those whose machines are not on this computer: their nodes find the engine only where it is reached from outside.
pub(super) fn elsewhere() -> BTreeSet<ProviderId> {
    ["aws", "azure", "gcp"].map(named).into()
}

/// Machines on this computer.
fn local(folder: &DataFolder, args: &cli::Serve, clock: Arc<dyn Clock>) -> Result<LocalProvider> {
    let image = args.image.clone().unwrap_or_else(|| folder.path().join("image"));
    let machines = args.machines.clone().unwrap_or_else(|| folder.path().join("machines"));
    let (machines, image) = (std::path::absolute(machines)?, std::path::absolute(image)?);
    Ok(LocalProvider::new(
        LocalConfig::new(named("local"), machines, image),
        clock,
    )?)
}

fn aws(args: &cli::Serve, clock: Arc<dyn Clock>) -> AwsProvider {
    let config = AwsConfig {
        id: named("aws"),
        allowed_endpoints: args.allowed_endpoints.clone(),
        keys: Keys::Chain,
    };
    AwsProvider::new(config, clock)
}

fn azure(args: &cli::Serve, clock: Arc<dyn Clock>) -> Result<AzureProvider> {
    let config = AzureConfig {
        id: named("azure"),
        allowed_endpoints: args.allowed_endpoints.clone(),
        credentials: Credentials::Chain,
    };
    Ok(AzureProvider::new(config, clock)?)
}

fn gcp(args: &cli::Serve, clock: Arc<dyn Clock>) -> GcpProvider {
    let config = GcpConfig {
        id: named("gcp"),
        allowed_endpoints: args.allowed_endpoints.clone(),
        credentials: None,
    };
    GcpProvider::new(config, clock)
}

fn named(provider: &str) -> ProviderId {
    ProviderId::new(provider).expect("a name")
}
