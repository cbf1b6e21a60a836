//! Looking at what a site has of a cluster's machines and networks: one list answers everybody who asks at about the same time, so a
//! thousand machines that boot or go are looked at with as many calls as one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use isobar_engine_model::id::{ClusterName, ResourceHandle};
use isobar_engine_model::quantity::Timestamp;
use isobar_engine_provider::{ProviderError, ResourceKind, ResourceState, Site, list_all};

use crate::engine::Engine;

/// What a site had.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    /// When it was asked. The answer may be older still, by the provider's visibility delay.
    pub(crate) asked: Timestamp,
    /// With the cluster's tags, by handle.
    pub(crate) items: Arc<BTreeMap<ResourceHandle, ResourceState>>,
}

/// The last look at each place, or why there was none.
#[derive(Default)]
pub(crate) struct Looks(Mutex<BTreeMap<(ClusterName, Site, ResourceKind), Arc<Place>>>);

/// Whoever holds it asks; the others wait for the answer.
type Place = tokio::sync::Mutex<Option<(Timestamp, Result<Look, ProviderError>)>>;

impl Looks {
    fn place(&self, cluster: &ClusterName, site: &Site, kind: ResourceKind) -> Arc<Place> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.entry((cluster.clone(), site.clone(), kind)).or_default().clone()
    }
}

impl Engine {
    /// What a site has of one kind of a cluster's resources, asked a moment ago at most, and not before `since`.
    pub(crate) async fn look(
        &self,
        cluster: &ClusterName,
        (site, kind): (&Site, ResourceKind),
        since: Timestamp,
    ) -> Result<Look, ProviderError> {
        let moment_ago = self.clock.now().0.saturating_sub(self.config.bounds.poll_ms);
        let since = since.max(Timestamp(moment_ago));
        let place = self.looks.place(cluster, site, kind);
        let mut last = place.lock().await;
        if let Some((asked, answer)) = &*last
            && *asked >= since
        {
            return answer.clone();
        }
        let asked = self.clock.now();
        let answer = self.list(cluster, site, kind).await.map(|items| Look {
            asked,
            items: Arc::new(items),
        });
        *last = Some((asked, answer.clone()));
        answer
    }

    /// As [`Self::glance`]; absent while somebody else asks, so that whoever has more to watch for need not wait: a list of
    /// a throttled account can take long.
    pub(crate) async fn peek(
        &self,
        cluster: &ClusterName,
        of: (&Site, ResourceKind),
    ) -> Option<Result<Look, ProviderError>> {
        let place = self.looks.place(cluster, of.0, of.1);
        let is_asked = place.try_lock().is_err();
        if is_asked {
            return None;
        }
        Some(self.glance(cluster, of).await)
    }

    /// As [`Self::look`], whatever was asked a moment ago.
    pub(crate) async fn glance(&self, cluster: &ClusterName, of: (&Site, ResourceKind)) -> Result<Look, ProviderError> {
        self.look(cluster, of, Timestamp(0)).await
    }

    async fn list(
        &self,
        cluster: &ClusterName,
        site: &Site,
        kind: ResourceKind,
    ) -> Result<BTreeMap<ResourceHandle, ResourceState>, ProviderError> {
        let provider = self
            .provider(site)
            .map_err(|error| ProviderError::InvalidSpec { message: error.message })?;
        let owner = self.owner(cluster);
        let listed = list_all(&*provider, site, kind, &owner).await?;
        Ok(listed.into_iter().map(|item| (item.handle.clone(), item)).collect())
    }
}
