//! All parts of one kind that are for a region, a page at a time. The cloud filters by how names of ours begin; whose a part
//! is, and for which region, is read from its description.

use google_cloud_gax::error::Error;
use isobar_engine_provider::{Listing, ProviderError, ResourceKind};

use super::Described;
use crate::client::Clients;
use crate::look::{LIST_PAGE_MAX_ITEMS, UNREACHABLE, following, state, unread};
use crate::settings::Settings;
use crate::wire::Thing;

/// What the engine's names begin with, as a regular expression over the whole name (`filter` of the discovery document).
const OUR_NAMES: &str = "name eq \"isobar-.*\"";

/// One page as the cloud gives it.
struct Page {
    things: Vec<Thing>,
    next: Option<String>,
    /// Not all of it answered.
    partial: bool,
}

pub(crate) async fn list(
    clients: &Clients,
    settings: &Settings,
    (kind, region): (ResourceKind, &str),
    page: Option<String>,
) -> Result<Listing, ProviderError> {
    let page = self::page(clients, settings, (kind, region), page).await;
    let page = page.map_err(|error| unread(clients, &error))?;
    if page.partial {
        return Err(ProviderError::Unavailable {
            message: format!("region {region} does not answer"),
        });
    }
    let here =
        |thing: &&Thing| Described::read(thing.description()).is_some_and(|described| described.region == region);
    let items = page.things.iter().filter(here).map(state).collect::<Result<_, _>>()?;
    let next = following(page.next);
    Ok(Listing { items, next })
}

async fn page(
    clients: &Clients,
    settings: &Settings,
    (kind, region): (ResourceKind, &str),
    token: Option<String>,
) -> Result<Page, Error> {
    macro_rules! list {
        ($client:ident) => {
            clients
                .$client
                .list()
                .set_project(&settings.project)
                .set_filter(OUR_NAMES)
                .set_max_results(LIST_PAGE_MAX_ITEMS)
                .set_or_clear_page_token(token)
        };
    }
    macro_rules! page {
        ($answer:expr, $thing:expr) => {{
            let answer = $answer;
            let code = answer
                .warning
                .as_ref()
                .and_then(|warning| warning.code.as_ref()?.name());
            Page {
                partial: code == Some(UNREACHABLE),
                things: answer.items.into_iter().map(Box::new).map($thing).collect(),
                next: answer.next_page_token,
            }
        }};
    }
    let region = || region.to_owned();
    Ok(match kind {
        ResourceKind::Network => page!(list!(networks).send().await?, Thing::Network),
        ResourceKind::Firewall => page!(list!(firewalls).send().await?, Thing::Firewall),
        ResourceKind::Subnet => page!(list!(subnetworks).set_region(region()).send().await?, |body| {
            Thing::Subnetwork { region: region(), body }
        }),
        ResourceKind::Gateway => page!(list!(routers).set_region(region()).send().await?, |body| {
            Thing::Router { region: region(), body }
        }),
        // No parts of a network.
        ResourceKind::Machine | ResourceKind::Disk | ResourceKind::Interface | ResourceKind::Address => Page {
            things: Vec::new(),
            next: None,
            partial: false,
        },
    })
}
