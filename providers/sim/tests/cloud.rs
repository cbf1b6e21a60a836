//! The simulated cloud's own facts: what the suite of all providers does not say, and the hooks for the engine's tests.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use isobar_engine_model::id::{
    AttemptNo, ClusterName, Epoch, ImageId, MachineId, OfferingId, OperationId, ProviderId, ResourceHandle, SiteName,
    Zone,
};
use isobar_engine_provider::{
    Clock, CreateResource, MachineRequest, Owner, OwnerTags, Provider, ProviderError, ResourceKind, ResourceSpec,
    ResourceStatus, Secret, Site, Token,
};
use isobar_providers_sim::{
    Fault, FaultRates, MachineChange, MachineEvent, Operation, PART_PRICE_MICRO_USD_HOUR, SIM_IMAGE, SimCloud,
    SimConfig, SimProvider, TokioClock,
};

struct World {
    clock: Arc<TokioClock>,
    cloud: SimCloud,
    provider: SimProvider,
}

fn world(config: SimConfig) -> World {
    let clock = Arc::new(TokioClock::new());
    let cloud = SimCloud::new(config, clock.clone());
    let provider = SimProvider::new(ProviderId::new("sim").unwrap(), cloud.clone());
    World { clock, cloud, provider }
}

fn reliable() -> World {
    world(SimConfig::of_regions(1, &["north", "south"]))
}

fn site(region: &str) -> Site {
    Site {
        name: SiteName::new(region).unwrap(),
        provider: ProviderId::new("sim").unwrap(),
        region: region.to_owned(),
        settings: BTreeMap::new(),
    }
}

fn owner() -> Owner {
    Owner {
        store: "store".to_owned(),
        cluster: ClusterName::new("shop").unwrap(),
    }
}

/// The `number`-th machine, in zone a of the region.
fn request(region: &str, number: u32) -> CreateResource {
    CreateResource {
        site: site(region),
        name: format!("machine-{number}"),
        token: Token(format!("token-{number}")),
        tags: OwnerTags {
            owner: owner(),
            machine: MachineId::new(format!("web-{number}")),
            operation: OperationId::new("op-1"),
            attempt: AttemptNo(1),
            epoch: Epoch(1),
        },
        spec: ResourceSpec::Machine(MachineRequest {
            zone: Zone::new(format!("{region}-a")),
            offering: OfferingId::new(format!("sim.small@{region}-a")),
            image: ImageId::new(SIM_IMAGE),
            identity: Secret(format!("identity-{number}").into_bytes()),
            open_ports: (30_000, 30_001),
            network: Default::default(),
        }),
    }
}

impl World {
    async fn make(&self, number: u32) -> ResourceHandle {
        self.provider.create(&request("north", number)).await.unwrap().handle
    }

    async fn delete(&self, handle: &ResourceHandle) -> Result<(), ProviderError> {
        self.provider
            .delete(&site("north"), handle, &Token("delete".to_owned()))
            .await
    }

    async fn pass(&self, ms: u64) {
        self.clock.sleep(Duration::from_millis(ms)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_s_changes_are_told_in_order_with_its_identity_at_hand() {
    let world = reliable();
    let mut events = world.cloud.events();
    let handle = world.make(1).await;

    let made = events.next().await;
    assert_eq!((&made.handle, made.change), (&handle, MachineChange::Made));
    let running = events.next().await;
    assert_eq!((&running.handle, running.change), (&handle, MachineChange::Running));
    assert_eq!(running.at, world.clock.now(), "told when it happens");
    let machine = world.cloud.machine(&handle).unwrap();
    assert_eq!(machine.identity.0, b"identity-1");
    assert_eq!(machine.tags().unwrap().machine, MachineId::new("web-1"));

    assert!(world.cloud.kill(&handle));
    assert!(!world.cloud.kill(&handle), "dead already");
    assert_eq!(events.next().await.change, MachineChange::Stopped);
    world.delete(&handle).await.unwrap();
    assert_eq!(events.next().await.change, MachineChange::Gone);
    assert!(world.cloud.machines_of(&owner()).is_empty());

    let mut late = world.cloud.events();
    assert_eq!(late.next().await, made, "a late watcher sees everything too");
}

#[tokio::test(start_paused = true)]
async fn a_full_zone_is_out_of_capacity_and_its_neighbour_is_not() {
    let world = reliable();
    world.cloud.set_zone_capacity("north", &Zone::new("north-a"), 1);
    let first = world.make(1).await;
    let full = world.provider.create(&request("north", 2)).await;
    assert!(
        matches!(full, Err(ProviderError::InsufficientCapacity { .. })),
        "{full:?}"
    );

    let mut elsewhere = request("north", 3);
    let machine = elsewhere.spec.machine_mut().expect("a machine");
    machine.zone = Zone::new("north-b");
    machine.offering = OfferingId::new("sim.small@north-b");
    world.provider.create(&elsewhere).await.unwrap();

    world.delete(&first).await.unwrap();
    world.pass(1_000).await;
    world.make(4).await;
}

#[tokio::test(start_paused = true)]
async fn the_quota_is_of_the_region_and_a_replay_needs_none() {
    let world = reliable();
    world.cloud.set_quota("north", 1);
    let first = world.make(1).await;
    let over = world.provider.create(&request("north", 2)).await;
    assert!(matches!(over, Err(ProviderError::QuotaExceeded { .. })), "{over:?}");
    assert_eq!(world.make(1).await, first);
    world.provider.create(&request("south", 2)).await.unwrap();
    assert_eq!(
        world.provider.catalog(&site("north")).await.unwrap().machines_left,
        Some(0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_drawn_lack_of_capacity_lasts_in_its_zone() {
    let world = reliable();
    world.cloud.fail_next(Operation::Create, Fault::NoCapacity);
    for _ in 0..2 {
        let dry = world.provider.create(&request("north", 1)).await;
        assert!(
            matches!(dry, Err(ProviderError::InsufficientCapacity { .. })),
            "{dry:?}"
        );
    }
    world.pass(30_000).await;
    world.make(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_token_makes_a_second_machine_once_the_first_is_gone() {
    let world = reliable();
    let first = world.make(1).await;
    world.pass(24 * 3_600_000).await;
    let named = world.provider.create(&request("north", 1)).await;
    assert!(
        matches!(named, Err(ProviderError::Conflict { .. })),
        "the name still protects: {named:?}"
    );
    world.delete(&first).await.unwrap();
    world.pass(1_000).await;
    assert_ne!(world.make(1).await, first);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_hides_what_was_done_and_a_lost_request_hides_nothing() {
    let world = reliable();
    world.cloud.fail_next(Operation::Create, Fault::LostRequest);
    let lost = world.provider.create(&request("north", 1)).await;
    assert!(matches!(lost, Err(ProviderError::OutcomeUnknown { .. })), "{lost:?}");
    assert_eq!(world.cloud.machines().len(), 0);

    world.cloud.fail_next(Operation::Create, Fault::LostAnswer);
    let lost = world.provider.create(&request("north", 1)).await;
    assert!(matches!(lost, Err(ProviderError::OutcomeUnknown { .. })), "{lost:?}");
    assert_eq!(world.cloud.machines().len(), 1);
    assert_eq!(world.make(1).await, world.cloud.machines()[0].handle);
    assert_eq!(world.cloud.counters().replays, 1);
}

#[tokio::test(start_paused = true)]
async fn a_late_request_arrives_after_its_caller_gave_up() {
    let world = reliable();
    world.cloud.fail_next(Operation::Create, Fault::LateRequest);
    let lost = world.provider.create(&request("north", 1)).await;
    assert!(matches!(lost, Err(ProviderError::OutcomeUnknown { .. })), "{lost:?}");
    assert_eq!(world.cloud.machines().len(), 0, "not there when the caller gave up");
    assert_eq!(world.cloud.events().next().await.change, MachineChange::Made);
    assert_eq!(world.cloud.machines().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_hidden_machine_is_there_and_nobody_sees_it() {
    let world = reliable();
    world.cloud.set_faults(FaultRates {
        late_visibility: 1000,
        ..FaultRates::none()
    });
    let handle = world.make(1).await;
    assert_eq!(
        world.provider.get(&site("north"), &handle).await,
        Err(ProviderError::NotFound)
    );
    assert_eq!(world.delete(&handle).await, Err(ProviderError::NotFound));
    assert_eq!(world.cloud.machines().len(), 1);
    world.pass(world.provider.capabilities().visibility_delay_max_ms).await;
    world.provider.get(&site("north"), &handle).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_shows_a_machine_that_is_gone() {
    let world = reliable();
    let handle = world.make(1).await;
    world.pass(60_000).await;
    world.cloud.remove(&handle);
    world.cloud.fail_next(Operation::Get, Fault::StaleRead);
    let past = world.provider.get(&site("north"), &handle).await.unwrap();
    assert_eq!(past.status, ResourceStatus::Running);
    assert_eq!(
        world.provider.get(&site("north"), &handle).await,
        Err(ProviderError::NotFound)
    );
}

#[tokio::test(start_paused = true)]
async fn a_handle_is_of_its_region() {
    let world = reliable();
    let handle = world.make(1).await;
    assert_eq!(
        world.provider.get(&site("south"), &handle).await,
        Err(ProviderError::NotFound)
    );
    let nowhere = world.provider.catalog(&site("east")).await;
    assert!(matches!(nowhere, Err(ProviderError::InvalidSpec { .. })), "{nowhere:?}");
}

#[tokio::test(start_paused = true)]
async fn a_foreign_machine_has_no_tags_and_is_in_no_list() {
    let world = reliable();
    let handle = world.cloud.add_foreign("north", "someone-s").unwrap();
    assert_eq!(world.provider.get(&site("north"), &handle).await.unwrap().tags, None);
    let listing = world
        .provider
        .list(&site("north"), ResourceKind::Machine, &owner(), None)
        .await
        .unwrap();
    assert_eq!(listing.items, vec![]);
    let mut clash = request("north", 1);
    clash.name = "someone-s".to_owned();
    let named = world.provider.create(&clash).await;
    assert!(matches!(named, Err(ProviderError::Conflict { .. })), "{named:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stopped_machine_is_billed_until_it_is_gone() {
    let world = reliable();
    let handle = world.make(1).await;
    world.cloud.kill(&handle);
    world.pass(2 * 3_600_000).await;
    assert_eq!(world.cloud.bill_micro_usd(), 2 * 10_000, "two hours of sim.small");
    world.cloud.remove(&handle);
    world.pass(24 * 3_600_000).await;
    assert_eq!(world.cloud.bill_micro_usd(), 2 * 10_000);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_machines_are_listed_in_pages_in_order() {
    let world = reliable();
    for number in 0..10_000 {
        world.make(number).await;
    }
    let (mut page, mut sizes, mut handles) = (None, vec![], vec![]);
    loop {
        let listing = world
            .provider
            .list(&site("north"), ResourceKind::Machine, &owner(), page)
            .await
            .unwrap();
        sizes.push(listing.items.len());
        handles.extend(listing.items.into_iter().map(|state| state.handle));
        page = listing.next;
        if page.is_none() {
            break;
        }
    }
    assert_eq!(sizes, [1_000; 10]);
    assert!(handles.is_sorted_by(|a, b| a < b));
}

/// One hostile afternoon: 300 machines asked for, one every 2 s, and half of them deleted, each call sent once.
async fn hostile_run(seed: u64) -> (Vec<MachineEvent>, BTreeMap<Fault, u64>) {
    let world = world(SimConfig::of_regions(seed, &["north"]).with_faults(FaultRates::hostile().littering()));
    for number in 0..300 {
        world.pass(2_000).await;
        let mut request = request("north", number);
        let machine = request.spec.machine_mut().expect("a machine");
        let zone = ["north-a", "north-b", "north-c"][number as usize % 3];
        (machine.zone, machine.offering) = (Zone::new(zone), OfferingId::new(format!("sim.small@{zone}")));
        let Ok(created) = world.provider.create(&request).await else {
            continue;
        };
        let _seen = world.provider.get(&site("north"), &created.handle).await;
        if number % 2 == 0 {
            let _deleted = world.delete(&created.handle).await;
        }
    }
    world.pass(2 * 3_600_000).await;
    let counters = world.cloud.counters();
    let mut watch = world.cloud.events();
    let mut events = vec![];
    while let Ok(event) = tokio::time::timeout(Duration::from_millis(1), watch.next()).await {
        events.push(event);
    }
    (events, counters.faults)
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_run_and_meets_every_fault() {
    let first = hostile_run(11).await;
    assert_eq!(first, hostile_run(11).await);
    assert_ne!(first, hostile_run(12).await);
    for fault in Fault::ALL {
        assert!(first.1.contains_key(&fault), "{fault:?} never happened: {:?}", first.1);
    }
}

/// The parts of machines of ours, by kind, as a complete list of every kind shows them.
async fn parts_listed(world: &World) -> Vec<ResourceKind> {
    let mut kinds = Vec::new();
    for kind in [ResourceKind::Disk, ResourceKind::Interface, ResourceKind::Address] {
        let listing = world.provider.list(&site("north"), kind, &owner(), None).await.unwrap();
        kinds.extend(listing.items.iter().map(|_| kind));
    }
    kinds
}

#[tokio::test(start_paused = true)]
async fn a_machine_s_parts_carry_its_tags_and_go_with_it() {
    let world = reliable();
    let handle = world.make(1).await;
    assert_eq!(parts_listed(&world).await.len(), 3);
    assert!(world.cloud.parts().iter().all(|part| !part.loose));
    let disk = world.cloud.parts()[1].state.handle.clone();
    assert!(matches!(world.delete(&disk).await, Err(ProviderError::Conflict { .. })));
    world.delete(&handle).await.unwrap();
    world.pass(2_000).await;
    assert_eq!(parts_listed(&world).await, []);
    assert!(matches!(world.delete(&disk).await, Err(ProviderError::NotFound)));
}

#[tokio::test(start_paused = true)]
async fn what_a_deletion_leaves_behind_is_listed_billed_and_can_be_deleted() {
    let world = reliable();
    let handle = world.make(1).await;
    world.cloud.fail_next(Operation::Delete, Fault::LeftBehind);
    world.delete(&handle).await.unwrap();
    world.pass(2_000).await;
    let left = world.cloud.parts();
    assert_eq!(left.len(), 1);
    assert_eq!(parts_listed(&world).await, [left[0].kind]);
    let before = world.cloud.bill_micro_usd();
    world.pass(3_600_000).await;
    let billed = world.cloud.bill_micro_usd() - before;
    assert!((billed - i128::from(PART_PRICE_MICRO_USD_HOUR)).abs() <= 1, "{billed}");
    world.delete(&left[0].state.handle).await.unwrap();
    world.pass(2_000).await;
    assert_eq!(parts_listed(&world).await, []);
    assert_eq!(world.cloud.counters().of(Fault::LeftBehind), 1);
}

#[tokio::test(start_paused = true)]
async fn a_create_that_ends_half_way_leaves_parts_or_a_machine_that_never_runs() {
    let (mut without_machine, mut without_disk) = (0, 0);
    for seed in 0..20 {
        let world = world(SimConfig::of_regions(seed, &["north", "south"]));
        world.cloud.fail_next(Operation::Create, Fault::PartialCreate);
        let made = world.provider.create(&request("north", 1)).await;
        world.pass(600_000).await;
        match made {
            Ok(created) => {
                let machine = world.cloud.machine(&created.handle).unwrap();
                assert_eq!(machine.state.status, ResourceStatus::Pending);
                assert!(world.cloud.parts().iter().all(|part| part.kind != ResourceKind::Disk));
                without_disk += 1;
            }
            Err(ProviderError::Unavailable { .. }) => {
                assert_eq!(world.cloud.machines().len(), 0);
                assert!(world.cloud.parts().iter().all(|part| part.loose));
                world.make(1).await;
                assert_eq!(world.cloud.parts().len(), 3, "the second try takes them up");
                assert!(world.cloud.parts().iter().all(|part| !part.loose));
                without_machine += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(without_machine > 0 && without_disk > 0);
}
