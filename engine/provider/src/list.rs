//! Every page of a list. Sends nothing twice: retries are the decorators'. Called wherever somebody wants to know all that
//! there is.

use isobar_engine_model::id::SiteName;

use crate::{Owner, Page, Provider, ProviderError, ResourceKind, ResourceState, Result, Site};

/// A list has at most so many pages; of [`crate::resource::PAGE_MAX_ITEMS`] each, more resources than any owner has.
pub const LIST_MAX_PAGES: usize = 1_000;

/// Everything of one kind that carries the owner's tags, in handle order.
///
/// All or nothing: a page that fails fails the whole list, so that what is missing from it says that it is absent (within
/// [`crate::Capabilities::visibility_delay_max_ms`]). A list that does not end is [`ProviderError::Unexpected`].
pub async fn list_all(
    provider: &dyn Provider,
    site: &Site,
    kind: ResourceKind,
    owner: &Owner,
) -> Result<Vec<ResourceState>> {
    let (mut items, mut page): (_, Option<Page>) = (Vec::new(), None);
    for _ in 0..LIST_MAX_PAGES {
        let listing = provider.list(site, kind, owner, page.clone()).await?;
        items.extend(listing.items);
        match listing.next {
            None => return Ok(items),
            next if next == page => return Err(endless(&site.name)),
            next => page = next,
        }
    }
    Err(endless(&site.name))
}

fn endless(site: &SiteName) -> ProviderError {
    ProviderError::Unexpected {
        message: format!("the list of {site} does not end"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use isobar_engine_model::catalog::SiteCatalog;
    use isobar_engine_model::id::{ClusterName, ProviderId, ResourceHandle};
    use isobar_engine_model::quantity::Timestamp;

    use super::*;
    use crate::{Adoption, Capabilities, Console, CreateResource, Created, Listing, Networks, ResourceStatus, Token};

    /// Lists one resource a page.
    struct Pages {
        id: ProviderId,
        /// What follows a page, by its number.
        next: fn(usize) -> Result<Option<usize>>,
        asked: AtomicUsize,
    }

    #[async_trait]
    impl Provider for Pages {
        fn id(&self) -> &ProviderId {
            &self.id
        }

        fn capabilities(&self) -> Capabilities {
            unreachable!("only lists are asked for")
        }

        async fn catalog(&self, _: &Site) -> Result<SiteCatalog> {
            unreachable!("only lists are asked for")
        }

        async fn create(&self, _: &CreateResource) -> Result<Created> {
            unreachable!("only lists are asked for")
        }

        async fn get(&self, _: &Site, _: &ResourceHandle) -> Result<ResourceState> {
            unreachable!("only lists are asked for")
        }

        async fn list(&self, _: &Site, _: ResourceKind, _: &Owner, page: Option<Page>) -> Result<Listing> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let number = page.map_or(0, |page| page.0.parse().expect("ours"));
            let item = ResourceState {
                handle: ResourceHandle::new(number.to_string()),
                name: String::new(),
                tags: None,
                status: ResourceStatus::Running,
                offering: None,
                endpoints: BTreeMap::new(),
                created: Timestamp(0),
            };
            Ok(Listing {
                items: vec![item],
                next: (self.next)(number)?.map(|next| Page(next.to_string())),
            })
        }

        async fn delete(&self, _: &Site, _: &ResourceHandle, _: &Token) -> Result<()> {
            unreachable!("only lists are asked for")
        }

        fn console(&self) -> Option<&dyn Console> {
            None
        }

        fn networks(&self) -> Option<&dyn Networks> {
            None
        }

        fn adoption(&self) -> Option<&dyn Adoption> {
            None
        }
    }

    /// How many were listed or why none were, and after how many calls.
    async fn listed(next: fn(usize) -> Result<Option<usize>>) -> (Result<usize>, usize) {
        let id = ProviderId::new("pages").expect("a name");
        let site = Site {
            name: SiteName::new("here").expect("a name"),
            provider: id.clone(),
            region: "here".into(),
            settings: BTreeMap::new(),
        };
        let owner = Owner {
            store: "store".into(),
            cluster: ClusterName::new("shop").expect("a name"),
        };
        let asked = AtomicUsize::new(0);
        let pages = Pages { id, next, asked };
        let listed = list_all(&pages, &site, ResourceKind::Machine, &owner).await;
        (listed.map(|items| items.len()), pages.asked.into_inner())
    }

    #[tokio::test]
    async fn all_pages_make_one_list() {
        assert_eq!(listed(|page| Ok((page < 4).then_some(page + 1))).await, (Ok(5), 5));
    }

    #[tokio::test]
    async fn a_page_that_fails_fails_the_list() {
        let (listed, _) = listed(|page| match page {
            0 => Ok(Some(1)),
            _ => Err(ProviderError::RateLimited { after: None }),
        })
        .await;
        assert_eq!(listed, Err(ProviderError::RateLimited { after: None }));
    }

    #[tokio::test]
    async fn a_list_without_an_end_is_given_up() {
        let (same, calls) = listed(|_| Ok(Some(1))).await;
        assert!(matches!(same, Err(ProviderError::Unexpected { .. })));
        assert_eq!(calls, 2);
        let (other, calls) = listed(|page| Ok(Some(page + 1))).await;
        assert!(matches!(other, Err(ProviderError::Unexpected { .. })));
        assert_eq!(calls, LIST_MAX_PAGES);
    }
}
