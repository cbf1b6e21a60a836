//! Whether what a plan buys can find the engine at all: nodes call home, and a machine that never does is paid for until it
//! is given up. Looks at addresses only and asks nobody.

use std::net::IpAddr;

use isobar_engine_model::id::SiteName;
use isobar_engine_model::plan::{Action, Plan};
use isobar_engine_provider::{Site, endpoint};

use crate::api::{ApiError, ErrorCode};
use crate::engine::{Engine, resolve};

impl Engine {
    /// Refuses a plan that buys machines where no address of an engine can lead home.
    pub(super) fn findable(&self, plan: &Plan) -> Result<(), ApiError> {
        if !self.config.births.call_home() {
            return Ok(());
        }
        // Absent: it ends the cluster, and buys nothing.
        let Some(spec) = &plan.body.spec else { return Ok(()) };
        let homes = self.homes();
        let leads_home = homes.iter().any(|home| !self.is_of_this_computer(home));
        for (name, site) in &spec.sites {
            let site = resolve(name, site);
            if leads_home || !buys_in(plan, name) || is_emulated(&site) {
                continue;
            }
            if self.provider(&site)?.capabilities().sees_engine_at.is_none() {
                return Err(unfindable(&site, &homes));
            }
        }
        Ok(())
    }

    /// Whether an address means the caller's own computer, or is how machines on the engine's computer see it.
    fn is_of_this_computer(&self, home: &str) -> bool {
        let host = home.rsplit_once(':').map_or(home, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let means_nobody_else = |address: IpAddr| address.is_loopback() || address.is_unspecified();
        let mut guests = self.providers.values().filter_map(|p| p.capabilities().sees_engine_at);
        host == "localhost" || host.parse().is_ok_and(means_nobody_else) || guests.any(|seen| seen == host)
    }
}

/// Whether a plan may buy in a site.
fn buys_in(plan: &Plan, site: &SiteName) -> bool {
    plan.body.steps.iter().any(|step| match &step.action {
        Action::BuyMachine { candidates, .. } => candidates.iter().any(|candidate| candidate.site == *site),
        Action::ReleaseMachine { .. }
        | Action::RemoveNetwork { .. }
        | Action::StartReplica { .. }
        | Action::StopReplica { .. }
        | Action::DeleteOrphan { .. }
        | Action::ChangeAdopted { .. }
        | Action::ReleaseAdopted { .. } => false,
    })
}

/// Whether a site's cloud is itself on this computer: then its machines may be as well.
pub(crate) fn is_emulated(site: &Site) -> bool {
    let of = |url: &str| {
        let (_, rest) = url.split_once("://")?;
        let authority = rest.split('/').next()?;
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        Some(
            host == "localhost"
                || host
                    .trim_matches(['[', ']'])
                    .parse()
                    .is_ok_and(|at: IpAddr| at.is_loopback()),
        )
    };
    site.settings
        .get(endpoint::SETTING)
        .and_then(|url| of(url))
        .unwrap_or(false)
}

fn unfindable(site: &Site, homes: &[String]) -> ApiError {
    let known = homes.join(", ");
    ApiError::new(
        ErrorCode::InvalidArgument,
        format!("machines in {} could never call this engine: they would be told {known}", site.name),
    )
    .hint("start the engine with `--advertise HOST:PORT`, the address under which that site's machines reach its `--node-listen`")
    .pointer(format!("/sites/{}", site.name))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use isobar_engine_model::id::ProviderId;

    use super::*;

    #[test]
    fn only_a_cloud_on_loopback_is_emulated_here() {
        let site = |endpoint: &str| Site {
            name: SiteName::new("east").unwrap(),
            provider: ProviderId::new("cloud").unwrap(),
            region: "east-1".to_owned(),
            settings: BTreeMap::from([(endpoint::SETTING.to_owned(), endpoint.to_owned())]),
        };
        for here in [
            "http://127.0.0.1:4000",
            "http://localhost:4000/ec2",
            "http://[::1]:4000",
        ] {
            assert!(is_emulated(&site(here)), "{here}");
        }
        for away in [
            "https://ec2.example.org",
            "http://127.0.0.1.example.org:80",
            "http://10.0.0.1:4000",
            "",
        ] {
            assert!(!is_emulated(&site(away)), "{away}");
        }
    }
}
