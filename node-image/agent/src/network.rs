//! The machine's own network: its first real link, an address by DHCP, a default route, name servers. Never touches
//! containers' links. Called once by PID 1 before joining, then kept by a task that renews the DHCP lease.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use futures_util::TryStreamExt;
use rtnetlink::{Handle, LinkUnspec, RouteMessageBuilder};

pub mod dhcp;

use dhcp::{Client, DhcpError, Grant};

/// How long a link may take to appear after its driver is loaded.
pub const LINK_WAIT_MAX: Duration = Duration::from_secs(10);

const LINK_POLL: Duration = Duration::from_millis(2);
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Why the machine has no network. Without one it cannot join.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// No link but the loopback appeared.
    #[error("no network device appeared within {} s", LINK_WAIT_MAX.as_secs())]
    NoLink,
    /// No address was given.
    #[error("get an address by DHCP")]
    Dhcp(#[from] DhcpError),
    /// The kernel refuses.
    #[error("{what}")]
    Kernel {
        /// What was asked of it.
        what: &'static str,
        /// Why.
        #[source]
        source: rtnetlink::Error,
    },
    /// There is no netlink socket.
    #[error("open a netlink socket")]
    Socket(#[source] std::io::Error),
}

/// A machine's network that is up.
pub struct Network {
    client: Client,
    grant: Grant,
    netlink: Handle,
    link: u32,
}

impl Network {
    /// Brings up the loopback and the first other link.
    pub async fn up() -> Result<Self, NetworkError> {
        let (connection, netlink, _) = rtnetlink::new_connection().map_err(NetworkError::Socket)?;
        tokio::spawn(connection);
        bring_up(&netlink, "lo").await?;
        let name = first_link().await?;
        let link = bring_up(&netlink, &name).await?;
        let mut client = Client::on(&name)?;
        let grant = client.acquire().await?;
        let network = Self {
            client,
            grant,
            netlink,
            link,
        };
        network.configure().await?;
        tracing::info!(link = name, address = %network.grant.address, "network is up");
        Ok(network)
    }

    /// The machine's address.
    pub fn address(&self) -> Ipv4Addr {
        self.grant.address
    }

    /// Renews the DHCP lease for as long as the machine lives. What cannot be renewed is asked for anew; the old
    /// address stays until another one is given.
    pub async fn keep(mut self) {
        loop {
            tokio::time::sleep(self.grant.renew_after).await;
            let renewed = match self.client.renew(&self.grant).await {
                Ok(grant) => Ok(grant),
                Err(error) => {
                    tracing::warn!(error = %crate::chain(&error), "the address was not renewed and is asked for anew");
                    self.client.acquire().await
                }
            };
            match renewed {
                Ok(grant) => {
                    self.grant = grant;
                    if let Err(error) = self.configure().await {
                        tracing::warn!(error = %crate::chain(&error), "the renewed address cannot be set");
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %crate::chain(&error), "no address is given");
                    self.grant.renew_after = dhcp::RETRY_AFTER;
                }
            }
        }
    }

    /// Sets what was granted. What is set already stays.
    async fn configure(&self) -> Result<(), NetworkError> {
        let grant = &self.grant;
        let kernel = |what| move |source| NetworkError::Kernel { what, source };
        let address = self
            .netlink
            .address()
            .add(self.link, grant.address.into(), grant.prefix);
        address.replace().execute().await.map_err(kernel("set the address"))?;
        if let Some(gateway) = grant.gateway {
            // A gateway is on the link also where the address's own network does not hold it: Google grants a /32.
            let route = RouteMessageBuilder::<Ipv4Addr>::new()
                .gateway(gateway)
                .onlink()
                .output_interface(self.link)
                .build();
            let added = self.netlink.route().add(route).replace().execute().await;
            added.map_err(kernel("set the default route"))?;
        }
        write_resolv_conf(Path::new(RESOLV_CONF), &grant.name_servers);
        Ok(())
    }
}

async fn bring_up(netlink: &Handle, name: &str) -> Result<u32, NetworkError> {
    let kernel = |source| NetworkError::Kernel {
        what: "bring the link up",
        source,
    };
    let mut links = netlink.link().get().match_name(name.to_owned()).execute();
    let link = links.try_next().await.map_err(kernel)?.ok_or(NetworkError::NoLink)?;
    let index = link.header.index;
    netlink
        .link()
        .set(LinkUnspec::new_with_index(index).up().build())
        .execute()
        .await
        .map_err(kernel)?;
    Ok(index)
}

/// The first link in name order that a device is behind.
async fn first_link() -> Result<String, NetworkError> {
    let found = async {
        loop {
            let mut names: Vec<String> = std::fs::read_dir("/sys/class/net")
                .into_iter()
                .flatten()
                .flatten()
                .filter(|entry| entry.path().join("device").exists())
                .filter_map(|entry| entry.file_name().into_string().ok())
                .collect();
            names.sort();
            match names.into_iter().next() {
                Some(name) => return name,
                None => tokio::time::sleep(LINK_POLL).await,
            }
        }
    };
    tokio::time::timeout(LINK_WAIT_MAX, found)
        .await
        .map_err(|_| NetworkError::NoLink)
}

fn write_resolv_conf(path: &Path, servers: &[Ipv4Addr]) {
    if servers.is_empty() {
        return;
    }
    let text: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    if let Err(error) = std::fs::write(path, text) {
        tracing::warn!(%error, "names cannot be looked up: resolv.conf is not written");
    }
}
