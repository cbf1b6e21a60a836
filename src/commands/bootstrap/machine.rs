//! The machine that an engine is put on: its spec, where it is reached, whether it is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use isobar_engine_control::api::{QueryRequest, QueryWhat};
use isobar_engine_model::id::{ClusterName, PoolName};
use isobar_engine_model::observed::{Machine, MachinePhase};
use isobar_engine_model::quantity::{Mebibytes, MilliCpus};
use isobar_engine_model::spec::{MachineCount, PoolSpec, Requirements, Spec};
use isobar_mcp::client::Client;
use tokio::time::Instant;

use crate::cli;
use crate::commands::offline::read_spec;
use crate::exit::{Complaint, Exit};

/// What the buyer calls it.
const NAME: &str = "engine";
/// What an engine with some thousand machines needs, at least.
const CPU: MilliCpus = MilliCpus(1_000);
const MEMORY: Mebibytes = Mebibytes(2_048);
/// After its machine is gone, what was made around it is removed within so long.
const GONE_MAX: Duration = Duration::from_secs(600);
/// Between two looks.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// The cluster that has nothing but the engine's machine.
pub(super) fn cluster() -> ClusterName {
    ClusterName::new(NAME).expect("a name")
}

/// One machine in one site of the spec that was named.
pub(super) fn spec(args: &cli::Bootstrap) -> Result<Spec> {
    let (Some(file), Some(name)) = (&args.spec, &args.site) else {
        return Err(Complaint::new(Exit::Usage, "neither a spec nor a site is named").into());
    };
    let mut sites = read_spec(file)?.sites;
    let Some(mut site) = sites.remove(name) else {
        let known: Vec<&str> = sites.keys().map(|name| name.as_str()).collect();
        return Err(
            Complaint::new(Exit::Usage, format!("{} has no site {name}", file.display()))
                .hint(format!("its sites: {}", known.join(", ")))
                .into(),
        );
    };
    let mut set = |setting: &str, value: Option<String>| {
        if let Some(value) = value {
            site.settings.insert(setting.to_owned(), value);
        }
    };
    set("image", args.image.clone());
    set("data_disk_gib", Some(args.disk.to_string()));
    set("machine_identity", args.machine_identity.clone());
    set("public_address", args.public_address.then(|| true.to_string()));
    let pool = PoolSpec {
        sites: None,
        machines: MachineCount { min: 1, max: 1 },
        requirements: Requirements {
            cpu: Some(CPU),
            memory: Some(MEMORY),
            ..Requirements::default()
        },
    };
    Ok(Spec {
        cluster: cluster(),
        sites: BTreeMap::from([(name.clone(), site)]),
        pools: BTreeMap::from([(PoolName::new(NAME).expect("a name"), pool)]),
        workloads: BTreeMap::new(),
        adopted: BTreeMap::new(),
    })
}

/// Where the machine's ports are reached; empty: its provider has not said it yet.
pub(super) async fn endpoints(client: &Client) -> Result<BTreeMap<u16, String>> {
    let request = QueryRequest {
        what: QueryWhat::Machines,
        cluster: cluster(),
        after: None,
        limit: None,
    };
    let answer = client.query(&request).await?;
    let machines = answer.machines.unwrap_or_default();
    let is_there = |machine: &&Machine| !matches!(machine.phase, MachinePhase::Gone { .. });
    let machine = machines
        .iter()
        .find(is_there)
        .context("the engine's machine is not known")?;
    match &machine.phase {
        MachinePhase::Lost { reason, .. } => Err(Complaint::new(
            Exit::OperationFailed,
            format!("the engine's machine is lost: {reason}"),
        )
        .hint("run it again to buy another one; give --restore to bring the engine's store back")
        .into()),
        MachinePhase::Wanted { .. }
        | MachinePhase::Creating { .. }
        | MachinePhase::Booting { .. }
        | MachinePhase::Ready { .. }
        | MachinePhase::Releasing { .. }
        | MachinePhase::Gone { .. } => Ok(answer
            .endpoints
            .unwrap_or_default()
            .remove(&machine.id)
            .unwrap_or_default()),
    }
}

/// Waits until nothing of it is left: what was made around it goes after it.
pub(super) async fn gone(client: &Client) -> Result<Exit> {
    let begun = Instant::now();
    loop {
        if client.discover().await?.clusters.is_empty() {
            return Ok(Exit::Done);
        }
        if begun.elapsed() > GONE_MAX {
            return Err(
                Complaint::new(Exit::Unreachable, "what was made around the machine is still there")
                    .hint("run it again: it goes on where it was")
                    .into(),
            );
        }
        tokio::select! {
            biased;
            pressed = tokio::signal::ctrl_c() => {
                pressed?;
                return Ok(Exit::Interrupted);
            }
            () = tokio::time::sleep(LOOK_PAUSE) => {}
        }
    }
}
