//! The engine of this computer that buys the other one's machine: it lives as long as somebody works with it.

use std::io;
use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use isobar_engine_control::Births;
use isobar_mcp::client::Client;
use isobar_mcp::folder::DataFolder;
use tokio::sync::oneshot;

use crate::cli;
use crate::exit::Exit;
use crate::serve::{self, Special};

/// Runs it around some work with it. What it had begun when it was stopped last, it goes on with.
pub(super) async fn with(
    folder: &DataFolder,
    births: Births,
    allowed_endpoints: &[String],
    work: impl AsyncFnOnce(Client) -> Result<Exit>,
) -> Result<Exit> {
    let (ready, is_ready) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let special = Special {
        births,
        ..Special::default()
    };
    let announce = move |_: &serve::Listening| {
        let _gone = ready.send(());
        Ok(())
    };
    let stopped = async move {
        let _dropped = stopped.await;
        io::Result::Ok("its work is done")
    };
    let running = serve::run(folder.clone(), (serving(allowed_endpoints), special), announce, stopped);
    let working = async {
        is_ready.await.context("the engine that buys did not start")?;
        let worked = match Client::connect(folder).await {
            Ok(client) => work(client).await,
            Err(error) => Err(error.into()),
        };
        drop(stop);
        worked
    };
    let (ran, worked) = tokio::join!(running, working);
    // Why it did not start says more than that it did not.
    ran?;
    worked
}

/// Nothing reaches it but this command: what it buys does not call.
fn serving(allowed_endpoints: &[String]) -> cli::Serve {
    let somewhere = (Ipv4Addr::LOCALHOST, 0).into();
    cli::Serve {
        listen: somewhere,
        node_listen: somewhere,
        advertise: Vec::new(),
        unproven_address: true,
        image: None,
        store: None,
        spread: None,
        key_file: None,
        machines: None,
        insecure_registries: Vec::new(),
        allowed_endpoints: allowed_endpoints.to_vec(),
        terraform_force_unlock: false,
        log: String::new(),
    }
}
