//! A site's settings as EC2 needs them. Parsed before every call; asks nobody.

use std::collections::BTreeMap;

use isobar_engine_model::id::{ImageId, Zone};
use isobar_engine_provider::{ProviderError, Result, Site, data_disk, endpoint};

const MACHINE_IDENTITY: &str = "machine_identity";

/// Every setting of a site.
const KNOWN: [&str; 11] = [
    "image",
    "subnets",
    "security_groups",
    "network",
    "disk_gib",
    "public_address",
    "profile",
    "instance_types",
    MACHINE_IDENTITY,
    data_disk::SETTING,
    endpoint::SETTING,
];
/// Words are that like which differ in at most so many letters.
const TYPO_MAX_EDITS: usize = 3;
/// Smallest and largest disk: a gp3 volume's, in GiB.
const DISK_GIB: (i32, i32) = (1, 16_384);

/// Of an instance profile's name.
/// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateInstanceProfile.html>
const PROFILE_MAX_LETTERS: usize = 128;

/// What a site says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// What machines boot: one image an architecture.
    pub(crate) images: Vec<ImageId>,
    /// The subnet of a zone; elsewhere the default network's, where there is one.
    pub(crate) subnets: BTreeMap<Zone, String>,
    /// Empty: one is made for each cluster.
    pub(crate) security_groups: Vec<String>,
    /// Whether a network is made, whatever there is.
    pub(crate) own_network: bool,
    /// Absent: as large as the image's.
    pub(crate) disk_gib: Option<i32>,
    /// A second disk, blank, for what a machine keeps.
    pub(crate) data_disk_gib: Option<u16>,
    /// As what programs on machines may call AWS.
    pub(crate) machine_identity: Option<InstanceProfile>,
    /// Whether machines can be reached from the internet.
    pub(crate) public_address: bool,
    /// The profile of Amazon's configuration files.
    pub(crate) profile: Option<String>,
    /// Which instance types the catalog shows: `m7i.large`, or `m7i.*`. Empty: all.
    pub(crate) instance_types: Vec<String>,
    /// Where calls go instead of Amazon's own address.
    pub(crate) endpoint: Option<String>,
}

/// What gives machines a role.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_IamInstanceProfileSpecification.html>
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InstanceProfile {
    /// By its ARN.
    Arn(String),
    /// By its name, in the account that makes the machines.
    Name(String),
}

impl Settings {
    /// Reads them; `allowed` are the endpoints that the engine's starter allows.
    pub(crate) fn of(site: &Site, allowed: &[String]) -> Result<Self> {
        let wrong = |message: String| ProviderError::InvalidSpec {
            message: format!("site {}: {message}", site.name),
        };
        if let Some(unknown) = site.settings.keys().find(|key| !KNOWN.contains(&key.as_str())) {
            return Err(wrong(no_such_setting(unknown)));
        }
        let text = |key: &str| site.settings.get(key).map(String::as_str);
        let images: Vec<ImageId> = words(text("image")).map(ImageId::new).collect();
        if images.is_empty() {
            return Err(wrong(
                "the setting image is missing: it names an AMI, like ami-0123456789abcdef0".to_owned(),
            ));
        }
        Ok(Self {
            images,
            subnets: subnets(text("subnets")).map_err(wrong)?,
            security_groups: words(text("security_groups")).map(str::to_owned).collect(),
            own_network: text("network").map_or(Ok(false), own).map_err(wrong)?,
            disk_gib: text("disk_gib").map(disk).transpose().map_err(wrong)?,
            data_disk_gib: data_disk::of(site)?,
            machine_identity: text(MACHINE_IDENTITY).map(profile).transpose().map_err(wrong)?,
            public_address: text("public_address").map_or(Ok(false), yes_or_no).map_err(wrong)?,
            profile: text("profile").map(str::to_owned),
            instance_types: words(text("instance_types")).map(str::to_owned).collect(),
            endpoint: endpoint::of(site, allowed)?.map(str::to_owned),
        })
    }

    /// Whether the catalog shows an instance type.
    pub(crate) fn offers(&self, instance_type: &str) -> bool {
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(start) => instance_type.starts_with(start),
            None => instance_type == pattern,
        };
        self.instance_types.is_empty() || self.instance_types.iter().any(fits)
    }
}

fn words(list: Option<&str>) -> impl Iterator<Item = &str> {
    list.unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
}

fn subnets(list: Option<&str>) -> std::result::Result<BTreeMap<Zone, String>, String> {
    let pair = |word: &str| match word.split_once('=') {
        Some((zone, subnet)) if !zone.is_empty() && !subnet.is_empty() => Ok((Zone::new(zone), subnet.to_owned())),
        Some(_) | None => Err(format!("subnets: {word} is not like eu-central-1a=subnet-0123")),
    };
    words(list).map(pair).collect()
}

fn own(text: &str) -> std::result::Result<bool, String> {
    match text {
        "own" => Ok(true),
        other => Err(format!(
            "network is {other}: leave it out, or write own to have one made"
        )),
    }
}

fn disk(text: &str) -> std::result::Result<i32, String> {
    let (least, most) = DISK_GIB;
    let size = text.parse().ok().filter(|gib| (least..=most).contains(gib));
    size.ok_or_else(|| format!("disk_gib is {text}, not a whole number from {least} to {most}"))
}

fn profile(text: &str) -> std::result::Result<InstanceProfile, String> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte);
    let is_name = |name: &str| !name.is_empty() && name.len() <= PROFILE_MAX_LETTERS && name.bytes().all(letter);
    match text.strip_prefix("arn:") {
        Some(rest) if rest.contains(":instance-profile/") => Ok(InstanceProfile::Arn(text.to_owned())),
        None if is_name(text) => Ok(InstanceProfile::Name(text.to_owned())),
        Some(_) | None => Err(format!(
            "{MACHINE_IDENTITY} is {text}, not the name or ARN of an instance profile"
        )),
    }
}

fn yes_or_no(text: &str) -> std::result::Result<bool, String> {
    text.parse()
        .map_err(|_| format!("public_address is {text}, not true or false"))
}

fn no_such_setting(unknown: &str) -> String {
    let distance = |known: &&str| strsim::levenshtein(known, unknown);
    let nearest = KNOWN
        .into_iter()
        .min_by_key(distance)
        .filter(|known| distance(known) <= TYPO_MAX_EDITS);
    match nearest {
        Some(nearest) => format!("there is no setting {unknown}: did you mean {nearest}?"),
        None => format!("there is no setting {unknown}: there are {}", KNOWN.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use isobar_engine_model::id::{ProviderId, SiteName};

    use super::*;

    fn read(settings: &[(&str, &str)]) -> Result<Settings> {
        let site = Site {
            name: SiteName::new("east").expect("a name"),
            provider: ProviderId::new("aws").expect("a name"),
            region: "eu-central-1".to_owned(),
            settings: settings
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        };
        Settings::of(&site, &[])
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (settings, named) in [
            (&[][..], "the setting image is missing"),
            (&[("image", "ami-1"), ("subnet", "subnet-1")], "did you mean subnets?"),
            (&[("image", "ami-1"), ("colour", "red")], "there are image, subnets"),
            (&[("image", "ami-1"), ("subnets", "subnet-1")], "subnet-1 is not like"),
            (&[("image", "ami-1"), ("disk_gib", "0")], "from 1 to 16384"),
            (&[("image", "ami-1"), ("public_address", "yes")], "not true or false"),
            (&[("image", "ami-1"), ("data_disk_gib", "1")], "from 10 to 16384"),
            (
                &[("image", "ami-1"), ("machine_identity", "a role")],
                "ARN of an instance profile",
            ),
            (
                &[("image", "ami-1"), ("machine_identity", "arn:aws:iam::1:role/x")],
                "ARN of an instance profile",
            ),
            (&[("image", "ami-1"), ("endpoint", "http://x")], "--allow-endpoint"),
        ] {
            let error = read(settings).expect_err(named);
            assert!(matches!(error, ProviderError::InvalidSpec { .. }), "{error:?}");
            assert!(error.to_string().contains(named), "{error}");
        }
    }

    #[test]
    fn nothing_is_public_and_everything_is_offered_unless_the_site_says_so() {
        let plain = read(&[("image", "ami-1")]).expect("enough");
        assert!(!plain.public_address && plain.offers("m7i.large"));
        let all = [
            ("image", "ami-1, ami-2"),
            ("subnets", "a=s-1,b=s-2"),
            ("instance_types", "m7i.*,t3.small"),
        ];
        let all = read(&all).expect("well-formed");
        assert_eq!((all.images.len(), all.subnets.len()), (2, 2));
        assert!(all.offers("m7i.large") && all.offers("t3.small") && !all.offers("t3.large"));
    }
}
