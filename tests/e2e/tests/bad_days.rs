//! What clouds do on bad days, to a cluster over all three, by the real command over the wire.

use std::time::Duration;

use isobar_tests_clouds::world::Cloud;
use isobar_tests_e2e::emulated::Emulated;
use isobar_tests_e2e::shop::{apply, everywhere};
use isobar_tests_e2e::wait::within;

/// A machine that a cloud has lost is noticed and replaced within this.
const HEALED_MAX: Duration = Duration::from_secs(180);

#[test]
fn a_token_that_counts_no_more_in_the_middle_is_renewed() {
    let (clouds, engine) = Emulated::with_engine();
    apply(&engine, &everywhere(&clouds.sites(), 1, 3));
    clouds.world.expire_credentials();
    apply(&engine, &everywhere(&clouds.sites(), 2, 6));
    assert_eq!(clouds.machines(), [2, 2, 2]);
}

#[test]
fn a_machine_that_somebody_deletes_by_hand_is_replaced() {
    let (clouds, engine) = Emulated::with_engine();
    apply(&engine, &everywhere(&clouds.sites(), 1, 3));
    for cloud in Cloud::ALL {
        let machine = clouds.world.cloud(cloud).machines().remove(0);
        clouds.world.cloud(cloud).remove(&machine.handle);
    }
    within(HEALED_MAX, "every machine is replaced", || {
        let healthy = clouds.healthy(&engine);
        let whole = clouds.machines() == [1, 1, 1] && healthy == [1, 1, 1];
        let found = (healthy, clouds.machines());
        if whole { Ok(()) } else { Err(format!("{found:?}")) }
    });
    within(HEALED_MAX, "the last healing has ended, and all is destroyed", || {
        let destroyed = engine.run(&["destroy", "shop", "--yes"]);
        if destroyed.code == Some(0) {
            Ok(())
        } else {
            Err(destroyed.stderr)
        }
    });
    clouds.are_empty();
}
