//! Deleting an orphan: looked at once more, then deleted until the provider says that it is gone.

use isobar_engine_model::id::{AttemptNo, ResourceHandle, SiteName};
use isobar_engine_provider::error::Next;
use isobar_engine_provider::{ProviderError, ResourceState, Token};

use super::{StepError, StepJob};
use crate::record::{OrphanRecord, OrphanState, Record, orphan_key};

/// What the last look before a deletion says.
enum Look {
    /// It is what was found, and still nobody's.
    Orphan,
    /// It has ended.
    Gone,
    /// The provider does not see it, or not yet.
    Absent,
    /// The journal knows it by now, or the handle names something else.
    NotOurs,
    /// Nothing yet.
    Unclear(ProviderError),
}

/// Deletes an orphan and returns when the provider says that it is gone, or leaves alone what is none any more.
pub(crate) async fn delete(job: &StepJob<'_>, site: &SiteName, handle: &ResourceHandle) -> Result<(), StepError> {
    let key = orphan_key(job.cluster(), site, handle);
    let Some(record) = job.engine.ledger.read().orphans.share(&key) else {
        return Ok(());
    };
    let provider = job
        .engine
        .provider(&record.site)
        .map_err(|error| StepError::Failed(error.message))?;
    let visible_from = record.found.plus_ms(provider.capabilities().visibility_delay_max_ms);
    let token = Token(format!("{}-{}", job.operation, job.step));
    loop {
        let asked = job.engine.clock.now();
        let looked = look(job, &record, provider.get(&record.site, handle).await);
        let error = match looked {
            Look::NotOurs => {
                job.engine
                    .ledger
                    .write(move |draft| draft.remove::<OrphanRecord>(&key))
                    .await?;
                return Ok(());
            }
            Look::Gone => return gone(job, &record).await,
            Look::Absent if asked > visible_from => return gone(job, &record).await,
            Look::Absent => None,
            Look::Unclear(error) => Some(error),
            Look::Orphan => {
                job.says(AttemptNo(1), format!("{site} deletes {}", record.name));
                let deleting = provider.delete(&record.site, handle, &token);
                job.engine.while_leased(deleting).await.err()
            }
        };
        match error {
            None | Some(ProviderError::NotFound | ProviderError::Gone) => {}
            Some(error) if error.next() == Next::GiveUp => {
                return Err(StepError::Failed(format!("delete {} in {site}: {error}", record.name)));
            }
            Some(error) => job.says(AttemptNo(1), format!("{site}: {error}; again")),
        }
        job.rest().await;
    }
}

fn look(job: &StepJob<'_>, record: &OrphanRecord, answer: Result<ResourceState, ProviderError>) -> Look {
    match answer {
        Ok(item) if item.tags.as_ref() != Some(&record.tags) => Look::NotOurs,
        Ok(item) if crate::sweep::is_known(job.engine, record, &item) => Look::NotOurs,
        Ok(_) => Look::Orphan,
        Err(ProviderError::Gone) => Look::Gone,
        Err(ProviderError::NotFound) => Look::Absent,
        Err(error) => Look::Unclear(error),
    }
}

async fn gone(job: &StepJob<'_>, record: &OrphanRecord) -> Result<(), StepError> {
    let since = job.engine.clock.now();
    let kept = OrphanRecord {
        state: OrphanState::Gone { since },
        ..record.clone()
    };
    job.engine.ledger.write(move |draft| draft.put(kept)).await?;
    let what = format!(
        "orphan in {}: deleted, the provider says that it is gone",
        record.site.name
    );
    job.engine.event(job.cluster(), &record.name, &what).await?;
    tracing::info!(orphan = record.key(), "orphan deleted");
    Ok(())
}
