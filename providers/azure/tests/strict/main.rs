//! The provider against the strict Azure: the suite of all providers, on good days and bad ones; the calls that a machine
//! costs; what Azure refuses.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

mod adoption;
mod bed;
mod extras;
mod networks;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use isobar_engine_model::id::{OfferingId, Zone};
use isobar_engine_provider::conformance::TestBed;
use isobar_engine_provider::{
    Provider, ProviderError, ResourceKind, ResourceStatus, Token, conformance, decorate, list_all,
};
use isobar_providers_azure::Credentials;
use isobar_providers_sim::{Fault, FaultRates, Operation, SeededEntropy};
use isobar_tests_clouds::azure::REGION;

use bed::{AzureBed, owner};

#[tokio::test(start_paused = true)]
async fn azure_conforms() {
    let bed = AzureBed::plain().await;
    let verdict = conformance::run(&bed).await;
    assert_eq!(bed.azure.violations(), Vec::<String>::new());
    verdict.unwrap_or_else(|failures| panic!("{failures}"));
    assert_eq!(bed.cloud.machines().len(), 0, "the suite leaves nothing behind");
    assert_eq!(bed.cloud.parts().len(), 0, "nor parts");
}

#[tokio::test(start_paused = true)]
async fn azure_conforms_on_bad_days_behind_the_decorators() {
    let mut met = BTreeSet::new();
    for seed in 0..5 {
        let bed = AzureBed::new(seed, FaultRates::rough(), move |provider, clock| {
            decorate::standard(Arc::new(provider), clock, Arc::new(SeededEntropy::new(seed)))
        })
        .await;
        let verdict = conformance::run(&bed).await;
        assert_eq!(bed.azure.violations(), Vec::<String>::new(), "seed {seed}");
        verdict.unwrap_or_else(|failures| panic!("seed {seed}: {failures}"));
        assert_eq!(
            bed.cloud.machines().len(),
            0,
            "seed {seed}: the suite leaves nothing behind"
        );
        met.extend(bed.cloud.counters().faults.into_keys());
    }
    for fault in [
        Fault::LostAnswer,
        Fault::LateRequest,
        Fault::LateVisibility,
        Fault::Throttled,
    ] {
        assert!(met.contains(&fault), "{fault:?} never happened");
    }
}

/// Runs until a deletion says that there is nothing any more.
async fn delete_to_the_end(bed: &AzureBed, handle: &isobar_engine_model::id::ResourceHandle) {
    let token = Token("delete".to_owned());
    loop {
        match bed.provider().delete(&bed.site(), handle, &token).await {
            Ok(()) => bed.clock().sleep(std::time::Duration::from_secs(5)).await,
            Err(error) => return assert_eq!(error, ProviderError::NotFound),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_is_one_call_to_make_and_four_to_delete_with_all_its_parts() {
    let bed = AzureBed::plain().await;
    let made = bed.provider().create(&bed.request(1)).await.unwrap();
    let expected = BTreeMap::from([("VirtualMachines_CreateOrUpdate".to_owned(), 1)]);
    assert_eq!(bed.azure.front.calls.all(), expected);

    bed.clock().sleep(std::time::Duration::from_secs(10)).await;
    delete_to_the_end(&bed, &made.handle).await;
    let calls = [
        ("Disks_Delete", 1),
        ("NetworkInterfaces_Delete", 1),
        ("VirtualMachines_CreateOrUpdate", 1),
        ("VirtualMachines_Delete", 2),
    ];
    let expected: BTreeMap<_, _> = calls.map(|(name, count)| (name.to_owned(), count)).into();
    assert_eq!(bed.azure.front.calls.all(), expected);
    assert_eq!((bed.cloud.machines().len(), bed.cloud.parts().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_azure_leaves_of_a_machine_is_deleted_before_the_deletion_ends() {
    // Disk, card or address: whichever the seed leaves.
    for seed in 0..6 {
        let bed = AzureBed::new(seed, FaultRates::none(), |provider, _| Arc::new(provider)).await;
        let mut request = bed.request(1);
        request
            .site
            .settings
            .insert("public_address".to_owned(), "true".to_owned());
        let made = bed.provider().create(&request).await.unwrap();
        bed.cloud.fail_next(Operation::Delete, Fault::LeftBehind);
        let token = Token("delete".to_owned());
        while bed.provider().delete(&request.site, &made.handle, &token).await.is_ok() {
            bed.clock().sleep(std::time::Duration::from_secs(5)).await;
        }
        assert_eq!(bed.cloud.counters().of(Fault::LeftBehind), 1);
        assert_eq!(bed.cloud.parts().len(), 0, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_spot_machine_with_a_public_address_shows_it_in_get_and_list() {
    let bed = AzureBed::plain().await;
    let mut request = bed.request(1);
    request
        .site
        .settings
        .insert("public_address".to_owned(), "true".to_owned());
    request.site.settings.insert("disk_gib".to_owned(), "64".to_owned());
    request.site.settings.remove("zones");
    let machine = request.spec.machine_mut().expect("a machine");
    machine.zone = Zone::new(REGION);
    machine.offering = OfferingId::new(format!("Standard_D2s_v5@{REGION}+spot"));
    let made = bed.provider().create(&request).await.unwrap();
    assert_eq!(bed.azure.violations(), Vec::<String>::new());
    bed.clock().sleep(std::time::Duration::from_secs(10)).await;

    let state = bed.provider().get(&request.site, &made.handle).await.unwrap();
    assert_eq!(state.status, ResourceStatus::Running);
    assert!(state.endpoints[&30_000].starts_with("20."), "{:?}", state.endpoints);
    let provider = bed.provider();
    let listed = list_all(&*provider, &request.site, ResourceKind::Machine, &owner())
        .await
        .unwrap();
    assert_eq!(listed, [state]);
}

#[tokio::test(start_paused = true)]
async fn each_refusal_says_what_to_do_next() {
    for (fault, kind) in [
        (Fault::NoCapacity, "insufficient_capacity"),
        (Fault::OverQuota, "quota_exceeded"),
        (Fault::Throttled, "rate_limited"),
        (Fault::Unauthorized, "unauthorized"),
        (Fault::Refused, "unavailable"),
        (Fault::LostAnswer, "outcome_unknown"),
        (Fault::LostRequest, "outcome_unknown"),
    ] {
        let bed = AzureBed::plain().await;
        bed.cloud.fail_next(Operation::Create, fault);
        let error = bed.provider().create(&bed.request(1)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{fault:?}: {error}");
        if let ProviderError::RateLimited { after } = error {
            assert!(after.is_some(), "Azure said how long");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn another_token_for_the_cloud_is_refused() {
    let bed = AzureBed::plain().await;
    let stranger = bed.client(Credentials::Token("stolen".to_owned()));
    let error = stranger.create(&bed.request(1)).await.unwrap_err();
    assert_eq!(error.kind(), "unauthorized");
    assert!(!format!("{error:?} {:?}", Credentials::Token("stolen".to_owned())).contains("stolen"));
}

#[tokio::test(start_paused = true)]
async fn a_cloud_that_is_away_did_nothing() {
    let bed = AzureBed::plain().await;
    let mut request = bed.request(1);
    // Nobody listens there.
    let closed = "http://127.0.0.1:1".to_owned();
    request.site.settings.insert("endpoint".to_owned(), closed.clone());
    let config = isobar_providers_azure::AzureConfig {
        id: request.site.provider.clone(),
        allowed_endpoints: vec![closed],
        credentials: Credentials::Token("t".to_owned()),
    };
    let provider = isobar_providers_azure::AzureProvider::new(config, bed.clock());
    let error = provider.unwrap().create(&request).await.unwrap_err();
    assert_eq!(error.kind(), "unavailable", "{error}");
}

#[tokio::test(start_paused = true)]
async fn no_error_of_a_create_shows_the_identity() {
    let bed = AzureBed::plain().await;
    for fault in [Fault::NoCapacity, Fault::LostAnswer, Fault::Refused] {
        bed.cloud.fail_next(Operation::Create, fault);
        let error = bed.provider().create(&bed.request(1)).await.unwrap_err();
        // As it is, and in base64.
        for secret in ["a join token", "YSBqb2luIHRva2Vu"] {
            assert!(!format!("{error:?} {error}").contains(secret), "{error:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn wrong_settings_are_named() {
    let bed = AzureBed::plain().await;
    for (setting, value, words) in [
        ("subnett", "x", "the nearest is `subnet`"),
        ("resource_group", "a/../b", "`resource_group` is a name"),
        ("image", "node", "`image` is a resource id"),
        ("disk_gib", "0", "`disk_gib` is a number"),
        ("public_address", "yes", "true or false"),
        ("zones", "a,b", "`zones` are numbers"),
        ("endpoint", "http://elsewhere", "--allow-endpoint"),
    ] {
        let mut request = bed.request(1);
        request.site.settings.insert(setting.to_owned(), value.to_owned());
        let error = bed.provider().create(&request).await.unwrap_err();
        assert_eq!(error.kind(), "invalid_spec");
        assert!(error.to_string().contains(words), "{error}");
    }
    let mut request = bed.request(1);
    request.site.settings.remove("image");
    let error = bed.provider().create(&request).await.unwrap_err().to_string();
    assert!(error.contains("`image` is missing"), "{error}");
    assert_eq!(bed.azure.front.calls.all(), BTreeMap::new(), "nothing was sent");
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_fails_once_it_is_accepted_says_why_and_goes() {
    let bed = AzureBed::plain().await;
    bed.azure.fail_next_once_accepted("AllocationFailed");
    let made = bed.provider().create(&bed.request(1)).await.unwrap();
    bed.clock().sleep(std::time::Duration::from_secs(10)).await;
    let state = bed.provider().get(&bed.site(), &made.handle).await.unwrap();
    let ResourceStatus::Stopped { reason } = state.status else {
        panic!("{:?}", state.status);
    };
    assert!(reason.starts_with("AllocationFailed"), "{reason}");
    delete_to_the_end(&bed, &made.handle).await;
    assert_eq!((bed.cloud.machines().len(), bed.cloud.parts().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_catalog_is_of_the_site_s_zones_and_architectures() {
    let bed = AzureBed::plain().await;
    let site = bed.site();
    let ids = |catalog: &isobar_engine_model::catalog::SiteCatalog| {
        let ids = catalog.offerings.iter().map(|offering| offering.id.as_str().to_owned());
        ids.collect::<BTreeSet<_>>()
    };
    let catalog = bed.provider().catalog(&site).await.unwrap();
    let both = |size: &str, zone: &str| [format!("{size}@{REGION}{zone}"), format!("{size}@{REGION}{zone}+spot")];
    let wanted: BTreeSet<_> = ["-1", "-2", "-3"]
        .iter()
        .flat_map(|zone| both("Standard_D2s_v5", zone))
        .collect();
    assert_eq!(ids(&catalog), wanted, "no Arm without an image for it");
    assert_eq!(catalog.machines_left, Some(25_000));

    let mut arm = site;
    arm.settings
        .insert("image_arm64".to_owned(), isobar_tests_clouds::azure::IMAGE.to_owned());
    arm.settings.remove("zones");
    let catalog = bed.provider().catalog(&arm).await.unwrap();
    let wanted: BTreeSet<_> = ["Standard_D2s_v5", "Standard_D2ps_v5"]
        .iter()
        .flat_map(|size| both(size, ""))
        .collect();
    assert_eq!(ids(&catalog), wanted);
}
