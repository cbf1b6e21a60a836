//! Links, addresses and routes: the node's bridge, and each container's pair of interfaces. It keeps nothing: a link
//! goes with the namespace of its container. The agent calls for the bridge, the helper for the pairs.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;

use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns};

use super::netlink::{Attributes, Message, Socket};
use crate::container::wire::Link;

/// The container's end of the pair.
const INNER_NAME: &str = "eth0";
/// The loopback interface is always the first of a namespace.
const LOOPBACK_INDEX: u32 = 1;

const CREATE: u16 = 0x400;
const EXCLUSIVE: u16 = 0x200;
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_PID: u16 = 19;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const INET: u8 = 2;
const UP: u32 = 1;
const TABLE_MAIN: u8 = 254;
const PROTOCOL_STATIC: u8 = 4;
const TYPE_UNICAST: u8 = 1;

/// Makes the bridge with its address, or takes the one that is there.
pub(crate) fn ensure_bridge(name: &str, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
    let socket = Socket::route()?;
    let bridge = Message::new(RTM_NEWLINK, CREATE | EXCLUSIVE, &link_header(0, UP))
        .with_name(IFLA_IFNAME, name)
        .with_nested(IFLA_LINKINFO, Attributes::default().with(IFLA_INFO_KIND, b"bridge"));
    present(socket.send(&[bridge], 0))?;
    let index = if_nametoindex(name)?;
    present(socket.send(&[new_address(index, address, prefix)], 0))?;
    socket.send(&[set_up(index)], 0)
}

/// Removes a link, if it is there.
pub(crate) fn remove(name: &str) -> io::Result<()> {
    let Ok(index) = if_nametoindex(name) else { return Ok(()) };
    match Socket::route()?.send(&[Message::new(RTM_DELLINK, 0, &link_header(index, 0))], 0) {
        // It went with its namespace meanwhile.
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        other => other,
    }
}

/// Makes a pair between the bridge and the network namespace of `pid`, moves the calling process into that namespace,
/// and gives the inner end its address and the default route. For the helper, which has no other use for its own
/// namespace.
pub(crate) fn attach(link: &Link, pid: i32, pidfd: BorrowedFd<'_>) -> io::Result<()> {
    let bridge = if_nametoindex(link.bridge.as_str())?;
    let peer = Attributes::after(&link_header(0, 0))
        .with_name(IFLA_IFNAME, INNER_NAME)
        .with(IFLA_NET_NS_PID, &pid.to_ne_bytes());
    let info = Attributes::default().with(IFLA_INFO_KIND, b"veth").with_nested(
        IFLA_INFO_DATA,
        &Attributes::default().with_nested(VETH_INFO_PEER, &peer),
    );
    let pair = Message::new(RTM_NEWLINK, CREATE | EXCLUSIVE, &link_header(0, UP))
        .with_name(IFLA_IFNAME, &link.outer)
        .with(IFLA_MASTER, &bridge.to_ne_bytes())
        .with_nested(IFLA_LINKINFO, info);
    Socket::route()?.send(&[pair], 0)?;

    setns(pidfd, CloneFlags::CLONE_NEWNET)?;
    let socket = Socket::route()?;
    let index = if_nametoindex(INNER_NAME)?;
    socket.send(
        &[
            set_up(LOOPBACK_INDEX),
            new_address(index, link.address, link.prefix),
            set_up(index),
            default_route(index, link.gateway),
        ],
        0,
    )
}

fn set_up(index: u32) -> Message {
    Message::new(RTM_NEWLINK, 0, &link_header(index, UP))
}

fn new_address(index: u32, address: Ipv4Addr, prefix: u8) -> Message {
    let mut header = vec![INET, prefix, 0, 0];
    header.extend(index.to_ne_bytes());
    Message::new(RTM_NEWADDR, CREATE | EXCLUSIVE, &header)
        .with(IFA_LOCAL, &address.octets())
        .with(IFA_ADDRESS, &address.octets())
}

fn default_route(index: u32, gateway: Ipv4Addr) -> Message {
    let scope_everywhere = 0;
    let mut header = vec![
        INET,
        0,
        0,
        0,
        TABLE_MAIN,
        PROTOCOL_STATIC,
        scope_everywhere,
        TYPE_UNICAST,
    ];
    header.extend(0_u32.to_ne_bytes());
    Message::new(RTM_NEWROUTE, CREATE | EXCLUSIVE, &header)
        .with(RTA_GATEWAY, &gateway.octets())
        .with(RTA_OIF, &index.to_ne_bytes())
}

/// `struct ifinfomsg`: the flags that `up` names are the ones that change.
fn link_header(index: u32, up: u32) -> Vec<u8> {
    let mut header = vec![0; 4];
    header.extend(index.to_ne_bytes());
    header.extend(up.to_ne_bytes());
    header.extend(up.to_ne_bytes());
    header
}

fn present(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        other => other,
    }
}
