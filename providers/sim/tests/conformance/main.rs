//! The simulated cloud passes the suite of all providers: on a good day as it is, on bad ones behind the decorators.
//! And the suite finds what is wrong: each of its cases fails for some flawed provider.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

mod bed;
mod flaws;

use std::collections::BTreeSet;
use std::sync::Arc;

use isobar_engine_provider::{conformance, decorate};
use isobar_providers_sim::{Fault, FaultRates, SeededEntropy};

use bed::SimBed;

#[tokio::test(start_paused = true)]
async fn a_reliable_cloud_conforms() {
    let bed = SimBed::new(1, FaultRates::none(), |provider, _, _| Arc::new(provider));
    conformance::run(&bed)
        .await
        .unwrap_or_else(|failures| panic!("{failures}"));
    assert_eq!(bed.cloud.machines().len(), 0, "the suite leaves nothing behind");
}

#[tokio::test(start_paused = true)]
async fn a_rough_cloud_conforms_behind_the_decorators() {
    let mut met = BTreeSet::new();
    for seed in 0..20 {
        let bed = SimBed::new(seed, FaultRates::rough(), move |provider, _, clock| {
            decorate::standard(Arc::new(provider), clock, Arc::new(SeededEntropy::new(seed)))
        });
        conformance::run(&bed)
            .await
            .unwrap_or_else(|failures| panic!("seed {seed}: {failures}"));
        assert_eq!(
            bed.cloud.machines().len(),
            0,
            "seed {seed}: the suite leaves nothing behind"
        );
        met.extend(bed.cloud.counters().faults.into_keys());
    }
    let off = [
        Fault::Unauthorized,
        Fault::NoCapacity,
        Fault::OverQuota,
        Fault::Death,
        Fault::PartialCreate,
        Fault::LeftBehind,
    ];
    let wanted: BTreeSet<_> = Fault::ALL.into_iter().filter(|fault| !off.contains(fault)).collect();
    assert_eq!(met, wanted, "every kind that a rough cloud draws happened in 20 seeds");
}
