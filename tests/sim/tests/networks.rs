//! What machines need around them: made once before the first, shared by all, removed after the last, in the order that the
//! cloud allows; made anew where somebody has removed it; and where it cannot be made, machines go elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use isobar_engine_control::api::QueryWhat;
use isobar_engine_model::intent::Intent;
use isobar_engine_model::operation::OperationState;
use isobar_engine_provider::ResourceKind;
use isobar_providers_sim::{Fault, Operation, SimConfig};
use isobar_tests_sim::World;
use isobar_tests_sim::life::Life;
use isobar_tests_sim::shop::Stall;
use isobar_tests_sim::world::Setup;

const ALL: [ResourceKind; 4] = [
    ResourceKind::Network,
    ResourceKind::Gateway,
    ResourceKind::Subnet,
    ResourceKind::Firewall,
];

fn open() -> World {
    let mut cloud = SimConfig::of_regions(7, &["north", "south"]);
    cloud.network = ALL.to_vec();
    World::open(Setup::of(cloud))
}

/// How many parts of each kind there are in each region.
fn parts(world: &World) -> BTreeMap<(String, ResourceKind), usize> {
    let mut count = BTreeMap::new();
    for part in world.cloud.networks() {
        *count.entry((part.request.site.region.clone(), part.kind)).or_default() += 1;
    }
    count
}

fn one_each(region: &str) -> BTreeMap<(String, ResourceKind), usize> {
    ALL.map(|kind| ((region.to_owned(), kind), 1)).into()
}

#[tokio::test(start_paused = true)]
async fn machines_share_what_was_made_for_the_first_of_them_and_the_last_takes_it_away() {
    let world = open();
    let engine = world.start(Life::long()).await.expect("it lives long");
    world.deploy_shop(&engine).await;
    assert!(world.cloud.machines().len() > 1, "several share it");
    assert_eq!(parts(&world), one_each("north"));
    assert_eq!(world.cloud.counters().parts_made, 4);

    let destroy = Intent::Destroy {
        cluster: Stall::Shop.cluster(),
    };
    let applied = world.apply(&engine, destroy).await.expect("it is there");
    let end = world.wait(&engine, &applied.operation.id).await;
    assert!(matches!(end, OperationState::Succeeded { .. }), "{end:?}");
    assert_eq!(parts(&world), BTreeMap::new());
}

#[tokio::test(start_paused = true)]
async fn what_somebody_has_removed_is_made_anew_before_the_next_machine() {
    let world = open();
    let engine = world.start(Life::long()).await.expect("it lives long");
    world.deploy_shop(&engine).await;
    let firewall = world
        .cloud
        .networks()
        .into_iter()
        .find(|part| part.kind == ResourceKind::Firewall);
    world.cloud.remove_network(&firewall.expect("it was made").state.handle);
    let machine = world.cloud.machines().remove(0);
    world.cloud.remove(&machine.handle);

    world.converge(&engine, &Stall::Shop.cluster()).await;
    assert_eq!(parts(&world), one_each("north"));
    assert_eq!(world.cloud.counters().parts_made, 5);
}

#[tokio::test(start_paused = true)]
async fn where_no_network_may_be_made_it_is_the_next_candidate_s_turn_and_the_events_say_why() {
    let world = open();
    world.cloud.fail_next(Operation::Create, Fault::OverQuota);
    let engine = world.start(Life::long()).await.expect("it lives long");
    world.deploy_shop(&engine).await;
    let zones: BTreeSet<String> = world
        .cloud
        .machines()
        .iter()
        .map(|machine| machine.zone.to_string())
        .collect();
    assert_eq!(zones, BTreeSet::from(["north-b".to_owned()]));
    assert_eq!(parts(&world), one_each("north"));
    let answer = world.query(&engine, &Stall::Shop.cluster(), QueryWhat::Events).await;
    let events = answer.events.expect("events");
    let told = events
        .iter()
        .any(|event| event.what.contains("no more networks in north"));
    assert!(told, "{events:#?}");
}
