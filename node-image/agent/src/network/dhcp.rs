//! A DHCP client: one address for one link, over plain UDP bound to the link, so that it works before there is any
//! address. Asks and parses; sets nothing.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket as StdSocket};
use std::time::Duration;

use dhcproto::v4::{DhcpOption, Flags, Message, MessageType, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// How often a server is asked before the link is given up.
pub const TRIES_MAX: u32 = 10;

/// How long after a failed renewal it is tried again.
pub const RETRY_AFTER: Duration = Duration::from_secs(60);

const FIRST_ANSWER_WAIT: Duration = Duration::from_millis(500);
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(8);
const MESSAGE_MAX_BYTES: usize = 1500;
const NAME_SERVERS_MAX: usize = 3;
const LEASE_DEFAULT: Duration = Duration::from_secs(3600);
const RENEW_MIN: Duration = Duration::from_secs(30);
const CLIENT_PORT: u16 = 68;
const SERVER_PORT: u16 = 67;

/// What a server granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The machine's address.
    pub address: Ipv4Addr,
    /// Bits of the network in it.
    pub prefix: u8,
    /// The default route's next hop.
    pub gateway: Option<Ipv4Addr>,
    /// Name servers, the first one first.
    pub name_servers: Vec<Ipv4Addr>,
    /// Who granted it.
    pub server: Ipv4Addr,
    /// When to ask that it be renewed.
    pub renew_after: Duration,
}

/// Why there is no address.
#[derive(Debug, thiserror::Error)]
pub enum DhcpError {
    /// There is no socket on the link.
    #[error("open a socket on link {link}")]
    Socket {
        /// Which link.
        link: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Nobody granted anything.
    #[error("no DHCP server answered {TRIES_MAX} times")]
    Silent,
    /// The server takes the address back.
    #[error("the DHCP server refuses the address")]
    Refused,
}

/// A client on one link.
pub struct Client {
    socket: UdpSocket,
    hardware_address: [u8; 6],
    transaction: u32,
}

impl Client {
    /// A client on this link, which must be up.
    pub fn on(link: &str) -> Result<Self, DhcpError> {
        let open = || -> std::io::Result<(UdpSocket, [u8; 6])> {
            let socket = StdSocket::bind((Ipv4Addr::UNSPECIFIED, CLIENT_PORT))?;
            setsockopt(&socket, sockopt::BindToDevice, &link.into())?;
            socket.set_broadcast(true)?;
            socket.set_nonblocking(true)?;
            let text = std::fs::read_to_string(format!("/sys/class/net/{link}/address"))?;
            let address = parse_hardware_address(&text).ok_or(std::io::ErrorKind::InvalidData)?;
            Ok((UdpSocket::from_std(socket)?, address))
        };
        let (socket, hardware_address) = open().map_err(|source| DhcpError::Socket {
            link: link.into(),
            source,
        })?;
        let [_, _, a, b, c, d] = hardware_address;
        Ok(Self {
            socket,
            hardware_address,
            transaction: u32::from_be_bytes([a, b, c, d]),
        })
    }

    /// Asks everybody for an address.
    pub async fn acquire(&mut self) -> Result<Grant, DhcpError> {
        let mut offer: Option<Message> = None;
        for attempt in 0..TRIES_MAX {
            let request = match &offer {
                None => self.message(MessageType::Discover, None),
                Some(offer) => self.request(offer),
            };
            self.send(&request, Ipv4Addr::BROADCAST).await;
            let Some(answer) = self.answer(answer_wait(attempt)).await else {
                continue;
            };
            match answer.opts().msg_type() {
                Some(MessageType::Offer) => offer = Some(answer),
                Some(MessageType::Ack) if offer.is_some() => return Ok(read_grant(&answer)),
                // The offer is gone: start over. Anything else is not for us.
                Some(_) | None => offer = None,
            }
        }
        Err(DhcpError::Silent)
    }

    /// Asks the server that granted an address to go on with it.
    pub async fn renew(&mut self, grant: &Grant) -> Result<Grant, DhcpError> {
        self.transaction = self.transaction.wrapping_add(1);
        let mut request = self.message(MessageType::Request, None);
        request.set_ciaddr(grant.address);
        request.set_flags(Flags::default());
        for attempt in 0..TRIES_MAX {
            self.send(&request, grant.server).await;
            let Some(answer) = self.answer(answer_wait(attempt)).await else {
                continue;
            };
            match answer.opts().msg_type() {
                Some(MessageType::Ack) => return Ok(read_grant(&answer)),
                Some(MessageType::Nak) => return Err(DhcpError::Refused),
                Some(_) | None => {}
            }
        }
        Err(DhcpError::Silent)
    }

    fn request(&self, offer: &Message) -> Message {
        let mut request = self.message(MessageType::Request, Some(offer.yiaddr()));
        if let Some(server) = server_of(offer) {
            request.opts_mut().insert(DhcpOption::ServerIdentifier(server));
        }
        request
    }

    fn message(&self, kind: MessageType, address: Option<Ipv4Addr>) -> Message {
        let mut message = Message::default();
        message.set_xid(self.transaction).set_chaddr(&self.hardware_address);
        // Answers to an address that this link does not have yet would not arrive.
        message.set_flags(Flags::default().set_broadcast());
        let options = message.opts_mut();
        options.insert(DhcpOption::MessageType(kind));
        if let Some(address) = address {
            options.insert(DhcpOption::RequestedIpAddress(address));
        }
        options.insert(DhcpOption::ParameterRequestList(vec![
            OptionCode::SubnetMask,
            OptionCode::Router,
            OptionCode::DomainNameServer,
            OptionCode::AddressLeaseTime,
            OptionCode::Renewal,
        ]));
        message
    }

    /// A message that cannot be sent is like one that is lost.
    async fn send(&self, message: &Message, to: Ipv4Addr) {
        let bytes = message.to_vec().expect("a message made here can be encoded");
        if let Err(error) = self.socket.send_to(&bytes, SocketAddrV4::new(to, SERVER_PORT)).await {
            tracing::debug!(%error, "a DHCP message was not sent");
        }
    }

    async fn answer(&self, wait: Duration) -> Option<Message> {
        let mine = async {
            let mut bytes = [0; MESSAGE_MAX_BYTES];
            loop {
                let Ok(length) = self.socket.recv(&mut bytes).await else {
                    return std::future::pending().await;
                };
                match Message::decode(&mut Decoder::new(&bytes[..length])) {
                    Ok(message) if message.xid() == self.transaction => return message,
                    Ok(_) | Err(_) => {}
                }
            }
        };
        timeout(wait, mine).await.ok()
    }
}

fn answer_wait(attempt: u32) -> Duration {
    FIRST_ANSWER_WAIT
        .saturating_mul(1 << attempt.min(8))
        .min(ANSWER_WAIT_MAX)
}

fn read_grant(ack: &Message) -> Grant {
    let options = ack.opts();
    let prefix = match options.get(OptionCode::SubnetMask) {
        Some(DhcpOption::SubnetMask(mask)) => u8::try_from(u32::from(*mask).leading_ones()).unwrap_or(24),
        Some(_) | None => 24,
    };
    let gateway = match options.get(OptionCode::Router) {
        Some(DhcpOption::Router(routers)) => routers.first().copied(),
        Some(_) | None => None,
    };
    let name_servers = match options.get(OptionCode::DomainNameServer) {
        Some(DhcpOption::DomainNameServer(servers)) => servers.iter().copied().take(NAME_SERVERS_MAX).collect(),
        Some(_) | None => Vec::new(),
    };
    let lease = match options.get(OptionCode::AddressLeaseTime) {
        Some(DhcpOption::AddressLeaseTime(seconds)) => Duration::from_secs(u64::from(*seconds)),
        Some(_) | None => LEASE_DEFAULT,
    };
    let renew_after = match options.get(OptionCode::Renewal) {
        Some(DhcpOption::Renewal(seconds)) => Duration::from_secs(u64::from(*seconds)).min(lease),
        Some(_) | None => lease / 2,
    };
    Grant {
        address: ack.yiaddr(),
        prefix,
        gateway,
        name_servers,
        server: server_of(ack).unwrap_or(ack.siaddr()),
        renew_after: renew_after.max(RENEW_MIN),
    }
}

fn server_of(message: &Message) -> Option<Ipv4Addr> {
    match message.opts().get(OptionCode::ServerIdentifier) {
        Some(DhcpOption::ServerIdentifier(server)) => Some(*server),
        Some(_) | None => None,
    }
}

fn parse_hardware_address(text: &str) -> Option<[u8; 6]> {
    let mut address = [0; 6];
    let mut parts = text.trim().split(':');
    for byte in &mut address {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_read_from_an_ack() {
        let mut ack = Message::default();
        ack.set_yiaddr(Ipv4Addr::new(10, 0, 2, 15));
        let options = ack.opts_mut();
        options.insert(DhcpOption::SubnetMask(Ipv4Addr::new(255, 255, 255, 0)));
        options.insert(DhcpOption::Router(vec![Ipv4Addr::new(10, 0, 2, 2)]));
        options.insert(DhcpOption::DomainNameServer(vec![Ipv4Addr::new(10, 0, 2, 3); 9]));
        options.insert(DhcpOption::AddressLeaseTime(86_400));
        options.insert(DhcpOption::ServerIdentifier(Ipv4Addr::new(10, 0, 2, 2)));
        let grant = read_grant(&ack);
        assert_eq!((grant.address, grant.prefix), (Ipv4Addr::new(10, 0, 2, 15), 24));
        assert_eq!(grant.gateway, Some(Ipv4Addr::new(10, 0, 2, 2)));
        assert_eq!(grant.name_servers.len(), NAME_SERVERS_MAX);
        assert_eq!(grant.renew_after, Duration::from_secs(43_200));
    }

    #[test]
    fn a_lease_of_no_time_is_not_renewed_in_a_loop() {
        let mut ack = Message::default();
        ack.opts_mut().insert(DhcpOption::AddressLeaseTime(0));
        assert_eq!(read_grant(&ack).renew_after, RENEW_MIN);
    }

    #[test]
    fn waits_grow_to_their_bound() {
        assert_eq!(answer_wait(0), FIRST_ANSWER_WAIT);
        assert_eq!(answer_wait(1), FIRST_ANSWER_WAIT * 2);
        assert_eq!(answer_wait(TRIES_MAX), ANSWER_WAIT_MAX);
    }

    #[test]
    fn hardware_addresses_are_six_bytes() {
        assert_eq!(
            parse_hardware_address("52:54:00:12:34:56\n"),
            Some([0x52, 0x54, 0, 0x12, 0x34, 0x56])
        );
        assert_eq!(parse_hardware_address("00:00"), None);
        assert_eq!(parse_hardware_address("00:11:22:33:44:55:66"), None);
    }
}
