//! Explaining: how something stands, why the plans made it so, what happened to it, what would come next.

use isobar_engine_model::id::ClusterName;
use isobar_engine_model::plan::{Plan, Reason};

use super::list::event;
use crate::api::{ApiError, Event, ExplainRequest, Explanation};
use crate::engine::Engine;
use crate::record::prefix;
use crate::state::State;

/// At most so many events in an explanation.
const EVENTS_MAX: usize = 20;

impl Engine {
    /// Why something is as it is.
    pub async fn explain(&self, request: ExplainRequest) -> Result<Explanation, ApiError> {
        let state = self.ledger.read();
        self.known(&state, &request.cluster, "/cluster")?;
        let cluster = &request.cluster;
        let whole = request.about.is_none();
        let about = request.about.unwrap_or_else(|| cluster.to_string());
        let standing = if whole {
            Some(self.cluster_stands(&state, cluster))
        } else {
            self.stands(&state, cluster, &about)
        };
        let reasons = reasons(&state, cluster, (!whole).then_some(about.as_str()));
        let events: Vec<Event> = state
            .events
            .under(&prefix(cluster))
            .rev()
            .filter(|record| whole || record.about == about)
            .take(EVENTS_MAX)
            .map(event)
            .collect();
        if standing.is_none() && reasons.is_empty() && events.is_empty() {
            return Err(self.nothing_called(&state, cluster, &about));
        }
        Ok(Explanation {
            state: standing.unwrap_or_else(|| "it is not there any more".into()),
            reasons,
            events,
            next: self.live.drift(cluster).unwrap_or_default(),
            about,
        })
    }

    fn nothing_called(&self, state: &State, cluster: &ClusterName, about: &str) -> ApiError {
        let observed = self.observed(state, cluster);
        let spec = observed.spec.as_ref();
        let workloads = spec
            .into_iter()
            .flat_map(|spec| spec.workloads.keys().map(AsRef::as_ref));
        let pools = spec.into_iter().flat_map(|spec| spec.pools.keys().map(AsRef::as_ref));
        let machines = observed.machines.iter().map(|machine| machine.id.as_str());
        let replicas = observed.replicas.iter().map(|replica| replica.id.as_str());
        let known = workloads.chain(pools).chain(machines).chain(replicas);
        let hint = "name a machine, replica, workload, pool, plan or operation; `isobar query` lists them";
        ApiError::unknown(&format!("part of {cluster} called"), about, known, hint).pointer("/about")
    }

    fn cluster_stands(&self, state: &State, cluster: &ClusterName) -> String {
        let summary = self.summary(state, cluster);
        format!(
            "generation {}, {} of {} machines ready, {} of {} replicas healthy, {}",
            summary.generation,
            summary.machines_ready,
            summary.machines,
            summary.replicas_healthy,
            summary.replicas_wanted,
            summary.cost
        )
    }

    fn stands(&self, state: &State, cluster: &ClusterName, about: &str) -> Option<String> {
        let observed = self.observed(state, cluster);
        let json = |value: serde_json::Result<serde_json::Value>| value.ok().map(|value| words(&value));
        if let Some(machine) = observed.machines.iter().find(|machine| machine.id.as_str() == about) {
            return json(serde_json::to_value(&machine.phase));
        }
        if let Some(replica) = observed.replicas.iter().find(|replica| replica.id.as_str() == about) {
            return json(serde_json::to_value(&replica.phase)).map(|phase| format!("on {}: {phase}", replica.machine));
        }
        if let Some(record) = state.operations.get(about) {
            return json(serde_json::to_value(&record.operation.state));
        }
        if let Some(record) = state.plans.get(about) {
            return Some(format!("a plan of {} steps", record.plan.body.steps.len()));
        }
        let of_workload: Vec<_> = observed
            .replicas
            .iter()
            .filter(|r| r.workload.as_str() == about)
            .collect();
        let healthy = of_workload.iter().filter(|replica| replica.is_healthy()).count();
        let named = observed.spec.is_some_and(|spec| {
            spec.workloads.keys().any(|name| name.as_str() == about)
                || spec.pools.keys().any(|name| name.as_str() == about)
        });
        let in_pool = observed
            .machines
            .iter()
            .filter(|machine| machine.pool.as_str() == about)
            .count();
        named.then(|| match (of_workload.len(), in_pool) {
            (0, machines) if machines > 0 => format!("{machines} machines"),
            (replicas, _) => format!("{healthy} of {replicas} replicas healthy"),
        })
    }
}

/// `{"phase": "lost", "reason": "x", "since": 1}` as `lost, reason: x`.
fn words(value: &serde_json::Value) -> String {
    let Some(fields) = value.as_object() else {
        return value.to_string();
    };
    let tag = fields
        .iter()
        .find(|(name, _)| matches!(name.as_str(), "phase" | "state"))
        .and_then(|(_, v)| v.as_str());
    let rest = fields
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "phase" | "state" | "since" | "at"));
    let mut text = tag.unwrap_or_default().to_owned();
    for (name, value) in rest.filter(|(_, value)| !value.is_null()) {
        let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text.push_str(&format!(", {name}: {shown}"));
    }
    text
}

/// Reasons from the plans that were carried out, newest first.
fn reasons(state: &State, cluster: &ClusterName, about: Option<&str>) -> Vec<Reason> {
    let operations = state.operations_of(cluster);
    let plans = operations
        .iter()
        .filter_map(|record| state.plans.get(record.operation.plan.as_str()));
    match about {
        None => plans
            .take(1)
            .flat_map(|record| record.plan.body.reasons.clone())
            .collect(),
        Some(about) => {
            let asked = state.plans.get(about).map(|record| record.plan.body.reasons.clone());
            asked.unwrap_or_else(|| plans.flat_map(|record| about_it(&record.plan, about)).collect())
        }
    }
}

fn about_it(plan: &Plan, about: &str) -> Vec<Reason> {
    plan.body
        .reasons
        .iter()
        .filter(|reason| reason.about == about)
        .cloned()
        .collect()
}
