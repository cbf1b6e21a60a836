//! Where the engine meets the world: its store, its keys, its providers.

mod providers;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use isobar_engine_control::authority::Authority;
use isobar_engine_control::vault::KEY_BYTES;
use isobar_engine_control::{Births, Boundaries, Bounds, Config, Fleet, Pacing};
use isobar_engine_model::id::MemberId;
use isobar_engine_provider::{Clock, Entropy};
use isobar_engine_store::sql::SqlStore;
use isobar_engine_store::{Member, Store};
use isobar_mcp::folder::DataFolder;
use isobar_providers_local::HOST_SEEN_BY_GUESTS;

use crate::exit::{Complaint, Exit};
use crate::serve::Special;
use crate::system::{SystemClock, SystemEntropy};
use crate::{cli, key};

/// Random bytes in the id of a process among those that share a store.
const MEMBER_ID_BYTES: usize = 6;
/// What the store calls the sealed authority.
const AUTHORITY: &str = "authority";
/// Random bytes in the id of a new store.
const STORE_ID_BYTES: usize = 8;

/// Opens the store: the data folder's own, which it holds from here on, or a PostgreSQL database that engines share.
pub(crate) async fn store(folder: &DataFolder, shared: Option<&str>) -> Result<Arc<dyn Store>> {
    Ok(Arc::new(sql_store(folder, shared).await?))
}

/// As [`store`], for whoever fills it.
pub(crate) async fn sql_store(folder: &DataFolder, shared: Option<&str>) -> Result<SqlStore> {
    let mut id = [0; STORE_ID_BYTES];
    SystemEntropy::new().fill(&mut id);
    let id = hex::encode(id);
    Ok(match shared {
        None => SqlStore::open(folder.path(), &id).await?,
        Some(url) => SqlStore::connect(url, &id).await?,
    })
}

/// Starts the engines of this process.
pub(crate) async fn fleet(
    folder: &DataFolder,
    (args, special): (&cli::Serve, &Special),
    store: Arc<dyn Store>,
    nodes: SocketAddr,
) -> Result<Arc<Fleet>> {
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy::new()));
    let key = key::key(folder, args.key_file.as_deref(), store.as_ref(), entropy.as_ref()).await?;
    let authority = authority(folder, store.as_ref(), &key, clock.as_ref(), entropy.as_ref()).await?;
    let config = Config {
        insecure_registries: args.insecure_registries.clone(),
        key,
        authority: Arc::new(authority),
        bounds: bounds(&special.births),
        births: special.births.clone(),
        proven_for: if args.unproven_address {
            BTreeSet::new()
        } else {
            providers::elsewhere()
        },
        pacing: match args.spread {
            Some(_) => Pacing::Told,
            None => Pacing::Interval,
        },
        at_crash_point: crate::crash::from_environment()?,
    };
    let mut id = [0; MEMBER_ID_BYTES];
    entropy.fill(&mut id);
    let me = Member {
        id: MemberId::new(format!("engine-{}", hex::encode(id))),
        peers: nodes.to_string(),
        nodes: advertised(&args.advertise, nodes),
    };
    let boundaries = Boundaries {
        providers: providers::all(folder, args, &clock, &entropy)?,
        store,
        clock,
        entropy,
    };
    Ok(Fleet::start(config, boundaries, me).await?)
}

/// That the key in the folder opens what a store holds sealed.
pub(crate) async fn opens(folder: &DataFolder, store: &dyn Store) -> Result<()> {
    let entropy = SystemEntropy::new();
    let key = key::key(folder, None, store, &entropy).await?;
    authority(folder, store, &key, &SystemClock, &entropy).await.map(drop)
}

/// Nobody waits for the next operation of an engine that only buys engines: what nothing needs goes at once.
fn bounds(births: &Births) -> Bounds {
    match births {
        Births::Nodes => Bounds::default(),
        Births::Engines(_) => Bounds {
            network_idle_ms: 0,
            ..Bounds::default()
        },
    }
}

/// The authority that signs the nodes' certificates, sealed with the key: whichever engine came first made it.
async fn authority(
    folder: &DataFolder,
    store: &dyn Store,
    key: &[u8; KEY_BYTES],
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<Authority> {
    let offered = match folder.read(AUTHORITY)? {
        // Where earlier versions kept it.
        Some(sealed) => sealed,
        None => Authority::generate(store.id(), clock.now())?.seal(key, entropy),
    };
    let sealed = store.once(AUTHORITY, &offered).await?;
    Authority::open(key, &sealed).map_err(|error| {
        Complaint::new(
            Exit::Refused,
            "the nodes' certificate authority cannot be opened with this key",
        )
        .hint("every engine of a store needs the same key: give the one that the store was made with")
        .because(error)
        .into()
    })
}

/// Every address at which nodes may find the engine.
fn advertised(given: &[String], nodes: SocketAddr) -> Vec<String> {
    match given {
        [] => vec![seen_by_guests(nodes)],
        given => given.to_vec(),
    }
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
    fn every_given_address_is_advertised_and_the_guests_own_only_where_none_is() {
        let nodes = ([127, 0, 0, 1], 7421).into();
        let given = ["10.0.2.2:7421".to_owned(), "engine.example:7421".to_owned()];
        assert_eq!(advertised(&given, nodes), given);
        assert_eq!(advertised(&[], nodes), ["10.0.2.2:7421"]);
    }

    #[test]
    fn guests_see_the_loopback_of_their_host_under_its_gateway() {
        assert_eq!(seen_by_guests(([127, 0, 0, 1], 7421).into()), "10.0.2.2:7421");
        assert_eq!(seen_by_guests(([192, 0, 2, 1], 7421).into()), "192.0.2.1:7421");
    }
}
