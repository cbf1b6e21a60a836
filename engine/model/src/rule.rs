//! Rules of firewalls and routes as one line each, the same over clouds: fields of objects hold sets of them. Judges no
//! rule. Written by whoever reads a cloud or a state.

use std::fmt;

/// A rule of a firewall: `in allow tcp 22 10.0.0.0/8`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule<'a> {
    /// Of traffic that comes in, or of what goes out.
    pub inward: bool,
    /// Whether it lets through.
    pub allow: bool,
    /// By name or number; `-1` and `*` are all.
    pub protocol: &'a str,
    /// `22`, `8000-8010`, several with commas between; empty and `*` are all.
    pub ports: &'a str,
    /// Who is at the other end; empty: said elsewhere.
    pub peer: &'a str,
}

impl fmt::Display for Rule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.inward { "in" } else { "out" };
        let action = if self.allow { "allow" } else { "deny" };
        write!(f, "{direction} {action} {}", protocol(self.protocol))?;
        if !matches!(self.ports, "" | "*") {
            write!(f, " {}", self.ports)?;
        }
        if !self.peer.is_empty() {
            write!(f, " {}", self.peer)?;
        }
        Ok(())
    }
}

/// `first-last`, or the one port that both are.
pub fn ports(first: impl PartialEq + fmt::Display, last: impl PartialEq + fmt::Display) -> String {
    let (first, last) = (first.to_string(), last.to_string());
    if first == last {
        first
    } else {
        format!("{first}-{last}")
    }
}

/// A route: `0.0.0.0/0 via igw-1`.
pub fn route(destination: &str, via: &str) -> String {
    format!("{destination} via {via}")
}

/// <https://www.iana.org/assignments/protocol-numbers>
fn protocol(written: &str) -> String {
    match written.to_ascii_lowercase().as_str() {
        "" | "-1" | "*" | "all" => "all".to_owned(),
        "1" => "icmp".to_owned(),
        "6" => "tcp".to_owned(),
        "17" => "udp".to_owned(),
        "58" => "icmpv6".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_the_same_is_written_the_same() {
        let rule = |protocol: &str, ports: &str, peer: &str| {
            let rule = Rule {
                inward: true,
                allow: true,
                protocol,
                ports,
                peer,
            };
            rule.to_string()
        };
        let ssh = "in allow tcp 22 10.0.0.0/8";
        assert_eq!(rule("6", &ports(22, 22), "10.0.0.0/8"), ssh);
        assert_eq!(rule("Tcp", &ports("22", "22"), "10.0.0.0/8"), ssh);
        assert_eq!(rule("-1", "*", "sg-1"), rule("*", "", "sg-1"));
        assert_eq!(ports(1, 2), "1-2");
    }
}
