//! Free ports of the host for the guest's open ports. A port can be taken between picking and use: QEMU then refuses
//! to start, and the caller picks again.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// Where guests' ports appear on the host.
pub(crate) const HOST: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// At most so many ports of a machine are open.
pub(crate) const OPEN_PORTS_MAX: usize = 64;

/// Host ports by guest port.
pub(crate) type Forwards = BTreeMap<u16, u16>;

/// A free host port for each guest port. All are held until all are found, so that no two are the same.
pub(crate) fn pick(guest: impl Iterator<Item = u16>) -> io::Result<Forwards> {
    let held = guest
        .map(|port| Ok((port, TcpListener::bind((HOST, 0))?)))
        .collect::<io::Result<Vec<_>>>()?;
    held.iter()
        .map(|(port, listener)| Ok((*port, listener.local_addr()?.port())))
        .collect()
}

/// The value of QEMU's `-netdev` with these forwards.
pub(crate) fn netdev(forwards: &Forwards) -> String {
    let forward = |(guest, host): (&u16, &u16)| format!(",hostfwd=tcp:{HOST}:{host}-:{guest}");
    format!("user,id=net{}", forwards.iter().map(forward).collect::<String>())
}

/// The forwards that a `-netdev` value names: the running process is the record of its ports.
pub(crate) fn parse_netdev(value: &str) -> Forwards {
    let prefix = format!("hostfwd=tcp:{HOST}:");
    let forward = |part: &str| {
        let (host, guest) = part.strip_prefix(&prefix)?.split_once("-:")?;
        Some((guest.parse().ok()?, host.parse().ok()?))
    };
    value.split(',').filter_map(forward).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_guest_port_has_a_host_port_of_its_own() {
        let forwards = pick(30_000..=30_031).unwrap();
        let hosts: BTreeSet<u16> = forwards.values().copied().collect();
        assert_eq!((forwards.len(), hosts.len()), (32, 32));
    }

    #[test]
    fn a_taken_port_is_not_picked() {
        let taken = TcpListener::bind((HOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert!(!pick(0..1000).unwrap().values().any(|p| *p == port));
    }

    #[test]
    fn what_the_command_line_says_is_read_back() {
        let forwards = Forwards::from([(30_000, 40_001), (30_001, 40_000)]);
        assert_eq!(parse_netdev(&netdev(&forwards)), forwards);
        assert_eq!(
            parse_netdev("user,id=net,hostfwd=udp::1-:2,hostfwd=tcp:127.0.0.1:x-:2"),
            Forwards::new()
        );
    }
}
