//! Where the engine meets the world: its store, its keys, its providers. Adding a cloud is one line here.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use isobar_engine_control::authority::Authority;
use isobar_engine_control::vault::KEY_BYTES;
use isobar_engine_control::{Boundaries, Bounds, Config, Engine, Tenure};
use isobar_engine_model::id::ProviderId;
use isobar_engine_provider::{Clock, Entropy, Provider, decorate};
use isobar_engine_store::sql::SqlStore;
use isobar_engine_store::{Store, Table};
use isobar_mcp::folder::DataFolder;
use isobar_providers_local::{LocalConfig, LocalProvider};

use crate::cli;
use crate::exit::{Complaint, Exit};
use crate::system::{SystemClock, SystemEntropy};

/// Random bytes in the id of a new store.
const STORE_ID_BYTES: usize = 8;
/// How a machine of QEMU's user-mode network sees the host's loopback address.
const HOST_SEEN_BY_GUESTS: &str = "10.0.2.2";

/// Opens the data folder's store, and holds the folder from here on.
pub(crate) async fn store(folder: &DataFolder) -> Result<Arc<dyn Store>> {
    let mut id = [0; STORE_ID_BYTES];
    SystemEntropy::new().fill(&mut id);
    Ok(Arc::new(SqlStore::open(folder.path(), &hex::encode(id)).await?))
}

/// Starts the engine.
pub(crate) async fn engine(
    folder: &DataFolder,
    args: &cli::Serve,
    store: Arc<dyn Store>,
    nodes: SocketAddr,
) -> Result<Arc<Engine>> {
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy::new()));
    let key = key(folder, store.as_ref(), entropy.as_ref()).await?;
    let authority = authority(folder, store.id(), &key, clock.as_ref(), entropy.as_ref())?;
    let config = Config {
        advertise: args.advertise.clone().unwrap_or_else(|| seen_by_guests(nodes)),
        insecure_registries: args.insecure_registries.clone(),
        key,
        authority,
        bounds: Bounds::default(),
        at_crash_point: crate::crash::from_environment()?,
    };
    let providers = providers(folder, args, &clock, &entropy)?;
    let tenure = Tenure::sole(store.as_ref()).await?;
    Ok(Engine::start(
        config,
        Boundaries {
            store,
            tenure,
            providers,
            clock,
            entropy,
        },
    )
    .await?)
}

/// Every provider that sites may name.
fn providers(
    folder: &DataFolder,
    args: &cli::Serve,
    clock: &Arc<SystemClock>,
    entropy: &Arc<SystemEntropy>,
) -> Result<Vec<Arc<dyn Provider>>> {
    let provided: Vec<Arc<dyn Provider>> = vec![Arc::new(local(folder, args, clock.clone())?)];
    Ok(provided
        .into_iter()
        .map(|provider| decorate::standard(provider, clock.clone(), entropy.clone()))
        .collect())
}

/// Machines on this computer.
fn local(folder: &DataFolder, args: &cli::Serve, clock: Arc<SystemClock>) -> Result<LocalProvider> {
    let id = ProviderId::new("local").expect("a name");
    let image = args.image.clone().unwrap_or_else(|| folder.path().join("image"));
    let config = LocalConfig::new(id, folder.path().join("machines"), std::path::absolute(image)?);
    Ok(LocalProvider::new(config, clock)?)
}

/// The key that seals secrets in the store; made with the store.
async fn key(folder: &DataFolder, store: &dyn Store, entropy: &dyn Entropy) -> Result<[u8; KEY_BYTES]> {
    if let Some(text) = folder.read("key")? {
        return hex::decode(text)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| {
                Complaint::new(
                    Exit::Internal,
                    format!("{} is damaged", folder.path().join("key").display()),
                )
                .hint("restore it from a backup: without it the store's secrets cannot be read")
                .into()
            });
    }
    // A new key would lock the old secrets up for good.
    if !store.scan(None, Table::Cluster, None, 1).await?.is_empty() {
        return Err(Complaint::new(
            Exit::Internal,
            format!("{} is missing", folder.path().join("key").display()),
        )
        .hint("restore it from a backup: without it the store's secrets cannot be read")
        .into());
    }
    let mut key = [0; KEY_BYTES];
    entropy.fill(&mut key);
    folder.write("key", &hex::encode(key))?;
    Ok(key)
}

/// The authority that signs the nodes' certificates, sealed with the key; made with it.
fn authority(
    folder: &DataFolder,
    store: &str,
    key: &[u8; KEY_BYTES],
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<Authority> {
    if let Some(sealed) = folder.read("authority")? {
        return Authority::open(key, &sealed).context("open the nodes' certificate authority");
    }
    let authority = Authority::generate(store, clock.now())?;
    folder.write("authority", &authority.seal(key, entropy))?;
    Ok(authority)
}

fn seen_by_guests(nodes: SocketAddr) -> String {
    if nodes.ip().is_loopback() {
        format!("{HOST_SEEN_BY_GUESTS}:{}", nodes.port())
    } else {
        nodes.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_see_the_loopback_of_their_host_under_its_gateway() {
        assert_eq!(seen_by_guests(([127, 0, 0, 1], 7421).into()), "10.0.2.2:7421");
        assert_eq!(seen_by_guests(([192, 0, 2, 1], 7421).into()), "192.0.2.1:7421");
    }
}
