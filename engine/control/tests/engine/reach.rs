//! Nothing is bought for nodes that would not find an engine of this store.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use isobar_engine_control::Bounds;
use isobar_engine_control::api::{ApiError, ErrorCode};
use isobar_engine_model::id::ProviderId;
use tokio::net::{TcpListener, TcpSocket};

use crate::strangers::Nobody;
use crate::support::{Running, authority, eventually};

/// A port of ours at which nobody listens yet.
fn closed() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// An engine that tells nodes this address and has to prove it before it buys at a provider.
async fn engine_at(address: SocketAddr, store: &str, provider: &str) -> Running {
    let proven_for = BTreeSet::from([ProviderId::new(provider).unwrap()]);
    Running::start_at(
        &address.to_string(),
        store,
        authority(store),
        Bounds::default(),
        proven_for,
    )
    .await
}

fn serve(running: &Running, listener: TcpListener) {
    tokio::spawn(running.fleet.clone().serve_nodes(listener, Arc::new(Nobody)));
}

async fn buys(running: &Running) {
    eventually("a machine", async || running.cloud.machines().pop()).await;
}

fn is_refused(error: &ApiError, running: &Running, address: SocketAddr) {
    assert_eq!(error.code, ErrorCode::Refused, "{error:?}");
    assert!(error.message.contains(&address.to_string()), "{error:?}");
    let hint = error.hint.as_deref().unwrap();
    for option in ["--advertise", "--unproven-address"] {
        assert!(hint.contains(option), "{hint}");
    }
    assert!(running.cloud.machines().is_empty(), "a machine was bought");
}

#[tokio::test]
async fn a_plan_is_refused_until_its_nodes_would_find_the_engine() {
    let (socket, address) = closed();
    let running = engine_at(address, "one", "sim").await;
    let plan = running.plan("shop", 1).await.plan.id;
    let refused = running.apply("shop", plan.clone()).await.unwrap_err();
    is_refused(&refused, &running, address);

    serve(&running, socket.listen(8).unwrap());
    let accepted = running.apply("shop", plan.clone()).await.unwrap();
    buys(&running).await;
    let again = running.apply("shop", plan).await.unwrap();
    assert_eq!(again.operation.id, accepted.operation.id);
}

#[tokio::test]
async fn an_engine_of_another_store_is_no_proof() {
    let other = Running::start("other", authority("other"), Bounds::default()).await;
    let (socket, address) = closed();
    serve(&other, socket.listen(8).unwrap());
    let running = engine_at(address, "one", "sim").await;
    let plan = running.plan("shop", 1).await.plan.id;
    let refused = running.apply("shop", plan).await.unwrap_err();
    is_refused(&refused, &running, address);
}

#[tokio::test]
async fn machines_of_other_providers_need_no_proof() {
    let (_socket, address) = closed();
    let running = engine_at(address, "one", "elsewhere").await;
    running.deploy("shop", 1).await;
    buys(&running).await;
}
