//! How many machines the account may still make in a region. Amazon counts processors, in a quota for each group of families
//! and each way to pay; what they are is Service Quotas' to say, and what is used of them is counted among the machines that
//! there are. <https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html>

use std::collections::BTreeMap;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, Instance, InstanceLifecycleType};
use isobar_engine_model::catalog::{Offering, Purchase};
use isobar_engine_model::quantity::Resources;
use isobar_engine_provider::offering::machines_of_cpus;
use isobar_engine_provider::{ProviderError, Result, Site};
use serde::Deserialize;
use serde_json::{Number, json};

use super::signed::{Caller, Service};
use super::{endless, following};
use crate::client::{Clients, quiet};
use crate::errors::{Call, kind_of};

/// Service Quotas.
const SERVICE: Service = Service {
    name: "servicequotas",
    target: "ServiceQuotasV20190624",
    host: "servicequotas",
};
/// So long a quota is kept before it is asked for again, in ms: people raise it now and then.
pub(crate) const FRESH_MS: u64 = 3_600_000;
/// The most that a page has.
const QUOTAS_A_PAGE: u32 = 100;
/// EC2 has a few hundred quotas.
const PAGES_MAX: usize = 20;
/// Machines are counted up to so many pages of a thousand; an account with more is not counted.
const USED_PAGES_MAX: usize = 10;
/// The most that a page of machines has.
const MACHINES_A_PAGE: i32 = 1_000;
/// States in which a machine counts.
const COUNTED: [&str; 2] = ["pending", "running"];

/// Families that share a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    /// A, C, D, H, I, M, R, T and Z.
    Standard,
    /// X.
    Memory,
    /// U.
    HighMemory,
    /// Hpc.
    Hpc,
}

/// Which quota counts what.
const CODES: [(&str, Group, Purchase); 6] = [
    ("L-1216C47A", Group::Standard, Purchase::OnDemand),
    ("L-34B43A08", Group::Standard, Purchase::Spot),
    ("L-7295265B", Group::Memory, Purchase::OnDemand),
    ("L-E3A00192", Group::Memory, Purchase::Spot),
    ("L-43DA4232", Group::HighMemory, Purchase::OnDemand),
    ("L-F7808C92", Group::Hpc, Purchase::OnDemand),
];

/// Processors, by quota.
pub(crate) type Cpus = BTreeMap<(Group, Purchase), u32>;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    quotas: Vec<Quota>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Quota {
    quota_code: String,
    value: Number,
}

/// What the account may have.
pub(crate) async fn limits(clients: &Clients, site: &Site) -> Result<Cpus> {
    let caller = Caller::of(clients, site, SERVICE, &site.region).await?;
    let (mut found, mut token) = (Cpus::new(), None::<String>);
    for _ in 0..PAGES_MAX {
        let mut asked = json!({"ServiceCode": "ec2", "MaxResults": QUOTAS_A_PAGE});
        if let Some(token) = token {
            asked["NextToken"] = json!(token);
        }
        let page: Page = caller.call("ListServiceQuotas", &asked).await?;
        found.extend(page.quotas.iter().filter_map(Quota::read));
        token = following(page.next_token.as_deref());
        if token.is_none() {
            return Ok(found);
        }
    }
    Err(endless())
}

impl Quota {
    fn read(&self) -> Option<((Group, Purchase), u32)> {
        let (_, group, purchase) = CODES.into_iter().find(|(code, ..)| *code == self.quota_code)?;
        // A number like 1152.0; what has no place in it is as good as everything.
        let text = self.value.to_string();
        let (whole, _) = text.split_once('.').unwrap_or((&text, ""));
        let is_whole = !whole.is_empty() && whole.bytes().all(|byte| byte.is_ascii_digit());
        is_whole.then(|| ((group, purchase), whole.parse().unwrap_or(u32::MAX)))
    }
}

/// What the account's machines use, whoever made them.
pub(crate) async fn used(client: &Client, types: &super::Types) -> Result<Cpus> {
    let (mut used, mut page) = (Cpus::new(), None);
    let counted = Filter::builder().name("instance-state-name");
    let counted = counted.set_values(Some(COUNTED.map(str::to_owned).into())).build();
    for _ in 0..USED_PAGES_MAX {
        let ask = client.describe_instances().filters(counted.clone());
        let ask = ask.max_results(MACHINES_A_PAGE).set_next_token(page);
        let answer = quiet(ask.send()).await.map_err(|error| kind_of(&error, Call::Read))?;
        for instance in answer.reservations().iter().flat_map(|one| one.instances()) {
            if let Some((quota, cpus)) = counts(instance, types) {
                let sum: &mut u32 = used.entry(quota).or_default();
                *sum = sum.saturating_add(cpus);
            }
        }
        page = following(answer.next_token());
        if page.is_none() {
            return Ok(used);
        }
    }
    Err(ProviderError::Unsupported {
        message: format!("the account has more machines than {USED_PAGES_MAX} pages hold"),
    })
}

fn counts(instance: &Instance, types: &super::Types) -> Option<((Group, Purchase), u32)> {
    let name = instance.instance_type()?.as_str();
    let (_, total) = types.get(name)?;
    let purchase = match instance.instance_lifecycle() {
        Some(InstanceLifecycleType::Spot) => Purchase::Spot,
        Some(_) | None => Purchase::OnDemand,
    };
    Some(((group(name)?, purchase), cpus(total)))
}

fn cpus(total: &Resources) -> u32 {
    total.cpu.0 / 1000
}

/// The group of an instance type's family, by the letters that it starts with.
fn group(instance_type: &str) -> Option<Group> {
    let letters = instance_type.bytes().take_while(u8::is_ascii_lowercase).count();
    match &instance_type[..letters] {
        "a" | "c" | "d" | "h" | "i" | "im" | "is" | "m" | "r" | "t" | "z" => Some(Group::Standard),
        "x" => Some(Group::Memory),
        "u" => Some(Group::HighMemory),
        "hpc" => Some(Group::Hpc),
        _ => None,
    }
}

/// How many machines fit into what is left, at most. Absent: something is offered whose quota is not known.
pub(crate) fn machines_left(limits: &Cpus, used: &Cpus, offerings: &[Offering]) -> Option<u32> {
    let mut by_quota: BTreeMap<(Group, Purchase), Vec<&Offering>> = BTreeMap::new();
    for offering in offerings {
        let quota = (group(&offering.instance_type)?, offering.purchase);
        by_quota.entry(quota).or_default().push(offering);
    }
    let mut machines = 0_u32;
    for (quota, offered) in by_quota {
        let used = used.get(&quota).copied().unwrap_or(0);
        let left = limits.get(&quota)?.saturating_sub(used);
        machines = machines.saturating_add(machines_of_cpus(left, offered.into_iter()));
    }
    Some(machines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::snapshot;

    #[test]
    fn families_share_the_quota_that_amazon_says() {
        for (name, expected) in [
            ("m7i.large", Some(Group::Standard)),
            ("t3.small", Some(Group::Standard)),
            ("im4gn.large", Some(Group::Standard)),
            ("x2idn.16xlarge", Some(Group::Memory)),
            ("u-6tb1.metal", Some(Group::HighMemory)),
            ("u7i-12tb.224xlarge", Some(Group::HighMemory)),
            ("hpc7g.4xlarge", Some(Group::Hpc)),
            ("mac2.metal", None),
            ("trn1.2xlarge", None),
            ("inf2.xlarge", None),
            ("", None),
        ] {
            assert_eq!(group(name), expected, "{name}");
        }
    }

    #[test]
    fn what_is_left_is_counted_in_the_smallest_machines_of_each_quota() {
        let wanted = ["t3.small", "m7i.large", "m7i.xlarge"];
        let zone = |offering: &Offering| offering.zone.as_str() == "eu-central-1a";
        let mut offerings = snapshot().offerings("eu-central-1");
        offerings.retain(|offering| zone(offering) && wanted.contains(&offering.instance_type.as_str()));
        assert!(offerings.len() >= 4, "{offerings:?}");
        let (on_demand, spot) = ((Group::Standard, Purchase::OnDemand), (Group::Standard, Purchase::Spot));
        for (limits, used, left) in [
            (vec![(on_demand, 32), (spot, 5)], vec![], Some(16 + 2)),
            (
                vec![(on_demand, 32), (spot, 5)],
                vec![(on_demand, 30), (spot, 9)],
                Some(1),
            ),
            (vec![(on_demand, 0), (spot, 0)], vec![], Some(0)),
            (vec![(on_demand, 32)], vec![], None),
        ] {
            let (limits, used): (Cpus, Cpus) = (limits.into_iter().collect(), used.into_iter().collect());
            assert_eq!(machines_left(&limits, &used, &offerings), left, "{limits:?} {used:?}");
        }
        assert_eq!(machines_left(&Cpus::new(), &Cpus::new(), &[]), Some(0));
    }

    #[test]
    fn a_quota_is_a_whole_number_that_is_not_negative() {
        for (value, read) in [
            (json!(1152.0), Some(1152)),
            (json!(5), Some(5)),
            (json!(-1), None),
            (json!(1e300), None),
        ] {
            let quota: Quota =
                serde_json::from_value(json!({"QuotaCode": "L-1216C47A", "Value": value})).expect("its form");
            assert_eq!(quota.read().map(|(_, cpus)| cpus), read, "{value}");
        }
    }
}
