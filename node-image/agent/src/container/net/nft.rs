//! The nftables language, as far as the node's rules use it: expressions, rules, chains, and their netlink form.
//! A ruleset always replaces the whole table in one batch, so that the kernel never shows half of one. What the rules
//! say is `rules`' business.

use std::io;
use std::net::Ipv4Addr;

use super::netlink::{Attributes, Message, Socket};

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const DELETE_TABLE: u16 = SUBSYSTEM << 8 | 2;
const NEW_CHAIN: u16 = SUBSYSTEM << 8 | 3;
const NEW_RULE: u16 = SUBSYSTEM << 8 | 6;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
const FAMILY_IPV4: u8 = 2;
/// Longest interface name, with its NUL.
const INTERFACE_NAME_BYTES: usize = 16;

/// A value that an expression loads into the first register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// Name of the interface that the packet came in by.
    InName,
    /// Name of the interface that it leaves by.
    OutName,
    /// TCP, UDP ...
    Protocol,
    Source,
    Destination,
    /// Of TCP and UDP alike.
    DestinationPort,
    /// The connection's state, one bit each.
    State,
    /// What was done to the connection, one bit each.
    Status,
    /// What kind of address the destination is: local, unicast ...
    DestinationType,
}

/// One step of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expression {
    Load(Load),
    /// Keeps these bits of the register.
    Mask(Vec<u8>),
    /// Goes on only if the register holds this.
    Equal(Vec<u8>),
    /// Goes on only if it does not.
    Differs(Vec<u8>),
    Accept,
    Drop,
    Masquerade,
    /// Rewrites the destination.
    Destination(Ipv4Addr, u16),
}

/// Where a chain hooks in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    NatPrerouting,
    NatOutput,
    NatPostrouting,
    FilterInput,
    FilterForward,
}

/// A chain and its rules. What no rule drops is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) hook: Hook,
    pub(crate) rules: Vec<Vec<Expression>>,
}

/// Replaces the table.
pub(crate) fn replace(table: &str, chains: &[Chain]) -> io::Result<()> {
    // The batch's end comes after the last message that answers.
    Socket::netfilter()?.send(&batch(table, chains), 1)
}

/// The messages of one atomic replacement.
pub(crate) fn batch(table: &str, chains: &[Chain]) -> Vec<Message> {
    // Deleting what does not exist would fail the batch: make it, delete it, make it again.
    let mut messages = vec![begin(), new_table(table), delete_table(table), new_table(table)];
    for chain in chains {
        messages.push(new_chain(table, chain.hook));
        messages.extend(chain.rules.iter().map(|rule| new_rule(table, chain.hook, rule)));
    }
    messages.push(end());
    messages
}

impl Hook {
    fn name(self) -> &'static str {
        match self {
            Self::NatPrerouting => "prerouting",
            Self::NatOutput => "output",
            Self::NatPostrouting => "postrouting",
            Self::FilterInput => "input",
            Self::FilterForward => "forward",
        }
    }

    /// Kind of chain, number of the hook, priority in it.
    fn place(self) -> (&'static str, u32, i32) {
        match self {
            Self::NatPrerouting => ("nat", 0, -100),
            Self::NatOutput => ("nat", 3, -100),
            Self::NatPostrouting => ("nat", 4, 100),
            Self::FilterInput => ("filter", 1, 0),
            Self::FilterForward => ("filter", 2, 0),
        }
    }
}

/// An interface's name as the kernel compares it: padded with NULs.
pub(crate) fn interface(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(INTERFACE_NAME_BYTES, 0);
    bytes
}

fn begin() -> Message {
    Message::new(BATCH_BEGIN, 0, &batch_header())
}

fn end() -> Message {
    Message::new(BATCH_END, 0, &batch_header())
}

fn batch_header() -> [u8; 4] {
    let [high, low] = SUBSYSTEM.to_be_bytes();
    [0, 0, high, low]
}

fn new_table(table: &str) -> Message {
    Message::new(NEW_TABLE, CREATE, &header()).with_name(1, table)
}

fn delete_table(table: &str) -> Message {
    Message::new(DELETE_TABLE, 0, &header()).with_name(1, table)
}

fn new_chain(table: &str, hook: Hook) -> Message {
    let (kind, number, priority) = hook.place();
    let place = Attributes::default()
        .with(1, &number.to_be_bytes())
        .with(2, &priority.to_be_bytes());
    Message::new(NEW_CHAIN, CREATE, &header())
        .with_name(1, table)
        .with_name(3, hook.name())
        .with_nested(4, place)
        .with_name(7, kind)
}

fn new_rule(table: &str, hook: Hook, rule: &[Expression]) -> Message {
    let expressions = rule
        .iter()
        .flat_map(encode)
        .fold(Attributes::default(), |list, (name, data)| {
            let element = Attributes::default().with_name(1, name).with_nested(2, &data);
            list.with_nested(1, &element)
        });
    Message::new(NEW_RULE, CREATE | APPEND, &header())
        .with_name(1, table)
        .with_name(2, hook.name())
        .with_nested(4, expressions)
}

fn header() -> [u8; 4] {
    [FAMILY_IPV4, 0, 0, 0]
}

/// Each kernel expression's name and attributes. Register 1 is the one that loads and comparisons use.
fn encode(expression: &Expression) -> Vec<(&'static str, Attributes)> {
    match expression {
        Expression::Load(load) => vec![encode_load(*load)],
        Expression::Mask(mask) => {
            let length = u32::try_from(mask.len()).expect("a register has 16 bytes");
            let zero = vec![0; mask.len()];
            vec![(
                "bitwise",
                words(&[(1, 1), (2, 1), (3, length)])
                    .with_nested(4, &value(mask))
                    .with_nested(5, &value(&zero)),
            )]
        }
        Expression::Equal(bytes) => vec![("cmp", words(&[(1, 1), (2, 0)]).with_nested(3, &value(bytes)))],
        Expression::Differs(bytes) => vec![("cmp", words(&[(1, 1), (2, 1)]).with_nested(3, &value(bytes)))],
        Expression::Accept => vec![verdict(1)],
        Expression::Drop => vec![verdict(0)],
        Expression::Masquerade => vec![("masq", Attributes::default())],
        Expression::Destination(address, port) => vec![
            ("immediate", words(&[(1, 1)]).with_nested(2, &value(&address.octets()))),
            (
                "immediate",
                words(&[(1, 2)]).with_nested(2, &value(&port.to_be_bytes())),
            ),
            ("nat", words(&[(1, 1), (2, u32::from(FAMILY_IPV4)), (3, 1), (5, 2)])),
        ],
    }
}

fn encode_load(load: Load) -> (&'static str, Attributes) {
    let meta = |key| ("meta", words(&[(1, 1), (2, key)]));
    let payload = |base, offset, length| ("payload", words(&[(1, 1), (2, base), (3, offset), (4, length)]));
    let connection = |key| ("ct", words(&[(1, 1), (2, key)]));
    match load {
        Load::InName => meta(6),
        Load::OutName => meta(7),
        Load::Protocol => meta(16),
        Load::Source => payload(1, 12, 4),
        Load::Destination => payload(1, 16, 4),
        Load::DestinationPort => payload(2, 2, 2),
        Load::State => connection(0),
        Load::Status => connection(2),
        Load::DestinationType => ("fib", words(&[(1, 1), (2, 3), (3, 2)])),
    }
}

fn verdict(code: u32) -> (&'static str, Attributes) {
    let verdict = Attributes::default().with_nested(2, &words(&[(1, code)]));
    ("immediate", words(&[(1, 0)]).with_nested(2, &verdict))
}

fn value(bytes: &[u8]) -> Attributes {
    Attributes::default().with(1, bytes)
}

fn words(pairs: &[(u16, u32)]) -> Attributes {
    pairs.iter().fold(Attributes::default(), |attributes, (kind, word)| {
        attributes.with(*kind, &word.to_be_bytes())
    })
}
