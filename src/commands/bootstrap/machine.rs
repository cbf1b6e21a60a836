//! The machine that an engine is put on: its spec, where it is reached, whether it is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use isobar_engine_control::api::{QueryRequest, QueryWhat};
use isobar_engine_model::id::{ClusterName, PoolName, SiteName};
use isobar_engine_model::observed::{Machine, MachinePhase};
use isobar_engine_model::quantity::{Mebibytes, MilliCpus};
use isobar_engine_model::spec::{MachineCount, PoolSpec, Requirements, Spec};
use isobar_mcp::client::Client;
use tokio::time::{Instant, sleep};

use crate::cli;
use crate::commands::offline::read_spec;
use crate::exit::{Complaint, Exit};

/// What the buyer calls it.
const NAME: &str = "engine";
/// What an engine with some thousand machines needs, at least.
const CPU: MilliCpus = MilliCpus(1_000);
const MEMORY: Mebibytes = Mebibytes(2_048);
/// A cloud says within so long how a machine stands: longer than the slowest one's lists lag.
const SEEN_MAX: Duration = Duration::from_secs(10 * 60);
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

/// How the engine's machine stands.
pub(super) enum Standing {
    /// There is none yet, or what an earlier run left of it is for a plan to settle.
    Absent,
    /// It is bought, and its cloud has not been asked about it yet.
    Unseen,
    /// Its cloud has it.
    Runs {
        /// Where it was bought.
        site: Option<SiteName>,
        /// Where its ports are reached.
        endpoints: BTreeMap<u16, String>,
    },
    /// Its cloud has it no more.
    Lost(String),
}

/// How it stands, as far as the buyer has looked.
pub(super) async fn standing(client: &Client) -> Result<Standing> {
    if client.discover().await?.clusters.is_empty() {
        return Ok(Standing::Absent);
    }
    let request = QueryRequest {
        what: QueryWhat::Machines,
        cluster: cluster(),
        after: None,
        limit: None,
    };
    let answer = client.query(&request).await?;
    let machines = answer.machines.unwrap_or_default();
    let is_there = |machine: &&Machine| !matches!(machine.phase, MachinePhase::Gone { .. });
    let Some(machine) = machines.iter().find(is_there) else {
        return Ok(Standing::Absent);
    };
    let endpoints = answer.endpoints.unwrap_or_default().remove(&machine.id);
    Ok(match (&machine.phase, endpoints) {
        (MachinePhase::Lost { reason, .. }, _) => Standing::Lost(reason.clone()),
        (MachinePhase::Ready { .. }, None) => Standing::Unseen,
        (MachinePhase::Ready { .. }, Some(endpoints)) => Standing::Runs {
            site: machine.bought.as_ref().map(|bought| bought.site.clone()),
            endpoints,
        },
        (
            MachinePhase::Wanted { .. }
            | MachinePhase::Creating { .. }
            | MachinePhase::Booting { .. }
            | MachinePhase::Releasing { .. }
            | MachinePhase::Gone { .. },
            _,
        ) => Standing::Absent,
    })
}

/// The same, once its cloud was asked.
pub(super) async fn seen(client: &Client) -> Result<Standing> {
    let begun = Instant::now();
    while begun.elapsed() < SEEN_MAX {
        match standing(client).await? {
            Standing::Unseen => sleep(LOOK_PAUSE).await,
            seen @ (Standing::Absent | Standing::Runs { .. } | Standing::Lost(_)) => return Ok(seen),
        }
    }
    Err(Complaint::new(
        Exit::Unreachable,
        "its cloud does not say where the engine's machine is",
    )
    .hint("if somebody has stopped it: start it in its cloud, then run this again")
    .into())
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
