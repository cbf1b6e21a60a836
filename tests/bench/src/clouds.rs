//! `bench clouds`: many machines in one apply and none after one destroy, by the real command, on each of the strict clouds
//! over the wire, whose accounts are throttled: calls, the engine's processor time, and time beside the throttle's own bound.
//!
//! Nodes run the agent's own code, in this process: what they cost is not the engine's. Knows nothing of clouds' words but
//! the fewest calls that each one's interface allows.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use isobar_tests_clouds::front::Limit;
use isobar_tests_clouds::world::{Cloud, Pages};
use isobar_tests_e2e::emulated::Emulated;
use isobar_tests_e2e::engine::{Engine, Setup};
use isobar_tests_e2e::shop::{anywhere, destroy};
use serde_json::Map;

use crate::figure::{Figure, Peer};
use crate::output::say;
use crate::terraform::Terraform;

/// "You can specify up to 1000 instance IDs":
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_TerminateInstances.html>
const EC2_TERMINATED_IN_A_CALL: f64 = 1_000.0;
/// The kernel counts processor time in hundredths of a second (`sysconf(_SC_CLK_TCK)` of every Linux that we know).
const TICKS_PER_SECOND: f64 = 100.0;
const FEWEST: &str = "the fewest that the API allows";
const BOUND: &str = "the throttle's own bound";

/// What `bench clouds` is told.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Machines in one apply, on each cloud.
    #[arg(long, default_value_t = 1_000)]
    machines: u32,
    /// What an account may ask of each kind of call, a second.
    #[arg(long, default_value_t = 20)]
    calls_per_second: u32,
    /// What it may ask at once, after a rest.
    #[arg(long, default_value_t = 10)]
    burst_calls: u32,
}

/// What one half of a cloud's round took.
struct Half {
    calls: BTreeMap<String, u64>,
    cpu_s: f64,
    took: Duration,
}

/// Measures cloud by cloud.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Vec<Figure>> {
    let terraform = match Terraform::find() {
        Ok(found) => format!("{} has no provider for these clouds built in", found.name),
        Err(why) => why,
    };
    let mut figures = Vec::new();
    for cloud in Cloud::ALL {
        let [created, deleted] = round(cloud, options)?;
        for (what, half) in [("created", &created), ("deleted", &deleted)] {
            say(&format!(
                "{}: {what} in {:.1} s: {:?}",
                cloud.name(),
                half.took.as_secs_f64(),
                half.calls
            ));
        }
        figures.extend(of_cloud(cloud, options, (&created, &deleted), &terraform));
    }
    Ok(figures)
}

fn round(cloud: Cloud, options: &Options) -> anyhow::Result<[Half; 2]> {
    let clouds = Emulated::open(Pages::Whole, |_, config| config);
    clouds.world.door(cloud).limit(Limit {
        calls_per_second: options.calls_per_second,
        burst_calls: options.burst_calls,
    });
    let engine = Setup::without_machines().clouds(&clouds.world).start();
    let sites = Map::from_iter([(cloud.name().to_owned(), clouds.world.site(cloud))]);
    let file = engine.keep_spec(&anywhere(&sites, options.machines).to_string());
    let there = || clouds.world.cloud(cloud).machines().len();
    let created = half(&clouds, (cloud, &engine), || {
        engine.json(&["apply", &file, "--yes"]);
    })?;
    let wanted = usize::try_from(options.machines)?;
    ensure!(there() == wanted, "{} machines of {wanted}", there());
    let deleted = half(&clouds, (cloud, &engine), || destroy(&engine))?;
    ensure!(there() == 0, "{} machines are left", there());
    Ok([created, deleted])
}

fn half(clouds: &Emulated, (cloud, engine): (Cloud, &Engine), work: impl FnOnce()) -> anyhow::Result<Half> {
    let (before, cpu_s) = (clouds.world.calls(cloud).all(), cpu_s(engine)?);
    let started = Instant::now();
    work();
    let took = started.elapsed();
    let mut calls = clouds.world.calls(cloud).all();
    for (name, count) in &mut calls {
        *count -= before.get(name).copied().unwrap_or(0);
    }
    calls.retain(|_, count| *count > 0);
    Ok(Half {
        calls,
        cpu_s: self::cpu_s(engine)? - cpu_s,
        took,
    })
}

/// How long an engine has been on processors: fields 14 and 15 of its `stat`, which begin after the name in brackets.
fn cpu_s(engine: &Engine) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", engine.process_id()))?;
    let (_, fields) = stat.rsplit_once(')').context("a process has a name")?;
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: Vec<f64> = ticks.map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
}

fn of_cloud(cloud: Cloud, options: &Options, (created, deleted): (&Half, &Half), terraform: &str) -> Vec<Figure> {
    let machines = f64::from(options.machines);
    let fewest = |per_machine: f64| (FEWEST.to_owned(), Peer::Measured(per_machine));
    let named = |name: &str, unit, ours, (peer_name, peer): (String, Peer)| Figure {
        name: format!("{name}_{}", cloud.name()),
        unit,
        ours,
        peer_name,
        peer,
        target: None,
    };
    // Each machine is given a token of its own, and so needs a call of its own.
    let deletions = match cloud {
        Cloud::Aws => (machines / EC2_TERMINATED_IN_A_CALL).ceil() / machines,
        Cloud::Azure | Cloud::Gcp => 1.0,
    };
    let asked = (
        options.machines.saturating_sub(options.burst_calls),
        options.calls_per_second.max(1),
    );
    let bound = || {
        (
            BOUND.to_owned(),
            Peer::Measured(f64::from(asked.0) / f64::from(asked.1)),
        )
    };
    let absent = ("terraform apply".to_owned(), Peer::Absent(terraform.to_owned()));
    let calls = |half: &Half| half.calls.values().map(|count| *count as f64).sum::<f64>() / machines;
    let many = options.machines;
    vec![
        named("calls_per_machine_created", "calls", calls(created), fewest(1.0)),
        named("calls_per_machine_deleted", "calls", calls(deleted), fewest(deletions)),
        named(
            "engine_cpu_per_machine",
            "ms",
            1_000.0 * (created.cpu_s + deleted.cpu_s) / machines,
            absent,
        ),
        named(
            &format!("create_{many}_machines"),
            "s",
            created.took.as_secs_f64(),
            bound(),
        ),
        named(
            &format!("delete_{many}_machines"),
            "s",
            deleted.took.as_secs_f64(),
            bound(),
        ),
    ]
}
