//! Amazon: identity block, then ARN, then attributes. An ARN of another account's object is never among those of a
//! managed resource, which is why neighbours may be asked.

use super::{Draft, Row, Source, What, first, of_identity, of_object};
use crate::address::Mode;
use crate::read::Object;

/// The data source that says whose credentials are used.
pub(super) const CALLER: &str = "aws_caller_identity";

pub(super) const ROWS: &[Row] = &[
    Row::new("aws_instance", What::Machine, "instance"),
    Row::new("aws_spot_instance_request", What::Machine, "instance"),
    Row::new("aws_autoscaling_group", What::Group, "autoscaling_group"),
    Row::new("aws_launch_template", What::Template, "launch_template"),
    Row::new("aws_vpc", What::Network, "vpc"),
    Row::new("aws_subnet", What::Network, "subnet"),
    Row::new("aws_security_group", What::Network, "security_group"),
    Row::new("aws_route_table", What::Network, "route_table"),
    Row::new("aws_route", What::Network, "route"),
    Row::new("aws_internet_gateway", What::Network, "internet_gateway"),
    Row::new("aws_nat_gateway", What::Network, "nat_gateway"),
    Row::new("aws_network_interface", What::Network, "network_interface"),
    Row::new("aws_eip", What::Address, "address"),
    Row::new("aws_ebs_volume", What::Disk, "volume"),
    Row::new("aws_key_pair", What::Key, "key_pair"),
];

pub(super) const TAKEN: &[&str] = &[
    "id",
    "arn",
    "region",
    "availability_zone",
    "owner_id",
    "spot_instance_id",
    "route_table_id",
    "destination_cidr_block",
    "destination_ipv6_cidr_block",
    "destination_prefix_list_id",
    "allocation_id",
];

/// Digits of an account's number.
const ACCOUNT_DIGITS: usize = 12;

pub(super) fn draft(object: &Object) -> Draft {
    let zone = object.attributes.get("availability_zone");
    let arn = arn(object);
    let zones = zone.and_then(region_of_zone).map(|region| (region, Source::Object));
    Draft {
        account: first([of_identity(object, "account_id"), arn.account, account_of_owner(object)]),
        region: first([
            of_identity(object, "region"),
            of_object(object, "region"),
            arn.region,
            zones,
        ]),
        zone: zone.map(str::to_owned),
        id: id(object),
    }
}

pub(super) fn neighbour(object: &Object) -> Draft {
    match object.address.mode {
        Mode::Managed => arn(object),
        Mode::Data if object.address.kind == CALLER => Draft {
            account: of_object(object, "account_id"),
            ..Draft::default()
        },
        Mode::Data => Draft::default(),
    }
}

fn id(object: &Object) -> Option<String> {
    let attribute = |name| object.attributes.get(name).map(str::to_owned);
    match object.address.kind.as_str() {
        // Its own id names the request, not the machine.
        "aws_spot_instance_request" => attribute("spot_instance_id"),
        // Its own id is made by the provider.
        "aws_route" => {
            let table = object.attributes.get("route_table_id")?;
            let names = [
                "destination_cidr_block",
                "destination_ipv6_cidr_block",
                "destination_prefix_list_id",
            ];
            let destination = names.iter().find_map(|name| object.attributes.get(name))?;
            Some(format!("{table}_{destination}"))
        }
        "aws_eip" => attribute("allocation_id").or_else(|| attribute("id")),
        _ => object.identity.get("id").map(str::to_owned).or_else(|| attribute("id")),
    }
}

/// `arn:PARTITION:SERVICE:REGION:ACCOUNT:…`, either of which may be empty.
fn arn(object: &Object) -> Draft {
    let arn = object
        .attributes
        .get("arn")
        .or_else(|| object.identity.get("arn"))
        .unwrap_or_default();
    let mut parts = arn.splitn(6, ':');
    if parts.next() != Some("arn") {
        return Draft::default();
    }
    let (region, account) = (parts.nth(2).unwrap_or_default(), parts.next().unwrap_or_default());
    Draft {
        account: is_account(account).then(|| (account.to_owned(), Source::Object)),
        region: (!region.is_empty()).then(|| (region.to_owned(), Source::Object)),
        ..Draft::default()
    }
}

fn account_of_owner(object: &Object) -> Option<(String, Source)> {
    of_object(object, "owner_id").filter(|(owner, _)| is_account(owner))
}

fn is_account(text: &str) -> bool {
    text.len() == ACCOUNT_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `us-east-1a` and `us-west-2-lax-1a` are zones of `us-east-1` and `us-west-2`.
fn region_of_zone(zone: &str) -> Option<String> {
    let digit = zone.find(|char: char| char.is_ascii_digit())?;
    let digits = zone[digit..].bytes().take_while(u8::is_ascii_digit).count();
    Some(zone[..digit + digits].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_names_its_region_a_local_one_too() {
        for (zone, region) in [
            ("us-east-1a", Some("us-east-1")),
            ("us-west-2-lax-1a", Some("us-west-2")),
            ("x", None),
        ] {
            assert_eq!(region_of_zone(zone).as_deref(), region, "{zone}");
        }
    }
}
