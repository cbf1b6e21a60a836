//! The table of addresses that were taken over from Terraform. Asked before each write of a state; filled and cleared by
//! whoever takes objects over and gives them back.

use isobar_engine_model::quantity::Timestamp;

use super::record::{BarredRecord, adopted_key};
use crate::api::{ADOPT_MAX_ADDRESSES, ApiError, AuditWhat, AuditWho, ErrorCode, StateAdopt, StateAdopted};
use crate::audit;
use crate::engine::Engine;
use crate::ledger::Draft;

impl Engine {
    /// Takes addresses of a lineage over, or gives them back. Saying it twice changes nothing more.
    pub async fn state_adopted(&self, request: StateAdopt) -> Result<StateAdopted, ApiError> {
        if request.addresses.len() > ADOPT_MAX_ADDRESSES {
            let message = format!(
                "{} addresses are more than {ADOPT_MAX_ADDRESSES}",
                request.addresses.len()
            );
            return Err(ApiError::new(ErrorCode::InvalidArgument, message)
                .pointer("/addresses")
                .hint("ask more than once"));
        }
        if request.lineage.is_empty() {
            return Err(ApiError::new(
                ErrorCode::InvalidArgument,
                "a state without a lineage cannot be taken over from",
            )
            .pointer("/lineage")
            .hint("any later Terraform gives it one: `terraform apply -refresh-only`"));
        }
        let (at, kept_max) = (self.clock.now(), self.config.bounds.adopted_addresses_max);
        let changed = self.ledger.change(move |draft| change(draft, request, at, kept_max));
        changed.await?.map(|changed| StateAdopted { changed })
    }
}

fn change(draft: &mut Draft, request: StateAdopt, at: Timestamp, kept_max: usize) -> Result<u64, ApiError> {
    let mut changed = 0;
    for address in request.addresses {
        let key = adopted_key(&request.lineage, &address);
        if draft.get::<BarredRecord>(&key).is_some() == request.adopted {
            continue;
        }
        changed += 1;
        match request.adopted {
            false => draft.remove::<BarredRecord>(&key),
            true => draft.put(BarredRecord {
                lineage: request.lineage.clone(),
                address,
                since: at,
            }),
        }
    }
    if draft.state().terraform_adopted.all().count() > kept_max {
        let message = format!("more than {kept_max} addresses of Terraform's states would be taken over");
        return Err(ApiError::new(ErrorCode::Refused, message).hint("give some back first"));
    }
    if changed > 0 {
        let what = AuditWhat::StateAdopted {
            lineage: request.lineage,
            addresses: changed,
            adopted: request.adopted,
        };
        audit::note_of_none(draft, at, AuditWho::Client, what);
    }
    Ok(changed)
}
