//! The containers' network: a bridge with a private subnet, an address for each container, the node ports that lead to
//! them. Everything derives from the set of containers; the packet rules are replaced as a whole whenever it changes.
//! It never touches a link, an address or a table that is not its own.

pub(crate) mod link;
pub(crate) mod netlink;
pub(crate) mod nft;
pub(crate) mod rules;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use self::rules::{Facts, Published};
use super::wire::Link;

/// The node's bridge.
const BRIDGE: &str = "isobar0";
/// The node's nftables table.
const TABLE: &str = "isobar";

/// An IPv4 network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    /// Any address in it.
    pub address: Ipv4Addr,
    /// How many of its bits are the network's, at most 32.
    pub prefix: u8,
}

impl Subnet {
    /// The network's bits.
    pub(crate) fn mask(self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0)
    }

    fn host(self, number: u32) -> Option<Ipv4Addr> {
        let network = u32::from(self.address) & self.mask();
        let broadcast = network | !self.mask();
        let address = network.checked_add(number)?;
        (address > network && address < broadcast).then(|| Ipv4Addr::from(address))
    }
}

/// Why a container gets no network.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetworkError {
    #[error("no address left in the node's container subnet")]
    NoAddress,
    #[error("node port {port} is taken by {by}")]
    PortTaken { port: u16, by: String },
    #[error("{what}")]
    System { what: &'static str, source: io::Error },
}

/// The containers' addresses and ports on this node.
pub(crate) struct Network {
    subnet: Subnet,
    blocked: Vec<Subnet>,
    reserved_ports: Vec<u16>,
    members: Mutex<BTreeMap<String, Member>>,
}

#[derive(Debug, Clone)]
struct Member {
    address: Ipv4Addr,
    ports: Vec<(u16, u16)>,
}

impl Network {
    /// Makes the bridge and an empty ruleset.
    pub(crate) fn set_up(subnet: Subnet, blocked: Vec<Subnet>, reserved_ports: Vec<u16>) -> Result<Self, NetworkError> {
        let network = Self {
            subnet,
            blocked,
            reserved_ports,
            members: Mutex::default(),
        };
        let gateway = network.gateway()?;
        link::ensure_bridge(BRIDGE, gateway, subnet.prefix).map_err(system("make the bridge"))?;
        for (path, value) in [
            ("/proc/sys/net/ipv4/ip_forward".to_owned(), "1"),
            // 127.0.0.1:PORT of the node reaches a published port too.
            (format!("/proc/sys/net/ipv4/conf/{BRIDGE}/route_localnet"), "1"),
        ] {
            fs::write(path, value).map_err(system("set the bridge's options"))?;
        }
        // Absent where the kernel has no IPv6, which is as good.
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{BRIDGE}/disable_ipv6"), "1");
        network.apply(&network.members())?;
        Ok(network)
    }

    /// Gives a container its address and its ports. Again for the same id: the same address.
    pub(crate) fn join(&self, id: &str, ports: &[(u16, u16)]) -> Result<Link, NetworkError> {
        let gateway = self.gateway()?;
        let mut members = self.members();
        for (_, node_port) in ports {
            if self.reserved_ports.contains(node_port) {
                return Err(NetworkError::PortTaken {
                    port: *node_port,
                    by: "the node".into(),
                });
            }
            let taken = members
                .iter()
                .find(|(other, member)| other.as_str() != id && member.ports.iter().any(|(_, port)| port == node_port));
            if let Some((other, _)) = taken {
                return Err(NetworkError::PortTaken {
                    port: *node_port,
                    by: other.clone(),
                });
            }
        }
        let address = match members.get(id) {
            Some(member) => member.address,
            None => self.free_address(&members).ok_or(NetworkError::NoAddress)?,
        };
        let mut wanted = members.clone();
        wanted.insert(
            id.to_owned(),
            Member {
                address,
                ports: ports.to_vec(),
            },
        );
        self.apply(&wanted)?;
        *members = wanted;
        Ok(Link {
            bridge: BRIDGE.into(),
            outer: outer_name(address),
            address,
            prefix: self.subnet.prefix,
            gateway,
        })
    }

    /// Takes the address and the ports back. The link itself goes with the container's namespace; where that lingers,
    /// it is removed here, so that the next one of that name can be made.
    pub(crate) fn leave(&self, id: &str) -> Result<(), NetworkError> {
        let mut members = self.members();
        let Some(member) = members.get(id) else { return Ok(()) };
        link::remove(&outer_name(member.address)).map_err(system("remove the container's link"))?;
        let mut wanted = members.clone();
        wanted.remove(id);
        self.apply(&wanted)?;
        *members = wanted;
        Ok(())
    }

    fn apply(&self, members: &BTreeMap<String, Member>) -> Result<(), NetworkError> {
        let published: Vec<_> = members
            .values()
            .flat_map(|member| {
                member.ports.iter().map(|(container_port, node_port)| Published {
                    node_port: *node_port,
                    address: member.address,
                    container_port: *container_port,
                })
            })
            .collect();
        let facts = Facts {
            bridge: BRIDGE,
            subnet: self.subnet,
            blocked: &self.blocked,
            published: &published,
        };
        nft::replace(TABLE, &rules::chains(&facts)).map_err(system("replace the packet rules"))
    }

    fn gateway(&self) -> Result<Ipv4Addr, NetworkError> {
        self.subnet.host(1).ok_or(NetworkError::NoAddress)
    }

    fn free_address(&self, members: &BTreeMap<String, Member>) -> Option<Ipv4Addr> {
        let first_after_gateway = 2;
        (first_after_gateway..)
            .map_while(|number| self.subnet.host(number))
            .find(|address| members.values().all(|member| member.address != *address))
    }

    fn members(&self) -> MutexGuard<'_, BTreeMap<String, Member>> {
        // The map is replaced, never changed in place: a panic elsewhere leaves it whole.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names of links have 15 bytes; an address is unique on the node.
fn outer_name(address: Ipv4Addr) -> String {
    format!("isob{:08x}", u32::from(address))
}

fn system(what: &'static str) -> impl Fn(io::Error) -> NetworkError {
    move |source| NetworkError::System { what, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_gives_its_hosts_and_neither_of_its_ends() {
        let subnet = Subnet {
            address: Ipv4Addr::new(10, 88, 0, 77),
            prefix: 30,
        };
        let hosts: Vec<_> = (0..5).map(|number| subnet.host(number)).collect();
        let host = |last| Some(Ipv4Addr::new(10, 88, 0, last));
        assert_eq!(hosts, [None, host(77), host(78), None, None]);
        assert_eq!(
            Subnet {
                address: Ipv4Addr::UNSPECIFIED,
                prefix: 0
            }
            .mask(),
            0
        );
        assert_eq!(
            Subnet {
                address: Ipv4Addr::UNSPECIFIED,
                prefix: 32
            }
            .mask(),
            u32::MAX
        );
    }
}
