//! The plan of a sweep: what carries our tags and is unknown to the journal is deleted; the cluster itself stays as it is.

use isobar_engine_model::id::{ResourceHandle, SiteName, StepId};
use isobar_engine_model::observed::Observed;
use isobar_engine_model::plan::{Action, Base, CostChange, Origin, Plan, PlanBody, Reason, Step};
use isobar_engine_model::quantity::Timestamp;

use crate::price;

/// A resource to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// In which site.
    pub site: SiteName,
    /// What the provider calls it.
    pub handle: ResourceHandle,
    /// Its name.
    pub name: String,
    /// Why it is one, in words.
    pub because: String,
}

/// A plan that deletes `orphans`, in their order. It reads nothing of the cluster, so nothing of the cluster makes it
/// stale; each step looks again before it deletes.
pub fn sweep(observed: &Observed, orphans: &[Orphan], now: Timestamp, validity_ms: u64) -> Plan {
    let cost = price::before(observed);
    let step = |(id, orphan): (u32, &Orphan)| Step {
        id: StepId(id),
        action: Action::DeleteOrphan {
            site: orphan.site.clone(),
            handle: orphan.handle.clone(),
            name: orphan.name.clone(),
        },
        needs: Vec::new(),
    };
    let reason = |orphan: &Orphan| Reason {
        about: orphan.name.clone(),
        because: orphan.because.clone(),
    };
    let body = PlanBody {
        cluster: observed.cluster.clone(),
        origin: Origin::Sweep,
        created: now,
        expires: now.plus_ms(validity_ms),
        base: Base {
            generation: observed.generation,
            machines: Default::default(),
            replicas: Default::default(),
            adopted: Default::default(),
        },
        spec: observed.spec.clone(),
        steps: (1..).zip(orphans).map(step).collect(),
        cost: CostChange {
            before: cost,
            after: cost,
            ceiling: cost,
        },
        risks: Vec::new(),
        reasons: orphans.iter().map(reason).collect(),
        unmet: Vec::new(),
    };
    body.seal()
}
