//! Reading objects of a site in batches, a bounded number of them at a time. Called by the import and by looks.

use futures_util::StreamExt;
use futures_util::stream;
use isobar_engine_provider::adoption::{ADOPTION_READ_MAX_OBJECTS, ObjectRef, ObjectState};
use isobar_engine_provider::{ProviderError, Site};

use crate::engine::Engine;

/// Batches that are read of a site at a time.
const BATCHES_AT_A_TIME: usize = 4;

/// What is known of an object: its state, or why it was not read.
pub(super) type Answer = Result<ObjectState, ProviderError>;

impl Engine {
    /// Objects of a site as they are now, an answer an object, in the order of the question. A batch that could not be
    /// read at all answers the same for each of its objects.
    pub(super) async fn read_objects(&self, site: &Site, objects: &[ObjectRef]) -> Vec<Answer> {
        let batches: Vec<Vec<ObjectRef>> = objects.chunks(ADOPTION_READ_MAX_OBJECTS).map(<[_]>::to_vec).collect();
        let reads = batches.into_iter().map(|batch| self.read_batch(site, batch));
        let answers: Vec<Vec<Answer>> = stream::iter(reads).buffered(BATCHES_AT_A_TIME).collect().await;
        answers.into_iter().flatten().collect()
    }

    async fn read_batch(&self, site: &Site, batch: Vec<ObjectRef>) -> Vec<Answer> {
        let all = |error: ProviderError| vec![Err(error); batch.len()];
        let provider = match self.provider(site) {
            Ok(provider) => provider,
            Err(error) => return all(ProviderError::InvalidSpec { message: error.message }),
        };
        let Some(adoption) = provider.adoption() else {
            return all(ProviderError::Unsupported {
                message: format!("{} takes over nothing that others made", site.provider),
            });
        };
        match adoption.read(site, &batch).await {
            Ok(answers) if answers.len() == batch.len() => answers,
            Ok(answers) => all(ProviderError::Unexpected {
                message: format!("asked for {} objects, {} were answered", batch.len(), answers.len()),
            }),
            Err(error) => all(error),
        }
    }
}
