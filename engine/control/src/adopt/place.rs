//! Where an object of a state is: the one site whose provider, account and region are the object's. Never guessed: what
//! matches no site is said, with the words what to add.

use std::collections::BTreeSet;

use isobar_engine_model::id::ProviderId;
use isobar_engine_provider::{ProviderError, Site};

use crate::api::{ImportFound, ImportObject};
use crate::engine::Engine;

/// What objects that are in no region are said to be in.
const GLOBAL: &str = "global";

/// A site and whose account it is.
pub(super) struct Place {
    pub(super) site: Site,
    account: Result<String, ProviderError>,
}

impl Place {
    /// The account, of a place that [`find`] gave.
    pub(super) fn account(&self) -> &str {
        self.account.as_deref().unwrap_or_default()
    }
}

impl Engine {
    /// The sites of some providers, with their accounts as their clouds say them.
    pub(super) async fn places(&self, sites: Vec<Site>, providers: &BTreeSet<ProviderId>) -> Vec<Place> {
        let mut places = Vec::new();
        for site in sites.into_iter().filter(|site| providers.contains(&site.provider)) {
            let account = self.account_of(&site).await;
            places.push(Place { site, account });
        }
        places
    }

    async fn account_of(&self, site: &Site) -> Result<String, ProviderError> {
        let provider = self
            .provider(site)
            .map_err(|error| ProviderError::InvalidSpec { message: error.message })?;
        match provider.adoption() {
            Some(adoption) => adoption.account(site).await,
            None => Err(ProviderError::Unsupported {
                message: format!("{} takes over nothing that others made", site.provider),
            }),
        }
    }
}

/// The place of an object, or what to say of it.
pub(super) fn find<'p>(places: &'p [Place], object: &ImportObject) -> Result<&'p Place, ImportFound> {
    let Some(account) = &object.account else {
        return Err(asked(format!("whose {} account is it in?", object.provider)));
    };
    let Some(region) = &object.region else {
        return Err(asked(format!(
            "in which region of {} {account} is it?",
            object.provider
        )));
    };
    let in_region = |place: &&Place| {
        place.site.provider == object.provider && (place.site.region.eq_ignore_ascii_case(region) || region == GLOBAL)
    };
    let mut silent = None;
    for place in places.iter().filter(in_region) {
        match &place.account {
            Ok(own) if own.eq_ignore_ascii_case(account) => return Ok(place),
            Ok(_) => {}
            Err(error) => silent = Some((&place.site, error)),
        }
    }
    Err(match silent {
        Some((_, error @ ProviderError::Unsupported { .. })) => ImportFound::Unsupported {
            because: error.to_string(),
        },
        Some((site, error)) => unreachable(site, error),
        None => ImportFound::Unreachable {
            because: format!("no site is in {} {account}, region {region}", object.provider),
            hint: format!(
                "give a spec whose sites have one: provider {}, region {region}, with settings that lead to {account}",
                object.provider
            ),
        },
    })
}

/// That a site does not answer, in its words.
pub(super) fn unreachable(site: &Site, error: &ProviderError) -> ImportFound {
    ImportFound::Unreachable {
        because: format!("site {} does not say: {error}", site.name),
        hint: "see to the site's credentials and settings, then import again: nothing is taken over twice".into(),
    }
}

fn asked(question: String) -> ImportFound {
    ImportFound::Asked { question }
}
