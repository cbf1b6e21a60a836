//! Listing what is: machines, replicas, operations, the journal, offerings, events.

use std::collections::BTreeMap;

use isobar_engine_model::id::ClusterName;
use isobar_engine_model::observed::Replica;

use crate::api::{
    ApiError, AttemptView, Event, OfferingView, PAGE_MAX_ITEMS, QueryAnswer, QueryRequest, QueryWhat, ReplicaView,
};
use crate::engine::Engine;
use crate::record::{AttemptRecord, AttemptState, EventRecord, machine_key, prefix};
use crate::state::State;

/// Items in an answer when the caller does not say.
const PAGE_DEFAULT_ITEMS: u32 = 100;

/// The part of a list that was asked for.
pub(super) struct Page {
    after: Option<String>,
    limit: usize,
}

impl Page {
    pub(super) fn new(after: Option<String>, limit: Option<u32>) -> Self {
        let limit = limit.unwrap_or(PAGE_DEFAULT_ITEMS).clamp(1, PAGE_MAX_ITEMS);
        Self {
            after,
            limit: usize::try_from(limit).expect("fits"),
        }
    }

    pub(super) fn of(request: &QueryRequest) -> Self {
        Self::new(request.after.clone(), request.limit)
    }

    /// The items after the key, and the last one's key if there are more. Keys come in the list's order.
    pub(super) fn cut<T>(&self, items: impl Iterator<Item = (String, T)>) -> (Vec<T>, Option<String>) {
        let mut items = items.skip_while(|(key, _)| self.after.is_some() && self.after.as_ref() != Some(key));
        if self.after.is_some() {
            items.next();
        }
        let mut items = items.peekable();
        let (mut taken, mut last) = (Vec::new(), None);
        while taken.len() < self.limit {
            let Some((key, item)) = items.next() else { break };
            last = Some(key);
            taken.push(item);
        }
        let next = if items.peek().is_some() { last } else { None };
        (taken, next)
    }
}

impl Engine {
    /// Lists things.
    pub async fn query(&self, request: QueryRequest) -> Result<QueryAnswer, ApiError> {
        if request.what == QueryWhat::Offerings {
            self.known(&self.ledger.read(), &request.cluster, "/cluster")?;
            return self.offerings(&request).await;
        }
        if request.what == QueryWhat::Adopted {
            return self.adopted(&request).await;
        }
        let state = self.ledger.read();
        self.known(&state, &request.cluster, "/cluster")?;
        let (cluster, page) = (&request.cluster, Page::of(&request));
        let mut answer = QueryAnswer::default();
        match request.what {
            QueryWhat::Cluster => {
                answer.cluster = Some(self.summary(&state, cluster));
                answer.spec = state
                    .clusters
                    .get(cluster.as_str())
                    .and_then(|record| record.spec.clone());
            }
            QueryWhat::Machines => {
                let machines = self.observed(&state, cluster).machines.into_iter();
                let (machines, next) = page.cut(machines.map(|machine| (machine.id.to_string(), machine)));
                let reached = machines.iter().filter_map(|machine| {
                    let endpoints = self.live.endpoints(&(cluster.clone(), machine.id.clone()));
                    (!endpoints.is_empty()).then(|| (machine.id.clone(), endpoints))
                });
                answer.endpoints = Some(reached.collect());
                (answer.machines, answer.next) = (Some(machines), next);
            }
            QueryWhat::Replicas => {
                let replicas = self.observed(&state, cluster).replicas.into_iter();
                let views = replicas.map(|replica| (replica.id.to_string(), self.replica(&state, cluster, replica)));
                let (replicas, next) = page.cut(views);
                (answer.replicas, answer.next) = (Some(replicas), next);
            }
            QueryWhat::Operations => {
                let operations = state.operations_of(cluster).into_iter();
                let operations = operations.map(|r| (r.operation.id.to_string(), r.operation.clone()));
                let (operations, next) = page.cut(operations);
                (answer.operations, answer.next) = (Some(operations), next);
            }
            QueryWhat::Attempts => {
                let attempts = state.attempts.under(&prefix(cluster)).map(attempt);
                let (attempts, next) = page.cut(attempts.map(|attempt| (attempt.key.clone(), attempt)));
                (answer.attempts, answer.next) = (Some(attempts), next);
            }
            QueryWhat::Events => {
                let events = state.events.under(&prefix(cluster)).rev();
                let (events, next) = page.cut(events.map(|record| (record.sequence.to_string(), event(record))));
                (answer.events, answer.next) = (Some(events), next);
            }
            QueryWhat::Adopted | QueryWhat::Offerings => {}
        }
        Ok(answer)
    }

    async fn offerings(&self, request: &QueryRequest) -> Result<QueryAnswer, ApiError> {
        let spec = self.stored_spec(&request.cluster);
        let catalog = self.catalog(spec.as_ref()).await?;
        let offerings = catalog.sites.into_iter().flat_map(|site| {
            let name = site.site;
            site.offerings.into_iter().map(move |offering| OfferingView {
                site: name.clone(),
                offering,
            })
        });
        let keyed = offerings.map(|view| (format!("{}/{}", view.site, view.offering.id), view));
        let (offerings, next) = Page::of(request).cut(keyed);
        Ok(QueryAnswer {
            offerings: Some(offerings),
            next,
            ..QueryAnswer::default()
        })
    }

    fn replica(&self, state: &State, cluster: &ClusterName, replica: Replica) -> ReplicaView {
        let node = (cluster.clone(), replica.machine.clone());
        let machine = state.machines.get(&machine_key(cluster, &replica.machine));
        let endpoints = self
            .live
            .node_report(&node)
            .map(|report| report.endpoints)
            .unwrap_or_default();
        let addresses: BTreeMap<String, String> = replica
            .ports
            .iter()
            .filter_map(|(name, port)| Some((name.clone(), endpoints.get(&port.node)?.clone())))
            .collect();
        let usage = self.live.usage(&node, &replica.id);
        ReplicaView {
            site: machine
                .and_then(|record| record.machine.bought.as_ref())
                .map(|bought| bought.site.clone()),
            addresses,
            memory_bytes: usage.memory_bytes,
            cpu_used_ms: usage.cpu_used_ms,
            replica,
        }
    }
}

fn attempt(record: &AttemptRecord) -> AttemptView {
    let (write, state, detail) = match &record.state {
        AttemptState::Intended => ("create", "intended", None),
        AttemptState::Accepted { .. } => ("create", "accepted", None),
        AttemptState::Refused { reason } => ("create", "refused", Some(reason.clone())),
        AttemptState::Closing { reason, .. } => ("delete", "intended", Some(reason.clone())),
        AttemptState::Gone { reason, .. } => ("delete", "gone", Some(reason.clone())),
    };
    let mut key = format!("{}/{}/{}", record.operation, record.step, record.attempt.0);
    if record.kind.is_network() {
        key = format!("{key}/{}", record.machine);
    }
    AttemptView {
        key,
        write: write.to_owned(),
        kind: record.kind.name().to_owned(),
        machine: record.machine.clone(),
        site: record.site.clone(),
        state: state.to_owned(),
        handle: record.handle().map(ToString::to_string),
        detail,
        intended: record.intended,
    }
}

pub(super) fn event(record: &EventRecord) -> Event {
    Event {
        at: record.at,
        about: record.about.clone(),
        what: record.what.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_join_without_gap_or_overlap() {
        let items = || (0..10).map(|n| (n.to_string(), n));
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let (page, next) = Page {
                after: after.clone(),
                limit: 3,
            }
            .cut(items());
            assert!(page.len() <= 3);
            all.extend(page);
            after = next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(all, (0..10).collect::<Vec<_>>());
    }
}
