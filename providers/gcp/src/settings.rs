//! What a site says about Google's cloud, read once and checked: never a cloud's call. Used by every call of the provider.

use std::collections::BTreeMap;

use isobar_engine_provider::{ProviderError, Result, Site, data_disk, endpoint};

const PROJECT: &str = "project";
const IMAGE: &str = "image";
const NETWORK: &str = "network";
const SUBNETWORK: &str = "subnetwork";
const FIREWALL: &str = "firewall";
const DISK_GIB: &str = "disk_gib";
const PUBLIC_ADDRESS: &str = "public_address";
const ZONES: &str = "zones";
const MACHINE_IDENTITY: &str = "machine_identity";

/// Every setting there is.
const KNOWN: [&str; 11] = [
    PROJECT,
    IMAGE,
    NETWORK,
    SUBNETWORK,
    FIREWALL,
    DISK_GIB,
    PUBLIC_ADDRESS,
    ZONES,
    MACHINE_IDENTITY,
    data_disk::SETTING,
    endpoint::SETTING,
];

/// The network of a project that was not told another.
pub(crate) const DEFAULT_NETWORK: &str = "global/networks/default";
/// Of the setting `network`: one of the site's own, made with the first machine.
const OWN: &str = "own";
/// Of the setting `firewall`: none is made.
const NONE: &str = "none";
/// A boot disk, unless the site says otherwise: the node image needs less, and Google's disks start here.
const DEFAULT_DISK_GIB: i64 = 10;
/// The smallest and largest boot disk, in GiB: <https://cloud.google.com/compute/docs/disks/persistent-disks>
const DISK_BOUNDS_GIB: (i64, i64) = (10, 65_536);
/// Two names are taken for one misspelt where so few letters differ.
const MISSPELT_MAX_LETTERS: usize = 3;

/// Where a site's machines are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NetworkChoice {
    /// The project's default network if it has one, else one of their own.
    Unsaid,
    /// A network of their own.
    Own,
    /// What the site names, as the cloud writes paths. One of the two at least.
    Named {
        /// Absent where the subnetwork says it.
        network: Option<String>,
        /// Absent: the network's own in the region.
        subnetwork: Option<String>,
    },
}

/// A site of Google's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Which project pays.
    pub(crate) project: String,
    /// What machines boot: `projects/<project>/global/images/<image>`.
    pub(crate) image: String,
    pub(crate) network: NetworkChoice,
    /// Whether machines get a firewall that is made for them.
    pub(crate) firewall: bool,
    pub(crate) disk_gib: i64,
    /// A second disk, blank, for what a machine keeps.
    pub(crate) data_disk_gib: Option<u16>,
    /// As what programs on machines may call Google: the address of a service account.
    pub(crate) machine_identity: Option<String>,
    pub(crate) public_address: bool,
    /// Only these zones of the region; none: all.
    pub(crate) zones: Vec<String>,
}

impl Settings {
    /// What a site says, or what is wrong with it.
    pub(crate) fn of(site: &Site) -> Result<Self> {
        let reader = Reader { site };
        reader.refuse_unknown()?;
        let image = reader.required(IMAGE, "projects/<project>/global/images/<image>")?;
        if !is_image(&image) {
            return Err(reader.wrong(IMAGE, "projects/<project>/global/images/<image>"));
        }
        let project = reader.required(PROJECT, "the id of the project that pays")?;
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b':');
        if !project.bytes().all(plain) {
            return Err(reader.wrong(PROJECT, "the id of a project, not its name"));
        }
        Ok(Self {
            project,
            image,
            network: reader.network()?,
            firewall: reader.firewall()?,
            disk_gib: reader.disk_gib()?,
            data_disk_gib: data_disk::of(site)?,
            machine_identity: reader.service_account()?,
            public_address: reader.flag(PUBLIC_ADDRESS)?,
            zones: reader.zones()?,
        })
    }

    /// Whether machines may be in this zone.
    pub(crate) fn has_zone(&self, site: &Site, zone: &str) -> bool {
        in_region(&site.region, zone) && (self.zones.is_empty() || self.zones.iter().any(|known| known == zone))
    }
}

/// Whether a zone is of a region: `europe-west1-b` is of `europe-west1`.
pub(crate) fn in_region(region: &str, zone: &str) -> bool {
    let letter = zone.strip_prefix(region).and_then(|rest| rest.strip_prefix('-'));
    letter.is_some_and(|letter| !letter.is_empty() && !letter.contains('-'))
}

/// Whether it names one image: `projects/<project>/global/images/<image>`, or the same of a family.
pub(crate) fn is_image(text: &str) -> bool {
    match text.split('/').collect::<Vec<_>>()[..] {
        ["projects", project, "global", "images", image] => !project.is_empty() && !image.is_empty(),
        ["projects", project, "global", "images", "family", family] => !project.is_empty() && !family.is_empty(),
        _ => false,
    }
}

/// A site's settings as they stand.
struct Reader<'a> {
    site: &'a Site,
}

impl<'a> Reader<'a> {
    fn settings(&self) -> &'a BTreeMap<String, String> {
        &self.site.settings
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.settings().get(name).map(String::as_str)
    }

    fn refuse_unknown(&self) -> Result<()> {
        let Some(unknown) = self.settings().keys().find(|name| !KNOWN.contains(&name.as_str())) else {
            return Ok(());
        };
        let nearest = KNOWN.iter().min_by_key(|known| strsim::levenshtein(known, unknown));
        let advice = nearest
            .filter(|known| strsim::levenshtein(known, unknown) <= MISSPELT_MAX_LETTERS)
            .map_or_else(
                || format!("take some of {}", KNOWN.join(", ")),
                |known| format!("did you mean `{known}`?"),
            );
        Err(self.refused(&format!("there is no setting `{unknown}`: {advice}")))
    }

    fn required(&self, name: &str, what: &str) -> Result<String> {
        self.get(name)
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
            .ok_or_else(|| self.refused(&format!("the setting `{name}` is missing: {what}")))
    }

    fn network(&self) -> Result<NetworkChoice> {
        let subnetwork = self.get(SUBNETWORK).map(str::to_owned);
        match (self.get(NETWORK), subnetwork) {
            (None, None) => Ok(NetworkChoice::Unsaid),
            (Some(OWN), None) => Ok(NetworkChoice::Own),
            (Some(OWN), Some(_)) => Err(self.refused(&format!(
                "the setting `{SUBNETWORK}` names a part of another network: leave it out, or `{NETWORK}: {OWN}`"
            ))),
            (network, subnetwork) => Ok(NetworkChoice::Named {
                network: network.map(str::to_owned),
                subnetwork,
            }),
        }
    }

    fn firewall(&self) -> Result<bool> {
        match self.get(FIREWALL) {
            None => Ok(true),
            Some(NONE) => Ok(false),
            Some(_) => Err(self.wrong(FIREWALL, "`none`, or left out")),
        }
    }

    fn disk_gib(&self) -> Result<i64> {
        let Some(text) = self.get(DISK_GIB) else {
            return Ok(DEFAULT_DISK_GIB);
        };
        let (least, most) = DISK_BOUNDS_GIB;
        text.parse()
            .ok()
            .filter(|gib| (least..=most).contains(gib))
            .ok_or_else(|| self.wrong(DISK_GIB, &format!("a whole number from {least} to {most}")))
    }

    fn service_account(&self) -> Result<Option<String>> {
        let Some(address) = self.get(MACHINE_IDENTITY) else {
            return Ok(None);
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let is_plain = |part: &str| !part.is_empty() && part.bytes().all(plain);
        match address.split_once('@') {
            Some((name, domain)) if is_plain(name) && is_plain(domain) => Ok(Some(address.to_owned())),
            Some(_) | None => Err(self.wrong(MACHINE_IDENTITY, "the address of a service account: NAME@DOMAIN")),
        }
    }

    fn flag(&self, name: &str) -> Result<bool> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(self.wrong(name, "`true` or `false`")),
        }
    }

    fn zones(&self) -> Result<Vec<String>> {
        let Some(text) = self.get(ZONES) else {
            return Ok(Vec::new());
        };
        let zones: Vec<String> = text.split(',').map(|zone| zone.trim().to_owned()).collect();
        match zones.iter().find(|zone| !in_region(&self.site.region, zone)) {
            None => Ok(zones),
            Some(_) => Err(self.wrong(ZONES, &format!("zones of {}, with commas between", self.site.region))),
        }
    }

    fn wrong(&self, name: &str, wanted: &str) -> ProviderError {
        let value = self.get(name).unwrap_or_default();
        self.refused(&format!("the setting `{name}` is `{value}`: it has to be {wanted}"))
    }

    fn refused(&self, why: &str) -> ProviderError {
        ProviderError::InvalidSpec {
            message: format!("site {}: {why}", self.site.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use isobar_engine_model::id::{ProviderId, SiteName};

    use super::*;

    fn site(settings: &[(&str, &str)]) -> Site {
        let all = [(PROJECT, "shop-1"), (IMAGE, "projects/shop-1/global/images/node")];
        let settings = all.iter().chain(settings).filter(|(_, value)| *value != "-");
        let mut of_site = BTreeMap::new();
        for (name, value) in settings {
            of_site.insert((*name).to_owned(), (*value).to_owned());
        }
        Site {
            name: SiteName::new("gcp-eu").expect("a name"),
            provider: ProviderId::new("gcp").expect("a name"),
            region: "europe-west1".to_owned(),
            settings: of_site,
        }
    }

    #[test]
    fn what_is_not_said_has_a_default_that_costs_and_opens_least() {
        let settings = Settings::of(&site(&[])).expect("complete");
        assert_eq!((&settings.network, settings.firewall), (&NetworkChoice::Unsaid, true));
        assert_eq!((settings.disk_gib, settings.public_address), (DEFAULT_DISK_GIB, false));
        assert!(settings.has_zone(&site(&[]), "europe-west1-b"));
        for zone in ["europe-west10-a", "europe-west1", "europe-west1-", "us-east1-b"] {
            assert!(!settings.has_zone(&site(&[]), zone), "{zone}");
        }
    }

    #[test]
    fn a_network_is_named_by_its_path_or_made() {
        let choice = |settings: &[(&str, &str)]| Settings::of(&site(settings)).expect("complete").network;
        let named = |network: Option<&str>, subnetwork: Option<&str>| NetworkChoice::Named {
            network: network.map(str::to_owned),
            subnetwork: subnetwork.map(str::to_owned),
        };
        let (network, subnetwork) = ("global/networks/nodes", "regions/europe-west1/subnetworks/nodes");
        assert_eq!(choice(&[(NETWORK, "own")]), NetworkChoice::Own);
        assert_eq!(choice(&[(NETWORK, network)]), named(Some(network), None));
        assert_eq!(choice(&[(SUBNETWORK, subnetwork)]), named(None, Some(subnetwork)));
        let both = choice(&[(NETWORK, network), (SUBNETWORK, subnetwork)]);
        assert_eq!(both, named(Some(network), Some(subnetwork)));
        assert!(!Settings::of(&site(&[(FIREWALL, "none")])).expect("complete").firewall);
    }

    #[test]
    fn only_the_zones_that_are_named_are_used() {
        let site = site(&[(ZONES, "europe-west1-b, europe-west1-d")]);
        let settings = Settings::of(&site).expect("complete");
        assert!(settings.has_zone(&site, "europe-west1-d"));
        assert!(!settings.has_zone(&site, "europe-west1-c"));
    }

    #[test]
    fn each_wrong_setting_is_named_with_what_would_be_right() {
        for (settings, expected) in [
            (
                [("projct", "x")],
                "there is no setting `projct`: did you mean `project`?",
            ),
            (
                [("colour", "red")],
                "there is no setting `colour`: take some of project",
            ),
            ([(PROJECT, "")], "the setting `project` is missing"),
            ([(PROJECT, "My Shop")], "the setting `project` is `My Shop`"),
            ([(IMAGE, "")], "the setting `image` is missing"),
            (
                [(IMAGE, "node")],
                "it has to be projects/<project>/global/images/<image>",
            ),
            ([(DISK_GIB, "9")], "it has to be a whole number from 10 to 65536"),
            ([(PUBLIC_ADDRESS, "yes")], "it has to be `true` or `false`"),
            ([(FIREWALL, "mine")], "it has to be `none`"),
            (
                [(ZONES, "europe-west1-b,us-east1-b")],
                "it has to be zones of europe-west1",
            ),
        ] {
            let refused = Settings::of(&site(&settings)).expect_err(expected);
            assert!(matches!(refused, ProviderError::InvalidSpec { .. }), "{refused}");
            assert!(refused.to_string().contains(expected), "{refused}");
        }
    }
}
