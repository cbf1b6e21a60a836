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
use crate::terraform::Terraform;

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
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Rounds of more than 1,000 machines in which the peer applies, too: that takes it minutes.
    #[arg(long, default_value_t = 1)]
    slow_rounds: u32,
}

/// What one round took, in seconds; absent: not measured in it.
#[derive(Debug, Clone, Copy)]
struct Round {
    planner_s: f64,
    kept_s: f64,
    apply_s: f64,
    peer_plan_s: Option<f64>,
    peer_apply_s: Option<f64>,
}

/// Every round of one number of machines.
#[derive(Debug, Default)]
struct Samples {
    rounds: Vec<Round>,
    /// Why the peer does not plan.
    no_peer_plan: Option<String>,
    /// Why the peer does not apply.
    no_peer_apply: Option<String>,
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
        for number in 1..=options.rounds {
            let mut round = ours(machines).with_context(|| format!("{machines} machines"))?;
            if let Ok(terraform) = &terraform {
                let applies = machines <= 1_000 || number <= options.slow_rounds;
                (round.peer_plan_s, round.peer_apply_s) = samples.theirs(terraform, machines, applies);
            }
            say(&format!("{machines} machines, round {number}: {}", round.in_words()));
            samples.rounds.push(round);
        }
        figures.extend(samples.figures(machines, terraform.as_ref()));
    }
    Ok(figures)
}

fn ours(machines: u32) -> anyhow::Result<Round> {
    let planner = planner::plan(machines)?;
    let times = engine::buy(machines)?;
    Ok(Round {
        planner_s: planner.as_secs_f64(),
        kept_s: times.preview.as_secs_f64(),
        apply_s: times.apply.as_secs_f64(),
        peer_plan_s: None,
        peer_apply_s: None,
    })
}

impl Round {
    fn in_words(&self) -> String {
        let or_dash = |sample: Option<f64>| sample.map_or_else(|| "-".to_owned(), |s| format!("{s:.3} s"));
        format!(
            "planner {:.3} s, plan {:.3} s, apply {:.3} s; peer: plan {}, apply {}",
            self.planner_s,
            self.kept_s,
            self.apply_s,
            or_dash(self.peer_plan_s),
            or_dash(self.peer_apply_s),
        )
    }
}

impl Samples {
    /// Seconds that the peer plans and applies. What fails is not tried again, and why is kept.
    fn theirs(&mut self, terraform: &Terraform, machines: u32, applies: bool) -> (Option<f64>, Option<f64>) {
        if self.no_peer_plan.is_some() {
            return (None, None);
        }
        let planned = terraform.configure(machines).and_then(|configuration| {
            let took = configuration.plan(PEER_MAX)?;
            Ok((configuration, took.as_secs_f64()))
        });
        let (configuration, plan_s) = match planned {
            Ok(planned) => planned,
            Err(error) => {
                self.no_peer_plan = Some(format!("{error:#}"));
                return (None, None);
            }
        };
        if !applies || self.no_peer_apply.is_some() {
            return (Some(plan_s), None);
        }
        match configuration.apply(engine::STEPS_AT_A_TIME, PEER_MAX) {
            Ok(took) => (Some(plan_s), Some(took.as_secs_f64())),
            Err(error) => {
                self.no_peer_apply = Some(format!("{error:#}"));
                (Some(plan_s), None)
            }
        }
    }

    fn figures(&self, machines: u32, terraform: Result<&Terraform, &String>) -> Vec<Figure> {
        let ours = |of: fn(&Round) -> f64| {
            let samples: Vec<f64> = self.rounds.iter().map(of).collect();
            median(&samples).expect("there is at least one round")
        };
        let peer = |of: fn(&Round) -> Option<f64>, ended: &Option<String>| {
            let samples: Vec<f64> = self.rounds.iter().filter_map(of).collect();
            match (
                median(&samples),
                terraform,
                ended.as_ref().or(self.no_peer_plan.as_ref()),
            ) {
                (Some(median), _, _) => Peer::Measured(median),
                (None, Err(why), _) | (None, Ok(_), Some(why)) => Peer::Absent(why.clone()),
                (None, Ok(_), None) => Peer::Absent("not asked for".into()),
            }
        };
        let peer_name = |does: &str| format!("{} {does}", terraform.map_or("terraform", |found| found.name.as_str()));
        let planned = peer(|round| round.peer_plan_s, &self.no_peer_plan);
        let per_machine_ms = 1_000.0 / f64::from(machines);
        let applied = match peer(|round| round.peer_apply_s, &self.no_peer_apply) {
            Peer::Measured(seconds) => Peer::Measured(seconds * per_machine_ms),
            absent @ Peer::Absent(_) => absent,
        };
        let target = (machines == TARGET_MACHINES).then_some(Target::AtMost(TARGET_PLAN_S));
        vec![
            Figure {
                name: format!("plan_{machines}_machines"),
                unit: "s",
                ours: ours(|round| round.planner_s),
                peer_name: peer_name("plan"),
                peer: planned.clone(),
                target,
            },
            Figure {
                name: format!("plan_kept_{machines}_machines"),
                unit: "s",
                ours: ours(|round| round.kept_s),
                peer_name: peer_name("plan"),
                peer: planned,
                target: None,
            },
            Figure {
                name: format!("apply_per_machine_of_{machines}"),
                unit: "ms",
                ours: ours(|round| round.apply_s) * per_machine_ms,
                peer_name: peer_name("apply"),
                peer: applied,
                target: None,
            },
        ]
    }
}
