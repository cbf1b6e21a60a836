//! A second disk for what a machine keeps: a site's setting `data_disk_gib`. Blank, made and deleted with its machine. Used
//! by the providers of clouds.

use crate::{ProviderError, Result, Site};

/// The setting of a site.
pub const SETTING: &str = "data_disk_gib";
/// Every cloud has disks of these sizes, in GiB: smallest and largest.
pub const BOUNDS_GIB: (u16, u16) = (10, 16_384);

/// How large the disk is, in GiB; absent: machines have none.
pub fn of(site: &Site) -> Result<Option<u16>> {
    let Some(text) = site.settings.get(SETTING) else {
        return Ok(None);
    };
    let (least, most) = BOUNDS_GIB;
    let size = text.parse().ok().filter(|gib| (least..=most).contains(gib));
    size.map(Some).ok_or_else(|| ProviderError::InvalidSpec {
        message: format!(
            "site {}: {SETTING} is {text}, not a whole number from {least} to {most}",
            site.name
        ),
    })
}

#[cfg(test)]
mod tests {
    use isobar_engine_model::id::{ProviderId, SiteName};

    use super::*;

    #[test]
    fn it_is_as_large_as_every_cloud_has_disks() {
        let site = |size: &str| Site {
            name: SiteName::new("east").expect("a name"),
            provider: ProviderId::new("cloud").expect("a name"),
            region: "east-1".to_owned(),
            settings: [(SETTING.to_owned(), size.to_owned())].into(),
        };
        for (size, gib) in [("10", 10), ("20", 20), ("16384", 16_384)] {
            assert_eq!(of(&site(size)), Ok(Some(gib)));
        }
        for wrong in ["", "9", "16385", "20GiB", "-20", "1e3"] {
            let refused = of(&site(wrong)).expect_err(wrong).to_string();
            assert!(refused.contains("from 10 to 16384"), "{refused}");
        }
    }
}
