//! The last checks of a run: nothing goes wrong any more, a bounded time passes, and then all must be well.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use isobar_engine_control::Engine;
use isobar_engine_control::api::{ApplyRequest, Condition, Fate, LeaksRequest, QueryAnswer, QueryWhat};
use isobar_engine_model::id::{ClusterName, MachineId, ResourceHandle};
use isobar_engine_model::observed::{Machine, MachinePhase};
use isobar_engine_model::quantity::MicroUsdPerHour;
use isobar_providers_sim::{PART_PRICE_MICRO_USD_HOUR, SimMachine};
use tokio::time::{Instant, sleep};

use crate::invariant::Invariant;
use crate::shop::Stall;
use crate::world::{STORE, World};

/// Within so long after the last fault all is well.
pub const BOUND: Duration = Duration::from_secs(40 * 60);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The bill is compared over so long.
const BILLED_FOR: Duration = Duration::from_secs(20);

/// How the engine says that its cluster stands.
enum Standing {
    /// As its spec says; it is no more where no spec is left.
    Met,
    /// Not, and why not.
    NotMet(String),
}

/// Waits until all is well, at most [`BOUND`], then checks that it is.
pub async fn check(world: &World, stalls: &[Stall], foreign: &[ResourceHandle]) {
    let began = Instant::now();
    let standing = loop {
        let standing = look(world, stalls).await;
        let done = match &standing {
            Standing::Met => true,
            Standing::NotMet(_) => began.elapsed() > BOUND,
        };
        if done {
            break standing;
        }
        sleep(LOOK_EVERY).await;
    };
    match standing {
        Standing::Met => world.witness.note("end", format_args!("the spec is met")),
        Standing::NotMet(why) => {
            world.witness.violated(
                Invariant::Met,
                format!("{} s after the last fault: {why}", BOUND.as_secs()),
            );
        }
    }
    let left = loop {
        let left = left_over(world, stalls).await;
        if left.is_empty() || began.elapsed() > BOUND {
            break left;
        }
        allow_sweeps(world, stalls).await;
        sleep(LOOK_EVERY).await;
    };
    for what in left {
        world.witness.violated(Invariant::NothingLeft, what);
    }
    billed(world, stalls).await;
    let there: Vec<ResourceHandle> = world
        .cloud
        .machines()
        .into_iter()
        .map(|machine| machine.handle)
        .collect();
    for handle in foreign.iter().filter(|handle| !there.contains(handle)) {
        let what = format!("{handle} was not ours and is gone");
        world.witness.violated(Invariant::Untouched, what);
    }
}

/// Twice as it should be, some ticks apart: what is true for a moment does not count.
async fn look(world: &World, stalls: &[Stall]) -> Standing {
    for _ in 0..2 {
        if let standing @ Standing::NotMet(_) = all_stand(world, stalls).await {
            return standing;
        }
        sleep(LOOK_EVERY).await;
    }
    all_stand(world, stalls).await
}

async fn all_stand(world: &World, stalls: &[Stall]) -> Standing {
    for stall in stalls {
        if let Standing::NotMet(why) = stands(world, *stall).await {
            return Standing::NotMet(format!("{}: {why}", stall.cluster()));
        }
    }
    Standing::Met
}

async fn stands(world: &World, stall: Stall) -> Standing {
    let cluster = stall.cluster();
    let engine = match world.engine_of(&cluster).await {
        Ok(engine) => engine,
        Err(why) => return Standing::NotMet(why),
    };
    let Ok(answer) = world.try_query(&engine, &cluster, QueryWhat::Cluster).await else {
        // It never came to a cluster, or it is no more.
        return Standing::Met;
    };
    let Some(summary) = answer.cluster else {
        return Standing::NotMet("no summary".to_owned());
    };
    match summary.condition {
        Condition::Converged if summary.machines_ready == summary.machines => {
            match running(world, stall, answer.spec.is_some()) {
                None => Standing::Met,
                Some(why) => Standing::NotMet(why),
            }
        }
        Condition::Converged => Standing::NotMet(format!(
            "{} of {} machines are ready",
            summary.machines_ready, summary.machines
        )),
        Condition::Changing => Standing::NotMet(format!("{:?} still runs", summary.operation)),
        Condition::Held => Standing::NotMet("it is held".to_owned()),
        Condition::Degraded { drift, .. } => Standing::NotMet(drift.join("; ")),
    }
}

/// What does not truly run of what the engine says is well.
fn running(world: &World, stall: Stall, has_spec: bool) -> Option<String> {
    let (ledger, wanted) = (stall.ledger(), usize::from(has_spec));
    let running = world.witness.running();
    let is_one = |(_, id): &&(_, String)| id.starts_with(ledger.as_str());
    let ledgers = running.iter().filter(is_one).count();
    (ledgers != wanted).then(|| format!("{ledgers} of {ledger} run, and {wanted} should"))
}

fn ours(world: &World) -> Vec<SimMachine> {
    let is_ours = |machine: &SimMachine| machine.tags().is_some_and(|tags| tags.owner.store == STORE);
    world.cloud.machines().into_iter().filter(is_ours).collect()
}

/// What the engines of all clusters say, of those that there are.
async fn answers(world: &World, stalls: &[Stall], what: QueryWhat) -> Vec<QueryAnswer> {
    let mut answers = Vec::new();
    for cluster in stalls.iter().map(|stall| stall.cluster()) {
        if let Ok(engine) = world.engine_of(&cluster).await {
            answers.extend(world.try_query(&engine, &cluster, what).await);
        }
    }
    answers
}

/// What is there and in no machine's record, and the other way round.
async fn left_over(world: &World, stalls: &[Stall]) -> Vec<String> {
    let answers = answers(world, stalls, QueryWhat::Machines).await;
    let known: Vec<Machine> = answers
        .into_iter()
        .filter_map(|answer| answer.machines)
        .flatten()
        .collect();
    let handle = |machine: &Machine| match &machine.phase {
        MachinePhase::Booting { handle, .. } | MachinePhase::Ready { handle, .. } => Some(handle.clone()),
        MachinePhase::Lost { handle, .. } | MachinePhase::Releasing { handle, .. } => handle.clone(),
        MachinePhase::Wanted { .. } | MachinePhase::Creating { .. } | MachinePhase::Gone { .. } => None,
    };
    let known: BTreeMap<ResourceHandle, MachineId> = known
        .iter()
        .filter_map(|machine| Some((handle(machine)?, machine.id.clone())))
        .collect();
    let living = ours(world);
    let unknown = living
        .iter()
        .filter(|machine| !known.contains_key(&machine.handle))
        .map(|machine| format!("{} lives, and no machine is it", machine.handle));
    let dead = known
        .iter()
        .filter(|(handle, _)| living.iter().all(|living| living.handle != **handle))
        .map(|(handle, machine)| format!("{machine} is {handle}, which does not live"));
    let parts = world.cloud.parts().into_iter();
    let loose = parts
        .filter(|part| part.loose)
        .map(|part| format!("{} belongs to no machine", part.state.handle));
    let networks = left_networks(world);
    unknown.chain(dead).chain(loose).chain(networks).collect()
}

/// Parts of networks that no attempt made, or whose cluster has no machine there.
fn left_networks(world: &World) -> Vec<String> {
    let used: BTreeSet<(ClusterName, String)> = ours(world)
        .iter()
        .filter_map(|machine| Some((machine.tags()?.owner.cluster.clone(), machine.region.clone())))
        .collect();
    let parts = world.cloud.networks().into_iter();
    let ours = parts.filter(|part| part.request.tags.owner.store == STORE);
    ours.filter_map(|part| {
        let tags = &part.request.tags;
        let place = (tags.owner.cluster.clone(), part.request.site.region.clone());
        let why = if !world.witness.may_live(tags) {
            "no attempt made it"
        } else if !used.contains(&place) {
            "its cluster has no machine there"
        } else {
            return None;
        };
        Some(format!("{} is left: {why}", part.state.handle))
    })
    .collect()
}

/// Somebody accepts the plans of sweeps that ask.
async fn allow_sweeps(world: &World, stalls: &[Stall]) {
    for stall in stalls {
        if let Ok(engine) = world.engine_of(&stall.cluster()).await {
            allow_sweep(world, &engine, *stall).await;
        }
    }
}

async fn allow_sweep(world: &World, engine: &Arc<Engine>, stall: Stall) {
    let request = LeaksRequest {
        cluster: stall.cluster(),
        after: None,
        limit: None,
    };
    let Ok(answer) = engine.leaks(request).await else {
        return;
    };
    let asking = answer.leaks.into_iter().find_map(|leak| match leak.fate {
        Fate::Asking { plan } => Some(plan),
        Fate::Quarantined { .. } | Fate::Deleting { .. } | Fate::Gone { .. } => None,
    });
    let Some(plan) = asking else { return };
    world.witness.accepts(&plan);
    let apply = ApplyRequest {
        idempotency_key: plan.to_string(),
        plan,
        why: None,
    };
    if let Err(error) = engine.apply(apply).await {
        world
            .witness
            .note("user", format_args!("the sweep is not accepted: {error}"));
    }
}

/// What the cloud bills is what the engine says that its machines cost, and what others' machines do.
async fn billed(world: &World, stalls: &[Stall]) {
    let price = |machines: &[SimMachine]| -> MicroUsdPerHour { machines.iter().map(|machine| machine.price).sum() };
    let answers = answers(world, stalls, QueryWhat::Cluster).await;
    let said: MicroUsdPerHour = answers
        .into_iter()
        .filter_map(|answer| answer.cluster)
        .map(|summary| summary.cost)
        .sum();
    let priced = price(&ours(world));
    if said != priced {
        let what = format!("our machines are billed {priced} an hour, and the journal's sum is {said}");
        world.witness.violated(Invariant::Billed, what);
    }
    let (before, machines) = (world.cloud.bill_micro_usd(), world.cloud.machines());
    sleep(BILLED_FOR).await;
    let (after, still) = (world.cloud.bill_micro_usd(), world.cloud.machines());
    let same = |machines: &[SimMachine]| -> Vec<ResourceHandle> { machines.iter().map(|m| m.handle.clone()).collect() };
    if same(&machines) != same(&still) {
        return;
    }
    let loose = world.cloud.parts().iter().filter(|part| part.loose).count();
    let parts = i64::try_from(loose)
        .unwrap_or(i64::MAX)
        .saturating_mul(PART_PRICE_MICRO_USD_HOUR);
    let an_hour = i128::from(price(&machines).0.saturating_add(parts));
    let expected = an_hour * i128::from(BILLED_FOR.as_secs()) / 3600;
    // Each of the two bills is rounded once.
    if (after - before - expected).abs() > 1 {
        let what = format!(
            "the bill grew by {}, and not by {expected} micro-dollars",
            after - before
        );
        world.witness.violated(Invariant::Billed, what);
    }
}
