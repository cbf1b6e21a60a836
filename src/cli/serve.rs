//! `serve`: where the engine listens, what it stands on, whom it trusts.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use isobar_node_image_protocol::identity::is_host_and_port;

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where MCP is served: in clear on loopback, over TLS elsewhere, as the hosts of --advertise; see `isobar connect`
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7420")]
    pub(crate) listen: SocketAddr,
    /// Where nodes call home
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7421")]
    pub(crate) node_listen: SocketAddr,
    /// How nodes reach that address; nodes try all of them in turn where it is given more than once, for clouds that see
    /// this computer differently [default: as the local provider's machines see it]
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    pub(crate) advertise: Vec<String>,
    /// Buy machines of clouds though this engine cannot reach itself at the address that their nodes are told: where a
    /// network lets them in and does not lead the engine back to itself
    #[arg(long)]
    pub(crate) unproven_address: bool,
    /// The folder of the node image that local machines boot [default: image in the data folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) image: Option<PathBuf>,
    /// A PostgreSQL database that several engines share: postgres://USER@HOST/DATABASE [default: SQLite in the data folder]
    #[arg(long, value_name = "URL", env = "ISOBAR_STORE", hide_env_values = true)]
    pub(crate) store: Option<String>,
    /// A Redis server, redis://HOST, over which engines of one store spread their periodic work; only in an isobar with the
    /// feature `distributed-scheduler` [default: they spread it by themselves]
    #[arg(long, value_name = "URL", env = "ISOBAR_SPREAD", hide_env_values = true)]
    pub(crate) spread: Option<String>,
    /// The file with the key that seals the store's secrets, the same for every engine of a store; made if there is none.
    /// ISOBAR_KEY, the key itself in hex, goes before it [default: key in the data folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// The folder of local machines, the same for every engine of a store on this computer [default: machines in the data
    /// folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) machines: Option<PathBuf>,
    /// A registry that nodes may reach over plain HTTP; may be given more than once
    #[arg(long = "insecure-registry", value_name = "HOST:PORT")]
    pub(crate) insecure_registries: Vec<String>,
    /// Another address that sites of clouds may name as their `endpoint`; credentials go there. May be given more than once
    #[arg(long = "allow-endpoint", value_name = "URL")]
    pub(crate) allowed_endpoints: Vec<String>,
    /// Let `terraform force-unlock` take a state's lock away: it does not say whose. Without this, `isobar terraform unlock`
    /// does, by the lock's id
    #[arg(long)]
    pub(crate) terraform_force_unlock: bool,
    /// What to log, as `tracing` filters: `info`, `debug`, `isobar_engine_control=trace`
    #[arg(
        long,
        value_name = "FILTER",
        env = "ISOBAR_LOG",
        hide_env_values = true,
        default_value = "info"
    )]
    pub(crate) log: String,
}

pub(super) fn host_and_port(text: &str) -> Result<String, String> {
    match is_host_and_port(text) {
        true => Ok(text.to_owned()),
        false => Err("not a host or address, a colon and a port; give each address an option of its own".to_owned()),
    }
}
