//! A cluster and its things for people: a table each.

use isobar_engine_control::api::{
    AdoptedView, AttemptView, ClusterSummary, Condition, Event, Explanation, OfferingView, QueryAnswer, ReplicaView,
};
use isobar_engine_model::adopted::{AdoptedStatus, Sight};
use isobar_engine_model::catalog::Purchase;
use isobar_engine_model::observed::{Machine, MachinePhase, ReplicaPhase};
use isobar_engine_model::operation::{Operation, OperationState, StepState};
use isobar_engine_model::quantity::Timestamp;

use super::table::{Cell, Table};
use super::{age, until};
use crate::output::{BAD, DIM, GOOD, HEAD, SOME};

/// Clusters, a line each, and what is not as it should be.
pub(crate) fn clusters(clusters: &[ClusterSummary], now: Timestamp) -> String {
    if clusters.is_empty() {
        return "there is no cluster: make one with `isobar apply SPEC`\n".to_owned();
    }
    let mut table = Table::new(["CLUSTER", "CONDITION", "MACHINES", "REPLICAS", "COST", "OPERATION"]);
    let mut notes = String::new();
    for one in clusters {
        let (word, style) = match &one.condition {
            Condition::Converged => ("converged", GOOD),
            Condition::Changing => ("changing", SOME),
            Condition::Degraded { .. } => ("degraded", BAD),
            Condition::Held => ("held", SOME),
        };
        if let Condition::Degraded { drift, retry_at } = &one.condition {
            for drift in drift {
                notes.push_str(&format!("{BAD}{}{BAD:#}: {drift}\n", one.cluster));
            }
            if let Some(at) = retry_at {
                notes.push_str(&format!("{}: plans again {}\n", one.cluster, until(now, *at)));
            }
        }
        table.row([
            one.cluster.as_str().into(),
            Cell::new(word, style),
            format!("{}/{} ready", one.machines_ready, one.machines).into(),
            format!("{}/{} healthy", one.replicas_healthy, one.replicas_wanted).into(),
            one.cost.to_string().into(),
            one.operation
                .as_ref()
                .map_or("-", |operation| operation.as_str())
                .into(),
        ]);
    }
    table.text() + &notes
}

/// Machines.
pub(crate) fn machines(machines: &[Machine], now: Timestamp) -> String {
    let mut table = Table::new([
        "MACHINE",
        "STATE",
        "FOR",
        "SITE",
        "OFFERING",
        "PRICE",
        "MEMORY",
        "JOINED IN",
        "NOTE",
    ]);
    for machine in machines {
        let (state, since, note) = machine_state(&machine.phase);
        let bought = machine.bought.as_ref();
        let node = machine.node.as_ref();
        let memory = bought.zip(node).map_or_else(String::new, |(bought, node)| {
            format!("{}/{}MiB", node.memory_used_mib, bought.allocatable.memory.0)
        });
        table.row([
            machine.id.as_str().into(),
            state,
            age(now, since).into(),
            bought.map_or_else(String::new, |bought| bought.site.to_string()).into(),
            bought
                .map_or_else(String::new, |bought| bought.offering.to_string())
                .into(),
            bought
                .map_or_else(String::new, |bought| bought.price.to_string())
                .into(),
            memory.into(),
            node.map_or_else(String::new, |node| format!("{}ms", node.joined_after_ms))
                .into(),
            Cell::new(note, DIM),
        ]);
    }
    or_none(&table, "no machines")
}

fn machine_state(phase: &MachinePhase) -> (Cell, Timestamp, String) {
    let said = |word: &str, style, since: &Timestamp| (Cell::new(word, style), *since, String::new());
    match phase {
        MachinePhase::Wanted { since } => said("wanted", SOME, since),
        MachinePhase::Creating { since } => said("creating", SOME, since),
        MachinePhase::Booting { since, .. } => said("booting", SOME, since),
        MachinePhase::Ready { since, .. } => said("ready", GOOD, since),
        MachinePhase::Lost { since, reason, .. } => (Cell::new("lost", BAD), *since, reason.clone()),
        MachinePhase::Releasing { since, .. } => said("releasing", SOME, since),
        MachinePhase::Gone { since } => said("gone", DIM, since),
    }
}

/// Replicas.
pub(crate) fn replicas(replicas: &[ReplicaView], now: Timestamp) -> String {
    let mut table = Table::new([
        "REPLICA",
        "STATE",
        "FOR",
        "RESTARTS",
        "MACHINE",
        "SITE",
        "MEMORY",
        "ADDRESSES",
        "NOTE",
    ]);
    for view in replicas {
        let (state, since, restarts, note) = replica_state(&view.replica.phase);
        let addresses: Vec<String> = view
            .addresses
            .iter()
            .map(|(port, address)| format!("{port}={address}"))
            .collect();
        table.row([
            view.replica.id.as_str().into(),
            state,
            age(now, since).into(),
            restarts
                .map_or_else(String::new, |restarts| restarts.to_string())
                .into(),
            view.replica.machine.as_str().into(),
            view.site.as_ref().map_or("", |site| site.as_str()).into(),
            format!("{}/{}", mebibytes(view.memory_bytes), view.replica.resources.memory).into(),
            addresses.join(" ").into(),
            Cell::new(note, DIM),
        ]);
    }
    or_none(&table, "no replicas")
}

fn replica_state(phase: &ReplicaPhase) -> (Cell, Timestamp, Option<u32>, String) {
    let none = String::new;
    match phase {
        ReplicaPhase::Assigned { since } => (Cell::new("assigned", SOME), *since, None, none()),
        ReplicaPhase::Starting { since, detail } => (Cell::new("starting", SOME), *since, None, detail.clone()),
        ReplicaPhase::Running {
            since,
            healthy: true,
            restarts,
        } => (Cell::new("healthy", GOOD), *since, Some(*restarts), none()),
        ReplicaPhase::Running {
            since,
            healthy: false,
            restarts,
        } => (Cell::new("unhealthy", BAD), *since, Some(*restarts), none()),
        ReplicaPhase::BackOff {
            since,
            restarts,
            reason,
        } => (Cell::new("back-off", BAD), *since, Some(*restarts), reason.clone()),
        ReplicaPhase::Succeeded { since } => (Cell::new("succeeded", GOOD), *since, None, none()),
        ReplicaPhase::Failed { since, reason } => (Cell::new("failed", BAD), *since, None, reason.clone()),
        ReplicaPhase::Stopping { since } => (Cell::new("stopping", SOME), *since, None, none()),
        ReplicaPhase::Stopped { since } => (Cell::new("stopped", DIM), *since, None, none()),
    }
}

/// Operations.
pub(crate) fn operations(operations: &[Operation], now: Timestamp) -> String {
    let mut table = Table::new(["OPERATION", "STATE", "STEPS", "STARTED", "PLAN", "NOTE"]);
    for operation in operations {
        let (state, note) = match &operation.state {
            OperationState::Running => (Cell::new("running", SOME), ""),
            OperationState::Cancelling { .. } => (Cell::new("cancelling", SOME), ""),
            OperationState::Succeeded { .. } => (Cell::new("succeeded", GOOD), ""),
            OperationState::Failed { reason, .. } => (Cell::new("failed", BAD), reason.as_str()),
            OperationState::Cancelled { .. } => (Cell::new("cancelled", DIM), ""),
        };
        let done = operation
            .steps
            .iter()
            .filter(|step| matches!(step.state, StepState::Done { .. }))
            .count();
        table.row([
            operation.id.as_str().into(),
            state,
            format!("{done}/{}", operation.steps.len()).into(),
            format!("{} ago", age(now, operation.started)).into(),
            operation.plan.as_str().into(),
            Cell::new(note, DIM),
        ]);
    }
    or_none(&table, "no operations")
}

/// Journal entries.
pub(crate) fn attempts(attempts: &[AttemptView], now: Timestamp) -> String {
    let mut table = Table::new(["ATTEMPT", "WRITE", "OF", "SITE", "STATE", "INTENDED", "HANDLE", "NOTE"]);
    for attempt in attempts {
        table.row([
            attempt.key.as_str().into(),
            attempt.write.as_str().into(),
            attempt.machine.as_str().into(),
            attempt.site.as_str().into(),
            attempt.state.as_str().into(),
            format!("{} ago", age(now, attempt.intended)).into(),
            attempt.handle.as_deref().unwrap_or("").into(),
            Cell::new(attempt.detail.as_deref().unwrap_or(""), DIM),
        ]);
    }
    or_none(&table, "no attempts")
}

/// What others made.
pub(crate) fn adopted(objects: &[AdoptedView], now: Timestamp) -> String {
    let head = [
        "NAME", "SITE", "TYPE", "ID", "PHASE", "STATUS", "LOOKED", "PRICE", "LABELS", "FROM",
    ];
    let mut table = Table::new(head);
    for AdoptedView { object, labels, price } in objects {
        let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        table.row([
            object.name.as_str().into(),
            object.site.as_str().into(),
            object.kind.0.clone().into(),
            object.id.0.clone().into(),
            object.phase.word().into(),
            sight(&object.seen).into(),
            age(now, object.looked).into(),
            price.map(|price| price.to_string()).unwrap_or_default().into(),
            labels.join(" ").into(),
            object.from.address.clone().into(),
        ]);
    }
    or_none(&table, "nothing adopted")
}

fn sight(seen: &Sight) -> String {
    match seen {
        Sight::Missing { .. } => "missing".to_owned(),
        Sight::There { status, .. } => match status {
            AdoptedStatus::Pending => "pending".to_owned(),
            AdoptedStatus::Running => "running".to_owned(),
            AdoptedStatus::Stopped { reason } => format!("stopped: {reason}"),
            AdoptedStatus::Deleting => "deleting".to_owned(),
        },
    }
}

/// Offerings.
pub(crate) fn offerings(offerings: &[OfferingView]) -> String {
    let mut table = Table::new(["SITE", "OFFERING", "TYPE", "ZONE", "CPU", "MEMORY", "PAID", "PRICE"]);
    for OfferingView { site, offering } in offerings {
        table.row([
            site.as_str().into(),
            offering.id.as_str().into(),
            offering.instance_type.as_str().into(),
            offering.zone.as_str().into(),
            offering.total.cpu.to_string().into(),
            offering.total.memory.to_string().into(),
            match offering.purchase {
                Purchase::OnDemand => "on demand",
                Purchase::Spot => "spot",
            }
            .into(),
            offering.price.to_string().into(),
        ]);
    }
    or_none(&table, "no offerings")
}

/// Events.
pub(crate) fn events(events: &[Event], now: Timestamp) -> String {
    let mut table = Table::new(["WHEN", "ABOUT", "WHAT"]);
    for event in events {
        table.row([
            format!("{} ago", age(now, event.at)).into(),
            event.about.as_str().into(),
            event.what.as_str().into(),
        ]);
    }
    or_none(&table, "no events")
}

/// Whatever list was asked for.
pub(crate) fn answer(answer: &QueryAnswer, now: Timestamp) -> String {
    let mut text = String::new();
    if let Some(summary) = &answer.cluster {
        text += &clusters(std::slice::from_ref(summary), now);
    }
    if let Some(list) = &answer.machines {
        text += &machines(list, now);
    }
    if let Some(list) = &answer.replicas {
        text += &replicas(list, now);
    }
    if let Some(list) = &answer.operations {
        text += &operations(list, now);
    }
    if let Some(list) = &answer.attempts {
        text += &attempts(list, now);
    }
    if let Some(list) = &answer.adopted {
        text += &adopted(list, now);
    }
    if let Some(list) = &answer.offerings {
        text += &offerings(list);
    }
    if let Some(list) = &answer.events {
        text += &events(list, now);
    }
    text
}

/// Why something is as it is.
pub(crate) fn explanation(explanation: &Explanation, now: Timestamp) -> String {
    let mut text = format!("{HEAD}{}{HEAD:#}: {}\n", explanation.about, explanation.state);
    for reason in &explanation.reasons {
        text += &format!("why    {}: {}\n", reason.about, reason.because);
    }
    for next in &explanation.next {
        text += &format!("next   {next}\n");
    }
    if !explanation.events.is_empty() {
        text += "\n";
        text += &events(&explanation.events, now);
    }
    text
}

fn mebibytes(bytes: u64) -> String {
    format!("{}MiB", bytes.div_ceil(1024 * 1024))
}

fn or_none(table: &Table, none: &str) -> String {
    if table.is_empty() {
        format!("{none}\n")
    } else {
        table.text()
    }
}
