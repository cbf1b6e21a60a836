//! What Google's cloud alone asks for: calls, failed operations, disks, zones, what is billed.

use std::collections::BTreeMap;

use isobar_engine_model::id::{
    AttemptNo, ClusterName, Epoch, MachineId, OfferingId, OperationId, ResourceHandle, Zone,
};
use isobar_engine_provider::conformance::TestBed as _;
use isobar_engine_provider::error::Next;
use isobar_engine_provider::{
    CreateResource, Owner, OwnerTags, ProviderError, ResourceKind, ResourceSpec, ResourceStatus, Secret, Site, Token,
    list_all,
};
use isobar_providers_sim::{Fault, Operation};
use isobar_tests_clouds::gcp::REGION;

use crate::bed::GcpBed;

pub(crate) const IDENTITY: &[u8] = b"https://engine.example:7443 join-token-0123456789";

/// So many machines lose one part each; at least one of them its disk.
const LEFT_BEHIND_TRIES: u32 = 12;

pub(crate) fn owner() -> Owner {
    Owner {
        store: "0123456789abcdef".to_owned(),
        cluster: ClusterName::new("shop").unwrap(),
    }
}

pub(crate) fn request_at(bed: &GcpBed, site: Site, number: u32) -> CreateResource {
    let mut machine = bed.machine();
    machine.identity = Secret(IDENTITY.to_vec());
    CreateResource {
        site,
        name: format!("iso-shop-{number}"),
        token: Token(format!("token-{number}")),
        tags: OwnerTags {
            owner: owner(),
            machine: MachineId::new(format!("web-{number}")),
            operation: OperationId::new("op-1"),
            attempt: AttemptNo(1),
            epoch: Epoch(1),
        },
        spec: ResourceSpec::Machine(machine),
    }
}

pub(crate) fn request(bed: &GcpBed, number: u32) -> CreateResource {
    request_at(bed, bed.site(), number)
}

fn in_zone(mut request: CreateResource, zone: &str, purchase: &str) -> CreateResource {
    let machine = request.spec.machine_mut().expect("a machine");
    (machine.zone, machine.offering) = (Zone::new(zone), OfferingId::new(format!("e2-small@{zone}{purchase}")));
    request
}

pub(crate) async fn make(bed: &GcpBed, number: u32) -> ResourceHandle {
    bed.provider().create(&request(bed, number)).await.unwrap().handle
}

/// Deletes as the engine does, until it is gone.
async fn delete(bed: &GcpBed, handle: &ResourceHandle) {
    delete_at(bed, &bed.site(), handle).await;
}

pub(crate) async fn delete_at(bed: &GcpBed, site: &Site, handle: &ResourceHandle) {
    let token = Token("delete".to_owned());
    while bed.provider().delete(site, handle, &token).await != Err(ProviderError::NotFound) {
        bed.clock().sleep(std::time::Duration::from_secs(30)).await;
    }
}

pub(crate) fn calls_since(bed: &GcpBed, before: &BTreeMap<String, u64>) -> Vec<(String, u64)> {
    let since = bed.gcp.front.calls.all().into_iter().map(|(name, now)| {
        let more = now - before.get(&name).copied().unwrap_or(0);
        (name, more)
    });
    since.filter(|(_, more)| *more > 0).collect()
}

pub(crate) fn of_names(calls: &[(&str, u64)]) -> Vec<(String, u64)> {
    calls.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[tokio::test]
async fn a_machine_takes_the_fewest_calls_there_are() {
    let bed = GcpBed::plain().await;
    make(&bed, 1).await;
    let before = bed.gcp.front.calls.all();
    let handle = make(&bed, 2).await;
    assert_eq!(
        calls_since(&bed, &before),
        of_names(&[("instances.insert", 1), ("zoneOperations.wait", 1)])
    );
    let before = bed.gcp.front.calls.all();
    delete(&bed, &handle).await;
    assert_eq!(
        calls_since(&bed, &before),
        of_names(&[("disks.get", 1), ("instances.delete", 2)])
    );
}

#[tokio::test]
async fn a_lack_of_capacity_or_quota_shows_in_the_create_itself_and_stays_so() {
    let bed = GcpBed::plain().await;
    bed.cloud.set_zone_capacity(REGION, &Zone::new("europe-west1-b"), 0);
    let dry = bed.provider().create(&request(&bed, 1)).await.unwrap_err();
    assert!(matches!(dry, ProviderError::InsufficientCapacity { .. }), "{dry}");
    assert!(dry.to_string().contains("ZONE_RESOURCE_POOL_EXHAUSTED"), "{dry}");
    assert_eq!(dry.next(), Next::Fallback);
    assert_eq!(
        bed.provider().create(&request(&bed, 1)).await,
        Err(dry),
        "the same id, the same operation"
    );

    let next = in_zone(request(&bed, 2), "europe-west1-c", "+spot");
    bed.provider().create(&next).await.unwrap();

    bed.cloud.set_quota(REGION, 1);
    let over = in_zone(request(&bed, 3), "europe-west1-d", "");
    let over = bed.provider().create(&over).await.unwrap_err();
    assert!(matches!(over, ProviderError::QuotaExceeded { .. }), "{over}");
    assert_eq!(
        bed.provider().catalog(&bed.site()).await.unwrap().machines_left,
        Some(0)
    );
}

#[tokio::test]
async fn a_replay_after_a_lost_answer_finds_the_machine() {
    let bed = GcpBed::plain().await;
    bed.cloud.fail_next(Operation::Create, Fault::LostAnswer);
    let lost = bed.provider().create(&request(&bed, 1)).await.unwrap_err();
    assert!(matches!(lost, ProviderError::OutcomeUnknown { .. }), "{lost}");
    make(&bed, 1).await;
    assert_eq!(bed.cloud.machines().len(), 1);
}

#[tokio::test]
async fn what_a_machine_is_made_of_is_as_asked() {
    let bed = GcpBed::plain().await;
    let spot = in_zone(request(&bed, 1), "europe-west1-c", "+spot");
    let handle = bed.provider().create(&spot).await.unwrap().handle;
    assert_eq!(handle.as_str(), "europe-west1-c/instances/iso-shop-1");
    let body = bed.gcp.asked("iso-shop-1").unwrap();
    assert_eq!(body["scheduling"]["provisioningModel"], "SPOT");
    assert_eq!(body["scheduling"]["instanceTerminationAction"], "DELETE");
    assert_eq!(
        body["disks"][0]["autoDelete"], true,
        "nothing is billed after the machine"
    );
    assert_eq!(body["disks"].as_array().unwrap().len(), 1);
    assert!(
        body["networkInterfaces"][0].get("accessConfigs").is_none(),
        "no public address"
    );
    assert!(
        body.get("serviceAccounts").is_none(),
        "a node needs no account of Google's"
    );
    let items = body["metadata"]["items"].as_array().unwrap();
    let keys: Vec<_> = items.iter().map(|item| item["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["isobar-identity", "block-project-ssh-keys"]);

    let public = request_at(
        &bed,
        bed.site_with(&[("public_address", "true"), ("disk_gib", "20")]),
        2,
    );
    bed.provider().create(&public).await.unwrap();
    let body = bed.gcp.asked("iso-shop-2").unwrap();
    assert_eq!(
        body["networkInterfaces"][0]["accessConfigs"][0]["type"],
        "ONE_TO_ONE_NAT"
    );
    assert_eq!(body["disks"][0]["initializeParams"]["diskSizeGb"], "20");
    assert_eq!(body["scheduling"]["provisioningModel"], "STANDARD");
}

#[tokio::test]
async fn a_disk_that_was_left_behind_is_listed_and_goes_with_the_next_deletion() {
    let bed = GcpBed::plain().await;
    let handle = make(&bed, 1).await;
    let provider = bed.provider();
    let disks = list_all(&*provider, &bed.site(), ResourceKind::Disk, &owner())
        .await
        .unwrap();
    assert_eq!(disks.len(), 1);
    assert_eq!(disks[0].handle.as_str(), "europe-west1-b/disks/iso-shop-1");
    assert_eq!(disks[0].tags, Some(request(&bed, 1).tags));
    let used = provider
        .delete(&bed.site(), &disks[0].handle, &Token("t".to_owned()))
        .await;
    assert!(matches!(used, Err(ProviderError::NotReady { .. })), "{used:?}");

    // Which part is left behind is drawn.
    for number in 2..LEFT_BEHIND_TRIES {
        let another = make(&bed, number).await;
        bed.cloud.fail_next(Operation::Delete, Fault::LeftBehind);
        delete(&bed, &another).await;
    }
    assert!(bed.gcp.front.calls.of("disks.delete") > 1, "some disk was left behind");
    delete(&bed, &handle).await;
    let left = list_all(&*provider, &bed.site(), ResourceKind::Disk, &owner())
        .await
        .unwrap();
    assert_eq!(left, []);
}

#[tokio::test]
async fn a_list_of_several_zones_and_pages_is_in_order() {
    let bed = GcpBed::plain().await;
    for (number, zone) in ["d", "b", "c", "b", "d", "b", "c"].iter().enumerate() {
        let request = request(&bed, u32::try_from(number).unwrap());
        let request = in_zone(request, &format!("{REGION}-{zone}"), "");
        bed.provider().create(&request).await.unwrap();
    }
    bed.clock().sleep(std::time::Duration::from_secs(60)).await;
    let before = bed.gcp.front.calls.all();
    let provider = bed.provider();
    let listed = list_all(&*provider, &bed.site(), ResourceKind::Machine, &owner())
        .await
        .unwrap();
    let handles: Vec<_> = listed.iter().map(|state| state.handle.as_str()).collect();
    assert_eq!(handles.len(), 7);
    assert!(handles.is_sorted(), "{handles:?}");
    assert_eq!(calls_since(&bed, &before), of_names(&[("instances.aggregatedList", 4)]));
    for kind in [ResourceKind::Interface, ResourceKind::Address] {
        assert_eq!(list_all(&*provider, &bed.site(), kind, &owner()).await, Ok(Vec::new()));
    }
}

#[tokio::test]
async fn a_zone_that_does_not_answer_fails_the_list_and_one_elsewhere_does_not() {
    let bed = GcpBed::plain().await;
    make(&bed, 1).await;
    let provider = bed.provider();
    bed.gcp.lose("us-east1-b");
    let listed = list_all(&*provider, &bed.site(), ResourceKind::Machine, &owner()).await;
    assert_eq!(listed.unwrap().len(), 1);
    bed.gcp.lose("europe-west1-c");
    for kind in [ResourceKind::Machine, ResourceKind::Disk] {
        let listed = list_all(&*provider, &bed.site(), kind, &owner()).await;
        assert!(matches!(listed, Err(ProviderError::Unavailable { .. })), "{listed:?}");
    }
}

#[tokio::test]
async fn a_machine_whose_operation_cannot_be_heard_of_is_accepted() {
    let bed = GcpBed::plain().await;
    bed.gcp.fail_next("zoneOperations.wait");
    make(&bed, 1).await;
    assert_eq!(bed.cloud.machines().len(), 1);
}

#[tokio::test]
async fn a_replay_that_cannot_look_does_not_say_that_nothing_was_made() {
    let bed = GcpBed::plain().await;
    make(&bed, 1).await;
    bed.gcp.fail_next("instances.get");
    let unknown = bed.provider().create(&request(&bed, 1)).await;
    assert!(
        matches!(unknown, Err(ProviderError::OutcomeUnknown { .. })),
        "{unknown:?}"
    );
    make(&bed, 1).await;
}

#[tokio::test]
async fn a_stopped_instance_is_seen_as_one_that_is_still_billed() {
    let bed = GcpBed::plain().await;
    let handle = make(&bed, 1).await;
    bed.kill(&handle).await;
    let state = bed.provider().get(&bed.site(), &handle).await.unwrap();
    let ResourceStatus::Stopped { reason } = state.status else {
        panic!("{:?}", state.status);
    };
    assert!(reason.contains("TERMINATED"), "{reason}");
}
