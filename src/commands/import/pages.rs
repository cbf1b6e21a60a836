//! From the lines of a state's account to pages for the engine. Takes of a line what identifies its object, and nothing
//! else.

use std::collections::BTreeMap;

use isobar_engine_control::api::{IMPORT_PAGE_MAX_OBJECTS, ImportObject, ImportRequest, ImportSource, ImportStanding};
use isobar_engine_model::id::{ClusterName, ProviderId, SiteName, Zone};
use isobar_engine_model::spec::SiteSpec;
use isobar_terraform_compat::account::{Account, Line, Standing};
use isobar_terraform_compat::fields;
use isobar_terraform_compat::identity::{Cloud, Part};

use super::{Left, why_not};

/// The pages of a state, in its order.
pub(super) fn of(account: &Account, cluster: &ClusterName, sites: &BTreeMap<SiteName, SiteSpec>) -> Vec<ImportRequest> {
    let objects: Vec<ImportObject> = account.lines.iter().filter_map(object).collect();
    let page = |objects: &[ImportObject]| ImportRequest {
        cluster: cluster.clone(),
        sites: sites.clone(),
        source: ImportSource {
            name: account.name.clone(),
            lineage: account.header.lineage.clone(),
            serial: account.header.serial,
        },
        objects: objects.to_vec(),
    };
    objects.chunks(IMPORT_PAGE_MAX_OBJECTS).map(page).collect()
}

/// An object that no cloud is asked for, and why.
pub(super) fn left(line: &Line) -> Option<Left> {
    let why = why_not(&line.standing);
    let why = why.or_else(|| {
        object(line)
            .is_none()
            .then(|| ("in a cloud without a provider".to_owned(), false))
    });
    why.map(|(because, open)| Left {
        address: line.address.to_string(),
        because,
        open,
    })
}

/// The one place where a line becomes an object of a provider.
fn object(line: &Line) -> Option<ImportObject> {
    if why_not(&line.standing).is_some() {
        return None;
    }
    let identified = line.standing.identified()?;
    let provider = match identified.cloud {
        Cloud::Aws => "aws",
        Cloud::Azure => "azure",
        Cloud::Gcp => "gcp",
        Cloud::Openstack => return None,
    };
    let known = |part: &Part| match part {
        Part::Known { value, .. } => Some(value.clone()),
        Part::Unknown { .. } => None,
    };
    let unmanaged = fields::of(&line.address.kind).unmanaged.iter();
    Some(ImportObject {
        address: line.address.to_string(),
        standing: standing(&line.standing),
        provider: ProviderId::new(provider).expect("a name"),
        kind: identified.kind.clone(),
        id: identified.object.clone(),
        zone: identified.zone.clone().map(Zone::new),
        account: known(&identified.account),
        region: known(&identified.region),
        fields: identified.fields.clone(),
        unmanaged: unmanaged.map(|unmanaged| unmanaged.attribute.to_owned()).collect(),
    })
}

fn standing(standing: &Standing) -> ImportStanding {
    match standing {
        Standing::Tainted { .. } => ImportStanding::Tainted,
        Standing::Deposed { key, .. } => ImportStanding::Deposed(key.clone()),
        Standing::Candidate { .. }
        | Standing::AlreadyOwned { .. }
        | Standing::Reported { .. }
        | Standing::Unmanaged { .. }
        | Standing::Data
        | Standing::Refused { .. } => ImportStanding::Current,
    }
}
