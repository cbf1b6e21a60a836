//! The node's packet rules, as a pure function of its containers: published ports in, containers out, and nothing
//! from a container to the node itself or to the blocked networks. It sends nothing; `Network` does.

use std::net::Ipv4Addr;

use super::Subnet;
use super::nft::{Chain, Expression, Hook, Load, interface};

const TCP: u8 = 6;
const UDP: u8 = 17;
/// Kind of address that is the node's own.
const LOCAL: u32 = 2;
const ESTABLISHED_OR_RELATED: u32 = 2 | 4;
const DESTINATION_REWRITTEN: u32 = 1 << 5;

/// A port of the node that leads to a port of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) node_port: u16,
    pub(crate) address: Ipv4Addr,
    pub(crate) container_port: u16,
}

/// What the rules follow from.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) bridge: &'a str,
    pub(crate) subnet: Subnet,
    /// Networks that no container may reach: the metadata address is in one.
    pub(crate) blocked: &'a [Subnet],
    pub(crate) published: &'a [Published],
}

/// All chains of the node's table.
pub(crate) fn chains(facts: &Facts<'_>) -> Vec<Chain> {
    let rewrites: Vec<_> = facts
        .published
        .iter()
        .flat_map(|port| [rewrite(port, TCP), rewrite(port, UDP)])
        .collect();
    vec![
        Chain {
            hook: Hook::NatPrerouting,
            rules: rewrites.clone(),
        },
        // For what the node itself sends to a published port.
        Chain {
            hook: Hook::NatOutput,
            rules: rewrites,
        },
        Chain {
            hook: Hook::NatPostrouting,
            rules: sources(facts),
        },
        Chain {
            hook: Hook::FilterForward,
            rules: forward(facts),
        },
        Chain {
            hook: Hook::FilterInput,
            rules: input(facts),
        },
    ]
}

fn rewrite(port: &Published, protocol: u8) -> Vec<Expression> {
    [
        equal(Load::DestinationType, LOCAL.to_ne_bytes().to_vec()),
        equal(Load::Protocol, vec![protocol]),
        equal(Load::DestinationPort, port.node_port.to_be_bytes().to_vec()),
        vec![Expression::Destination(port.address, port.container_port)],
    ]
    .concat()
}

fn sources(facts: &Facts<'_>) -> Vec<Vec<Expression>> {
    let loopback = Subnet {
        address: Ipv4Addr::new(127, 0, 0, 0),
        prefix: 8,
    };
    vec![
        // A container talks to the world as the node.
        [
            within(Load::Source, facts.subnet),
            not_out_by(facts),
            vec![Expression::Masquerade],
        ]
        .concat(),
        // A container talks to a neighbour through a published port: the answer has to come back through the node.
        [
            within(Load::Source, facts.subnet),
            out_by(facts),
            rewritten(),
            vec![Expression::Masquerade],
        ]
        .concat(),
        // The node talks to its own published port on 127.0.0.1.
        [
            within(Load::Source, loopback),
            out_by(facts),
            vec![Expression::Masquerade],
        ]
        .concat(),
    ]
}

fn forward(facts: &Facts<'_>) -> Vec<Vec<Expression>> {
    let mut rules: Vec<_> = facts
        .blocked
        .iter()
        .map(|network| {
            [
                in_by(facts),
                within(Load::Destination, *network),
                vec![Expression::Drop],
            ]
            .concat()
        })
        .collect();
    // From outside only what a published port let in, and answers.
    rules.push([out_by(facts), answer(), vec![Expression::Accept]].concat());
    rules.push([out_by(facts), rewritten(), vec![Expression::Accept]].concat());
    rules.push(
        [
            out_by(facts),
            vec![
                Expression::Load(Load::InName),
                Expression::Differs(interface(facts.bridge)),
            ],
            vec![Expression::Drop],
        ]
        .concat(),
    );
    rules
}

fn input(facts: &Facts<'_>) -> Vec<Vec<Expression>> {
    vec![
        [in_by(facts), answer(), vec![Expression::Accept]].concat(),
        [in_by(facts), vec![Expression::Drop]].concat(),
    ]
}

fn equal(load: Load, bytes: Vec<u8>) -> Vec<Expression> {
    vec![Expression::Load(load), Expression::Equal(bytes)]
}

fn in_by(facts: &Facts<'_>) -> Vec<Expression> {
    equal(Load::InName, interface(facts.bridge))
}

fn out_by(facts: &Facts<'_>) -> Vec<Expression> {
    equal(Load::OutName, interface(facts.bridge))
}

fn not_out_by(facts: &Facts<'_>) -> Vec<Expression> {
    vec![
        Expression::Load(Load::OutName),
        Expression::Differs(interface(facts.bridge)),
    ]
}

fn within(load: Load, network: Subnet) -> Vec<Expression> {
    vec![
        Expression::Load(load),
        Expression::Mask(network.mask().to_be_bytes().to_vec()),
        Expression::Equal((u32::from(network.address) & network.mask()).to_be_bytes().to_vec()),
    ]
}

fn any_bit(load: Load, bits: u32) -> Vec<Expression> {
    vec![
        Expression::Load(load),
        Expression::Mask(bits.to_ne_bytes().to_vec()),
        Expression::Differs(vec![0; 4]),
    ]
}

fn answer() -> Vec<Expression> {
    any_bit(Load::State, ESTABLISHED_OR_RELATED)
}

fn rewritten() -> Vec<Expression> {
    any_bit(Load::Status, DESTINATION_REWRITTEN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::net::nft;

    fn facts(published: &[Published]) -> Vec<Chain> {
        let subnet = Subnet {
            address: Ipv4Addr::new(10, 88, 0, 0),
            prefix: 16,
        };
        let blocked = [Subnet {
            address: Ipv4Addr::new(169, 254, 0, 0),
            prefix: 16,
        }];
        chains(&Facts {
            bridge: "isobar0",
            subnet,
            blocked: &blocked,
            published,
        })
    }

    #[test]
    fn each_published_port_leads_in_from_outside_and_from_the_node_itself() {
        let port = Published {
            node_port: 8080,
            address: Ipv4Addr::new(10, 88, 0, 2),
            container_port: 80,
        };
        let (none, one) = (facts(&[]), facts(&[port]));
        for (without, with) in none.iter().zip(&one) {
            let more = with.rules.len() - without.rules.len();
            match with.hook {
                Hook::NatPrerouting | Hook::NatOutput => assert_eq!(more, 2, "one for TCP, one for UDP"),
                Hook::NatPostrouting | Hook::FilterForward | Hook::FilterInput => assert_eq!(more, 0),
            }
        }
        assert!(
            one[0]
                .rules
                .iter()
                .all(|rule| rule.contains(&Expression::Destination(port.address, 80)))
        );
    }

    #[test]
    fn containers_reach_neither_the_node_nor_what_is_blocked() {
        let chains = facts(&[]);
        let forward = &chains[3].rules[0];
        assert_eq!(forward.last(), Some(&Expression::Drop));
        assert!(forward.contains(&Expression::Equal(vec![169, 254, 0, 0])));
        let input = chains[4].rules.last().unwrap();
        assert_eq!(input, &[in_by_bridge(), vec![Expression::Drop]].concat());
    }

    fn in_by_bridge() -> Vec<Expression> {
        equal(Load::InName, interface("isobar0"))
    }

    #[test]
    fn the_batch_for_a_known_set_is_these_bytes() {
        let port = Published {
            node_port: 8080,
            address: Ipv4Addr::new(10, 88, 0, 2),
            container_port: 80,
        };
        let messages = nft::batch("isobar", &facts(&[port]));
        let text: String = messages.iter().map(|message| format!("{message}\n")).collect();
        expect_test::expect_file!["../testdata/rules.hex"].assert_eq(&text);
    }
}
