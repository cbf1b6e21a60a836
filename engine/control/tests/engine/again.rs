//! Applying a plan again, while and after the engine forgets.

use std::time::Duration;

use isobar_engine_control::Bounds;
use isobar_engine_control::api::{ApplyRequest, ErrorCode, OperationGet};

use crate::support::{Running, authority};

const PLAN_VALID: Duration = Duration::from_secs(600);

#[tokio::test(start_paused = true)]
async fn a_plan_gives_the_same_operation_for_as_long_as_it_may_be_applied() {
    let bounds = Bounds {
        plan_valid_ms: u64::try_from(PLAN_VALID.as_millis()).unwrap(),
        plan_kept_ms: 0,
        operations_kept: 0,
        ..Bounds::default()
    };
    let running = Running::start("again", authority("again"), bounds).await;
    let begun = tokio::time::Instant::now();
    // No machine: it is done at once.
    let first = running.deploy("shop", 0).await.operation;
    let apply = async || {
        let request = ApplyRequest {
            plan: first.plan.clone(),
            idempotency_key: "another".into(),
            why: None,
        };
        running.engine("shop").await.apply(request).await
    };
    let get = async || {
        let request = OperationGet {
            operation: first.id.clone(),
            seen: None,
            wait_ms: None,
        };
        running.engine("shop").await.operation_get(request).await
    };
    tokio::time::sleep_until(begun + PLAN_VALID - Duration::from_millis(100)).await;
    assert!(get().await.unwrap().operation.state.is_final());
    assert_eq!(apply().await.unwrap().operation.id, first.id);

    tokio::time::sleep_until(begun + PLAN_VALID + Duration::from_secs(10)).await;
    assert_eq!(get().await.unwrap_err().code, ErrorCode::NotFound);
    assert_eq!(apply().await.unwrap_err().code, ErrorCode::NotFound);
    running.fleet.shutdown().await;
}
