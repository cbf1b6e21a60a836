//! Parts of networks on bad days: answers that are lost, operations that fail or cannot be heard of.

use std::collections::BTreeSet;
use std::sync::Arc;

use isobar_engine_provider::error::Next;
use isobar_providers_sim::{Fault, FaultRates, Operation};

use super::*;

/// So many clouds with faults.
const ROUGH_SEEDS: u64 = 32;
/// Anything is asked of these at most so often.
const ROUGH_TRIES: u32 = 100;

#[tokio::test]
async fn a_lost_answer_ends_with_one_part() {
    let bed = GcpBed::plain().await;
    let site = bed.site_with(&[("network", "own")]);
    let request = part_request(&bed, &site, ResourceKind::Network, &Network::new());
    bed.cloud.fail_next(Operation::Create, Fault::LostAnswer);
    let lost = bed.provider().create(&request).await.unwrap_err();
    assert!(matches!(lost, ProviderError::OutcomeUnknown { .. }), "{lost}");
    let found = listed(&bed, ResourceKind::Network, &owner()).await;
    assert_eq!(found[0].tags, Some(request.tags.clone()), "found by its tags");
    let created = bed.provider().create(&request).await.unwrap();
    assert_eq!(created.handle, found[0].handle);
    assert_eq!(
        bed.provider().create(&request).await,
        Ok(created),
        "as often as one likes"
    );
    assert_eq!(bed.cloud.networks().len(), 1);

    // A name that is taken, by another token.
    let another = CreateResource {
        token: Token("another".to_owned()),
        ..request.clone()
    };
    let taken = bed.provider().create(&another).await;
    assert!(matches!(taken, Err(ProviderError::Conflict { .. })), "{taken:?}");
}

#[tokio::test]
async fn a_part_whose_operation_cannot_be_heard_of_is_accepted_and_what_is_made_in_it_waits() {
    let bed = GcpBed::plain().await;
    let site = bed.site_with(&[("network", "own")]);
    let request = part_request(&bed, &site, ResourceKind::Network, &Network::new());
    bed.gcp.fail_next("globalOperations.wait");
    let network = bed.provider().create(&request).await.unwrap().handle;
    let within = Network::from([(ResourceKind::Network, network.clone())]);
    let subnet = part_request(&bed, &site, ResourceKind::Subnet, &within);
    let early = bed.provider().create(&subnet).await;
    assert!(matches!(early, Err(ProviderError::NotReady { .. })), "{early:?}");
    bed.clock().sleep(Duration::from_secs(30)).await;
    bed.provider().create(&subnet).await.unwrap();

    let firewall = part_request(&bed, &site, ResourceKind::Firewall, &within);
    let firewall = bed.provider().create(&firewall).await.unwrap().handle;
    bed.gcp.fail_next("globalOperations.wait");
    assert_eq!(delete(&bed, &firewall).await, Ok(()), "accepted");
    bed.clock().sleep(Duration::from_secs(30)).await;
    assert_eq!(delete(&bed, &firewall).await, Err(ProviderError::NotFound));
}

#[tokio::test]
async fn a_lack_of_quota_shows_in_the_create_itself() {
    let bed = GcpBed::plain().await;
    let site = bed.site_with(&[("network", "own")]);
    let request = part_request(&bed, &site, ResourceKind::Network, &Network::new());
    bed.cloud.fail_next(Operation::Create, Fault::OverQuota);
    let over = bed.provider().create(&request).await;
    assert!(matches!(over, Err(ProviderError::QuotaExceeded { .. })), "{over:?}");
    let handle = ResourceHandle::new("global/networks/isobar-shop-network");
    assert_eq!(connect(&bed, &request, &handle).await, Err(ProviderError::NotFound));
}

/// Whatever gets lost on the way, each part is made once and nothing is left.
#[tokio::test]
async fn a_rough_cloud_ends_with_one_of_each_and_then_with_none() {
    let mut met = BTreeSet::new();
    for seed in 0..ROUGH_SEEDS {
        let bed = GcpBed::new(seed, FaultRates::rough(), |provider, _| Arc::new(provider)).await;
        let site = bed.site_with(&[("network", "own")]);
        let mut network = Network::new();
        for kind in [
            ResourceKind::Network,
            ResourceKind::Subnet,
            ResourceKind::Gateway,
            ResourceKind::Firewall,
        ] {
            let request = part_request(&bed, &site, kind, &network);
            let created = insist(&bed, async || bed.provider().create(&request).await).await;
            insist(&bed, async || match connect(&bed, &request, &created.handle).await {
                // Not yet seen.
                Err(ProviderError::NotFound) => Err(ProviderError::NotReady { message: String::new() }),
                answer => answer,
            })
            .await;
            network.insert(kind, created.handle);
        }
        assert_eq!(bed.cloud.networks().len(), network.len(), "seed {seed}");
        for handle in network.values().rev() {
            insist(&bed, async || match delete(&bed, handle).await {
                Err(gone) if gone.is_absent() => Ok(()),
                Ok(()) => Err(ProviderError::NotReady { message: String::new() }),
                Err(other) => Err(other),
            })
            .await;
        }
        assert_eq!(bed.cloud.networks().len(), 0, "seed {seed}");
        met.extend(bed.cloud.counters().faults.into_keys());
    }
    for fault in [
        Fault::LostRequest,
        Fault::LostAnswer,
        Fault::LateRequest,
        Fault::Throttled,
    ] {
        assert!(met.contains(&fault), "{fault:?} never happened: {met:?}");
    }
}

/// Asks until the answer is one, as the engine does.
async fn insist<T>(bed: &GcpBed, ask: impl AsyncFn() -> Result<T, ProviderError>) -> T {
    for _ in 0..ROUGH_TRIES {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) if matches!(error.next(), Next::Again | Next::FindOut) => {
                bed.clock().sleep(Duration::from_secs(30)).await;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    panic!("no answer after {ROUGH_TRIES} tries")
}
