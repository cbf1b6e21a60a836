//! `bootstrap`: where the engine's machine is bought, how it is reached, whether its store comes from a backup. `born`: what
//! that machine's agent starts.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use isobar_engine_model::id::SiteName;
use isobar_node_image_protocol::identity::{ENGINE_MCP_PORT, ENGINE_NODE_PORT};

use super::serve::host_and_port;

#[derive(Debug, Args)]
pub(crate) struct Bootstrap {
    /// A spec that has the site, YAML or JSON: of its sites only that one is used, and nothing else of it
    #[arg(value_name = "SPEC", required_unless_present = "destroy")]
    pub(crate) spec: Option<PathBuf>,
    /// In which of its sites the engine's machine is bought
    #[arg(
        long,
        value_name = "NAME",
        required_unless_present = "destroy",
        value_parser = |text: &str| SiteName::new(text)
    )]
    pub(crate) site: Option<SiteName>,
    /// What the machine boots: the engine image in that site [default: the site's own setting]
    #[arg(long, value_name = "ID")]
    pub(crate) image: Option<String>,
    /// The disk that its store is on, in GiB; it goes with the machine
    #[arg(long, value_name = "GIB", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) disk: u32,
    /// What its cloud knows the engine as, so that it needs no keys: an instance profile (AWS), the resource id of a managed
    /// identity (Azure), the address of a service account (GCP)
    #[arg(long, value_name = "ID")]
    pub(crate) machine_identity: Option<String>,
    /// Give the machine an address on the internet
    #[arg(long)]
    pub(crate) public_address: bool,
    /// How nodes reach the engine: a name or address that can be led to another machine when this one is lost. May be given
    /// more than once [default: the machine's own address]
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port)]
    pub(crate) advertise: Vec<String>,
    /// Bring the engine back: its store comes from this backup
    #[arg(long, value_name = "FILE")]
    pub(crate) restore: Option<PathBuf>,
    /// The file with the key that seals the engine's store, and opens its backups; made if it is not there. Keep a copy
    /// [default: bootstrap/owner/key in the data folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// A registry that its nodes may reach over plain HTTP; may be given more than once
    #[arg(long = "insecure-registry", value_name = "HOST:PORT")]
    pub(crate) insecure_registries: Vec<String>,
    /// Another address that sites of clouds may name as their `endpoint`; credentials go there. May be given more than once
    #[arg(long = "allow-endpoint", value_name = "URL")]
    pub(crate) allowed_endpoints: Vec<String>,
    /// Give the machine back, with its store, once the engine has no cluster any more
    #[arg(
        long,
        conflicts_with_all = ["spec", "site", "image", "machine_identity", "public_address", "advertise", "restore", "key_file"]
    )]
    pub(crate) destroy: bool,
    /// Carry out without asking
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Born {
    /// What the machine was born with
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: PathBuf,
    /// Where its owner and callers reach it
    #[arg(long, value_name = "HOST:PORT", default_value_t = everywhere(ENGINE_MCP_PORT))]
    pub(crate) listen: SocketAddr,
    /// Where nodes call home
    #[arg(long, value_name = "HOST:PORT", default_value_t = everywhere(ENGINE_NODE_PORT))]
    pub(crate) node_listen: SocketAddr,
    /// What to log
    #[arg(long, value_name = "FILTER", default_value = "info")]
    pub(crate) log: String,
}

fn everywhere(port: u16) -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, port).into()
}
