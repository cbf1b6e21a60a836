//! Google's clients, one set an endpoint, made when they are first needed. No retries, no waiting of their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use google_cloud_auth::credentials::Credentials;
use google_cloud_compute_v1::client::{
    Addresses, Disks, Firewalls, GlobalAddresses, GlobalOperations, InstanceGroupManagers, InstanceTemplates,
    Instances, MachineTypes, Networks, RegionDisks, RegionInstanceGroupManagers, RegionInstanceTemplates,
    RegionOperations, Regions, Routers, Routes, Subnetworks, ZoneOperations,
};
use google_cloud_gax::retry_policy::NeverRetry;
use isobar_engine_provider::{ProviderError, Result, Site, endpoint};
use tokio::sync::Mutex;

use crate::config::GcpConfig;
use crate::credentials::Source;

/// So many endpoints are kept at most; the starter allows fewer.
const ENDPOINTS_MAX: usize = 64;

/// The clients of one endpoint.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) instances: Instances,
    pub(crate) disks: Disks,
    pub(crate) networks: Networks,
    pub(crate) subnetworks: Subnetworks,
    pub(crate) routers: Routers,
    pub(crate) firewalls: Firewalls,
    pub(crate) addresses: Addresses,
    pub(crate) global_addresses: GlobalAddresses,
    pub(crate) region_disks: RegionDisks,
    pub(crate) routes: Routes,
    pub(crate) instance_templates: InstanceTemplates,
    pub(crate) region_instance_templates: RegionInstanceTemplates,
    pub(crate) instance_group_managers: InstanceGroupManagers,
    pub(crate) region_instance_group_managers: RegionInstanceGroupManagers,
    pub(crate) zone_operations: ZoneOperations,
    pub(crate) region_operations: RegionOperations,
    pub(crate) global_operations: GlobalOperations,
    pub(crate) machine_types: MachineTypes,
    pub(crate) regions: Regions,
    /// Where the credentials came from, for when they do not count.
    pub(crate) source: Source,
}

/// Every endpoint's clients.
#[derive(Debug)]
pub(crate) struct Pool {
    config: GcpConfig,
    by_endpoint: Mutex<BTreeMap<Option<String>, Arc<Clients>>>,
}

impl Pool {
    pub(crate) fn new(config: GcpConfig) -> Self {
        // Google's client takes the process's provider of cryptography. Somebody may have installed it before.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        Self {
            config,
            by_endpoint: Mutex::new(BTreeMap::new()),
        }
    }

    pub(crate) fn config(&self) -> &GcpConfig {
        &self.config
    }

    /// The clients that a site's calls go through.
    pub(crate) async fn of(&self, site: &Site) -> Result<Arc<Clients>> {
        let at = endpoint::of(site, &self.config.allowed_endpoints)?.map(str::to_owned);
        let mut known = self.by_endpoint.lock().await;
        if let Some(clients) = known.get(&at) {
            return Ok(Arc::clone(clients));
        }
        let clients = Arc::new(self.make(at.as_deref()).await?);
        if known.len() >= ENDPOINTS_MAX {
            known.clear();
        }
        known.insert(at, Arc::clone(&clients));
        Ok(clients)
    }

    /// The next call of every endpoint looks for its credentials anew.
    pub(crate) async fn forget(&self) {
        self.by_endpoint.lock().await.clear();
    }

    async fn make(&self, at: Option<&str>) -> Result<Clients> {
        let source = Source::find(self.config.credentials.as_deref());
        let credentials = source.credentials()?;
        macro_rules! client {
            ($kind:ident) => {{
                let builder = $kind::builder()
                    .with_credentials(Credentials::clone(&credentials))
                    .with_retry_policy(NeverRetry);
                let builder = match at {
                    Some(at) => builder.with_endpoint(at),
                    None => builder,
                };
                builder
                    .build()
                    .await
                    .map_err(|error| ProviderError::Unavailable {
                        message: format!("no client could be made: {error}"),
                    })?
            }};
        }
        Ok(Clients {
            instances: client!(Instances),
            disks: client!(Disks),
            networks: client!(Networks),
            subnetworks: client!(Subnetworks),
            routers: client!(Routers),
            firewalls: client!(Firewalls),
            addresses: client!(Addresses),
            global_addresses: client!(GlobalAddresses),
            region_disks: client!(RegionDisks),
            routes: client!(Routes),
            instance_templates: client!(InstanceTemplates),
            region_instance_templates: client!(RegionInstanceTemplates),
            instance_group_managers: client!(InstanceGroupManagers),
            region_instance_group_managers: client!(RegionInstanceGroupManagers),
            zone_operations: client!(ZoneOperations),
            region_operations: client!(RegionOperations),
            global_operations: client!(GlobalOperations),
            machine_types: client!(MachineTypes),
            regions: client!(Regions),
            source,
        })
    }
}
