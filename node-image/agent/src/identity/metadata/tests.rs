//! Each cloud's service as its documentation has it, and what else may answer in its place.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::routing::{any, get, put};

use super::*;

const IDENTITY: &str = r#"{"engines":["h:1"]}"#;

async fn served(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    service
}

fn has(headers: &HeaderMap, name: &str, value: &str) -> bool {
    headers.get(name).is_some_and(|found| found == value)
}

/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html>: no data without a session.
fn aws() -> Router {
    Router::new()
        .route(
            "/latest/api/token",
            put(
                async |headers: HeaderMap| match has(&headers, "X-aws-ec2-metadata-token-ttl-seconds", "60") {
                    true => Ok("session"),
                    false => Err(StatusCode::BAD_REQUEST),
                },
            ),
        )
        .route(
            "/latest/user-data",
            get(
                async |headers: HeaderMap| match has(&headers, "X-aws-ec2-metadata-token", "session") {
                    true => Ok(IDENTITY),
                    false => Err(StatusCode::UNAUTHORIZED),
                },
            ),
        )
}

/// <https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service>: user data is base64.
fn azure() -> Router {
    Router::new().route(
        "/metadata/instance/compute/userData",
        get(async |headers: HeaderMap| match has(&headers, "Metadata", "true") {
            true => Ok(STANDARD.encode(IDENTITY)),
            false => Err(StatusCode::BAD_REQUEST),
        }),
    )
}

/// <https://cloud.google.com/compute/docs/metadata/querying-metadata>: question and answer have the flavour.
fn gcp() -> Router {
    Router::new().route(
        "/computeMetadata/v1/instance/attributes/isobar-identity",
        get(
            async |headers: HeaderMap| match has(&headers, "Metadata-Flavor", "Google") {
                true => Ok(([("Metadata-Flavor", "Google")], IDENTITY)),
                false => Err(StatusCode::FORBIDDEN),
            },
        ),
    )
}

#[tokio::test]
async fn every_cloud_gives_the_bytes_that_were_put_there() {
    for (cloud, router) in [(Cloud::Aws, aws()), (Cloud::Azure, azure()), (Cloud::Gcp, gcp())] {
        let read = cloud.identity(&served(router).await).await.unwrap();
        assert_eq!(read, IDENTITY.as_bytes(), "{cloud:?}");
    }
}

#[tokio::test]
async fn a_service_that_comes_up_late_is_waited_for() {
    let asked = Arc::new(AtomicU32::new(0));
    let (late, count) = (asked.clone(), asked.clone());
    let busy = move |request: axum::extract::Request, next: axum::middleware::Next| {
        let asked = late.fetch_add(1, Ordering::SeqCst);
        async move {
            match asked {
                0 | 1 => StatusCode::SERVICE_UNAVAILABLE.into_response(),
                _ => next.run(request).await,
            }
        }
    };
    let service = served(gcp().layer(axum::middleware::from_fn(busy))).await;
    assert!(Cloud::Gcp.identity(&service).await.is_ok());
    assert_eq!(count.load(Ordering::SeqCst), 3);
}

async fn refusal(cloud: Cloud, router: Router) -> String {
    let error = cloud.identity(&served(router).await).await.expect_err("no identity");
    crate::chain(&error)
}

#[tokio::test]
async fn a_machine_without_an_identity_says_so_at_once() {
    let why = refusal(Cloud::Aws, Router::new()).await;
    assert!(why.contains("404") && why.contains("given no identity"), "{why}");
}

#[tokio::test]
async fn whatever_answers_elsewhere_is_not_believed() {
    let flat = Router::new().route("/{*path}", any(async || IDENTITY));
    let why = refusal(Cloud::Gcp, flat.clone()).await;
    assert!(why.contains("not the metadata service"), "{why}");
    let why = refusal(Cloud::Azure, flat).await;
    assert!(why.contains("cannot be read"), "{why}");
    let elsewhere = Router::new().route(
        "/{*path}",
        any(async || axum::response::Redirect::temporary("http://192.0.2.1/")),
    );
    let why = refusal(Cloud::Gcp, elsewhere).await;
    assert!(why.contains("307"), "{why}");
    let endless = Router::new().route("/{*path}", any(async || "x".repeat(1 << 20)));
    let why = refusal(Cloud::Aws, endless).await;
    assert!(why.contains("cannot be read"), "{why}");
}
