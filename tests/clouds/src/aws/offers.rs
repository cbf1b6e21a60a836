//! What EC2 says that it rents: images, instance types, zones and spot prices, in small pages.

use std::collections::BTreeMap;

use isobar_engine_model::catalog::{Offering, Purchase};
use isobar_engine_provider::Provider;

use super::answer::{Answer, Failure, element, set};
use super::look::paged;
use super::params::Params;
use super::{AMI, Account, ENGINE_AMI, time};

pub(super) async fn answer(account: &Account, action: &str, params: &Params) -> Result<Answer, Failure> {
    let catalog = account.provider.catalog(&account.site()?).await;
    let offered = catalog
        .map_err(|error| Failure::of(error, "InvalidParameterValue", "InvalidParameterValue"))?
        .offerings;
    let (name, items) = match action {
        "DescribeImages" => return images(params),
        "DescribeInstanceTypeOfferings" => ("instanceTypeOfferingSet", zones(&offered)),
        "DescribeInstanceTypes" => ("instanceTypeSet", types(&offered)),
        "DescribeSpotPriceHistory" => ("spotPriceHistorySet", spot(account, params, &offered)),
        _ => return Err(Failure::client("InvalidAction", action)),
    };
    let (items, next) = paged(account, params, items)?;
    Ok(Answer {
        action: action.to_owned(),
        inner: format!("{}{next}", set(name, items)),
    })
}

fn images(params: &Params) -> Result<Answer, Failure> {
    let wanted = params.list("ImageId");
    for id in &wanted {
        match *id {
            AMI | ENGINE_AMI => {}
            _ if id.starts_with("ami-") => return Err(Failure::client("InvalidAMIID.NotFound", id)),
            _ => return Err(Failure::client("InvalidAMIID.Malformed", id)),
        }
    }
    let image = |id: &str| {
        let parts = [
            ("imageId", id),
            ("architecture", "x86_64"),
            ("rootDeviceName", "/dev/xvda"),
            ("imageState", "available"),
        ];
        parts.map(|(name, text)| element(name, text)).concat()
    };
    Ok(Answer {
        action: "DescribeImages".to_owned(),
        inner: set("imagesSet", wanted.into_iter().map(image)),
    })
}

fn zones(offered: &[Offering]) -> Vec<String> {
    let on_demand = offered
        .iter()
        .filter(|offering| offering.purchase == Purchase::OnDemand);
    let row = |offering: &Offering| {
        let place = element("location", offering.zone.as_str());
        let kind = element("locationType", "availability-zone");
        format!("{}{kind}{place}", element("instanceType", &offering.instance_type))
    };
    on_demand.map(row).collect()
}

fn types(offered: &[Offering]) -> Vec<String> {
    let by_name: BTreeMap<&str, &Offering> = offered.iter().map(|one| (one.instance_type.as_str(), one)).collect();
    let row = |(name, offering): (&str, &Offering)| {
        let cpus = element("defaultVCpus", &(offering.total.cpu.0 / 1000).to_string());
        let memory = element("sizeInMiB", &offering.total.memory.0.to_string());
        format!(
            "{}<vCpuInfo>{cpus}</vCpuInfo><memoryInfo>{memory}</memoryInfo><processorInfo>{}</processorInfo>",
            element("instanceType", name),
            set("supportedArchitectures", ["x86_64".to_owned()])
        )
    };
    by_name.into_iter().map(row).collect()
}

fn spot(account: &Account, params: &Params, offered: &[Offering]) -> Vec<String> {
    let only = params.list("InstanceType");
    let wanted = |offering: &&Offering| {
        offering.purchase == Purchase::Spot && (only.is_empty() || only.contains(&offering.instance_type.as_str()))
    };
    let row = |offering: &Offering| {
        let price = format!("{}.{:06}", offering.price.0 / 1_000_000, offering.price.0 % 1_000_000);
        [
            element("instanceType", &offering.instance_type),
            element("productDescription", "Linux/UNIX"),
            element("spotPrice", &price),
            element("timestamp", &time::iso(account.clock.now())),
            element("availabilityZone", offering.zone.as_str()),
        ]
        .concat()
    };
    offered.iter().filter(wanted).map(row).collect()
}
