//! Proof, before anything is bought, that a new machine's node will find an engine: the addresses that nodes are told are
//! dialled as a node dials them, and what answers must show a certificate of this store's own authority.
//!
//! Decides nothing about plans and sends nothing to clouds. Used where plans are accepted and where healing is judged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use isobar_engine_model::id::ProviderId;
use isobar_engine_model::plan::{Action, Candidate, Plan, PlanBody};
use isobar_engine_model::quantity::Timestamp;
use isobar_node_image_protocol::names::ENGINE_DNS_NAME;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use crate::api::{ApiError, ErrorCode};
use crate::ask::findable::is_emulated;
use crate::authority::Authority;
use crate::engine::{Engine, resolve};
use crate::ledger::chain;

/// How long an address may take to answer as an engine.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// An address that answered needs not answer again for so long.
const PROOF_VALID_MS: u64 = 5 * 60 * 1000;
/// Healing does not dial again for so long after no address answered.
const DOUBT_VALID_MS: u64 = 10_000;

/// What is known of the addresses that nodes are told.
pub(crate) struct Reach {
    providers: BTreeSet<ProviderId>,
    authority_pem: String,
    found: Mutex<BTreeMap<String, Found>>,
}

/// What was found at an address.
#[derive(Clone)]
struct Found {
    at: Timestamp,
    answer: Result<(), String>,
}

/// Whether an address that did not answer just now is dialled again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// Somebody waits, who may have mended it.
    DialAgain,
    /// Whoever asks does so again and again.
    Remember,
}

impl Reach {
    pub(crate) fn new(authority: &Authority, providers: BTreeSet<ProviderId>) -> Self {
        Self {
            providers,
            authority_pem: authority.certificate_pem(),
            found: Mutex::default(),
        }
    }

    /// That one of the addresses answers: a node tries them in turn.
    async fn prove(&self, homes: &[String], now: Timestamp, doubt: Doubt) -> Result<(), ApiError> {
        let mut refusals = Vec::new();
        for home in homes {
            let answer = match self.remembered(home, now, doubt) {
                Some(answer) => answer,
                None => {
                    let answer = self.dial(home).await;
                    self.remember(homes, home, now, answer.clone());
                    answer
                }
            };
            match answer {
                Ok(()) => return Ok(()),
                Err(why) => refusals.push(format!("{home}: {why}")),
            }
        }
        Err(unproven(&refusals))
    }

    fn remembered(&self, home: &str, now: Timestamp, doubt: Doubt) -> Option<Result<(), String>> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let Found { at, answer } = found.get(home)?;
        let valid = match (answer, doubt) {
            (Ok(()), _) => now < at.plus_ms(PROOF_VALID_MS),
            (Err(_), Doubt::Remember) => now < at.plus_ms(DOUBT_VALID_MS),
            (Err(_), Doubt::DialAgain) => false,
        };
        valid.then(|| answer.clone())
    }

    /// Keeps an answer; of addresses that nodes are told no more, nothing is kept.
    fn remember(&self, homes: &[String], home: &str, at: Timestamp, answer: Result<(), String>) {
        if let Err(why) = &answer {
            tracing::warn!(
                address = home,
                why,
                "no engine of this store answers where nodes are sent"
            );
        }
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.retain(|known, _| homes.contains(known));
        found.insert(home.to_owned(), Found { at, answer });
    }

    /// Connects as a node does: by name, over TLS, to who has a certificate of our authority. Says nothing beyond that.
    async fn dial(&self, home: &str) -> Result<(), String> {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.authority_pem))
            .domain_name(ENGINE_DNS_NAME);
        let endpoint = Endpoint::from_shared(format!("https://{home}"))
            .and_then(|endpoint| endpoint.tls_config(tls))
            .map_err(|error| chain(&error))?;
        match tokio::time::timeout(ANSWER_MAX, endpoint.connect()).await {
            Ok(Ok(_connection)) => Ok(()),
            Ok(Err(error)) => Err(chain(&error)),
            Err(_) => Err(format!("no answer within {} s", ANSWER_MAX.as_secs())),
        }
    }
}

impl Engine {
    /// That the nodes of the machines that a plan buys will find an engine, where that has to be proven.
    pub(crate) async fn reachable(&self, plan: &Plan, doubt: Doubt) -> Result<(), ApiError> {
        if !buys_at(&plan.body, &self.reach.providers) {
            return Ok(());
        }
        self.reach.prove(&self.homes(), self.clock.now(), doubt).await
    }
}

/// Whether a plan may buy a machine of one of the providers. A site that the plan does not explain may be anybody's.
fn buys_at(body: &PlanBody, providers: &BTreeSet<ProviderId>) -> bool {
    let theirs = |candidate: &Candidate| {
        let site = body.spec.as_ref().and_then(|spec| spec.sites.get(&candidate.site));
        site.is_none_or(|site| {
            let elsewhere = providers.contains(&site.provider);
            elsewhere && !is_emulated(&resolve(&candidate.site, site))
        })
    };
    !providers.is_empty()
        && body.steps.iter().any(|step| match &step.action {
            Action::BuyMachine { candidates, .. } => candidates.iter().any(theirs),
            Action::ReleaseMachine { .. }
            | Action::RemoveNetwork { .. }
            | Action::StartReplica { .. }
            | Action::StopReplica { .. }
            | Action::DeleteOrphan { .. }
            | Action::ChangeAdopted { .. }
            | Action::ReleaseAdopted { .. } => false,
        })
}

fn unproven(refusals: &[String]) -> ApiError {
    ApiError::new(
        ErrorCode::Refused,
        format!(
            "nothing was bought: new nodes would not find this engine: {}",
            refusals.join("; ")
        ),
    )
    .hint(
        "give the address at which nodes reach it with `isobar serve --advertise HOST:PORT`; if they reach it there and only \
         the engine itself cannot, add --unproven-address",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUND_AT: Timestamp = Timestamp(1_800_000_000_000);

    #[test]
    fn answers_are_remembered_for_a_while_and_doubts_only_for_who_asks_again_and_again() {
        let refused = || Err("connection refused".to_owned());
        let rows = [
            (Ok(()), PROOF_VALID_MS - 1, Doubt::DialAgain, true),
            (Ok(()), PROOF_VALID_MS - 1, Doubt::Remember, true),
            (Ok(()), PROOF_VALID_MS, Doubt::Remember, false),
            (refused(), DOUBT_VALID_MS - 1, Doubt::Remember, true),
            (refused(), DOUBT_VALID_MS, Doubt::Remember, false),
            (refused(), 0, Doubt::DialAgain, false),
        ];
        let homes = ["engine.example:7421".to_owned()];
        for (answer, later_ms, doubt, is_remembered) in rows {
            let authority = Authority::generate("store", FOUND_AT).expect("an authority");
            let reach = Reach::new(&authority, BTreeSet::new());
            reach.remember(&homes, &homes[0], FOUND_AT, answer.clone());
            let remembered = reach.remembered(&homes[0], FOUND_AT.plus_ms(later_ms), doubt);
            assert_eq!(remembered, is_remembered.then_some(answer), "after {later_ms} ms");
        }
    }
}
