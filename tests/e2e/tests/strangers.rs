//! Machines in real clouds' words that no engine of ours made: with our tags, with another cluster's, with another
//! store's. Found or left alone over the wire as anywhere else.

use std::time::Duration;

use isobar_engine_model::id::{AttemptNo, ClusterName, MachineId, OperationId};
use isobar_engine_provider::OwnerTags;
use isobar_tests_clouds::world::Cloud;
use isobar_tests_e2e::emulated::Emulated;
use isobar_tests_e2e::engine::Engine;
use isobar_tests_e2e::shop::{CLUSTER, apply, destroy, everywhere};
use isobar_tests_e2e::wait::within;
use serde_json::Value;

/// The engine sweeps every minute; an orphan is found within this.
const FOUND_MAX: Duration = Duration::from_secs(180);
const STRANGER: &str = "isobar-shop-m-99-0";

/// The tags of a machine that the journal of their owner has no word of.
fn unheard_of(ours: &OwnerTags) -> OwnerTags {
    OwnerTags {
        machine: MachineId::new("m-99"),
        operation: OperationId::new("op-00000000c0f02a9c"),
        attempt: AttemptNo(1),
        ..ours.clone()
    }
}

/// Puts a machine of nobody's and two of somebody else's into each cloud.
fn invade(clouds: &Emulated) {
    for cloud in Cloud::ALL {
        let sim = clouds.world.cloud(cloud);
        let ours = sim.machines()[0].tags().expect("it is ours").clone();
        let nobodys = unheard_of(&ours);
        let (mut of_cluster, mut of_store) = (nobodys.clone(), nobodys.clone());
        of_cluster.owner.cluster = ClusterName::new("other").expect("a label");
        of_store.owner.store = "fedcba9876543210".to_owned();
        let wanted = [
            (STRANGER, nobodys),
            ("isobar-other-m-99-0", of_cluster),
            ("isobar-shop-m-99-1", of_store),
        ];
        for (name, tags) in wanted {
            sim.add_tagged(cloud.region(), name, tags).expect("there is room");
        }
    }
}

/// What is quarantined, as site and name.
fn quarantined(engine: &Engine) -> Vec<(String, String)> {
    let answer = engine.json(&["leaks", "--cluster", CLUSTER]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let leaks = answer["leaks"].as_array().into_iter().flatten();
    let mut found: Vec<_> = leaks
        .filter(|leak| leak["fate"]["fate"] == "quarantined")
        .map(|leak| (text(&leak["site"]), text(&leak["name"])))
        .collect();
    found.sort();
    found
}

#[test]
fn a_machine_with_our_tags_is_quarantined_and_one_with_another_s_is_left_alone() {
    let (clouds, engine) = Emulated::with_engine();
    let spec = everywhere(&clouds.sites(), 1, 3);
    apply(&engine, &spec);
    invade(&clouds);
    let wanted = Cloud::ALL.map(|cloud| (cloud.name().to_owned(), STRANGER.to_owned()));
    within(FOUND_MAX, "each cloud's is found and no other", || {
        let found = quarantined(&engine);
        if found == wanted {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    });

    // Not adopted: the cluster has what it had, and wants nothing.
    let machines = engine.json(&["query", "machines", "--cluster", CLUSTER]);
    assert_eq!(machines["machines"].as_array().map(Vec::len), Some(3), "{machines}");
    let file = engine.keep_spec(&spec.to_string());
    assert_eq!(engine.json(&["plan", &file])["converged"], true);
    assert_eq!((clouds.machines(), clouds.healthy(&engine)), ([4; 3], [1; 3]));

    // The end of the cluster is not theirs.
    destroy(&engine);
    for cloud in Cloud::ALL {
        let left = clouds.world.cloud(cloud).machines();
        let others: Vec<_> = left
            .iter()
            .filter(|machine| machine.state.name != STRANGER)
            .map(|machine| machine.state.name.as_str())
            .collect();
        assert_eq!(others, ["isobar-other-m-99-0", "isobar-shop-m-99-1"], "{cloud:?}");
    }
}
