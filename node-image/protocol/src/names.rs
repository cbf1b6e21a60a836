//! Names in certificates: how an engine and a machine are told apart.

/// The DNS name in every engine's server certificate; nodes check it whatever address they dial.
pub const ENGINE_DNS_NAME: &str = "engine.isobar.internal";

/// Metadata of a refusal: the node endpoint, `host:port`, of the engine that is responsible for the caller's cluster; with
/// commas between where it has several.
pub const RESPONSIBLE: &str = "isobar-responsible";

/// The DNS name in a machine's client certificate: `<machine>.<attempt>.<cluster>.node.isobar.internal`.
pub fn machine_dns_name(cluster: &str, machine: &str, attempt: u32) -> String {
    format!("{machine}.{attempt}.{cluster}.node.isobar.internal")
}

/// Cluster, machine and attempt of a machine's certificate name.
pub fn parse_machine_dns_name(name: &str) -> Option<(&str, &str, u32)> {
    let rest = name.strip_suffix(".node.isobar.internal")?;
    let mut parts = rest.split('.');
    let (machine, attempt, cluster) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
    if parts.next().is_some() || machine.is_empty() || cluster.is_empty() {
        return None;
    }
    Some((cluster, machine, attempt))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_names_read_back() {
        assert_eq!(
            parse_machine_dns_name(&machine_dns_name("shop", "general-3", 2)),
            Some(("shop", "general-3", 2))
        );
        for bad in [
            "engine.isobar.internal",
            "a.b.c.node.isobar.internal",
            "a.1.c.d.node.isobar.internal",
            "",
        ] {
            assert_eq!(parse_machine_dns_name(bad), None, "{bad}");
        }
    }
}
