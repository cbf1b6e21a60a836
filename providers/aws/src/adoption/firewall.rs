//! Security groups: what they let through is lines, as a state's rules are.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{IpPermission, SecurityGroup};
use isobar_engine_model::rule::{Rule, ports};
use isobar_engine_provider::Result;
use isobar_engine_provider::adoption::Found;

use super::network::there;
use super::{Described, described};

pub(super) async fn groups(client: &Client, ids: &[&str]) -> Result<Vec<Described>> {
    Ok(described!(
        client,
        describe_security_groups,
        filters("group-id", ids),
        security_groups,
        group
    ))
}

fn group(group: &SecurityGroup) -> Option<Described> {
    let inward = group.ip_permissions().iter().flat_map(|rule| lines(rule, true));
    let outward = group.ip_permissions_egress().iter().flat_map(|rule| lines(rule, false));
    let found = Found::default()
        .text("name", group.group_name())
        .text("network", group.vpc_id())
        .set("rules", inward.chain(outward));
    there((group.group_id(), group.owner_id()), found, group.tags())
}

/// A line for whoever is at the other end.
fn lines(permission: &IpPermission, inward: bool) -> Vec<String> {
    let protocol = permission.ip_protocol().unwrap_or_default();
    let ports = match (protocol, permission.from_port(), permission.to_port()) {
        ("-1", _, _) | (_, None, _) | (_, _, None) => String::new(),
        (_, Some(first), Some(last)) => ports(first, last),
    };
    let fourth = permission.ip_ranges().iter().filter_map(|range| range.cidr_ip());
    let sixth = permission.ipv6_ranges().iter().filter_map(|range| range.cidr_ipv6());
    let lists = permission
        .prefix_list_ids()
        .iter()
        .filter_map(|list| list.prefix_list_id());
    let groups = permission
        .user_id_group_pairs()
        .iter()
        .filter_map(|pair| pair.group_id());
    let line = |peer: &str| {
        let rule = Rule {
            inward,
            allow: true,
            protocol,
            ports: &ports,
            peer,
        };
        rule.to_string()
    };
    fourth.chain(sixth).chain(lists).chain(groups).map(line).collect()
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{IpRange, Ipv6Range, PrefixListId, UserIdGroupPair};

    use super::*;

    #[test]
    fn a_rule_is_a_line_for_whoever_is_at_the_other_end() {
        let ssh = IpPermission::builder()
            .ip_protocol("tcp")
            .from_port(22)
            .to_port(22)
            .ip_ranges(IpRange::builder().cidr_ip("10.0.0.0/8").build())
            .ipv6_ranges(Ipv6Range::builder().cidr_ipv6("::/0").build())
            .prefix_list_ids(PrefixListId::builder().prefix_list_id("pl-1").build())
            .user_id_group_pairs(UserIdGroupPair::builder().group_id("sg-1").user_id("1").build())
            .build();
        assert_eq!(
            lines(&ssh, true),
            [
                "in allow tcp 22 10.0.0.0/8",
                "in allow tcp 22 ::/0",
                "in allow tcp 22 pl-1",
                "in allow tcp 22 sg-1"
            ]
        );
        let all = IpPermission::builder()
            .ip_protocol("-1")
            .ip_ranges(IpRange::builder().cidr_ip("0.0.0.0/0").build())
            .build();
        assert_eq!(lines(&all, false), ["out allow all 0.0.0.0/0"]);
    }
}
