//! Whose a call is: what the fleet needs to know of one before it is answered.

use super::{
    ApplyRequest, ExplainRequest, HandOverRequest, ImportRequest, LeaksRequest, LogsRequest, OperationCancel,
    OperationGet, PlanRequest, QueryRequest, RecoverMachines, RecoverRequest, StateAdopt, StateGet, StateLock,
    StatePut, StateRead, StateRelease, StateUnlock, StatesRequest,
};
use crate::fleet::Subject;

/// Whose a call is.
pub trait Asked {
    /// That of the cluster it names, itself or by a plan or an operation, or that of Terraform's states.
    fn subject(&self) -> Subject<'_>;
}

macro_rules! asked {
    ($($request:ty: |$asked:ident| $subject:expr;)*) => {$(
        impl Asked for $request {
            fn subject(&self) -> Subject<'_> {
                let $asked = self;
                $subject
            }
        }
    )*};
}

asked! {
    QueryRequest: |asked| Subject::Cluster(&asked.cluster);
    PlanRequest: |asked| Subject::Cluster(asked.intent.cluster());
    ApplyRequest: |asked| Subject::Plan(&asked.plan);
    OperationGet: |asked| Subject::Operation(&asked.operation);
    OperationCancel: |asked| Subject::Operation(&asked.operation);
    ExplainRequest: |asked| Subject::Cluster(&asked.cluster);
    HandOverRequest: |asked| Subject::Cluster(&asked.cluster);
    ImportRequest: |asked| Subject::Cluster(&asked.cluster);
    LeaksRequest: |asked| Subject::Cluster(&asked.cluster);
    LogsRequest: |asked| Subject::Cluster(&asked.cluster);
    RecoverRequest: |asked| Subject::Cluster(&asked.cluster);
    RecoverMachines: |asked| Subject::Cluster(&asked.cluster);
    StatesRequest: |_asked| Subject::Terraform;
    StateRead: |_asked| Subject::Terraform;
    StateGet: |_asked| Subject::Terraform;
    StatePut: |_asked| Subject::Terraform;
    StateLock: |_asked| Subject::Terraform;
    StateUnlock: |_asked| Subject::Terraform;
    StateRelease: |_asked| Subject::Terraform;
    StateAdopt: |_asked| Subject::Terraform;
}
