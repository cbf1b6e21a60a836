//! Netlink messages and a blocking socket to send them: just what links, addresses, routes and nftables need. It knows
//! how attributes are laid out and how the kernel answers, and nothing of what they mean.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::sockopt::{ReceiveTimeout, SndBufForce};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

/// How long the kernel may take to answer, in seconds.
const ANSWER_S_MAX: i64 = 5;
/// Longest batch that is sent, in bytes: some two thousand published ports.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 32 * 1024;

const HEADER_BYTES: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLA_F_NESTED: u16 = 0x8000;

/// One message: header, fixed part, attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    kind: u16,
    flags: u16,
    body: Vec<u8>,
}

impl Message {
    /// A message of this kind with its fixed part.
    pub(crate) fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut body = fixed.to_vec();
        pad(&mut body);
        Self {
            kind,
            flags: flags | NLM_F_REQUEST,
            body,
        }
    }

    /// Adds an attribute.
    pub(crate) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        put(&mut self.body, kind, value);
        self
    }

    /// Adds a string attribute, with its final NUL.
    pub(crate) fn with_name(self, kind: u16, name: &str) -> Self {
        self.with(kind, &name_bytes(name))
    }

    /// Adds an attribute that holds attributes.
    pub(crate) fn with_nested(mut self, kind: u16, attributes: Attributes) -> Self {
        put(&mut self.body, kind | NLA_F_NESTED, &attributes.0);
        self
    }

    fn encode(&self, sequence: u32, acknowledge: bool, into: &mut Vec<u8>) {
        let length = u32::try_from(HEADER_BYTES + self.body.len()).expect("messages are a few KiB long");
        let flags = if acknowledge {
            self.flags | NLM_F_ACK
        } else {
            self.flags
        };
        into.extend(length.to_ne_bytes());
        into.extend(self.kind.to_ne_bytes());
        into.extend(flags.to_ne_bytes());
        into.extend(sequence.to_ne_bytes());
        into.extend(0_u32.to_ne_bytes());
        into.extend(&self.body);
    }
}

#[cfg(test)]
impl std::fmt::Display for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04x} {:03x} {}", self.kind, self.flags, hex::encode(&self.body))
    }
}

/// Attributes inside of an attribute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes(Vec<u8>);

impl Attributes {
    /// Attributes that begin with a fixed part, as a veth's peer does.
    pub(crate) fn after(fixed: &[u8]) -> Self {
        let mut bytes = fixed.to_vec();
        pad(&mut bytes);
        Self(bytes)
    }

    /// Adds an attribute.
    pub(crate) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        put(&mut self.0, kind, value);
        self
    }

    /// Adds a string attribute, with its final NUL.
    pub(crate) fn with_name(self, kind: u16, name: &str) -> Self {
        self.with(kind, &name_bytes(name))
    }

    /// Adds an attribute that holds attributes.
    pub(crate) fn with_nested(self, kind: u16, attributes: &Self) -> Self {
        self.with(kind | NLA_F_NESTED, &attributes.0)
    }
}

/// A netlink socket in the network namespace that the calling thread was in when it was opened.
pub(crate) struct Socket(OwnedFd);

impl Socket {
    /// For links, addresses and routes.
    pub(crate) fn route() -> io::Result<Self> {
        Self::open(SockProtocol::NetlinkRoute)
    }

    /// For nftables.
    pub(crate) fn netfilter() -> io::Result<Self> {
        Self::open(SockProtocol::NetlinkNetFilter)
    }

    /// Sends messages in one go and waits for the answer to the last but `trailing` of them. The first error that the
    /// kernel reports for any of them is the result.
    pub(crate) fn send(&self, messages: &[Message], trailing: usize) -> io::Result<()> {
        let last = messages.len().saturating_sub(1 + trailing);
        let mut bytes = Vec::new();
        for (sequence, message) in (0_u32..).zip(messages) {
            message.encode(sequence, usize::try_from(sequence) == Ok(last), &mut bytes);
        }
        sendto(self.0.as_raw_fd(), &bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        let last = u32::try_from(last).map_err(io::Error::other)?;
        let mut answer = vec![0; ANSWER_BYTES_MAX];
        loop {
            let length = recv(self.0.as_raw_fd(), &mut answer, MsgFlags::empty())?;
            if acknowledged(&answer[..length], last)? {
                return Ok(());
            }
        }
    }

    fn open(protocol: SockProtocol) -> io::Result<Self> {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        setsockopt(&fd, ReceiveTimeout, &TimeVal::seconds(ANSWER_S_MAX))?;
        setsockopt(&fd, SndBufForce, &BATCH_BYTES_MAX)?;
        Ok(Self(fd))
    }
}

/// Whether the answers in `bytes` reach message `last`; an error among them ends it.
fn acknowledged(mut bytes: &[u8], last: u32) -> io::Result<bool> {
    while bytes.len() >= HEADER_BYTES + 4 {
        let word = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let length = usize::try_from(word(0)).map_err(io::Error::other)?.max(HEADER_BYTES);
        let kind = u16::from_ne_bytes([bytes[4], bytes[5]]);
        let code = i32::from_ne_bytes(word(HEADER_BYTES).to_ne_bytes());
        if kind == NLMSG_ERROR && code != 0 {
            return Err(io::Error::from_raw_os_error(code.saturating_neg()));
        }
        if kind == NLMSG_ERROR && word(8) == last {
            return Ok(true);
        }
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
    }
    Ok(false)
}

fn put(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).expect("attributes are shorter than 64 KiB");
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    pad(body);
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(aligned(bytes.len()), 0);
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn name_bytes(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_to_four_bytes_and_nest() {
        let message = Message::new(0x10, 0, &[1, 2, 3, 4])
            .with_name(1, "ab")
            .with_nested(2, Attributes::default().with(3, &[5]));
        assert_eq!(
            message.to_string(),
            "0010 001 01020304 0700 0100 61620000 0c00 0280 0500 0300 05000000"
                .replacen(' ', "_", 2)
                .replace(' ', "")
                .replace('_', " ")
        );
    }

    #[test]
    fn an_error_for_any_message_is_the_result_and_so_is_the_last_acknowledgement() {
        let answer = |sequence: u32, code: i32| {
            let mut bytes = Vec::new();
            bytes.extend(36_u32.to_ne_bytes());
            bytes.extend(NLMSG_ERROR.to_ne_bytes());
            bytes.extend([0, 0]);
            bytes.extend(sequence.to_ne_bytes());
            bytes.extend(0_u32.to_ne_bytes());
            bytes.extend(code.to_ne_bytes());
            bytes.extend([0; 16]);
            bytes
        };
        assert!(!acknowledged(&answer(1, 0), 2).unwrap());
        assert!(acknowledged(&[answer(1, 0), answer(2, 0)].concat(), 2).unwrap());
        let error = acknowledged(&[answer(1, -libc::EEXIST), answer(2, 0)].concat(), 2).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EEXIST));
        assert!(!acknowledged(&[1, 2, 3], 0).unwrap());
    }
}
