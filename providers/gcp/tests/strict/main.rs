//! The provider against a strict Compute Engine: the suite of all providers on good days and on bad ones, and what Google's
//! cloud alone asks for.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

mod access;
mod adoption;
mod bed;
mod extras;
mod facts;
mod networks;
mod told;

use std::collections::BTreeSet;
use std::sync::Arc;

use isobar_engine_provider::conformance;
use isobar_engine_provider::decorate::{Retry, RetryBounds};
use isobar_providers_sim::{Fault, FaultRates, SeededEntropy};

use bed::GcpBed;

#[tokio::test]
async fn a_strict_cloud_conforms() {
    let bed = GcpBed::plain().await;
    conformance::run(&bed)
        .await
        .unwrap_or_else(|failures| panic!("{failures}"));
    assert_eq!(bed.cloud.machines().len(), 0, "the suite leaves nothing behind");
    assert_eq!(bed.cloud.parts().len(), 0, "and no part of a machine");
    assert_eq!(bed.gcp.faults(), Vec::<String>::new());
}

#[tokio::test]
async fn a_rough_cloud_conforms_behind_the_retries() {
    let mut met = BTreeSet::new();
    for seed in 0..6 {
        let bed = GcpBed::new(seed, FaultRates::rough(), move |provider, clock| {
            let entropy = Arc::new(SeededEntropy::new(seed));
            Arc::new(Retry::around(
                Arc::new(provider),
                clock,
                entropy,
                RetryBounds::default(),
            ))
        })
        .await;
        conformance::run(&bed)
            .await
            .unwrap_or_else(|failures| panic!("seed {seed}: {failures}"));
        assert_eq!(bed.cloud.machines().len(), 0, "seed {seed}");
        met.extend(bed.cloud.counters().faults.into_keys());
    }
    for fault in [
        Fault::Refused,
        Fault::LostRequest,
        Fault::LostAnswer,
        Fault::LateRequest,
        Fault::Throttled,
    ] {
        assert!(met.contains(&fault), "{fault:?} never happened: {met:?}");
    }
}
