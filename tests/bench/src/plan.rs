//! `bench plan`: the planner alone, and the whole engine (SQLite in a scratch folder, the simulated cloud and nodes
//! without any delay, the real clock), beside `terraform` with as many resources.
//!
//! The engine is followed as the command line follows it. Rounds alternate between ours and the peer's.

mod engine;
mod planner;

use std::time::Duration;

use anyhow::Context;
use clap::Args;

use crate::figure::{Figure, Peer, Target, median};
use crate::output::say;
use crate::terraform::{Configuration, Terraform};

/// A call of the peer that takes longer is cut off, and its figure is null.
const PEER_MAX: Duration = Duration::from_secs(600);
/// The issue's: so many machines ...
const TARGET_MACHINES: u32 = 10_000;
/// ... are planned within so long.
const TARGET_PLAN_S: f64 = 1.0;

/// What `bench plan` is told.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Numbers of machines, each measured by itself.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000])]
    machines: Vec<u32>,
    /// Rounds; figures are medians.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Rounds of more than 1,000 machines in which the peer applies, too: that takes it minutes.
    #[arg(long, default_value_t = 1)]
    slow_rounds: u32,
}

/// Seconds of one round and of the rounds before it.
#[derive(Debug, Default)]
struct Samples {
    planner_s: Vec<f64>,
    preview_s: Vec<f64>,
    apply_s: Vec<f64>,
    peer_plan_s: Vec<f64>,
    peer_apply_s: Vec<f64>,
    /// Why the peer has no more samples.
    peer_ended: Option<String>,
}

/// Measures, and says so round by round.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Vec<Figure>> {
    let terraform = Terraform::find();
    match &terraform {
        Ok(terraform) => say(&format!("peer: {}, one terraform_data a machine", terraform.name)),
        Err(why) => say(&format!("no peer: {why}")),
    }
    let mut figures = Vec::new();
    for &machines in &options.machines {
        let mut samples = Samples::default();
        for round in 1..=options.rounds {
            ours(machines, &mut samples).with_context(|| format!("{machines} machines"))?;
            if let (Ok(terraform), None) = (&terraform, &samples.peer_ended) {
                let applies = machines <= 1_000 || round <= options.slow_rounds;
                if let Err(error) = theirs(terraform, (machines, applies), &mut samples) {
                    samples.peer_ended = Some(format!("{error:#}"));
                }
            }
            say(&round_in_words(machines, round, &samples));
        }
        figures.extend(samples.figures(machines, terraform.as_ref()));
    }
    Ok(figures)
}

fn ours(machines: u32, samples: &mut Samples) -> anyhow::Result<()> {
    samples.planner_s.push(planner::plan(machines)?.as_secs_f64());
    let times = engine::buy(machines)?;
    samples.preview_s.push(times.preview.as_secs_f64());
    samples.apply_s.push(times.apply.as_secs_f64());
    Ok(())
}

fn theirs(terraform: &Terraform, (machines, applies): (u32, bool), samples: &mut Samples) -> anyhow::Result<()> {
    let configuration: Configuration<'_> = terraform.configure(machines)?;
    samples.peer_plan_s.push(configuration.plan(PEER_MAX)?.as_secs_f64());
    if applies {
        let applied = configuration.apply(engine::STEPS_AT_A_TIME, PEER_MAX)?;
        samples.peer_apply_s.push(applied.as_secs_f64());
    }
    Ok(())
}

fn round_in_words(machines: u32, round: u32, samples: &Samples) -> String {
    let last = |samples: &[f64]| samples.last().map_or_else(|| "-".to_owned(), |s| format!("{s:.3} s"));
    format!(
        "{machines} machines, round {round}: planner {}, plan {}, apply {}; peer: plan {}, apply {}",
        last(&samples.planner_s),
        last(&samples.preview_s),
        last(&samples.apply_s),
        last(&samples.peer_plan_s),
        last(&samples.peer_apply_s),
    )
}

impl Samples {
    fn figures(&self, machines: u32, terraform: Result<&Terraform, &String>) -> Vec<Figure> {
        let peer = |samples: &[f64], times: f64| match (median(samples), &terraform) {
            (Some(median), _) => Peer::Measured(median * times),
            (None, Err(why)) => Peer::Absent((*why).clone()),
            (None, Ok(_)) => Peer::Absent(self.peer_ended.clone().unwrap_or_else(|| "not asked for".into())),
        };
        let peer_name = |does: &str| match &terraform {
            Ok(terraform) => format!("{} {does}", terraform.name),
            Err(_) => format!("terraform {does}"),
        };
        let ours = |samples: &[f64]| median(samples).unwrap_or(f64::NAN);
        let per_machine_ms = 1_000.0 / f64::from(machines);
        let target = (machines == TARGET_MACHINES).then_some(Target::AtMost(TARGET_PLAN_S));
        vec![
            Figure {
                name: format!("plan_{machines}_machines"),
                unit: "s",
                ours: ours(&self.planner_s),
                peer_name: peer_name("plan"),
                peer: peer(&self.peer_plan_s, 1.0),
                target,
            },
            Figure {
                name: format!("plan_kept_{machines}_machines"),
                unit: "s",
                ours: ours(&self.preview_s),
                peer_name: peer_name("plan"),
                peer: peer(&self.peer_plan_s, 1.0),
                target: None,
            },
            Figure {
                name: format!("apply_per_machine_of_{machines}"),
                unit: "ms",
                ours: ours(&self.apply_s) * per_machine_ms,
                peer_name: peer_name("apply"),
                peer: peer(&self.peer_apply_s, per_machine_ms),
                target: None,
            },
        ]
    }
}
