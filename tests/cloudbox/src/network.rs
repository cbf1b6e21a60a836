//! The network of one guest. It has the private address that its cloud's interface tells, finds its cloud's metadata
//! service at 169.254.169.254, and its host where machines of the `local` provider find theirs: one registry and one
//! engine serve both. Its published ports are reached at an address of loopback that no other guest has. It reaches
//! nothing else.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

use isobar_engine_model::spec::NODE_PORTS;
use isobar_node_image_protocol::identity::{ENGINE_MCP_PORT, ENGINE_NODE_PORT};
use isobar_providers_sim::SimMachine;

use crate::Boots;

/// How a guest reaches the computer that it runs on.
pub const HOST_SEEN_BY_GUESTS: &str = "10.0.2.2";
/// Where every cloud serves metadata.
const METADATA: &str = "169.254.169.254:80";
/// QEMU forwards only inside a guest's network, and these addresses have no bit in common: the network is all of them.
const EVERYTHING: &str = "0.0.0.0/0.0.0.0";
/// The address of a machine that its cloud tells none of.
const UNTOLD: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
/// So many addresses of loopback are tried before a guest has none.
const TRIES_MAX: u32 = 1_000;
/// Of the addresses of loopback, 127.0.0.0/8, the last 24 bits differ.
const LOOPBACK_MASK: u32 = 0x00ff_ffff;

/// Where a guest is and how it is reached.
pub(crate) struct Network {
    private: Ipv4Addr,
    host_address: Ipv4Addr,
    metadata_port: u16,
}

impl Network {
    /// Of a machine as its cloud tells it, which is reached at an address of loopback, and whose metadata is served on a port
    /// of loopback.
    pub(crate) fn of(machine: &SimMachine, host_address: Ipv4Addr, metadata_port: u16) -> Self {
        let told = machine.state.endpoints.values().next();
        let told = told.and_then(|told| told.parse::<SocketAddrV4>().ok());
        Self {
            private: told.map_or(UNTOLD, |told| *told.ip()),
            host_address,
            metadata_port,
        }
    }

    /// QEMU's `-netdev`.
    pub(crate) fn option(&self, boots: Boots) -> String {
        let (private, here) = (self.private, self.host_address);
        let forward = |port: u16| format!(",hostfwd=tcp:{here}:{port}-{private}:{port}");
        let published: String = match boots {
            Boots::Node => (NODE_PORTS.0..=NODE_PORTS.1).map(forward).collect(),
            Boots::Engine => [ENGINE_MCP_PORT, ENGINE_NODE_PORT].map(forward).concat(),
        };
        // QEMU starts the command anew for each connection.
        let metadata = format!(
            "guestfwd=tcp:{METADATA}-cmd:busybox nc 127.0.0.1 {}",
            self.metadata_port
        );
        format!("user,id=net,net={EVERYTHING},host={HOST_SEEN_BY_GUESTS},dhcpstart={private},{metadata}{published}")
    }
}

/// An address of loopback where nobody listens on a node's ports or an engine's. Other processes begin elsewhere.
pub(crate) fn free_address() -> io::Result<Ipv4Addr> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id() << 8;
    for _ in 0..TRIES_MAX {
        let number = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) & LOOPBACK_MASK;
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 0, 0, 0)) | number);
        let ends = number == 0 || number == LOOPBACK_MASK;
        let is_free = |port: u16| TcpListener::bind((address, port)).is_ok();
        if !ends && is_free(NODE_PORTS.0) && is_free(ENGINE_MCP_PORT) {
            return Ok(address);
        }
    }
    Err(io::Error::other("no address of loopback is free"))
}
