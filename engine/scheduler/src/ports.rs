//! Published ports of one machine: which are taken, and which a new replica gets.

use std::collections::BTreeMap;

use isobar_engine_model::observed::{PortBinding, Replica};
use isobar_engine_model::spec::{NODE_PORTS, PortSpec, Publish};

const _: () = assert!(NODE_PORTS.1 - NODE_PORTS.0 < 128, "a set of node ports is one u128");

/// A set of node ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ports(u128);

impl Ports {
    /// The ports that `replica` holds on its machine.
    pub(crate) fn of(replica: &Replica) -> Self {
        replica
            .ports
            .values()
            .fold(Self::default(), |set, binding| set.with(binding.node))
    }

    /// Both sets.
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set and `port`.
    pub(crate) fn with(self, port: u16) -> Self {
        Self(self.0 | bit(port))
    }

    fn has(self, port: u16) -> bool {
        self.0 & bit(port) != 0
    }
}

/// A port outside of what nodes publish has no bit: it can neither be taken nor clash.
fn bit(port: u16) -> u128 {
    if (NODE_PORTS.0..=NODE_PORTS.1).contains(&port) {
        1 << (port - NODE_PORTS.0)
    } else {
        0
    }
}

/// Node ports for a replica with `wanted` on a machine where `taken` are taken, and all that are taken then; none if
/// they do not suffice.
pub(crate) fn bind(
    wanted: &BTreeMap<String, PortSpec>,
    taken: Ports,
) -> Option<(BTreeMap<String, PortBinding>, Ports)> {
    let mut taken = taken;
    let mut bound = BTreeMap::new();
    // Fixed ports first, so that picked ones keep out of their way.
    for (name, port) in wanted {
        if let Publish::Port(node) = port.publish {
            if taken.has(node) {
                return None;
            }
            taken = taken.with(node);
            bound.insert(
                name.clone(),
                PortBinding {
                    container: port.container,
                    node,
                },
            );
        }
    }
    for (name, port) in wanted {
        if port.publish == Publish::Auto {
            let node = (NODE_PORTS.0..=NODE_PORTS.1).find(|node| !taken.has(*node))?;
            taken = taken.with(node);
            bound.insert(
                name.clone(),
                PortBinding {
                    container: port.container,
                    node,
                },
            );
        }
    }
    Some((bound, taken))
}

/// How many replicas with `wanted` the ports of one empty machine suffice for.
pub(crate) fn replicas_per_machine(wanted: &BTreeMap<String, PortSpec>) -> u32 {
    let fixed = wanted.values().any(|port| matches!(port.publish, Publish::Port(_)));
    let picked = wanted.values().filter(|port| port.publish == Publish::Auto).count();
    if fixed {
        1
    } else if picked == 0 {
        u32::MAX
    } else {
        let all = u32::from(NODE_PORTS.1 - NODE_PORTS.0) + 1;
        all / u32::try_from(picked).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(publish: Publish) -> PortSpec {
        PortSpec { container: 80, publish }
    }

    #[test]
    fn picked_ports_keep_out_of_the_way_of_fixed_ones() {
        let wanted = BTreeMap::from([
            ("a".to_owned(), port(Publish::Auto)),
            ("b".to_owned(), port(Publish::Port(30_000))),
            ("c".to_owned(), port(Publish::No)),
        ]);
        let (bound, taken) = bind(&wanted, Ports::default()).unwrap();
        assert_eq!((bound["a"].node, bound["b"].node, bound.len()), (30_001, 30_000, 2));
        assert!(bind(&wanted, taken).is_none(), "30000 is taken");
    }

    #[test]
    fn a_machine_runs_out_of_ports() {
        let wanted = BTreeMap::from([
            ("a".to_owned(), port(Publish::Auto)),
            ("b".to_owned(), port(Publish::Auto)),
        ]);
        let mut taken = Ports::default();
        let mut replicas = 0;
        while let Some((_, more)) = bind(&wanted, taken) {
            taken = more;
            replicas += 1;
        }
        assert_eq!((replicas, replicas_per_machine(&wanted)), (16, 16));
    }
}
