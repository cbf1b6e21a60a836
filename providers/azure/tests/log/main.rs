//! What is logged of a create. By itself: who is logged to is settled for a whole process at a line's first use.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

#[path = "../strict/bed.rs"]
mod bed;

use std::sync::Arc;

use isobar_engine_provider::conformance::{Heard, TestBed};
use isobar_engine_provider::decorate;
use isobar_providers_sim::SeededEntropy;

use bed::AzureBed;

#[tokio::test(start_paused = true)]
async fn no_log_of_a_create_shows_the_identity_or_the_token() {
    let log = Heard::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::TRACE);
    let subscriber = subscriber.with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL);
    let _logging = tracing::subscriber::set_default(subscriber.with_writer(move || writer.clone()).finish());
    let bed = AzureBed::plain().await;
    let provider = decorate::standard(bed.provider(), bed.clock(), Arc::new(SeededEntropy::new(1)));
    provider.create(&bed.request(1)).await.unwrap();
    let logged = log.text();
    assert!(logged.contains("create"), "something was logged: {logged}");
    for secret in ["a join token", "YSBqb2luIHRva2Vu", isobar_tests_clouds::azure::TOKEN] {
        assert!(!logged.contains(secret), "{secret} is in {logged}");
    }
}
