//! The metadata service of one guest, as its cloud's documentation has it: what the machine was given at birth, and, only
//! where it has an identity, credentials that count in the emulated cloud. Used by guests, and by tests that stand in for one.

mod aws;
mod azure;
mod gcp;

use std::io;
use std::sync::Arc;

use axum::http::HeaderMap;
use isobar_tests_clouds::machines::Machines;
use isobar_tests_clouds::world::Cloud;
use tokio::net::TcpListener;

/// What a machine was given at birth.
#[derive(Clone)]
pub struct Born {
    /// As the call that made the machine had it, less the cloud's own encoding.
    pub user_data: Vec<u8>,
    /// As what its programs may call the cloud, in the cloud's words: an instance profile, a managed identity, a service
    /// account.
    pub identity: Option<String>,
    /// The cloud's machines, which it is one of.
    pub machines: Machines,
}

/// Serves it on a port of loopback, for as long as the future is polled.
pub async fn serve(born: Born) -> io::Result<(u16, impl Future<Output = ()> + Send)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let born = Arc::new(born);
    let routes = match born.machines.cloud() {
        Cloud::Aws => aws::routes(born),
        Cloud::Azure => azure::routes(born),
        Cloud::Gcp => gcp::routes(born),
    };
    Ok((port, async move {
        // It ends with its guest.
        let _ended = axum::serve(listener, routes).await;
    }))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}

/// No cloud's service answers whoever came through a proxy.
fn came_through_a_proxy(headers: &HeaderMap) -> bool {
    headers.contains_key("x-forwarded-for")
}
