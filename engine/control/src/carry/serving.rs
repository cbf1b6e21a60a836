//! How many replicas of a service serve, and how many a stop must leave.
//!
//! The order of a plan's steps keeps every service at its minimum for as long as nothing else happens. What happens
//! meanwhile (a replica that dies, a machine that was lost and is back) is seen here, in the commit that stops a replica.

use std::collections::BTreeMap;

use isobar_engine_model::id::{ClusterName, WorkloadName};
use isobar_engine_model::observed::MachinePhase;
use isobar_engine_model::plan::PlanBody;
use isobar_engine_model::spec::WorkloadSpec;

use crate::record::{ReplicaRecord, machine_key, prefix};
use crate::state::State;

/// How many replicas of each workload serve.
pub(crate) type Serving = BTreeMap<WorkloadName, u32>;

/// What stops a stop: so few others serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooFew {
    pub(crate) others: u32,
    pub(crate) needed: u32,
}

/// What serves in a cluster.
pub(crate) fn serving(state: &State, cluster: &ClusterName) -> Serving {
    let mut serving = Serving::new();
    for record in state
        .replicas
        .under(&prefix(cluster))
        .filter(|record| serves(state, record))
    {
        *serving.entry(record.replica.workload.clone()).or_default() += 1;
    }
    serving
}

/// How many of a workload a plan's spec wants to serve at any time; of what goes, none.
pub(crate) fn minimum(plan: &PlanBody, workload: &WorkloadName) -> u32 {
    let spec = plan.spec.as_ref().and_then(|spec| spec.workloads.get(workload));
    spec.map_or(0, WorkloadSpec::min_available)
}

/// Whether so many others serve that a replica may stop. One that does not serve always may.
pub(crate) fn may_stop(state: &State, record: &ReplicaRecord, needed: u32) -> Result<(), TooFew> {
    if needed == 0 || !serves(state, record) {
        return Ok(());
    }
    let workload = &record.replica.workload;
    let others = serving(state, &record.cluster).get(workload).map_or(0, |all| all - 1);
    if others >= needed {
        return Ok(());
    }
    Err(TooFew { others, needed })
}

/// Healthy at its last report, on a machine that is not given up.
fn serves(state: &State, record: &ReplicaRecord) -> bool {
    let machine = state
        .machines
        .get(&machine_key(&record.cluster, &record.replica.machine));
    let up = machine.is_some_and(|record| match record.machine.phase {
        MachinePhase::Creating { .. } | MachinePhase::Booting { .. } | MachinePhase::Ready { .. } => true,
        MachinePhase::Wanted { .. }
        | MachinePhase::Lost { .. }
        | MachinePhase::Releasing { .. }
        | MachinePhase::Gone { .. } => false,
    });
    up && record.replica.is_healthy()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use isobar_engine_model::id::{MachineId, PoolName, ReplicaId, ResourceHandle, Version};
    use isobar_engine_model::observed::{Machine, Replica, ReplicaPhase};
    use isobar_engine_model::quantity::{Resources, Timestamp};

    use super::*;
    use crate::record::{MachineRecord, Record};
    use crate::state::{Held, Kept};

    const NOW: Timestamp = Timestamp(0);

    fn put<R: Record>(state: &mut State, record: R)
    where
        State: Kept<R>,
    {
        let held = Held {
            revision: 1,
            record: Arc::new(record),
        };
        Kept::<R>::rows_mut(state).0.insert(held.record.key(), held);
    }

    fn cluster() -> ClusterName {
        ClusterName::new("shop").expect("a name")
    }

    fn machine(state: &mut State, id: &str, phase: MachinePhase) {
        let machine = Machine {
            id: MachineId::new(id),
            pool: PoolName::new("general").expect("a name"),
            version: Version(1),
            bought: None,
            phase,
            node: None,
        };
        let cluster = cluster();
        put(state, MachineRecord { cluster, machine });
    }

    fn replica(state: &mut State, id: &str, machine: &str, healthy: bool) -> ReplicaRecord {
        let record = ReplicaRecord {
            cluster: cluster(),
            replica: Replica {
                id: ReplicaId::new(id),
                workload: WorkloadName::new("web").expect("a name"),
                revision: "1".to_owned(),
                version: Version(1),
                machine: MachineId::new(machine),
                resources: Resources::default(),
                ports: BTreeMap::new(),
                phase: ReplicaPhase::Running {
                    since: NOW,
                    healthy,
                    restarts: 0,
                },
            },
            template: serde_json::from_value(serde_json::json!({
                "kind": { "service": { "replicas": 3 } },
                "image": "box:1",
                "resources": { "cpu": "100m", "memory": "32MiB" },
            }))
            .expect("a workload"),
        };
        put(state, record.clone());
        record
    }

    #[test]
    fn only_what_serves_counts_and_only_what_serves_waits() {
        let mut state = State::default();
        let handle = ResourceHandle::new("vm");
        let up = MachinePhase::Ready {
            since: NOW,
            handle: handle.clone(),
        };
        machine(&mut state, "general-1", up);
        let lost = MachinePhase::Lost {
            since: NOW,
            handle: Some(handle),
            reason: "silent".to_owned(),
        };
        machine(&mut state, "general-2", lost);
        let serves = replica(&mut state, "web-1", "general-1", true);
        replica(&mut state, "web-2", "general-1", true);
        let ill = replica(&mut state, "web-3", "general-1", false);
        let gone = replica(&mut state, "web-4", "general-2", true);

        assert_eq!(may_stop(&state, &serves, 1), Ok(()));
        assert_eq!(may_stop(&state, &serves, 2), Err(TooFew { others: 1, needed: 2 }));
        assert_eq!(may_stop(&state, &ill, 2), Ok(()));
        assert_eq!(may_stop(&state, &gone, 2), Ok(()));
        assert_eq!(may_stop(&state, &serves, 0), Ok(()), "nothing must be left");
    }
}
