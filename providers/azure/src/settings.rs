//! A site's settings, parsed: what they mean is in docs/clouds/azure.md. Asks nobody. Called once a call, before anything is
//! sent.

use isobar_engine_model::id::Zone;
use isobar_engine_provider::{ProviderError, Result, Site, data_disk, endpoint};

const SUBSCRIPTION: &str = "subscription";
const RESOURCE_GROUP: &str = "resource_group";
const IMAGE: &str = "image";
const IMAGE_ARM64: &str = "image_arm64";
const SUBNET: &str = "subnet";
const SECURITY_GROUP: &str = "security_group";
const NETWORK: &str = "network";
const DISK_GIB: &str = "disk_gib";
const PUBLIC_ADDRESS: &str = "public_address";
const ZONES: &str = "zones";
const MACHINE_IDENTITY: &str = "machine_identity";

/// Every setting there is.
const KNOWN: [&str; 13] = [
    SUBSCRIPTION,
    RESOURCE_GROUP,
    IMAGE,
    IMAGE_ARM64,
    SUBNET,
    SECURITY_GROUP,
    NETWORK,
    DISK_GIB,
    PUBLIC_ADDRESS,
    ZONES,
    MACHINE_IDENTITY,
    data_disk::SETTING,
    endpoint::SETTING,
];

/// Largest disk that Azure boots from, in GiB.
/// <https://learn.microsoft.com/azure/virtual-machines/managed-disks-overview#os-disk>
const DISK_MAX_GIB: i32 = 4095;

/// What a site says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) region: String,
    pub(crate) subscription: String,
    pub(crate) resource_group: String,
    /// For x86-64; a resource id.
    pub(crate) image: String,
    /// For Arm; a resource id.
    pub(crate) image_arm64: Option<String>,
    /// A resource id; absent: machines are in a network that is made for them.
    pub(crate) subnet: Option<String>,
    /// A resource id; absent: one is made.
    pub(crate) security_group: Option<String>,
    /// A network is made, whatever else is named.
    pub(crate) own_network: bool,
    /// Absent: as large as the image.
    pub(crate) disk_gib: Option<i32>,
    /// A second disk, blank, for what a machine keeps.
    pub(crate) data_disk_gib: Option<u16>,
    /// As what programs on machines may call Azure: the resource id of a user-assigned managed identity.
    pub(crate) machine_identity: Option<String>,
    pub(crate) public_address: bool,
    /// Numbers of the region's zones; empty: Azure chooses, and the only zone is the region.
    pub(crate) zones: Vec<String>,
}

impl Settings {
    /// Reads them; whatever is wrong is named.
    pub(crate) fn of(site: &Site) -> Result<Self> {
        for name in site.settings.keys() {
            known(site, name)?;
        }
        let text = |name: &str| site.settings.get(name).cloned();
        let required =
            |name: &str| text(name).ok_or_else(|| invalid(site, &format!("the setting `{name}` is missing")));
        let id = |name: &str| required(name).and_then(|id| resource_id(site, name, id));
        let optional = |name: &str| text(name).map(|id| resource_id(site, name, id)).transpose();
        let plain = |name: &str| required(name).and_then(|value| segment(site, name, value));
        Ok(Self {
            region: segment(site, "region", site.region.clone())?,
            subscription: plain(SUBSCRIPTION)?,
            resource_group: plain(RESOURCE_GROUP)?,
            image: id(IMAGE)?,
            image_arm64: optional(IMAGE_ARM64)?,
            subnet: optional(SUBNET)?,
            security_group: optional(SECURITY_GROUP)?,
            own_network: own(site, text(NETWORK).as_deref())?,
            disk_gib: text(DISK_GIB).map(|gib| disk(site, &gib)).transpose()?,
            data_disk_gib: data_disk::of(site)?,
            machine_identity: text(MACHINE_IDENTITY)
                .map(|id| managed_identity(site, id))
                .transpose()?,
            public_address: yes_or_no(site, text(PUBLIC_ADDRESS).as_deref())?,
            zones: zones(site, text(ZONES).as_deref().unwrap_or(""))?,
        })
    }

    /// The site's zones by the names that specs use: `westeurope-1`, or `westeurope` where Azure chooses.
    pub(crate) fn zone_names(&self) -> Vec<Zone> {
        if self.zones.is_empty() {
            return vec![Zone::new(&self.region)];
        }
        let name = |number: &String| Zone::new(format!("{}-{number}", self.region));
        self.zones.iter().map(name).collect()
    }

    /// Azure's word for a zone; none where Azure chooses.
    pub(crate) fn zone_number(&self, zone: &Zone) -> Option<&str> {
        let number = zone.as_str().strip_prefix(&self.region)?.strip_prefix('-')?;
        self.zones.iter().map(String::as_str).find(|known| *known == number)
    }
}

pub(crate) fn invalid(site: &Site, what: &str) -> ProviderError {
    ProviderError::InvalidSpec {
        message: format!("site {}: {what}", site.name),
    }
}

fn known(site: &Site, name: &str) -> Result<()> {
    if KNOWN.contains(&name) {
        return Ok(());
    }
    let nearest = KNOWN
        .into_iter()
        .max_by(|one, other| strsim::jaro_winkler(one, name).total_cmp(&strsim::jaro_winkler(other, name)));
    let nearest = nearest.unwrap_or(SUBSCRIPTION);
    Err(invalid(
        site,
        &format!("there is no setting `{name}`; the nearest is `{nearest}`"),
    ))
}

/// One segment of a path: nothing in it may lead elsewhere.
fn segment(site: &Site, name: &str, value: String) -> Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '(' | ')');
    if !value.is_empty() && value.chars().all(plain) && !value.starts_with('.') {
        return Ok(value);
    }
    Err(invalid(site, &format!("`{name}` is a name, not `{value}`")))
}

fn resource_id(site: &Site, name: &str, value: String) -> Result<String> {
    let shared = ["/subscriptions/", "/sharedGalleries/", "/communityGalleries/"];
    if shared.iter().any(|start| value.starts_with(start)) {
        return Ok(value);
    }
    Err(invalid(
        site,
        &format!("`{name}` is a resource id (/subscriptions/...), not `{value}`"),
    ))
}

fn managed_identity(site: &Site, value: String) -> Result<String> {
    let lower = value.to_ascii_lowercase();
    let kind = "/providers/microsoft.managedidentity/userassignedidentities/";
    if lower.starts_with("/subscriptions/") && lower.contains(kind) && !lower.ends_with('/') {
        return Ok(value);
    }
    Err(invalid(
        site,
        &format!("`{MACHINE_IDENTITY}` is the resource id of a user-assigned managed identity, not `{value}`"),
    ))
}

fn disk(site: &Site, gib: &str) -> Result<i32> {
    let parsed = gib.parse().ok().filter(|gib| (1..=DISK_MAX_GIB).contains(gib));
    parsed.ok_or_else(|| {
        invalid(
            site,
            &format!("`{DISK_GIB}` is a number from 1 to {DISK_MAX_GIB}, not `{gib}`"),
        )
    })
}

fn yes_or_no(site: &Site, value: Option<&str>) -> Result<bool> {
    match value {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(invalid(
            site,
            &format!("`{PUBLIC_ADDRESS}` is true or false, not `{other}`"),
        )),
    }
}

fn own(site: &Site, value: Option<&str>) -> Result<bool> {
    match value {
        None => Ok(false),
        Some("own") => Ok(true),
        Some(other) => Err(invalid(site, &format!("`{NETWORK}` is own or left out, not `{other}`"))),
    }
}

fn zones(site: &Site, list: &str) -> Result<Vec<String>> {
    let numbers: Vec<String> = list
        .split(',')
        .map(|number| number.trim().to_owned())
        .filter(|number| !number.is_empty())
        .collect();
    match numbers
        .iter()
        .find(|number| !number.bytes().all(|byte| byte.is_ascii_digit()))
    {
        None => Ok(numbers),
        Some(wrong) => Err(invalid(
            site,
            &format!("`{ZONES}` are numbers like 1,2,3, not `{wrong}`"),
        )),
    }
}
