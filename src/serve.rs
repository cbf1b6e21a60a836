//! `isobar serve`: one engine on a data folder, its MCP server and its node endpoint, until a signal. Also how an engine runs
//! on a machine that was bought for it, and the short-lived one that buys it.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use isobar_engine_control::{Births, Fleet};
use isobar_mcp::Server;
use isobar_mcp::claim::Derived;
use isobar_mcp::claim::door::Proof;
use isobar_mcp::folder::DataFolder;
use isobar_mcp::http::{self, Door, TlsDoor};
use isobar_mcp::terraform;
use isobar_mcp::tls::TlsListener;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::cli;
use crate::copies::Place;
use crate::exit::{Complaint, Exit};
use crate::output::{HEAD, Output};
use crate::{spread, wire};

/// How a caller on this computer can name it.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// What others say at every request, unless it is asked for by name.
const QUIET: &str = "rmcp=warn,sea_orm_migration=warn,sqlx=warn";

/// What an engine is besides what its command line says.
#[derive(Debug, Default)]
pub(crate) struct Special {
    /// As what the machines that it buys are born.
    pub(crate) births: Births,
    /// By what the one on a machine that was bought shows itself to its owner.
    pub(crate) bought: Option<Derived>,
    /// Hosts under which callers know it, besides those that nodes are told.
    pub(crate) hosts: Vec<String>,
}

/// Where an engine listens.
#[derive(Debug, Serialize)]
pub(crate) struct Listening {
    /// The URL of its MCP.
    pub(crate) mcp: String,
    /// Where its nodes call home.
    pub(crate) nodes: SocketAddr,
    /// Its data folder.
    pub(crate) data: PathBuf,
}

/// Runs an engine until SIGINT or SIGTERM.
pub(crate) async fn serve(folder: DataFolder, args: cli::Serve, output: &Output) -> Result<Exit> {
    log(&args.log)?;
    let announce = |listening: &Listening| {
        output.result(listening, || {
            format!(
                "{HEAD}isobar {}{HEAD:#}\n  MCP    {} (token: {})\n  nodes  {}\n  data   {}",
                env!("CARGO_PKG_VERSION"),
                listening.mcp,
                listening.data.join("token").display(),
                listening.nodes,
                listening.data.display(),
            )
        })?;
        Ok(())
    };
    run(folder, (args, Special::default()), announce, stop_signal()).await?;
    Ok(Exit::Done)
}

/// Runs an engine until something stops it, by name.
pub(crate) async fn run(
    folder: DataFolder,
    (args, special): (cli::Serve, Special),
    announce: impl FnOnce(&Listening) -> Result<()>,
    stopped: impl Future<Output = io::Result<&'static str>>,
) -> Result<()> {
    if args.listen.ip().is_unspecified() && args.advertise.is_empty() {
        return Err(Complaint::new(
            Exit::Usage,
            format!("--listen {} names no host that callers could know it by", args.listen),
        )
        .hint("name one with --advertise HOST:PORT, or listen on one address")
        .into());
    }
    let ring = args.spread.as_deref().map(spread::server).transpose()?;
    folder.make()?;
    // The folder's lock comes first: a second engine hears of it, not of a port in use.
    let store = wire::store(&folder, args.store.as_deref()).await?;
    let mcp = bind(args.listen, "--listen").await?;
    let nodes = bind(args.node_listen, "--node-listen").await?;
    let node_address = nodes.local_addr()?;
    let token = folder.token_or_new()?;
    let fleet = wire::fleet(&folder, (&args, &special), store, node_address).await?;
    let spreading = ring.map(|ring| spread::start(ring, fleet.clone()));

    let door = open_door(mcp, &fleet, &folder, (&args, &special))?;
    let mcp_url = door.url()?;
    folder.publish_endpoint(&mcp_url)?;
    announce(&Listening {
        mcp: mcp_url.clone(),
        nodes: node_address,
        data: folder.path().to_owned(),
    })?;
    let stop = CancellationToken::new();
    let beside = http::Beside {
        rules: terraform::Rules {
            force_unlock: args.terraform_force_unlock,
        },
        copies: Arc::new(Place {
            folder: folder.clone(),
            database: args.store.clone(),
        }),
    };
    let server = Server::new(fleet.clone());
    let mut node_endpoint = tokio::spawn(fleet.clone().serve_nodes(nodes, Arc::new(server.clone())));
    let mut mcp_endpoint = tokio::spawn({
        let stop = stop.clone();
        async move { http::serve(server, beside, door, &token, stop).await }
    });
    let result = tokio::select! {
        biased;
        signal = stopped => signal.context("wait for a signal").map(|name| tracing::info!(signal = name, "stopping")),
        ended = &mut node_endpoint => early(ended, "the node endpoint"),
        ended = &mut mcp_endpoint => early(ended, "the MCP endpoint"),
    };
    folder.withdraw_endpoint(&mcp_url)?;
    stop.cancel();
    if let Some(spreading) = spreading {
        spreading.stop().await;
    }
    shut_down(&fleet).await;
    if !mcp_endpoint.is_finished() {
        // Who asked for something gets an answer, within the server's own grace.
        let _ended = mcp_endpoint.await;
    }
    result
}

/// How MCP is served: in clear on loopback, else over TLS, by the store's own authority.
fn open_door(
    listener: TcpListener,
    fleet: &Fleet,
    folder: &DataFolder,
    (args, special): (&cli::Serve, &Special),
) -> Result<Door> {
    let address = listener.local_addr()?.ip();
    if address.is_loopback() {
        return Ok(Door::Plain(listener));
    }
    let mut hosts: Vec<String> = LOOPBACK.map(str::to_owned).into();
    if !address.is_unspecified() {
        hosts.push(address.to_string());
    }
    let advertised = args.advertise.iter().filter_map(|address| address.rsplit_once(':'));
    hosts.extend(advertised.map(|(host, _)| host.trim_matches(['[', ']']).to_owned()));
    hosts.extend(special.hosts.iter().cloned());
    let identity = fleet.mcp_identity(&hosts)?;
    folder.publish_authority(&identity.authority_pem)?;
    let open = match &special.bought {
        Some(derived) => Some(Proof::of(derived, &identity)?),
        None => None,
    };
    Ok(Door::Tls(TlsDoor {
        listener: TlsListener::start(listener, &identity)?,
        hosts,
        open,
    }))
}

/// Stops the engines; a second signal means at once. What is committed stays either way.
async fn shut_down(fleet: &Arc<Fleet>) {
    tokio::select! {
        biased;
        () = fleet.shutdown() => {}
        _ = stop_signal() => tracing::warn!("stopped at once; the next engine goes on from what is committed"),
    }
}

pub(crate) async fn bind(address: SocketAddr, option: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let complaint = Complaint::new(Exit::Refused, format!("listen on {address} ({option})"));
        let complaint = if error.kind() == io::ErrorKind::AddrInUse {
            complaint.hint(format!(
                "another program has that port: stop it, or give another one with {option} HOST:PORT"
            ))
        } else {
            complaint
        };
        complaint.because(error).into()
    })
}

/// SIGINT or SIGTERM, by name.
pub(crate) async fn stop_signal() -> io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        biased;
        pressed = tokio::signal::ctrl_c() => pressed.map(|()| "SIGINT"),
        _ = terminate.recv() => Ok("SIGTERM"),
    }
}

fn early<E>(ended: Result<Result<(), E>, tokio::task::JoinError>, what: &'static str) -> Result<()>
where
    E: std::error::Error + Send + Sync + 'static,
{
    match ended {
        Ok(Ok(())) => Err(anyhow::anyhow!("{what} ended early")),
        Ok(Err(error)) => Err(anyhow::Error::new(error).context(what)),
        Err(error) => Err(anyhow::Error::new(error).context(what)),
    }
}

pub(crate) fn log(filter: &str) -> Result<()> {
    let filter = EnvFilter::try_new(format!("{QUIET},{filter}")).map_err(|error| {
        Complaint::new(Exit::Usage, format!("--log {filter}"))
            .hint("give a level (info, debug) or `tracing` directives")
            .because(error)
    })?;
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colours)
        .init();
    Ok(())
}
