//! Other addresses for a cloud's API: a site's setting `endpoint`, honoured only where whoever started the engine allows
//! that address, since credentials go there. Used by the providers of clouds.

use crate::{ProviderError, Result, Site};

/// The setting of a site.
pub const SETTING: &str = "endpoint";

/// Where a site's calls go instead of the cloud's own address; absent: there. Refused unless it is one of `allowed`.
pub fn of<'a>(site: &'a Site, allowed: &[String]) -> Result<Option<&'a str>> {
    let Some(wanted) = site.settings.get(SETTING).map(String::as_str) else {
        return Ok(None);
    };
    if allowed.iter().any(|endpoint| same(endpoint, wanted)) {
        return Ok(Some(wanted));
    }
    Err(ProviderError::InvalidSpec {
        message: format!(
            "site {}: the endpoint {wanted} is not allowed: start the engine with --allow-endpoint {wanted}",
            site.name
        ),
    })
}

fn same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use isobar_engine_model::id::{ProviderId, SiteName};

    use super::*;

    fn site(endpoint: Option<&str>) -> Site {
        Site {
            name: SiteName::new("east").expect("a name"),
            provider: ProviderId::new("cloud").expect("a name"),
            region: "east-1".to_owned(),
            settings: endpoint
                .map(|at| (SETTING.to_owned(), at.to_owned()))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
        }
    }

    #[test]
    fn credentials_go_only_where_the_engine_was_told_that_they_may() {
        let allowed = ["http://127.0.0.1:5000/".to_owned()];
        assert_eq!(of(&site(None), &[]), Ok(None));
        let wanted = "http://127.0.0.1:5000";
        assert_eq!(of(&site(Some(wanted)), &allowed), Ok(Some(wanted)));
        for (wanted, allowed) in [(wanted, &[][..]), ("http://127.0.0.1:5000.example.org", &allowed[..])] {
            let refused = of(&site(Some(wanted)), allowed).expect_err(wanted).to_string();
            assert!(refused.contains("--allow-endpoint"), "{refused}");
        }
    }
}
