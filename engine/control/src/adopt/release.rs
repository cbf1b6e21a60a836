//! Forgetting an object that others made. Never touches its cloud.

use isobar_engine_model::id::AdoptedName;

use super::key_of;
use crate::carry::{StepError, StepJob};
use crate::record::AdoptedRecord;

/// Forgets an object; its key is free for the next owner. Again is no error.
pub(crate) async fn release(job: &StepJob<'_>, object: &AdoptedName) -> Result<(), StepError> {
    let (cluster, name) = (job.cluster().clone(), object.clone());
    let forgotten = job
        .engine
        .ledger
        .write(move |draft| {
            let key = key_of(draft, &cluster, &name)?;
            draft.remove::<AdoptedRecord>(&key);
            Some(())
        })
        .await?;
    if forgotten.is_some() {
        let what = "forgotten: it stays in its cloud as it is";
        job.engine.event(job.cluster(), object.as_str(), what).await?;
    }
    Ok(())
}
